//! Messages of the protocol, each in a line of its own. What can't be read is answered, too: a client would wait for
//! ever for the answer to a request that was passed over.
//!
//! The protocol's library writes the lines. Reading is not left to it, because it passes over lines that are too long
//! or no JSON.

use std::{io, pin::Pin};

use rmcp::{
    ErrorData, RoleServer,
    model::RequestId,
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::{Transport, async_rw::AsyncRwTransport},
};
use serde_json::error::Category;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader, Empty};

use super::outline::Outline;

/// The longest message: names, a text of 4 KiB and what JSON adds.
const MAX_LEN: usize = 1 << 20;
/// `serde_json` reads nothing that is nested deeper.
const MAX_DEPTH: usize = 127;
/// Some programs begin their text with it.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

pub(super) struct Lines<R, W: AsyncWrite> {
    input: BufReader<R>,
    output: AsyncRwTransport<RoleServer, Empty, W>,
    /// What came of the next line. The service drops `receive` half-way whenever it has something to send.
    line: Line,
    /// An answer to what could not be read, until it is written.
    refusal: Option<Refusal>,
}

type Refusal = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

impl<R, W> Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    pub(super) fn new(input: R, output: W) -> Self {
        Self {
            input: BufReader::new(input),
            output: AsyncRwTransport::new_server(tokio::io::empty(), output),
            line: Line::default(),
            refusal: None,
        }
    }

    /// Reads on to the end of a line; `None` at the end of the input.
    async fn next_line(&mut self) -> io::Result<Option<Line>> {
        loop {
            let there = self.input.fill_buf().await?;
            if there.is_empty() {
                return Ok(None);
            }
            let end = there.iter().position(|byte| *byte == b'\n');
            let part = &there[..end.unwrap_or(there.len())];
            self.line.add(part);
            let read = part.len() + usize::from(end.is_some());
            self.input.consume(read);
            if end.is_some() {
                return Ok(Some(std::mem::take(&mut self.line)));
            }
        }
    }

    fn refuse(&mut self, error: ErrorData, request: Option<RequestId>) {
        let error = TxJsonRpcMessage::<RoleServer>::error(error, request);
        self.refusal = Some(Box::pin(self.output.send(error)));
    }
}

impl<R, W> Transport<RoleServer> for Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        self.output.send(message)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            if let Some(refusal) = &mut self.refusal {
                let written = refusal.await;
                self.refusal = None;
                written.ok()?;
            }
            let line = self.next_line().await.ok()??;
            match line.read() {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(error) => self.refuse(error, line.outline.request()),
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.output.close().await
    }
}

/// A line without its end, or what is remembered of one that is too long.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    outline: Outline,
    is_too_long: bool,
}

impl Line {
    fn add(&mut self, part: &[u8]) {
        self.outline.add(part);
        self.is_too_long |= self.bytes.len() + part.len() > MAX_LEN;
        if self.is_too_long {
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(part);
        }
    }

    /// The message; `None` if nobody waits for an answer to the line.
    fn read(&self) -> Result<Option<RxJsonRpcMessage<RoleServer>>, ErrorData> {
        let bytes = self.bytes.strip_prefix(BYTE_ORDER_MARK);
        let bytes = bytes.unwrap_or(&self.bytes).trim_ascii();
        if bytes.is_empty() && !self.is_too_long {
            return Ok(None);
        }
        let why = if self.is_too_long {
            format!("the message is longer than {MAX_LEN} bytes")
        } else {
            let error = match serde_json::from_slice(bytes) {
                Ok(message) => return Ok(Some(message)),
                Err(error) => error,
            };
            match error.classify() {
                _ if self.outline.deepest() > MAX_DEPTH => {
                    format!("the message is nested more than {MAX_DEPTH} levels deep")
                }
                Category::Syntax | Category::Eof => {
                    return Err(ErrorData::parse_error("the line is not JSON", None));
                }
                Category::Data | Category::Io => {
                    "the line is not a message of JSON-RPC 2.0".to_owned()
                }
            }
        };
        match self.outline.is_notification() {
            true => Ok(None),
            false => Err(ErrorData::invalid_request(why, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// The methods that the server gets from the input, and what it answers by itself.
    async fn read(input: &[u8]) -> (Vec<Value>, Vec<Value>) {
        let (mut client, output) = tokio::io::duplex(1 << 16);
        let mut lines = Lines::new(input, output);
        let mut methods = Vec::new();
        while let Some(message) = lines.receive().await {
            methods.push(serde_json::to_value(message).unwrap()["method"].clone());
        }
        drop(lines);
        let mut answered = String::new();
        client.read_to_string(&mut answered).await.unwrap();
        let answered = answered
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        (methods, answered.collect())
    }

    #[tokio::test]
    async fn what_is_no_message_is_answered_and_the_next_one_is_read() {
        let ping = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r\n";
        let long = format!("\"{}\"", "x".repeat(3 * MAX_LEN));
        let deep = format!("{}{}", "[".repeat(140), "]".repeat(140));
        // Some clients write the id first, and some last.
        let request = |id: &str, params: &str| {
            format!("{{\"method\":\"m\",\"params\":{params},\"id\":{id}}}")
        };
        for (line, id, code) in [
            (request("7", &long), json!(7), -32600),
            (request("\"a\\\"b\"", &deep), json!("a\"b"), -32600),
            (request("1.5", "{}"), Value::Null, -32600),
            (long.clone(), Value::Null, -32600),
            (
                "{\"id\":8,\"method\":\"m\",\"params\":{".to_owned(),
                json!(8),
                -32700,
            ),
            ("no JSON".to_owned(), Value::Null, -32700),
        ] {
            let (methods, answered) = read(format!("{line}\n{ping}").as_bytes()).await;
            assert_eq!(methods, ["ping"], "{answered:?}");
            assert_eq!(answered.len(), 1, "{answered:?}");
            assert_eq!(answered[0]["id"], id, "{answered:?}");
            assert_eq!(answered[0]["error"]["code"], code, "{answered:?}");
        }
        // Nobody waits for an answer to these.
        let notification = format!("{{\"method\":\"m\",\"params\":{long}}}");
        for line in ["", "  ", &notification] {
            let (methods, answered) = read(format!("{line}\n{ping}").as_bytes()).await;
            assert_eq!((methods.len(), answered.len()), (1, 0), "{answered:?}");
        }
    }

    #[tokio::test]
    async fn a_read_that_is_dropped_half_way_goes_on_where_it_stopped() {
        let (mut client, input) = tokio::io::duplex(64);
        let (mut reader, output) = tokio::io::duplex(1);
        let mut lines = Lines::new(input, output);
        client
            .write_all(b"no JSON\n{\"jsonrpc\":\"2.0\",")
            .await
            .unwrap();
        // The answer finds no room until somebody reads it.
        tokio::select! {
            biased;
            _ = lines.receive() => panic!("nothing can be received yet"),
            () = std::future::ready(()) => {}
        }
        let answer = tokio::spawn(async move {
            let mut answer = String::new();
            reader.read_to_string(&mut answer).await.unwrap();
            answer
        });
        client
            .write_all(b"\"id\":1,\"method\":\"ping\"}\n")
            .await
            .unwrap();
        let message = lines.receive().await.unwrap();
        assert_eq!(serde_json::to_value(message).unwrap()["method"], "ping");
        drop(lines);
        let answer = answer.await.unwrap();
        assert_eq!(answer.matches("-32700").count(), 1, "{answer}");
    }
}
