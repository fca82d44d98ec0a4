//! Tables that fit the terminal, JSON, and a progress bar that is shown on a terminal only.

use std::io::{IsTerminal, Write};

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::Failure;

/// Writes a line; where nobody reads it any more, it is dropped.
pub fn write_line(mut to: impl Write, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(to, "{line}"); // nobody is left to be told
}

/// Prints a value as JSON.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::other)?;
    say!("{text}");
    Ok(())
}

/// So many of what is named in the singular: `1 panel`, `2 panels`.
pub fn counted(count: impl Into<u64>, what: &str) -> String {
    let count = count.into();
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A table with these columns; those whose heading begins with `>` are aligned to the right.
pub fn table<const N: usize>(columns: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.map(|column| Cell::new(column.trim_start_matches('>').to_uppercase())));
    for row in rows {
        table.add_row(row.map(|cell| printable(&cell)));
    }
    for (i, column) in columns.iter().enumerate() {
        if let Some(settings) = table.column_mut(i) {
            settings.set_padding((0, if i + 1 < N { 2 } else { 0 }));
            if column.starts_with('>') {
                settings.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    // An id that is broken over two lines cannot be copied.
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    let terminal = console::Term::stdout();
    if terminal.is_term() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(terminal.size().1);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    say!("{}", table.trim_fmt());
}

/// Names come from anyone; what would steer the terminal is shown as a mark instead.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// A bar over so many panels; hidden where stderr is no terminal.
pub fn progress(panels: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(panels), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {pos}/{len} panels {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar
}

/// Something that moves while a call is under way; hidden where stderr is no terminal.
pub fn waiting(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    bar
}

/// Whether a bar would be seen.
pub fn has_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// A number of milliseconds for people.
pub fn duration(ms: u64) -> String {
    match ms {
        0..=9_999 => format!("{ms} ms"),
        _ => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
    }
}

/// An RFC 3339 moment, to the second.
pub fn moment(text: &str) -> String {
    match text.split_once('.') {
        Some((seconds, _)) => format!("{}Z", seconds.replace('T', " ")),
        None => text.replace('T', " "),
    }
}

/// An RFC 3339 moment in UTC as `11-23 19:12Z`.
pub fn short_moment(text: &str) -> String {
    let short = text.get(5..16).map(|text| format!("{}Z", text.replace('T', " ")));
    short.unwrap_or_else(|| text.to_owned())
}
