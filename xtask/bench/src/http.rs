//! Requests to a server on loopback, each over a connection of its own.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub(super) struct Server {
    /// `127.0.0.1:PORT`
    pub(super) host: String,
    /// Header lines that every request has.
    pub(super) more: String,
}

impl Server {
    /// The head, and the body as far as it isn't cut in chunks.
    pub(super) fn whole(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(String, String)> {
        let mut stream = self.ask(method, path, body)?;
        let head = head_of(&mut stream)?;
        let mut rest = Vec::new();
        // Not every server closes the connection, though it was asked to.
        match length(&head)? {
            Some(len) => stream.take(len).read_to_end(&mut rest)?,
            None => stream.read_to_end(&mut rest)?,
        };
        let rest = String::from_utf8_lossy(&rest).into_owned();
        ensure!(head.contains(" 200 "), "{path}: {head}{rest}");
        // A chunk's length stands on a line before it.
        let whole = match rest.find('{') {
            Some(begin) => rest[begin..].lines().next().unwrap_or_default().to_owned(),
            None => rest,
        };
        Ok((head, whole))
    }

    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(&self.host)?;
        let body = body.map_or_else(String::new, Value::to_string);
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n{}\r\n{body}",
            body.len(),
            self.more,
            host = self.host,
        )?;
        Ok(BufReader::new(stream))
    }
}

/// The head of an answer, with the names of its headers in small letters.
pub(super) fn head_of(stream: &mut impl BufRead) -> Result<String> {
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

fn length(head: &str) -> Result<Option<u64>> {
    let said = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let len = said.map(|len| len.trim().parse::<u64>()).transpose();
    len.with_context(|| format!("no length: {head}"))
}
