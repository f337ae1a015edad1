//! Names of archive members as paths below a layer's root.
//!
//! Promises: what is accepted is a list of components, none of which is empty, `.`, `..`, too long, or holds a NUL or
//! a slash. Works on words only: symbolic links are the builder's.

/// The longest component, in bytes, as Linux has it.
pub(super) const MAX_NAME: usize = 255;
/// The longest path, in bytes, slashes counted.
pub(super) const MAX_PATH: usize = 4096;

/// The components of a member's name below the root; none for the root itself. `./`, `//`, and slashes at either end
/// say nothing; `..` takes the component before it, as Go's `path.Clean` does. `Err` says why there is no such path.
pub(super) fn clean(path: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    if path.is_empty() {
        return Err("the name is empty");
    }
    if path.contains(&0) {
        return Err("the name holds a NUL");
    }
    let mut parts = Vec::new();
    for part in components(path) {
        if part == b".." {
            parts.pop().ok_or("the name leaves the root")?;
        } else if part.len() > MAX_NAME {
            return Err("a component is over 255 bytes");
        } else {
            parts.push(part);
        }
    }
    if parts.iter().map(|part| part.len() + 1).sum::<usize>() > MAX_PATH + 1 {
        return Err("the path is over 4096 bytes");
    }
    Ok(parts)
}

/// The components of a path as they stand, without those that say nothing: the empty ones and `.`.
pub(crate) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// The path of components, without a slash at either end.
pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cleaned(path: &str) -> Result<String, &'static str> {
        clean(path.as_bytes()).map(|parts| String::from_utf8(join(&parts)).expect("utf-8"))
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        for (path, want) in [
            ("a/b", "a/b"),
            ("./a//b/", "a/b"),
            ("/a", "a"),
            ("///", ""),
            (".", ""),
            ("./", ""),
            ("a/./b/.", "a/b"),
            ("a/../b", "b"),
            ("a/b/..", "a"),
            ("a/..", ""),
            ("...", "..."),
            ("a\\b", "a\\b"),
        ] {
            assert_eq!(cleaned(path).as_deref(), Ok(want), "{path:?}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let long = "x".repeat(MAX_NAME + 1);
        for path in ["", "..", "../a", "a/../../b", "/..", "a\0b", &long, &format!("{long}/../a")] {
            assert!(cleaned(path).is_err(), "{path:?}");
        }
        assert!(cleaned(&"x".repeat(MAX_NAME)).is_ok());
        assert!(cleaned(&"x/".repeat(2048)).is_ok(), "4095 bytes");
        assert!(cleaned(&format!("xy{}", "/x".repeat(2047))).is_ok(), "4096 bytes");
        assert!(cleaned(&format!("xyz{}", "/x".repeat(2047))).is_err(), "4097 bytes");
    }

    proptest! {
        #[test]
        fn cleaning_is_done_once(
            path in proptest::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), Just(b'a'), any::<u8>()], 0..40),
        ) {
            if let Ok(parts) = clean(&path) {
                for part in &parts {
                    prop_assert!(!matches!(*part, b"" | b"." | b".."));
                    prop_assert!(!part.contains(&0) && !part.contains(&b'/'));
                }
                let joined = join(&parts);
                if !joined.is_empty() {
                    prop_assert_eq!(clean(&joined), Ok(parts));
                }
            }
        }
    }
}
