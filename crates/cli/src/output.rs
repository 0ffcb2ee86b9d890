//! The one printer: the result on stdout, everything else on stderr.

pub(crate) mod ask;
pub(crate) mod progress;

use std::{
    fmt::Display,
    io::{IsTerminal, Write},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use comfy_table::{ContentArrangement, Table, presets};
use podsync_api::ApiError;
use serde::Serialize;

pub(crate) struct Printer {
    json: bool,
    /// A result was printed: stdout has its one document.
    printed: AtomicBool,
}

impl Printer {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            printed: AtomicBool::new(false),
        }
    }

    /// Progress bars and questions are for people at a terminal.
    pub(crate) fn is_for_people(&self) -> bool {
        !self.json && std::io::stderr().is_terminal()
    }

    /// The result: as JSON, or as `text` says it.
    pub(crate) fn result<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) {
        let out = if self.json {
            serde_json::to_string_pretty(value)
                .unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
        } else {
            text(value)
        };
        if !out.is_empty() {
            self.printed.store(true, Ordering::Relaxed);
            write_line(&mut std::io::stdout().lock(), out);
        }
    }

    /// Something on the way to the result.
    pub(crate) fn note(&self, text: impl Display) {
        write_line(&mut std::io::stderr().lock(), text);
    }

    pub(crate) fn warn(&self, text: impl Display) {
        self.note(format_args!("warning: {text}"));
    }

    /// The error with its next step; the exit code that belongs to it.
    pub(crate) fn fail(&self, error: &ApiError) -> ExitCode {
        if self.json {
            let body = serde_json::json!({ "error": error });
            if self.printed.load(Ordering::Relaxed) {
                write_line(&mut std::io::stderr().lock(), body);
            } else {
                write_line(&mut std::io::stdout().lock(), body);
            }
        } else {
            self.note(format_args!("error: {}", error.message));
            if let Some(hint) = &error.hint {
                self.note(format_args!("  hint: {hint}"));
            }
        }
        ExitCode::from(error.code.exit_code())
    }
}

/// A reader that went away (`podsync list | head -1`) is no error of ours.
fn write_line(out: &mut impl Write, text: impl Display) {
    let _ = writeln!(out, "{text}");
}

/// A borderless table; none of its own lines where there are no rows.
pub(crate) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(head);
    for row in rows {
        table.add_row(row.map(|cell| printable(&cell)));
    }
    let lines = table.lines().map(|line| {
        // The cells of the first column are set in by a space.
        line.strip_prefix(' ')
            .unwrap_or(&line)
            .trim_end()
            .to_owned()
    });
    let lines: Vec<_> = lines.collect();
    lines.join("\n")
}

/// Text that others wrote must not move the cursor or colour the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect()
}

/// `12.3 MB`: powers of ten, as disks and networks are sold.
pub(crate) fn bytes(len: u64) -> String {
    indicatif::DecimalBytes(len).to_string()
}

/// `3 minutes ago`, at the precision that people want.
pub(crate) fn ago(created_ms: u64) -> String {
    let then = UNIX_EPOCH + Duration::from_millis(created_ms);
    match SystemTime::now().duration_since(then) {
        Ok(passed) if passed.as_secs() < 5 => "just now".to_owned(),
        Ok(passed) => format!("{} ago", indicatif::HumanDuration(passed)),
        Err(_) => "in the future".to_owned(),
    }
}

/// `1 pod`, `2 pods`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
