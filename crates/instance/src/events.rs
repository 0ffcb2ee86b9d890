//! Events of an instance during a load: one JSON line per service.
//!
//! LocalStack's own client only asks whether `status` is true to Python, podsync's plugin writes `ok`
//! and `error`: anything but `ok` and `true` counts as failed, so that no failure is overlooked.

use bytes::{Buf, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    printable::{MAX_MESSAGE_CHARS, printable},
    service::Service,
};

/// The most bytes of a line; the plugin's have at most some 2 KiB.
pub(crate) const MAX_LINE_LEN: usize = 64 << 10;

/// The most events of a load: one per service and a lot to spare.
pub const MAX_EVENTS: usize = 10_000;

/// One service, loaded or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadEvent {
    pub service: Service,
    /// None if the service was loaded, otherwise why not.
    pub failure: Option<String>,
    /// For how long its clients waited while other services were changed. None if the instance doesn't say.
    pub waited_ms: Option<u64>,
}

/// Why lines stopped being events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EventError {
    #[error("it sent a report line of more than {MAX_LINE_LEN} bytes")]
    LongLine,
    #[error("it reported more than {MAX_EVENTS} services")]
    TooMany,
    #[error("it sent a report line that is none: {0}")]
    Malformed(String),
    /// The instance gave up on the load as a whole.
    #[error("it gave up: {0}")]
    GaveUp(String),
}

/// Splits incoming bytes into lines and parses them.
#[derive(Default)]
pub(crate) struct EventReader {
    buffer: BytesMut,
    /// Bytes at the buffer's start that hold no line end.
    searched: usize,
    count: usize,
}

impl EventReader {
    /// Adds received bytes. Call [`EventReader::next`] until it has no more before the next call.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line's event.
    pub(crate) fn next(&mut self) -> Result<Option<LoadEvent>, EventError> {
        while let Some(at) = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n')
        {
            let line = self.buffer.split_to(self.searched + at);
            self.buffer.advance(1);
            self.searched = 0;
            if let Some(event) = self.read(&line)? {
                return Ok(Some(event));
            }
        }
        self.searched = self.buffer.len();
        if self.searched > MAX_LINE_LEN {
            return Err(EventError::LongLine);
        }
        Ok(None)
    }

    /// The event of a last line that no line end follows.
    pub(crate) fn finish(&mut self) -> Result<Option<LoadEvent>, EventError> {
        let line = self.buffer.split();
        self.searched = 0;
        self.read(&line)
    }

    fn read(&mut self, line: &[u8]) -> Result<Option<LoadEvent>, EventError> {
        if line.len() > MAX_LINE_LEN {
            return Err(EventError::LongLine);
        }
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(None);
        }
        self.count += 1;
        if self.count > MAX_EVENTS {
            return Err(EventError::TooMany);
        }
        parse(line).map(Some)
    }
}

#[derive(Deserialize)]
struct RawEvent {
    service: String,
    status: Value,
    message: Option<String>,
    waited_ms: Option<u64>,
}

