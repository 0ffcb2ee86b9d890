//! The page as a browser has it open: a session, the calls of its first view, and the stream of events for as long
//! as it is open. An open page asks nothing else while nothing happens.

use std::thread;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::http::{Server, head_of};

/// Spends the token of a URL of `podsync ui --print-url`, and reads what happens until the daemon ends.
pub(super) fn open(url: &str) -> Result<()> {
    let (origin, token) = url.split_once("/#token=").context("no token in the URL")?;
    let host = origin.strip_prefix("http://").context("no http URL")?;
    let mut server = Server {
        host: host.to_owned(),
        more: String::new(),
    };
    for file in ["/", "/assets/ask.js", "/assets/page.js", "/assets/rest.js"] {
        server.whole("GET", file, None)?;
    }
    let (head, body) = server.whole("POST", "/session", Some(&json!({ "token": token })))?;
    let cookie = head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.and_then(|cookie| cookie.split(';').next());
    let key: Value = serde_json::from_str(&body)?;
    let key = key["key"].as_str().context("no key")?;
    server.more = format!(
        "cookie: {}\r\nx-podsync-key: {key}\r\n",
        cookie.context("no cookie")?
    );
    for call in ["/v1/status", "/v1/teams/-/pods"] {
        server.whole("POST", call, Some(&json!({})))?;
    }
    let mut stream = server.ask("GET", "/v1/events", None)?;
    let head = head_of(&mut stream)?;
    ensure!(head.contains("text/event-stream"), "no events: {head}");
    thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
    Ok(())
}
