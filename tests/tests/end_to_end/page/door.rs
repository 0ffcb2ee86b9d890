//! Access to the page: one browser with one token, under the page's own name, from the page's own
//! scripts.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::Home;
use serde_json::{Value, json};

/// The page of a home, as a program sees it that speaks HTTP by itself.
pub(super) struct Door {
    pub(super) port: u16,
    pub(super) token: String,
}

/// What came back.
pub(super) struct Reply {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Door {
    pub(super) fn open(home: &Home) -> Result<Self> {
        let opened = home.run(&["ui", "--print-url", "--port", "0"])?.ok()?;
        let url = opened["url"].as_str().context("no url")?;
        let (origin, token) = url.split_once("/#token=").context("no token")?;
        let port = origin
            .strip_prefix("http://127.0.0.1:")
            .context("not on loopback")?;
        Ok(Self {
            port: port.parse()?,
            token: token.to_owned(),
        })
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn origin(&self) -> String {
        format!("http://{}", self.host())
    }

    /// A request with these header lines and nothing else.
    fn raw(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let mut head = format!("{line} HTTP/1.1\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("connection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .context("no answer")?;
        let head = String::from_utf8(answer[..end].to_vec())?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok(Reply {
            status,
            head: head.to_ascii_lowercase(),
            body: answer[end + 4..].to_vec(),
        })
    }

    /// As the page's own scripts ask.
    fn asked(&self, line: &str, more: &[(&str, &str)], body: &Value) -> Result<Reply> {
        let (host, origin) = (self.host(), self.origin());
        let mut headers = vec![
            ("host", host.as_str()),
            ("origin", origin.as_str()),
            ("content-type", "application/json"),
        ];
        headers.extend(more);
        self.raw(line, &headers, body.to_string().as_bytes())
    }

    /// Spends a token; the cookie and the key of the session.
    fn enter(&self, token: &str) -> Result<(String, String)> {
        let reply = self.asked("POST /session", &[], &json!({ "token": token }))?;
        ensure!(reply.status == 200, "{}", reply.status);
        let cookie = reply.header("set-cookie").context("no cookie")?;
        for part in ["httponly", "samesite=strict", "path=/"] {
            ensure!(cookie.contains(part), "{cookie}");
        }
        let cookie = cookie.split(';').next().context("no cookie")?.to_owned();
        let key = reply.json()?["key"].as_str().context("no key")?.to_owned();
        Ok((cookie, key))
    }
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value)
            .next()
    }

    /// The JSON in a body that may come in chunks.
    fn json(&self) -> Result<Value> {
        let text = String::from_utf8_lossy(&self.body);
        let from = text.find(['{', '[']).context("no JSON")?;
        let to = text.rfind(['}', ']']).context("no JSON")?;
        Ok(serde_json::from_str(&text[from..=to])?)
    }
}

fn alice() -> Result<Home> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    Ok(alice)
}

#[test]
fn the_page_lets_in_its_token_alone_and_once() -> Result<()> {
    let alice = alice()?;
    let door = Door::open(&alice)?;
    let status = |more: &[(&str, &str)]| door.asked("POST /v1/status", more, &json!({}));
    assert_eq!(status(&[])?.status, 401);
    for wrong in ["", "0", &"0".repeat(64), &door.token[1..]] {
        let refused = door.asked("POST /session", &[], &json!({ "token": wrong }))?;
        assert_eq!(refused.status, 401, "{wrong}");
        assert_eq!(refused.header("set-cookie"), None);
    }
    let (cookie, key) = door.enter(&door.token)?;
    let again = door.asked("POST /session", &[], &json!({ "token": door.token }))?;
    assert_eq!(again.status, 401, "a token is good once");

    let both = [("cookie", cookie.as_str()), ("x-podsync-key", key.as_str())];
    let answer = status(&both)?;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()?["teams"][0]["name"], "payments");
    for half in [&both[..1], &both[1..]] {
        assert_eq!(status(half)?.status, 401);
    }
    let other = "0".repeat(64);
    assert_eq!(status(&[both[0], ("x-podsync-key", &other)])?.status, 401);

    // The page lets nobody else in.
    let opened = door.asked("POST /v1/ui/open", &both, &json!({}))?;
    assert_eq!(opened.status, 404);

    // The same listener, another session; the first one ends and the second goes on.
    let second = Door::open(&alice)?;
    assert_eq!(second.port, door.port);
    let (cookie2, key2) = second.enter(&second.token)?;
    assert_eq!(
        door.asked("DELETE /session", &both, &json!({}))?.status,
        204
    );
    assert_eq!(status(&both)?.status, 401);
    let both2 = [
        ("cookie", cookie2.as_str()),
        ("x-podsync-key", key2.as_str()),
    ];
    assert_eq!(status(&both2)?.status, 200);

    let taken = door.port.wrapping_add(1).max(1024).to_string();
    let refused = alice.run(&["ui", "--print-url", "--port", &taken])?;
    assert!(refused.failed(11)?.contains(&door.port.to_string()));
    Ok(())
}

#[test]
fn the_page_answers_under_its_own_name_and_to_its_own_site_alone() -> Result<()> {
    let alice = alice()?;
    let door = Door::open(&alice)?;
    let (cookie, key) = door.enter(&door.token)?;
    let (host, origin) = (door.host(), door.origin());
    let call = |host: &str, origin: &str, more: &[(&str, &str)]| {
        let mut headers = vec![("host", host), ("origin", origin)];
        headers.extend([("cookie", cookie.as_str()), ("x-podsync-key", key.as_str())]);
        headers.extend(more);
        Ok::<_, anyhow::Error>(door.raw("POST /v1/status", &headers, b"{}")?.status)
    };
    assert_eq!(call(&host, &origin, &[])?, 200);
    assert_eq!(
        call(&host, &origin, &[("sec-fetch-site", "same-origin")])?,
        200
    );
    // A foreign name that resolves to this machine.
    let rebound = format!("evil.example:{}", door.port);
    assert_eq!(call(&rebound, &origin, &[])?, 403);
    assert_eq!(call(&rebound, &format!("http://{rebound}"), &[])?, 403);
    for other in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        assert_eq!(call(&host, other, &[])?, 403, "{other}");
    }
    for site in ["cross-site", "same-site", "none"] {
        assert_eq!(call(&host, &origin, &[("sec-fetch-site", site)])?, 403);
    }
    let silent = [
        ("host", host.as_str()),
        ("cookie", cookie.as_str()),
        ("x-podsync-key", key.as_str()),
    ];
    assert_eq!(door.raw("POST /v1/status", &silent, b"{}")?.status, 403);

    let page = door.raw("GET /", &[("host", &host)], b"")?;
    assert_eq!(page.status, 200);
    let rebound_page = door.raw("GET /", &[("host", &rebound)], b"")?;
    assert_eq!(rebound_page.status, 403);
    for reply in [&page, &rebound_page] {
        let policy = reply.header("content-security-policy").context("no CSP")?;
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(reply.header(name), Some(value));
        }
    }
    let long = json!({ "token": "x".repeat(5000) });
    assert_eq!(door.asked("POST /session", &[], &long)?.status, 413);
    Ok(())
}
