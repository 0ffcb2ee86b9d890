//! Decides which requests reach the page. They need the page's own host name, its own site and a session.
//!
//! Another name that DNS resolves to this machine is refused. This stops DNS rebinding by other sites.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, header},
    middleware::Next,
    response::Response,
};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{
    answer::{forbidden, unknown, with_headers},
    session::{InUse, Sessions},
};

/// The key of a session, as the page's scripts send it.
const KEY: HeaderName = HeaderName::from_static("x-podsync-key");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub(super) struct Guard {
    port: u16,
    pub(super) sessions: Sessions,
}

impl Guard {
    /// All sessions end when `stopping` is cancelled.
    pub(super) fn new(port: u16, stopping: &CancellationToken) -> Self {
        Self {
            port,
            sessions: Sessions::new(stopping.clone()),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The page's address, as browsers name it.
    pub(super) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The cookie's name has the port: browsers send a host's cookies to all of its ports.
    pub(super) fn cookie(&self) -> String {
        format!("podsync-page-{}", self.port)
    }

    /// The session cookie's value in a request.
    pub(super) fn shown_cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = self.cookie();
        let cookies = headers.get_all(header::COOKIE).into_iter();
        cookies
            .filter_map(|cookies| cookies.to_str().ok())
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .find_map(|(found, value)| (found == name).then_some(value))
    }

    fn is_ours(&self, host: &str) -> bool {
        let port = host
            .strip_prefix("127.0.0.1:")
            .or_else(|| host.strip_prefix("localhost:"));
        port.is_some_and(|port| port == self.port.to_string())
    }

    /// Returns why the request isn't from the page itself, if so.
    fn stranger(&self, method: &Method, headers: &HeaderMap) -> Option<&'static str> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = (hosts.next(), hosts.next());
        let (Some(host), None) = host else {
            return Some("the request has no host, or several");
        };
        if !host.to_str().is_ok_and(|host| self.is_ours(host)) {
            return Some("the page answers under 127.0.0.1 and localhost only");
        }
        let changes = !matches!(*method, Method::GET | Method::HEAD);
        let origin = headers.get(header::ORIGIN);
        match origin.map(|origin| origin.to_str().unwrap_or("?")) {
            Some(origin) => {
                let ours = origin.strip_prefix("http://");
                (!ours.is_some_and(|host| self.is_ours(host)))
                    .then_some("another site asks for the page")
            }
            None if changes => Some("the request doesn't say which site it comes from"),
            None => None,
        }
    }
}

/// Runs for every request.
pub(super) async fn own(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let response = match guard.stranger(request.method(), request.headers()) {
        Some(why) => forbidden(why),
        None => next.run(request).await,
    };
    with_headers(response)
}

/// Runs for calls: they come from the page's scripts and need a session.
pub(super) async fn in_session(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    if let Some(refused) = from_elsewhere(headers) {
        return refused;
    }
    let key = headers.get(KEY).and_then(|key| key.to_str().ok());
    let shown = guard.shown_cookie(headers).zip(key);
    let session = shown.and_then(|(cookie, key)| guard.sessions.admit(cookie, Some(key)));
    match session {
        Some(session) => while_it_lasts(session, next.run(request)).await,
        None => unknown(),
    }
}

/// Ends the answer when the session ends. The session stays in use while the answer is being read.
async fn while_it_lasts(session: InUse, answering: impl Future<Output = Response>) -> Response {
    let response = tokio::select! {
        response = answering => response,
        () = session.ended.cancelled() => return unknown(),
    };
    response.map(|body| {
        let ended = session.ended.clone();
        let pieces = body.into_data_stream().inspect(move |_| {
            let _held = &session;
        });
        Body::from_stream(pieces.take_until(ended.cancelled_owned()))
    })
}

/// Runs for links to files. A link carries its own secret instead of the session's key.
pub(super) async fn by_link(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    if let Some(refused) = from_elsewhere(headers) {
        return refused;
    }
    let cookie = guard.shown_cookie(headers);
    match cookie.and_then(|cookie| guard.sessions.admit(cookie, None)) {
        Some(session) => while_it_lasts(session, next.run(request)).await,
        None => unknown(),
    }
}

/// Reads `Sec-Fetch-Site`: browsers send it also where they send no `Origin`.
fn from_elsewhere(headers: &HeaderMap) -> Option<Response> {
    let site = headers.get(FETCH_SITE)?;
    (site != "same-origin").then(|| forbidden("another site asks for the page"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.clone(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_its_own_name_and_site_pass() {
        let guard = Guard::new(7638, &CancellationToken::new());
        let host = |host| headers(&[(header::HOST, host)]);
        for ours in ["127.0.0.1:7638", "localhost:7638"] {
            assert_eq!(guard.stranger(&Method::GET, &host(ours)), None, "{ours}");
        }
        for other in [
            "127.0.0.1",
            "127.0.0.1:80",
            "evil.example:7638",
            "127.0.0.1:7638.evil.example",
            "localhost:07638",
            "[::1]:7638",
            "",
        ] {
            let refused = guard.stranger(&Method::GET, &host(other));
            assert!(refused.is_some(), "{other}");
        }
        assert!(guard.stranger(&Method::GET, &HeaderMap::new()).is_some());
        let two = headers(&[
            (header::HOST, "127.0.0.1:7638"),
            (header::HOST, "evil.example"),
        ]);
        assert!(guard.stranger(&Method::GET, &two).is_some());

        let from = |origin| headers(&[(header::HOST, "127.0.0.1:7638"), (header::ORIGIN, origin)]);
        assert_eq!(
            guard.stranger(&Method::POST, &from("http://127.0.0.1:7638")),
            None
        );
        for other in [
            "null",
            "http://127.0.0.1:7639",
            "https://127.0.0.1:7638",
            "http://evil.example",
            "http://localhost:7638.evil.example",
        ] {
            for method in [Method::GET, Method::POST] {
                assert!(guard.stranger(&method, &from(other)).is_some(), "{other}");
            }
        }
        let silent = host("127.0.0.1:7638");
        assert!(guard.stranger(&Method::POST, &silent).is_some());
    }

    #[test]
    fn its_cookie_is_found_among_others() {
        let guard = Guard::new(7638, &CancellationToken::new());
        let sent = headers(&[
            (header::COOKIE, "a=1; podsync-page-1=no"),
            (header::COOKIE, "podsync-page-7638=yes; b=2"),
        ]);
        assert_eq!(guard.shown_cookie(&sent), Some("yes"));
        assert_eq!(guard.shown_cookie(&HeaderMap::new()), None);
    }
}
