//! `.regfs/metrics`: the counters of a mount in Prometheus' text format, version 0.0.4.

use crate::journal::{Health, Journal};
use crate::store::Usage;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

/// The whole page.
pub(super) fn text(journal: &Journal, usage: &Usage) -> String {
    let counters = &journal.counters;
    let mut page = Page(String::new());
    let total = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
    page.one("regfs_operations_total", "counter", "Operations answered.", total(&counters.operations));
    page.head("regfs_read_bytes_total", "counter", "Bytes read, by where they came from.");
    for (from, counter) in
        [("memory", &counters.memory_bytes), ("disk", &counters.disk_bytes), ("remote", &counters.remote_bytes)]
    {
        page.line("regfs_read_bytes_total", &[("from", from)], total(counter));
    }
    let corrupt = total(&counters.corrupt_spans);
    page.one("regfs_corrupt_spans_total", "counter", "Cached spans dropped because their check failed.", corrupt);
    page.one(
        "regfs_poisoned_blobs_total",
        "counter",
        "Blobs that are not what their digest names.",
        total(&counters.poisoned),
    );
    page.one(
        "regfs_evicted_bytes_total",
        "counter",
        "Bytes dropped from the cache to make room.",
        total(&counters.evicted_bytes),
    );
    page.head("regfs_cache_used_bytes", "gauge", "Bytes cached.");
    page.line("regfs_cache_used_bytes", &[("where", "disk")], usage.disk_used);
    page.line("regfs_cache_used_bytes", &[("where", "memory")], usage.memory_used);
    page.head("regfs_cache_limit_bytes", "gauge", "Bytes that may be cached.");
    page.line("regfs_cache_limit_bytes", &[("where", "disk")], usage.disk_limit);
    page.line("regfs_cache_limit_bytes", &[("where", "memory")], usage.memory_limit);
    page.one("regfs_cache_blobs", "gauge", "Whole blobs cached.", usage.blobs);
    page.one("regfs_cache_partial_blobs", "gauge", "Blobs cached in part.", usage.parts);
    page.one("regfs_cache_degraded", "gauge", "Whether the disk is not used.", u64::from(usage.degraded.is_some()));
    let layers = journal.layers();
    page.one("regfs_indexing_layers", "gauge", "Layers that are being indexed.", layers.len() as u64);
    page.head("regfs_indexing_read_bytes", "gauge", "Bytes read so far of a layer that is being indexed.");
    layers.iter().for_each(|(layer, (read, _))| page.line("regfs_indexing_read_bytes", &[("layer", layer)], *read));
    page.head("regfs_indexing_size_bytes", "gauge", "Bytes of a layer that is being indexed.");
    layers.iter().for_each(|(layer, (_, size))| page.line("regfs_indexing_size_bytes", &[("layer", layer)], *size));
    page.remotes(&journal.remotes());
    page.0
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", quote(value))).collect();
        let _ = match labels.is_empty() {
            true => writeln!(self.0, "{name} {value}"),
            false => writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")),
        };
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.line(name, &[], value);
    }

    fn remotes(&mut self, remotes: &BTreeMap<String, Health>) {
        type Value = fn(&Health) -> u64;
        let each: [(&str, &str, &str, Value); 4] = [
            ("regfs_requests_total", "counter", "Requests sent, with retries.", |health| health.requests),
            ("regfs_received_bytes_total", "counter", "Bytes of answers.", |health| health.bytes),
            ("regfs_requests_in_flight", "gauge", "Requests under way.", |health| health.in_flight),
            ("regfs_remote_failing", "gauge", "Whether the last request failed on the wire.", |health| {
                u64::from(health.failure.is_some())
            }),
        ];
        for (name, kind, help, value) in each {
            self.head(name, kind, help);
            for (remote, health) in remotes {
                self.line(name, &[("remote", remote)], value(health));
            }
        }
    }
}

/// A label's value: backslash, quote and newline are escaped, as the format says.
fn quote(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_comment_or_a_sample() {
        let journal = Journal::new();
        journal.remote("a\"b\\\n", |health| health.requests = 3);
        journal.indexing("sha256:00", Some((1, 4)));
        let text = text(&journal, &Usage::default());
        assert!(text.contains("regfs_requests_total{remote=\"a\\\"b\\\\\\n\"} 3\n"), "{text}");
        assert!(text.contains("regfs_indexing_size_bytes{layer=\"sha256:00\"} 4\n"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            let (name, value) = line.rsplit_once(' ').expect("name and value");
            assert!(name.starts_with("regfs_") && value.parse::<u64>().is_ok(), "{line}");
        }
    }
}
