//! Why a daemon could not start, as its log says it: for people, and for the command that had a supervisor start it.

use podsync_api::{ApiError, ErrorCode};
use serde::Deserialize;

use super::rolling::time_of;

const BEGINNING: &str = "the daemon cannot start: ";
const HINT: &str = "\n  hint: ";

/// Writes it to the log.
pub(crate) fn note(error: &ApiError) {
    let hint = error.hint.as_ref().map(|hint| format!("{HINT}{hint}"));
    let hint = hint.unwrap_or_default();
    tracing::error!(target: "podsync", "{BEGINNING}{}{hint}", error.message);
}

/// The newest reason in a log's lines.
pub(crate) fn newest(lines: &[String]) -> Option<ApiError> {
    let at = lines.iter().rposition(|line| line.contains(BEGINNING))?;
    let entry = match serde_json::from_str::<Line>(&lines[at]) {
        Ok(line) => line.fields.message,
        Err(_) => {
            // Lines without a time belong to the one before.
            let more = lines[at + 1..]
                .iter()
                .take_while(|line| time_of(line).is_none());
            let all: Vec<_> = lines[at..=at].iter().chain(more).cloned().collect();
            all.join("\n")
        }
    };
    let (_, reason) = entry.split_once(BEGINNING)?;
    let (message, hint) = match reason.split_once(HINT) {
        Some((message, rest)) => (message, rest.lines().next()),
        None => (reason, None),
    };
    let error = ApiError::new(ErrorCode::NoDaemon, format!("{BEGINNING}{message}"));
    Some(match hint {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

/// A line of the log in JSON.
#[derive(Deserialize)]
struct Line {
    fields: Fields,
}

#[derive(Deserialize)]
struct Fields {
    message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_newest_reason_is_found_whole_in_both_formats() {
        let text = "\
2026-01-01T10:00:00Z ERROR podsync: the daemon cannot start: old
2026-01-01T11:00:00Z ERROR podsync: the daemon cannot start: one
and two
  hint: mend it
2026-01-01T12:00:00Z  INFO podsync: something else";
        let json = r#"{"timestamp":"2026-01-01T11:00:00Z","level":"ERROR","fields":{"message":"the daemon cannot start: one\nand two\n  hint: mend it"},"target":"podsync"}"#;
        for text in [text, json] {
            let reason = newest(&lines(text)).unwrap();
            assert_eq!(reason.message, "the daemon cannot start: one\nand two");
            assert_eq!(reason.hint.as_deref(), Some("mend it"));
        }
        assert_eq!(
            newest(&lines("2026-01-01T12:00:00Z  INFO podsync: x")),
            None
        );
    }
}
