//! What a message is known by even if it is too long or too deep to be read: the id of a request. It is found as the
//! bytes pass by, in bounded memory. Whether the rest is JSON is not looked at.

use rmcp::model::RequestId;

/// A longer id is none.
const MAX_ID_LEN: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Outline {
    depth: usize,
    deepest: usize,
    is_in_string: bool,
    is_escaped: bool,
    /// The beginning of a key or a value of the message itself.
    token: Vec<u8>,
    /// The value that comes next is the id.
    is_id_next: bool,
    has_method: bool,
    has_id: bool,
    id: Option<RequestId>,
}

impl Outline {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.add_byte(*byte);
        }
    }

    fn add_byte(&mut self, byte: u8) {
        if self.is_in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.is_in_string = false,
                _ => {}
            }
            self.keep(byte);
            return;
        }
        match byte {
            b'"' => {
                self.is_in_string = true;
                self.keep(byte);
            }
            b'{' | b'[' => {
                self.keep(byte);
                self.depth += 1;
                self.deepest = self.deepest.max(self.depth);
            }
            b'}' | b']' => {
                if self.depth == 1 {
                    self.end_value();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b':' if self.depth == 1 => self.end_key(),
            b',' if self.depth == 1 => self.end_value(),
            byte if byte.is_ascii_whitespace() => {}
            byte => self.keep(byte),
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.depth == 1 && self.token.len() <= MAX_ID_LEN {
            self.token.push(byte);
        }
    }

    fn end_key(&mut self) {
        let key = std::mem::take(&mut self.token);
        self.is_id_next = key == b"\"id\"";
        self.has_id |= self.is_id_next;
        self.has_method |= key == b"\"method\"";
    }

    fn end_value(&mut self) {
        let value = std::mem::take(&mut self.token);
        if std::mem::take(&mut self.is_id_next) && value.len() <= MAX_ID_LEN {
            self.id = serde_json::from_slice(&value).ok();
        }
    }

    /// How deep it is nested at most.
    pub(super) fn deepest(&self) -> usize {
        self.deepest
    }

    /// The id, if it is a request's.
    pub(super) fn request(&self) -> Option<RequestId> {
        self.id.clone().filter(|_| self.has_method)
    }

    /// Whether it is whole, and asks for no answer.
    pub(super) fn is_notification(&self) -> bool {
        self.depth == 0 && self.has_method && !self.has_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(text: &str) -> Outline {
        let mut outline = Outline::default();
        // However the bytes are cut.
        for part in text.as_bytes().chunks(3) {
            outline.add(part);
        }
        outline
    }

    #[test]
    fn the_id_of_a_request_is_found_wherever_it_stands() {
        let number = |number| Some(RequestId::Number(number));
        let text = |text: &str| Some(RequestId::String(text.into()));
        for (message, id) in [
            (r#"{"id":1,"method":"m"}"#, number(1)),
            (
                r#"{ "method" : "m" , "params" : {"id":2} , "id" : -3 }"#,
                number(-3),
            ),
            (
                r#"{"method":"m","params":["id",4,{"id":5}],"id":"a, b"}"#,
                text("a, b"),
            ),
            (r#"{"method":"\"id\":6","id":"\\"}"#, text("\\")),
            (r#"{"method":"m","id":{"id":7}}"#, None),
            (r#"{"method":"m","id":null}"#, None),
            (r#"{"id":8,"result":{}}"#, None),
            (r#"{"method":"m","id":9"#, None),
            (r#"[{"method":"m","id":10}]"#, None),
            ("no JSON }}}]]] {", None),
        ] {
            assert_eq!(outline(message).request(), id, "{message}");
        }
        let long = format!(r#"{{"method":"m","id":"{}"}}"#, "x".repeat(MAX_ID_LEN));
        assert_eq!(outline(&long).request(), None);
    }

    #[test]
    fn a_notification_has_a_method_and_no_id() {
        assert!(outline(r#"{"method":"m","params":{"id":1}}"#).is_notification());
        for other in [
            r#"{"method":"m","id":null}"#,
            r#"{"method":"m","params":{"#,
            r#"{"result":{}}"#,
            "method",
        ] {
            assert!(!outline(other).is_notification(), "{other}");
        }
        assert_eq!(outline(r#"{"a":[[{}]]}"#).deepest(), 4);
    }
}
