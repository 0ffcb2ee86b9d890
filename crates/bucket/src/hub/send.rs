//! Sends a call to the hub until it is answered. Each attempt is signed anew, by the hub's clock.

use std::{
    fmt::Display,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use backon::Retryable;
use bytes::Bytes;
use podsync_api::hub::{
    HubError, HubErrorCode, MAX_BODY_LEN,
    signature::{Nonce, Target, sign},
};
use podsync_core::{TeamId, keys::DeviceSecret, moved::HubMoved, signed::verify};
use reqwest::{Client, Method, StatusCode, Url, header};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{HubAddress, Patience, last::Last};
use crate::{
    HubClientError, proxy,
    wire::{self, BodyError},
};

/// The most bytes of a refusal that are read.
const MAX_REFUSAL_LEN: usize = 1 << 20;
/// Clocks that are this far apart, in seconds, are worth a warning.
const SKEW_TO_TELL: u64 = 30;

/// A request before it is signed.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    path: String,
    pub(super) query: Option<String>,
    body: Bytes,
    signed: bool,
    pub(super) if_none_match: Option<String>,
    /// How old the answer may be.
    pub(super) max_age: Duration,
}

impl Call {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            query: None,
            body: Bytes::new(),
            signed: true,
            if_none_match: None,
            max_age: Duration::ZERO,
        }
    }

    pub(super) fn post(path: impl Into<String>, body: Bytes) -> Self {
        Self {
            method: Method::POST,
            body,
            ..Self::get(path)
        }
    }

    pub(super) fn unsigned(mut self) -> Self {
        self.signed = false;
        self
    }
}

/// The answer of a successful call.
pub(super) struct Reply {
    pub(super) not_modified: bool,
    pub(super) etag: Option<String>,
    pub(super) body: Bytes,
}

/// A refusal by the hub: its error, and when to try again.
struct Refusal {
    error: HubError,
    retry_after: Option<Duration>,
}

enum Outcome {
    Reply(Reply),
    Refusal(Refusal),
}

/// The connection to one hub.
pub(crate) struct Line {
    http: Client,
    address: HubAddress,
    team: TeamId,
    secret: DeviceSecret,
    patience: Patience,
    /// Seconds that the hub's clock is ahead of this machine's.
    ahead: AtomicI64,
    /// Why the last attempt failed, while another is to come.
    failing: Mutex<Option<String>>,
    /// Since when the hub is asked and has answered nothing.
    unanswered: Mutex<Option<Instant>>,
    /// Why the bucket last didn't serve a download.
    pub(crate) not_served: Last,
    /// Why the bucket last didn't take an upload.
    pub(crate) not_taken: Last,
}

impl Line {
    pub(super) fn new(
        address: HubAddress,
        team: TeamId,
        secret: DeviceSecret,
        patience: Patience,
    ) -> Result<Self, HubClientError> {
        let http = wire::client(patience.connect, address.is_loopback()).map_err(|error| {
            HubClientError::Unreachable {
                hub: address.authority().to_owned(),
                reason: wire::why(error),
                asked: false,
            }
        })?;
        Ok(Self {
            http,
            address,
            team,
            secret,
            patience,
            ahead: AtomicI64::new(0),
            failing: Mutex::default(),
            unanswered: Mutex::default(),
            not_served: Last::default(),
            not_taken: Last::default(),
        })
    }

    pub(super) fn address(&self) -> &HubAddress {
        &self.address
    }

    pub(crate) fn http(&self) -> &Client {
        &self.http
    }

    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Why a request to the hub or to the bucket failed, with the proxy if it was to go through one.
    pub(crate) fn why(&self, error: reqwest::Error) -> String {
        // No proxy leads to this machine.
        let proxied = error.is_connect() && !self.address.is_loopback();
        let way = error.url().filter(|_| proxied).and_then(proxy::way_to);
        format!("{}{}", wire::why(error), way.unwrap_or_default())
    }

    /// The last failure, for a caller that gives up before the call ends.
    pub(super) fn failing(&self) -> Option<String> {
        lock(&self.failing).clone()
    }

    /// Whether the hub has been asked for so long and has answered nothing.
    pub(super) fn is_silent_for(&self, time: Duration) -> bool {
        lock(&self.unanswered).is_some_and(|since| since.elapsed() >= time)
    }