fn parse(line: &[u8]) -> Result<LoadEvent, EventError> {
    let malformed = || EventError::Malformed(printable(&String::from_utf8_lossy(line), 80));
    let raw: RawEvent = serde_json::from_slice(line).map_err(|_| malformed())?;
    let loaded = raw.status == Value::Bool(true) || raw.status == "ok";
    let message = printable(
        raw.message.as_deref().unwrap_or_default(),
        MAX_MESSAGE_CHARS,
    );
    if raw.service == "*" {
        return Err(EventError::GaveUp(message));
    }
    let failure = (!loaded).then(|| {
        if message.is_empty() {
            "it gave no reason".to_owned()
        } else {
            message
        }
    });
    Ok(LoadEvent {
        service: Service::new(raw.service).map_err(|_| malformed())?,
        failure,
        waited_ms: raw.waited_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `text` in pieces of `size` bytes.
    fn read(text: &[u8], size: usize) -> (Vec<String>, Option<EventError>) {
        let mut reader = EventReader::default();
        let mut shown = Vec::new();
        for piece in text.chunks(size) {
            reader.push(piece);
            loop {
                match reader.next() {
                    Ok(Some(event)) => shown.push(format!("{} {:?}", event.service, event.failure)),
                    Ok(None) => break,
                    Err(error) => return (shown, Some(error)),
                }
            }
        }
        match reader.finish() {
            Ok(event) => {
                shown.extend(event.map(|event| format!("{} {:?}", event.service, event.failure)));
                (shown, None)
            }
            Err(error) => (shown, Some(error)),
        }
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let text = b"{\"service\":\"s3\",\"status\":\"ok\",\"message\":\"\"}\r\n\n\
            {\"service\":\"sqs\",\"status\":\"error\",\"message\":\"no\\u001bway\"}\n\
            {\"service\":\"kms\",\"status\":true}\n\
            {\"service\":\"iam\",\"status\":false,\"message\":null}\n\
            {\"service\":\"sts\",\"status\":\"ok\"}";
        for size in 1..text.len() {
            let (events, error) = read(text, size);
            assert_eq!(error, None);
            assert_eq!(
                events,
                [
                    "s3 None",
                    "sqs Some(\"no\u{fffd}way\")",
                    "kms None",
                    "iam Some(\"it gave no reason\")",
                    "sts None"
                ]
            );
        }
    }

    #[test]
    fn the_time_that_clients_waited_is_read_where_it_is_told() {
        let waited = |line: &str| parse(line.as_bytes()).map(|event| event.waited_ms);
        let told = r#"{"service":"s3","status":"ok","message":"","waited_ms":120}"#;
        assert_eq!(waited(told), Ok(Some(120)));
        assert_eq!(waited(r#"{"service":"s3","status":true}"#), Ok(None));
        assert!(waited(&told.replace("120", "-1")).is_err());
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let one = |text: &str| read(text.as_bytes(), 7).1;
        for text in [
            "{",
            "[]",
            "{\"service\":1,\"status\":\"ok\"}",
            "{\"service\":\"s3\"}",
            "\u{0}",
        ] {
            assert!(
                matches!(one(text), Some(EventError::Malformed(_))),
                "{text:?}"
            );
        }
        let climbing = "{\"service\":\"../x\",\"status\":\"ok\"}\n";
        assert!(matches!(one(climbing), Some(EventError::Malformed(_))));
        let wildcard = "{\"service\":\"*\",\"status\":\"error\",\"message\":\"disk full\"}\n";
        assert_eq!(
            one(wildcard),
            Some(EventError::GaveUp("disk full".to_owned()))
        );
    }

    #[test]
    fn lines_and_their_number_are_bounded() {
        let long = format!(
            "{{\"service\":\"s3\",\"status\":\"{}\"}}",
            "x".repeat(MAX_LINE_LEN)
        );
        for end in ["", "\n"] {
            for size in [1000, usize::MAX] {
                let (_, error) = read(format!("{long}{end}").as_bytes(), size);
                assert_eq!(error, Some(EventError::LongLine));
            }
        }
        let many = "{\"service\":\"s3\",\"status\":\"ok\"}\n".repeat(MAX_EVENTS + 1);
        let (events, error) = read(many.as_bytes(), 4096);
        assert_eq!(
            (events.len(), error),
            (MAX_EVENTS, Some(EventError::TooMany))
        );
    }

    proptest::proptest! {
        /// Any input, however it is split, gives the same events or error.
        #[test]
        fn any_bytes_are_read_alike_however_they_are_cut(
            text in r#"([{}":,a-z0-9\\ *\n]|\{"service":"s3","status":"ok"\}\n){0,40}"#,
            size in 1_usize..20,
        ) {
            proptest::prop_assert_eq!(read(text.as_bytes(), size), read(text.as_bytes(), usize::MAX));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            read(&bytes, 7);
        }
    }

    #[test]
    fn a_line_without_end_is_not_searched_again() {
        let mut reader = EventReader::default();
        reader.push(&[b'x'; 1000]);
        assert_eq!(reader.next(), Ok(None));
        assert_eq!(reader.searched, 1000);
    }
}
