//! Makes text from an instance safe for a terminal and a log.
//!
//! Control characters would drive the reader's terminal, direction overrides would show a message
//! as another one: both become a plain sign.

/// The most characters of an instance's message that are shown.
pub(crate) const MAX_MESSAGE_CHARS: usize = 600;

/// At most `max` characters of `text`, on one line, with nothing in it that acts on a terminal.
pub(crate) fn printable(text: &str, max: usize) -> String {
    let mut shown: String = text
        .trim()
        .chars()
        .take(max)
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if c.is_control() || changes_direction(c) => '\u{fffd}',
            c => c,
        })
        .collect();
    if text.trim().chars().nth(max).is_some() {
        shown.push('…');
    }
    shown
}

fn changes_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_a_terminal() {
        assert_eq!(printable("  plain ä 表 \n", 40), "plain ä 表");
        assert_eq!(
            printable("a\x1b[2Jb\u{202e}c\u{9b}d\0", 40),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}"
        );
        assert_eq!(printable("two\r\nlines", 40), "two  lines");
        assert_eq!(printable("abcdef", 3), "abc…");
        assert_eq!(printable("abc", 3), "abc");
    }
}
