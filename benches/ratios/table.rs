//! The table: what was measured, what it is, what it should be.

/// One line.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) figure: String,
    pub(crate) target: String,
    /// Whether the target is reached.
    pub(crate) met: bool,
}

impl Row {
    /// A figure that should be at least, or at most, something.
    pub(crate) fn aimed(what: impl Into<String>, figure: impl Into<String>, target: &str, met: bool) -> Row {
        Row { what: what.into(), figure: figure.into(), target: target.to_owned(), met }
    }
}

/// Prints it as a Markdown table, as README.md quotes it.
#[allow(clippy::print_stdout)]
pub(crate) fn print(rows: &[Row]) {
    let marked = |row: &Row| if row.met { row.target.clone() } else { format!("{} (missed)", row.target) };
    let widest = |of: &dyn Fn(&Row) -> usize, least: usize| rows.iter().map(of).max().unwrap_or(0).max(least);
    let what = widest(&|row| row.what.chars().count(), 4);
    let figure = widest(&|row| row.figure.chars().count(), 8);
    let target = widest(&|row| marked(row).chars().count(), 6);
    println!("\n| {:what$} | {:figure$} | {:target$} |", "what", "measured", "target");
    println!("|{}|{}|{}|", "-".repeat(what + 2), "-".repeat(figure + 2), "-".repeat(target + 2));
    for row in rows {
        println!("| {:what$} | {:figure$} | {:target$} |", row.what, row.figure, marked(row));
    }
}

/// The value in the middle; of an even count, the lower one.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// Bytes for people.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} B"),
        10_000..10_000_000 => format!("{:.0} KiB", n as f64 / 1024.0),
        _ => format!("{:.0} MiB", n as f64 / (1024.0 * 1024.0)),
    }
}
