//! The page as a browser has it open: a session, the calls of its first view, and the stream of events for as long
//! as it is open. An open page asks nothing else while nothing happens.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    thread,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Spends the token of a URL of `podsync ui --print-url`, and reads what happens until the daemon ends.
pub(super) fn open(url: &str) -> Result<()> {
    let (origin, token) = url.split_once("/#token=").context("no token in the URL")?;
    let host = origin.strip_prefix("http://").context("no http URL")?;
    let mut browser = Browser {
        host: host.to_owned(),
        secrets: String::new(),
    };
    for file in ["/", "/assets/page.js"] {
        browser.whole("GET", file, None)?;
    }
    let (head, body) = browser.whole("POST", "/session", Some(&json!({ "token": token })))?;
    let cookie = head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.and_then(|cookie| cookie.split(';').next());
    let key: Value = serde_json::from_str(&body)?;
    let key = key["key"].as_str().context("no key")?;
    browser.secrets = format!(
        "cookie: {}\r\nx-podsync-key: {key}\r\n",
        cookie.context("no cookie")?
    );
    for call in ["/v1/status", "/v1/teams/-/pods"] {
        browser.whole("POST", call, Some(&json!({})))?;
    }
    let mut stream = browser.ask("GET", "/v1/events", None)?;
    let head = head_of(&mut stream)?;
    ensure!(head.contains("text/event-stream"), "no events: {head}");
    thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
    Ok(())
}

struct Browser {
    host: String,
    /// Header lines.
    secrets: String,
}

impl Browser {
    /// The head, and the body as far as it isn't cut in chunks.
    fn whole(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(String, String)> {
        let mut stream = self.ask(method, path, body)?;
        let head = head_of(&mut stream)?;
        ensure!(head.contains(" 200 "), "{path}: {head}");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest)?;
        let rest = String::from_utf8_lossy(&rest).into_owned();
        // A chunk's length stands on a line before it.
        let whole = match rest.find('{') {
            Some(begin) => rest[begin..].lines().next().unwrap_or_default().to_owned(),
            None => rest,
        };
        Ok((head, whole))
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(&self.host)?;
        let body = body.map_or_else(String::new, Value::to_string);
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n{}\r\n{body}",
            body.len(),
            self.secrets,
            host = self.host,
        )?;
        Ok(BufReader::new(stream))
    }
}

fn head_of(stream: &mut impl BufRead) -> Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(stream.read_line(&mut head)? > 0, "no answer: {head}");
    }
    // Values keep their letters: a cookie is one.
    let lines = head.lines().map(|line| match line.split_once(':') {
        Some((name, value)) => format!("{}:{value}\n", name.to_ascii_lowercase()),
        None => format!("{line}\n"),
    });
    Ok(lines.collect())
}
