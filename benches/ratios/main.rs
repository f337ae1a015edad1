//! `make bench`: what regfs reaches, as ratios against programs measured in the same run, in one table.
//!
//! Rates are medians of interleaved pairs, so that a machine that grows slower does not favour either side. Counts
//! are exact: the fake registry counts what it is asked. `REGFS_BENCH_MB` and `REGFS_BENCH_RUNS` make it shorter;
//! arguments name parts of it (`cargo bench --bench ratios -- cold warm layers`).
#![allow(clippy::print_stdout)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod counts;
mod footprint;
mod layers;
mod rates;
mod table;

use rates::Stage;
use std::cell::OnceCell;
use table::Row;

/// A part of the bench: its name, and what measures it.
type Part = (&'static str, fn(&OnceCell<Stage>) -> Vec<Row>);

const PARTS: [Part; 10] = [
    ("cold", |stage| rates::cold(stage.get_or_init(Stage::new))),
    ("warm", |stage| rates::warm(stage.get_or_init(Stage::new))),
    ("cached", |stage| rates::cached(stage.get_or_init(Stage::new))),
    ("random", |_| counts::random()),
    ("requests", |_| counts::requests()),
    ("parallel", |_| counts::parallel()),
    ("start", |_| footprint::start()),
    ("memory", |_| footprint::memory()),
    ("layers-image", |_| layers::image()),
    ("layers-million", |_| layers::million()),
];

fn main() {
    // Cargo passes --bench to every bench target.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let stage = OnceCell::new();
    let mut rows = Vec::new();
    for (name, measure) in PARTS {
        let is_wanted = |want: &String| {
            name.strip_prefix(want.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        if wanted.is_empty() || wanted.iter().any(is_wanted) {
            rows.extend(measure(&stage));
        }
    }
    table::print(&rows);
    let missed = rows.iter().filter(|row| !row.met).count();
    if missed > 0 {
        println!("\nmissed: {missed}");
    }
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
