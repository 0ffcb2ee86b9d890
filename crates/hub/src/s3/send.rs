//! Sending a request until it is answered, within bounds of time, tries and bytes.

use std::{
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
    time::{Duration, Instant, SystemTime},
};

use backon::{ExponentialBuilder, Retryable};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use http::StatusCode;
use podsync_api::hub::Sha256;
use sha2::Digest as _;
use tokio::time::timeout;

use super::{answer::Refusal, call::Reply, proxy::Proxies};
use crate::{metrics, regular, storage::StorageError};

const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// One try: what the hub sends and reads itself has a few MiB.
const TRY_PATIENCE: Duration = Duration::from_secs(20);
/// All tries of a call together. A device waits no longer for the hub.
const CALL_PATIENCE: Duration = Duration::from_secs(45);
const RETRIES: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// One try where a whole object is read and hashed.
const HASH_PATIENCE: Duration = Duration::from_secs(45);
/// Of a refusal more is read than of an object that may be empty.
const MAX_REFUSAL_LEN: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Sender {
    client: reqwest::Client,
    proxies: Proxies,
    /// When the server last answered.
    heard: RwLock<Option<Instant>>,
    /// Shorter in tests.
    first_pause: Duration,
}

impl Sender {
    pub(super) fn new() -> Result<Self, StorageError> {
        let builder = || {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(CONNECT_PATIENCE)
                .timeout(TRY_PATIENCE)
        };
        // A system without certificates can't check any, but reaches a bucket over HTTP.
        let client = builder()
            .build()
            .or_else(|_| builder().tls_certs_only([]).build())
            .map_err(|error| StorageError::Refused(format!("no HTTP client: {error}").into()))?;
        Ok(Self {
            client,
            proxies: Proxies::of_environment(),
            heard: RwLock::default(),
            first_pause: FIRST_PAUSE,
        })
    }

    pub(super) fn heard(&self) -> Option<Instant> {
        *self.heard.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `signed` for each try and sends its request. Reads at most `take` bytes of the reply's body.
    pub(super) async fn send<F, Signed>(&self, signed: F, take: Take) -> Result<Reply, Refusal>
    where
        F: Fn() -> Signed,
        Signed: Future<Output = Result<http::Request<Bytes>, Refusal>>,
    {
        // A machine that was suspended in between notices by the clock on the wall alone; then what the call
        // was based on is too old to be sent.
        let begun = SystemTime::now();
        let attempt = || async {
            if begun.elapsed().unwrap_or_default() > CALL_PATIENCE {
                return Err(Refusal::busy("a call was held up for too long"));
            }
            let request = signed().await?;
            let reply = self.once(request, take).await?;
            if reply.status.is_success() {
                return Ok(reply);
            }
            let refusal = Refusal::from_reply(&reply);
            if refusal.may_pass() {
                return Err(refusal);
            }
            Ok(reply)
        };
        let pauses = ExponentialBuilder::default()
            .with_min_delay(self.first_pause)
            .with_max_delay(LONGEST_PAUSE)
            .with_max_times(RETRIES)
            .with_jitter();
        let tries = attempt
            .retry(pauses)
            .when(Refusal::may_pass)
            .notify(|refusal, pause| tracing::debug!(%refusal, ?pause, "asking the bucket again"));
        match timeout(CALL_PATIENCE, tries).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Refusal::busy("no answer in time")),
        }
    }

    async fn once(&self, request: http::Request<Bytes>, take: Take) -> Result<Reply, Refusal> {
        let proxy = self.proxies.name(request.uri());
        let unanswered = |error| no_answer(error, proxy.as_deref());
        let mut request = reqwest::Request::try_from(request).map_err(Refusal::garbled)?;
        if take.hashed {
            *request.timeout_mut() = Some(HASH_PATIENCE);
        }
        metrics::count_bucket_request(request.method());
        let is_head = request.method() == reqwest::Method::HEAD;
        let response = self.client.execute(request).await.map_err(unanswered)?;
        if let (StatusCode::PROXY_AUTHENTICATION_REQUIRED, Some(proxy)) =
            (response.status(), proxy.as_deref())
        {
            return Err(Refusal::for_good(format!(
                "the proxy {proxy}, which the environment names, answers 407: it asks for another user name and password"
            )));
        }
        *self.heard.write().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let mut reply = Reply {
            status: response.status(),
            headers: response.headers().clone(),
            body: Bytes::new(),
            sha256: None,
        };
        let hashed = take.hashed && reply.status == StatusCode::OK;
        let bound = if reply.status.is_success() {
            take.max_len
        } else {
            MAX_REFUSAL_LEN
        };
        let too_long = || Refusal::garbled(format!("an answer of more than {bound} bytes"));
        if !is_head && reply.content_length().is_some_and(|len| len > bound) {
            return Err(too_long());
        }
        let (mut body, mut hash, mut len) = (BytesMut::new(), sha2::Sha256::new(), 0);
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.try_next().await.map_err(unanswered)? {
            len += piece.len() as u64;
            if len > bound {
                return Err(too_long());
            }
            if hashed {
                hash.update(&piece);
            } else {
                body.extend_from_slice(&piece);
            }
        }
        reply.body = body.freeze();
        reply.sha256 = hashed.then(|| Sha256::from_bytes(hash.finalize().into()));
        Ok(reply)
    }
}

/// How much of a reply's body to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Take {
    pub(super) max_len: u64,
    /// Only the hash of an object is kept.
    pub(super) hashed: bool,
}

/// What TLS says, and what an operator can do about it.
const HINTS: [(&str, &str); 2] = [
    (
        "CaUsedAsEndEntity",
        "the server shows the certificate of a CA: give it one that this CA signed, with CA:FALSE",
    ),
    (
        "InvalidContentType",
        "the server speaks no TLS there: its endpoint may have to begin with http://",
    ),
];
/// What TLS says of a certificate that no CA known here signed.
const UNKNOWN_ISSUER: &str = "UnknownIssuer";
/// The variable that names other CAs than the system's.
const CAS: &str = "SSL_CERT_FILE";

/// Without the URL: it may be as good as a key. With the proxy on the way, which may be what doesn't answer.
fn no_answer(error: reqwest::Error, proxy: Option<&str>) -> Refusal {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    if words.contains(UNKNOWN_ISSUER) {
        let file = std::env::var_os(CAS).map(PathBuf::from);
        words = format!("{words}; {}", unknown_issuer(file.as_deref()));
    }
    if let Some((_, hint)) = HINTS.iter().find(|(said, _)| words.contains(said)) {
        words = format!("{words}; {hint}");
    }
    if let Some(proxy) = proxy {
        words =
            format!("{words}; the hub asks through the proxy {proxy}, which the environment names");
    }
    Refusal::busy(words)
}

/// What to do about it, with the file of CAs that is named already.
fn unknown_issuer(file: Option<&Path>) -> String {
    let Some(file) = file else {
        return format!("if a CA of your own signs there, name its certificate in {CAS}");
    };
    let named = file.display();
    match regular::open(file) {
        Ok(_) => format!("{named}, which {CAS} names, lacks the CA that signs there"),
        Err(error) => format!("{named}, which {CAS} names, can't be read: {error}"),
    }
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
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "").unwrap();
        assert!(unknown_issuer(Some(&file)).ends_with("lacks the CA that signs there"));
    }
}
