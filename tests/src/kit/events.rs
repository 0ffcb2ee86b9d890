//! A daemon's events, read from its socket like an independent client.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Home;

/// A test that waits for an event longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// One that listens to a daemon.
pub struct Events {
    lines: BufReader<UnixStream>,
    last_id: String,
}

impl Home {
    /// Listens to the daemon, from now on or after the event with this id.
    pub fn listen(&self, after: Option<&str>) -> Result<Events> {
        let mut socket = UnixStream::connect(self.path().join("run/podsync.sock"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let after = after.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        // In HTTP/1.0 a body without a length lasts until the connection ends.
        write!(
            socket,
            "GET /v1/events HTTP/1.0\r\nhost: podsync\r\n{after}\r\n"
        )?;
        let mut lines = BufReader::new(socket);
        let status = line(&mut lines)?.context("no answer")?;
        while line(&mut lines)?.is_some_and(|header| !header.is_empty()) {}
        ensure!(status.contains(" 200 "), "{status}");
        let mut events = Events {
            lines,
            last_id: String::new(),
        };
        // Where it begins.
        ensure!(events.frame()?.is_some_and(|data| data.is_empty()));
        Ok(events)
    }
}

impl Events {
    /// The next event; none once the daemon has ended the stream.
    pub fn next_one(&mut self) -> Result<Option<Value>> {
        loop {
            match self.frame()? {
                Some(data) if data.is_empty() => {}
                Some(data) => return Ok(Some(serde_json::from_str(&data)?)),
                None => return Ok(None),
            }
        }
    }

    /// Waits for an event of this kind.
    pub fn wait_for(&mut self, kind: &str) -> Result<Value> {
        let mut before = Vec::new();
        while let Some(event) = self.next_one()? {
            if event["kind"] == kind {
                return Ok(event);
            }
            before.push(event["kind"].clone());
        }
        bail!("the events ended before `{kind}`, after {before:?}")
    }

    /// The id of the last event.
    pub fn last_id(&self) -> &str {
        &self.last_id
    }

    /// The data of the next frame, empty where it has none; nothing at the end.
    fn frame(&mut self) -> Result<Option<String>> {
        let (mut data, mut seen) = (String::new(), false);
        while let Some(line) = line(&mut self.lines)? {
            match line.split_once(':') {
                _ if line.is_empty() && seen => return Ok(Some(data)),
                Some(("id", id)) => {
                    seen = true;
                    id.trim_start().clone_into(&mut self.last_id);
                }
                Some(("data", text)) => {
                    seen = true;
                    data.push_str(text.trim_start());
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

/// The next line without its end; none where nothing comes any more.
fn line(lines: &mut impl BufRead) -> Result<Option<String>> {
    let mut text = String::new();
    let len = lines.read_line(&mut text)?;
    Ok((len > 0).then(|| text.trim_end_matches(['\r', '\n']).to_owned()))
}
