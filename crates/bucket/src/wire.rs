//! HTTP for hub and bucket alike: one client, bounded bodies, and errors without a URL in them.

use std::{error::Error, path::Path, time::Duration};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use reqwest::{Client, Response, header};
use tokio::time::timeout;

/// Idle connections to one host: as many as transfers at once.
const MAX_IDLE: usize = 8;

pub(crate) fn client(connect: Duration, loopback: bool) -> reqwest::Result<Client> {
    let builder = || {
        let builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(connect)
            .pool_max_idle_per_host(MAX_IDLE);
        // A proxy from the environment can't reach this machine.
        if loopback {
            builder.no_proxy()
        } else {
            builder
        }
    };
    // A system without certificates can't check any, but reaches a hub over HTTP.
    builder()
        .build()
        .or_else(|_| builder().tls_certs_only([]).build())
}

/// Why a body is incomplete.
#[derive(Debug)]
pub(crate) enum BodyError {
    Cut(String),
    TooLong(usize),
}

/// The whole body, if it has at most `max` bytes and never stalls for `stalled`.
pub(crate) async fn body(
    mut response: Response,
    max: usize,
    stalled: Duration,
) -> Result<Bytes, BodyError> {
    if response
        .content_length()
        .is_some_and(|len| len > max as u64)
    {
        return Err(BodyError::TooLong(max));
    }
    let mut whole = BytesMut::new();
    while let Some(piece) = piece(&mut response, stalled)
        .await
        .map_err(BodyError::Cut)?
    {
        if whole.len() + piece.len() > max {
            return Err(BodyError::TooLong(max));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// The next piece of a body; none at its end.
pub(crate) async fn piece(
    response: &mut Response,
    stalled: Duration,
) -> Result<Option<Bytes>, String> {
    match timeout(stalled, response.chunk()).await {
        Ok(piece) => piece.map_err(why),
        Err(_) => Err(format!("no byte in {} s", stalled.as_secs())),
    }
}

/// The TLS error for a certificate of an unknown CA.
const UNKNOWN_ISSUER: &str = "UnknownIssuer";
/// The variable that names other CAs than the system's.
const CAS: &str = "SSL_CERT_FILE";

/// An error's text without the URL, which may be a credential.
pub(crate) fn why(error: reqwest::Error) -> String {
    let error = error.without_url();
    // The outer causes only say that a request, a client or a connection failed.
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = cause.to_string();
        source = cause.source();
    }
    if words.contains(UNKNOWN_ISSUER) {
        let named = std::env::var_os(CAS).filter(|file| !file.is_empty());
        let hint = unknown_issuer(named.as_deref().map(Path::new));
        words = format!("{words}; {hint}");
    }
    words
}

/// What to do about it, with the file of CAs that is named already.
fn unknown_issuer(file: Option<&Path>) -> String {
    let Some(file) = file else {
        return format!(
            "if the organisation has a CA of its own, name its certificate in {CAS}; if not, install the system's CA \
             certificates (ca-certificates)"
        );
    };
    let named = file.display();
    match file.metadata() {
        Ok(found) if found.is_file() => {
            format!("{named}, which {CAS} names, lacks the CA that signs there")
        }
        Ok(_) => format!("{named}, which {CAS} names, is no file"),
        Err(error) => format!("{named}, which {CAS} names, can't be read: {error}"),
    }
}

/// `Retry-After` in seconds. A date is ignored.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_ca_is_told_by_what_is_named_already() {
        assert!(unknown_issuer(None).contains("name its certificate in SSL_CERT_FILE"));
        let gone = unknown_issuer(Some(Path::new("/nowhere/ca.pem")));
        assert!(gone.starts_with("/nowhere/ca.pem, which SSL_CERT_FILE names, can't be read: "));
        let folder = tempfile::tempdir().unwrap();
        assert!(unknown_issuer(Some(folder.path())).ends_with("is no file"));
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "").unwrap();
        assert!(unknown_issuer(Some(&file)).ends_with("lacks the CA that signs there"));
    }
}