    fn note(&self, failing: Option<String>) {
        *lock(&self.failing) = failing;
    }

    pub(super) async fn send(&self, call: &Call) -> Result<Reply, HubClientError> {
        let longest = self.patience.longest_pause;
        let tries = (|| self.attempt(call))
            .retry(self.patience.pauses())
            .when(|error: &HubClientError| {
                error.may_pass() && error.retry_after().is_none_or(|after| after <= longest)
            })
            .adjust(|error, pause| {
                pause.map(|pause| pause.max(error.retry_after().unwrap_or_default()))
            })
            .notify(|error, pause| {
                tracing::debug!(%error, ?pause, "asking the hub again");
                self.note(Some(error.to_string()));
            });
        self.note(None);
        match timeout(self.patience.call, tries).await {
            Ok(outcome) => {
                if outcome.is_ok() {
                    self.note(None);
                }
                outcome
            }
            Err(_) => Err(self.unreachable("it does not answer in time")),
        }
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, HubClientError> {
        serde_json::from_slice(body).map_err(|error| {
            // Not the error's own text: it may quote a URL.
            self.garbled(format!(
                "its JSON is wrong in column {} ({:?})",
                error.column(),
                error.classify()
            ))
        })
    }

    pub(super) fn garbled(&self, what: impl Display) -> HubClientError {
        HubClientError::Garbled {
            hub: self.address.authority().to_owned(),
            what: what.to_string(),
        }
    }

    /// One attempt. It sends a second request if the hub rejects the signature's time or nonce.
    async fn attempt(&self, call: &Call) -> Result<Reply, HubClientError> {
        let refusal = match self.once(call).await? {
            Outcome::Reply(reply) => return Ok(reply),
            Outcome::Refusal(refusal) => refusal,
        };
        let signed_anew = match refusal.error.code {
            HubErrorCode::ClockSkew => self.learn_time(&refusal.error),
            HubErrorCode::Replayed => true,
            _ => false,
        };
        if !signed_anew {
            return Err(self.refused(refusal));
        }
        match self.once(call).await? {
            Outcome::Reply(reply) => Ok(reply),
            Outcome::Refusal(refusal) => Err(self.refused(refusal)),
        }
    }

    async fn once(&self, call: &Call) -> Result<Outcome, HubClientError> {
        match timeout(self.patience.one_try, self.exchange(call)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.unreachable("it does not answer in time")),
        }
    }

    async fn exchange(&self, call: &Call) -> Result<Outcome, HubClientError> {
        let nonce: Nonce = rand::random();
        lock(&self.unanswered).get_or_insert_with(Instant::now);
        let response = self.request(call, &nonce).send().await.map_err(|error| {
            HubClientError::Unreachable {
                hub: self.address.authority().to_owned(),
                asked: !error.is_connect(),
                reason: self.why(error),
            }
        })?;
        *lock(&self.unanswered) = None;
        let (status, headers) = (response.status(), response.headers().clone());
        if status == StatusCode::NOT_MODIFIED {
            return Ok(Outcome::Reply(Reply {
                not_modified: true,
                etag: None,
                body: Bytes::new(),
            }));
        }
        if status.is_redirection() || status.is_informational() {
            return Err(self.garbled(format!("it answers with status {}", status.as_u16())));
        }
        let max = if status.is_success() {
            MAX_BODY_LEN
        } else {
            MAX_REFUSAL_LEN
        };
        let body = wire::body(response, max, self.patience.stalled)
            .await
            .map_err(|error| match error {
                BodyError::Cut(reason) => self.unreachable(reason),
                BodyError::TooLong(max) => {
                    self.garbled(format!("an answer has more than {max} bytes"))
                }
            })?;
        if status.is_success() {
            let etag = headers
                .get(header::ETAG)
                .and_then(|etag| etag.to_str().ok())
                .map(str::to_owned);
            return Ok(Outcome::Reply(Reply {
                not_modified: false,
                etag,
                body,
            }));
        }
        let retry_after = wire::retry_after(&headers);
        let error: Option<HubError> = serde_json::from_slice(&body).ok();
        match error.filter(|error| error.code.http_status() == status.as_u16()) {
            Some(error) if error.code == HubErrorCode::Moved && call.signed => {
                Err(self.moved(&error, &nonce))
            }
            Some(error) => Ok(Outcome::Refusal(Refusal { error, retry_after })),
            None => Err(self.unspoken(status, retry_after)),
        }
    }

