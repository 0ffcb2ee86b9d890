//! How values and other people's words become text for a terminal.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table, presets};

/// The space between two columns.
const COLUMN_GAP: usize = 2;
/// A last column that is narrower shows too little of its texts and is left out.
const MIN_LAST_WIDTH: usize = 8;

/// A borderless table; nothing if there are no rows. On a terminal the last column, which is the one for long
/// texts, takes what the others leave.
pub(crate) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    table_within(super::terminal::width(), head, rows)
}

/// The same for a width; `None` means no limit.
pub(crate) fn table_within<const N: usize>(
    width: Option<u16>,
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let rows = rows.into_iter().map(|row| row.map(|cell| printable(&cell)));
    let rows: Vec<[String; N]> = rows.collect();
    let columns = width.map_or(N, |width| columns_that_fit(width, &head, &rows));
    let mut head = Row::from(&head[..columns]);
    head.max_height(1);
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    for row in rows {
        let mut row = Row::from(&row[..columns]);
        if width.is_some() {
            row.max_height(1);
        }
        table.add_row(row);
    }
    match width {
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
        Some(width) => {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                // Each line begins and ends with a space that is not shown.
                .set_width(width.saturating_add(2))
                .set_truncation_indicator("…")
                .set_constraints(
                    [ColumnConstraint::ContentWidth; N]
                        .into_iter()
                        .take(columns),
                );
            if columns == N
                && let Some(last) = table.column_mut(N - 1)
            {
                last.remove_constraint();
            }
        }
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

/// All columns, or all but the last one where what is left for it would show nothing of it.
fn columns_that_fit<const N: usize>(width: u16, head: &[&str; N], rows: &[[String; N]]) -> usize {
    let widest = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(head[column].len())
    };
    let before: usize = (0..N - 1).map(|column| widest(column) + COLUMN_GAP).sum();
    let left = usize::from(width).saturating_sub(before);
    if left < MIN_LAST_WIDTH.min(widest(N - 1)) {
        N - 1
    } else {
        N
    }
}

/// Text that others wrote, on one line: it must not move the cursor, colour the terminal or reorder
/// the letters around it.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if is_unsafe(c) { '\u{FFFD}' } else { c })
        .collect()
}

/// The same for text of several lines.
pub(super) fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if is_unsafe(c) => '\u{FFFD}',
            c => c,
        })
        .collect()
}

pub(crate) fn is_harmless(text: &str) -> bool {
    harmless(text) == text
}

/// Lines of a log. The logger adds colours and has already escaped control characters from others.
pub(super) fn in_order(text: &str) -> String {
    let reorders = |c: char| is_unsafe(c) && !c.is_control();
    text.replace(reorders, "\u{FFFD}")
}

/// JSON that means the same and is as harmless.
pub(super) fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unsafe(c) && c != '\n' {
            // All of them lie below U+10000.
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Controls, and marks that change the direction of text.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
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
        Ok(passed) => format!("{} ago", duration(passed)),
        Err(_) => "in the future".to_owned(),
    }
}

/// `3 minutes`.
pub(crate) fn duration(time: Duration) -> String {
    indicatif::HumanDuration(time).to_string()
}

/// `1 pod`, `2 pods`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_make_room_for_the_rest() {
        let row = [
            "orders:12",
            "alice",
            "a message that is much longer than the line it has to stand on, by far",
        ];
        let rows = || [row.map(str::to_owned)];
        let head = ["VERSION", "BY", "MESSAGE"];
        let whole = table_within(None, head, rows());
        assert!(whole.ends_with("by far"), "{whole}");
        for width in [40, 80] {
            let shown = table_within(Some(width), head, rows());
            assert_eq!(shown.lines().count(), 2, "{shown}");
            let longest = shown.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(width.into()), "{longest:?} {shown}");
            assert!(
                shown.contains("orders:12") && shown.ends_with('…'),
                "{shown}"
            );
        }
        let long = [
            "a-reference-of-forty-letters-and-more-it-is",
            "alice",
            "words",
        ];
        let shown = table_within(Some(56), head, [long.map(str::to_owned)]);
        assert!(
            shown.contains(long[0]) && !shown.contains("MESSAGE") && shown.lines().count() == 2,
            "{shown}"
        );
    }

    /// `gpj.exe` seems to end in `.jpg` where the override reaches the terminal.
    #[test]
    fn what_reorders_or_controls_never_reaches_a_terminal() {
        let hostile = "a\u{202E}gpj.exe\u{1B}[31m\u{9B}1m\r\u{2066}b\u{200F}";
        for shown in [printable(hostile), harmless(hostile)] {
            assert_eq!(
                shown,
                "a\u{FFFD}gpj.exe\u{FFFD}[31m\u{FFFD}1m\u{FFFD}\u{FFFD}b\u{FFFD}"
            );
        }
        let json = serde_json::to_string_pretty(&[hostile]).unwrap();
        let shown = escaped(&json);
        assert!(!shown.chars().any(|c| is_unsafe(c) && c != '\n'), "{shown}");
        let same: Vec<String> = serde_json::from_str(&shown).unwrap();
        assert_eq!(same, [hostile]);
        assert_eq!(harmless("two\nlines\tof text"), "two\nlines\tof text");
        assert_eq!(printable("two\nlines"), "two\u{FFFD}lines");
        assert!(!is_harmless(hostile) && is_harmless("two\nlines"));
        let coloured = "\u{1B}[32m INFO\u{1B}[0m gpj.exe\n";
        assert_eq!(in_order(coloured), coloured);
        assert_eq!(in_order("a\u{202E}b\u{2066}"), "a\u{FFFD}b\u{FFFD}");
        assert_eq!(printable("Zoë, 東京, שלום"), "Zoë, 東京, שלום");
    }
}
