//! How values and other people's words become text for a terminal.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