    /// Where the hub says that the team's hub is now. Whether its key may say so is the caller's to judge.
    fn moved(&self, error: &HubError, nonce: &Nonce) -> HubClientError {
        let said = error.moved.as_deref();
        let said = said.map(|bytes| verify::<HubMoved>(bytes));
        let Some(Ok(said)) = said else {
            return self.garbled("it says that the team moved, and nobody signed that");
        };
        if said.team() != self.team || said.value().nonce != *nonce {
            return self.garbled("it says that the team moved, in answer to another request");
        }
        match said.value().to.parse::<HubAddress>() {
            Ok(to) => HubClientError::Moved {
                hub: self.address.authority().to_owned(),
                to: to.to_string(),
                signer: said.signer(),
            },
            Err(error) => self.garbled(format!("it says that the team moved, but {error}")),
        }
    }

    fn request(&self, call: &Call, nonce: &Nonce) -> reqwest::RequestBuilder {
        let mut url: Url = self.address.url().clone();
        url.set_path(&call.path);
        url.set_query(call.query.as_deref());
        let mut request = self.http.request(call.method.clone(), url.clone());
        if call.method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(etag) = &call.if_none_match {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        if !call.max_age.is_zero() {
            let age = format!("max-age={}", call.max_age.as_secs());
            request = request.header(header::CACHE_CONTROL, age);
        }
        if call.signed {
            let target = Target {
                method: call.method.as_str(),
                authority: self.address.authority(),
                path: url.path(),
                query: url.query(),
            };
            let signature = sign(&target, &call.body, &self.secret, self.now(), nonce);
            for (name, value) in signature.iter() {
                request = request.header(name, value);
            }
        }
        request.body(call.body.clone())
    }

    /// The hub's time in Unix seconds, as far as it is known.
    fn now(&self) -> u64 {
        here().saturating_add_signed(self.ahead.load(Ordering::Relaxed))
    }

    /// Adopts the hub's clock, for signatures only. False if the error names no time.
    fn learn_time(&self, error: &HubError) -> bool {
        let Some(time_ms) = error.time_ms else {
            return false;
        };
        let (there, here) = (time_ms / 1000, here());
        let ahead = i64::try_from(i128::from(there) - i128::from(here)).unwrap_or(0);
        let before = self.ahead.swap(ahead, Ordering::Relaxed);
        if before.abs_diff(ahead) >= SKEW_TO_TELL {
            tracing::warn!("{}", skewed(ahead, self.address.authority()));
        }
        true
    }

    fn refused(&self, refusal: Refusal) -> HubClientError {
        HubClientError::from_hub(self.address.authority(), refusal.error, refusal.retry_after)
    }

    fn unreachable(&self, reason: impl Into<String>) -> HubClientError {
        HubClientError::Unreachable {
            hub: self.address.authority().to_owned(),
            reason: reason.into(),
            asked: true,
        }
    }

    /// The error for a status without a hub's error body: from a proxy, or from another server.
    fn unspoken(&self, status: StatusCode, retry_after: Option<Duration>) -> HubClientError {
        let number = status.as_u16();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return HubClientError::NotTheHub {
                hub: self.address.authority().to_owned(),
                status: number,
                retry_after,
            };
        }
        self.garbled(format!("it answers with status {number}"))
    }
}

/// What is inside is whole after each step.
fn lock<T>(inside: &Mutex<T>) -> MutexGuard<'_, T> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `ahead`: seconds that the hub's clock is ahead of this machine's.
fn skewed(ahead: i64, hub: &str) -> String {
    let side = if ahead > 0 { "behind" } else { "ahead of" };
    format!(
        "this machine's clock is {} s {side} that of the hub at {hub}; set the one that is wrong",
        ahead.unsigned_abs()
    )
}

/// This machine's clock in Unix seconds.
fn here() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_clock_is_off_by_how_much_is_told() {
        let late = skewed(3600, "hub.example");
        assert!(late.contains("clock is 3600 s behind that of the hub at hub.example"));
        assert!(skewed(-60, "hub.example").contains("60 s ahead of that"));
    }
}
