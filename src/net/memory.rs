//! What the wire remembers of hosts for a while: which scheme they speak, which mirrors are down, what was warned of.
//!
//! Pure bookkeeping, bounded; nothing here outlives the process.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a mirror that failed is passed over.
const DEAD: Duration = Duration::from_secs(30);
/// How many warnings are told apart.
const MAX_WARNINGS: usize = 1000;

/// Mirrors that failed a moment ago.
#[derive(Default)]
pub(super) struct Dead(Mutex<HashMap<String, Instant>>);

impl Dead {
    /// Passes the mirror over for a while; whether that is new.
    pub(super) fn add(&self, host: String) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host, Instant::now() + DEAD).is_none()
    }

    /// Whether to pass it over.
    pub(super) fn is(&self, host: &str) -> bool {
        let mut dead = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is = dead.get(host).is_some_and(|until| Instant::now() < *until);
        if !is {
            dead.remove(host);
        }
        is
    }
}

/// Whether hosts speak TLS, as far as it was found out.
#[derive(Default)]
pub(super) struct Schemes(Mutex<HashMap<String, bool>>);

impl Schemes {
    /// Whether `host:port` speaks https.
    pub(super) fn https(&self, authority: &str) -> Option<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(authority).copied()
    }

    /// It was found out. A host that spoke TLS once is never spoken to in clear.
    pub(super) fn learn(&self, authority: String, https: bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let speaks = known.entry(authority).or_insert(https);
        *speaks |= https;
    }
}

/// Warnings that were logged.
#[derive(Default)]
pub(super) struct Warnings(Mutex<HashSet<String>>);

impl Warnings {
    /// Whether this text is new.
    pub(super) fn is_new(&self, text: &str) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.len() < MAX_WARNINGS && seen.insert(text.to_owned())
    }
}

/// The text of a `Warning: 299 agent "text"` header; `None` for other codes (distribution-spec, "Warnings").
pub(super) fn warning_text(value: &str) -> Option<String> {
    let rest = value.trim().strip_prefix("299")?.strip_prefix(' ')?;
    let (_, quoted) = rest.split_once('"')?;
    let mut text = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_8_the_text_of_a_warning() {
        assert_eq!(warning_text(r#"299 - "a \"b\", c""#).as_deref(), Some("a \"b\", c"));
        assert_eq!(warning_text(r#"299 registry "old""#).as_deref(), Some("old"));
        assert_eq!(warning_text(r#"199 - "x""#), None);
        assert_eq!(warning_text("299"), None);
    }

    #[test]
    fn tls_is_never_unlearnt() {
        let schemes = Schemes::default();
        assert_eq!(schemes.https("a"), None);
        schemes.learn("a".into(), false);
        assert_eq!(schemes.https("a"), Some(false));
        schemes.learn("a".into(), true);
        schemes.learn("a".into(), false);
        assert_eq!(schemes.https("a"), Some(true));
    }

    #[test]
    fn mirrors_are_dead_once_added() {
        let dead = Dead::default();
        assert!(!dead.is("a"));
        assert!(dead.add("a".into()) && !dead.add("a".into()));
        assert!(dead.is("a") && !dead.is("b"));
    }
}
