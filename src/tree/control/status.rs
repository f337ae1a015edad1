//! `.regfs/status`: the state of a mount as JSON, for `regfs status` and for people with `jq`.

use super::{Info, stamp};
use crate::journal::{Health, Journal};
use crate::store::Usage;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

#[derive(Serialize)]
struct Status<'a> {
    version: &'static str,
    source: &'a str,
    mountpoint: &'a str,
    pid: u32,
    started: String,
    uptime_seconds: u64,
    offline: bool,
    remotes: BTreeMap<String, Remote>,
    /// The layers whose files are being listed, by digest; each is read once, and then known for good.
    indexing: BTreeMap<String, Indexing>,
    cache: Cache,
    operations: u64,
    errors: usize,
}

#[derive(Serialize)]
struct Remote {
    /// Absent before the first answer or failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    reachable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<Failure>,
    credentials: String,
    in_flight: u64,
    requests: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Indexing {
    /// Bytes of the blob read so far.
    read: u64,
    /// Bytes of the blob.
    size: u64,
}

#[derive(Serialize)]
struct Failure {
    time: String,
    what: String,
}

#[derive(Serialize)]
struct Cache {
    disk_used: u64,
    disk_limit: u64,
    memory_used: u64,
    memory_limit: u64,
    blobs: u64,
    partial: u64,
    /// Bytes read that did not have to come from a remote, of all bytes read; absent before the first read.
    #[serde(skip_serializing_if = "Option::is_none")]
    hit_ratio: Option<f64>,
    served_from_memory: u64,
    served_from_disk: u64,
    fetched: u64,
    evicted: u64,
    corrupt_spans: u64,
    poisoned: u64,
    /// Why the disk is not used, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<String>,
}

/// The document, with a newline at its end.
pub(super) fn json(journal: &Journal, usage: &Usage, info: &Info) -> String {
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        source: &info.source,
        mountpoint: &info.mountpoint,
        pid: std::process::id(),
        started: stamp(info.started),
        uptime_seconds: info.started.elapsed().unwrap_or_default().as_secs(),
        offline: info.offline,
        remotes: journal.remotes().into_iter().map(|(name, health)| (name, remote(health))).collect(),
        indexing: journal.layers().into_iter().map(|(layer, (read, size))| (layer, Indexing { read, size })).collect(),
        cache: cache(journal, usage),
        operations: journal.counters.operations.load(Relaxed),
        errors: journal.errors().len(),
    };
    let mut text = serde_json::to_string_pretty(&status).unwrap_or_default();
    text.push('\n');
    text
}

fn remote(health: Health) -> Remote {
    Remote {
        reachable: match (&health.failure, health.answered) {
            (Some(_), _) => Some(false),
            (None, Some(_)) => Some(true),
            (None, None) => None,
        },
        answered: health.answered.map(stamp),
        last_error: health.failure.map(|(time, what)| Failure { time: stamp(time), what }),
        credentials: health.credentials,
        in_flight: health.in_flight,
        requests: health.requests,
        bytes: health.bytes,
    }
}

fn cache(journal: &Journal, usage: &Usage) -> Cache {
    let counters = &journal.counters;
    let (memory, disk) = (counters.memory_bytes.load(Relaxed), counters.disk_bytes.load(Relaxed));
    let fetched = counters.remote_bytes.load(Relaxed);
    let all = memory + disk + fetched;
    Cache {
        disk_used: usage.disk_used,
        disk_limit: usage.disk_limit,
        memory_used: usage.memory_used,
        memory_limit: usage.memory_limit,
        blobs: usage.blobs,
        partial: usage.parts,
        hit_ratio: (all > 0).then(|| ((memory + disk) as f64 / all as f64 * 1000.0).round() / 1000.0),
        served_from_memory: memory,
        served_from_disk: disk,
        fetched,
        evicted: counters.evicted_bytes.load(Relaxed),
        corrupt_spans: counters.corrupt_spans.load(Relaxed),
        poisoned: counters.poisoned.load(Relaxed),
        degraded: usage.degraded.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::count;
    use std::time::SystemTime;

    #[test]
    fn says_how_each_remote_fares() {
        let journal = Journal::new();
        journal.remote("up.example", |health| health.answered = Some(SystemTime::now()));
        journal.remote("down.example", |health| {
            health.answered = Some(SystemTime::UNIX_EPOCH);
            health.failure = Some((SystemTime::now(), "no route".to_owned()));
        });
        journal.remote("new.example", |health| health.in_flight = 1);
        journal.indexing("sha256:00", Some((1, 4)));
        journal.indexing("sha256:11", Some((1, 4)));
        journal.indexing("sha256:11", None);
        count(&journal.counters.disk_bytes, 3);
        count(&journal.counters.remote_bytes, 1);
        let info = Info {
            source: "all:".to_owned(),
            mountpoint: "/mnt/\"x\"".to_owned(),
            started: SystemTime::now(),
            offline: false,
        };
        let text = json(&journal, &Usage::default(), &info);
        let status: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert_eq!(status["mountpoint"], "/mnt/\"x\"");
        assert_eq!(status["remotes"]["up.example"]["reachable"], true);
        assert_eq!(status["remotes"]["down.example"]["reachable"], false);
        assert_eq!(status["remotes"]["down.example"]["last_error"]["what"], "no route");
        assert_eq!(status["remotes"]["new.example"]["reachable"], serde_json::Value::Null);
        assert_eq!(status["indexing"], serde_json::json!({"sha256:00": {"read": 1, "size": 4}}));
        assert_eq!(status["cache"]["hit_ratio"], 0.75);
    }
}
