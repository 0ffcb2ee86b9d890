//! An instance: an endpoint with the way to talk to it.
//!
//! A redirect is never followed and each request has its own connection: a POST on a pooled one
//! that the server is just closing would fail without anybody knowing what it did. Where the host
//! is this machine, its addresses are pinned and no proxy of the environment is used.

use std::{error::Error as _, fmt, net::SocketAddr, time::Duration};

use reqwest::{Client, Method, RequestBuilder, Response, Url, header, redirect};
use tokio::{net::lookup_host, time::timeout};

use crate::{
    answer,
    endpoint::{Endpoint, is_this_machine},
    error::Error,
    printable::{MAX_MESSAGE_CHARS, printable},
    secret::Secret,
    service::Service,
};

/// The most bytes of a state: 64 GiB, far above what an emulator on a developer's machine holds.
pub const MAX_STATE_LEN: u64 = 64 << 30;

/// How long an instance may be silent, and how much it may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a connection, and for the address behind a name.
    pub connect: Duration,
    /// Without a byte while a body travels, and for answers that need no work.
    pub idle: Duration,
    /// Without a byte where the instance has to work first: it gathers the state before it sends
    /// any of it, and loads a whole service before it says so.
    pub work: Duration,
    /// Bytes of a state. [`MAX_STATE_LEN`] unless a test lowers it.
    pub state_len: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            work: Duration::from_secs(600),
            state_len: MAX_STATE_LEN,
        }
    }
}

/// A running emulator behind an endpoint. Cheap to clone.
#[derive(Clone)]
pub struct Instance {
    endpoint: Endpoint,
    token: Option<Secret>,
    client: Client,
    limits: Limits,
    loopback: bool,
}

impl Instance {
    /// Prepares to talk to `endpoint`. Sends nothing yet.
    ///
    /// A default `rustls` provider must be installed in this process. `token` is only ever sent to
    /// what has shown to be LocalStack.
    pub async fn connect(endpoint: Endpoint, token: Option<Secret>) -> Result<Self, Error> {
        Self::connect_with(endpoint, token, Limits::default()).await
    }

    pub async fn connect_with(
        endpoint: Endpoint,
        token: Option<Secret>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let addresses = resolve(&endpoint, limits.connect).await;
        let loopback = !addresses.is_empty()
            && addresses
                .iter()
                .all(|address| is_this_machine(address.ip()));
        let mut builder = Client::builder()
            .user_agent(concat!("podsync/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(limits.connect)
            .tcp_keepalive(limits.idle)
            .pool_max_idle_per_host(0)
            .http1_only();
        if loopback {
            builder = builder
                .no_proxy()
                .resolve_to_addrs(endpoint.host(), &addresses);
        }
        if !endpoint.is_tls() {
            // Without redirects no certificate will ever be checked; the system may have none.
            builder = builder.tls_certs_only([]);
        }
        let client = builder
            .build()
            .map_err(|error| Error::Tls(root_cause(&error)))?;
        Ok(Self {
            endpoint,
            token,
            client,
            limits,
            loopback,
        })
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether the instance runs on this machine: every address of its host is of this machine.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Empties `service`, or the whole instance.
    pub async fn reset(&self, service: Option<&Service>) -> Result<(), Error> {
        const DOING: &str = "resetting the state";
        self.environment().await?;
        let path = match service {
            Some(service) => format!("/_localstack/state/{service}/reset"),
            None => "/_localstack/state/reset".to_owned(),
        };
        let request = self.request(Method::POST, self.endpoint.at(&path));
        let response = self
            .answer(self.authorized(request), DOING, self.limits.work)
            .await?;
        match (response.status().as_u16(), service) {
            (200..300, _) => Ok(()),
            (404, Some(service)) => Err(Error::UnknownService {
                endpoint: self.endpoint.clone(),
                service: service.clone(),
            }),
            _ => Err(answer::refusal(response, &self.endpoint, DOING, self.limits.idle).await),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, self.endpoint.at(path))
    }

    /// Adds the token, if there is one. Only for requests to a verified LocalStack.
    pub(crate) fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, token.authorization()),
            None => request,
        }
    }

    /// Sends a request and waits up to `patience` for the head of its answer.
    pub(crate) async fn answer(
        &self,
        request: RequestBuilder,
        doing: &'static str,
        patience: Duration,
    ) -> Result<Response, Error> {
        match timeout(patience, request.send()).await {
            Ok(Ok(response)) => self.checked(response),
            Ok(Err(error)) => Err(self.unanswered(&error, doing)),
            Err(_) => Err(Error::Stalled {
                endpoint: self.endpoint.clone(),
                doing,
                after: patience,
            }),
        }
    }

    /// Refuses a redirect.
    pub(crate) fn checked(&self, response: Response) -> Result<Response, Error> {
        if !response.status().is_redirection() {
            return Ok(response);
        }
        let location = response
            .headers()
            .get(header::LOCATION)
            .map(header::HeaderValue::as_bytes);
        let location = String::from_utf8_lossy(location.unwrap_or(b"nowhere")).into_owned();
        Err(Error::NotAnEmulator {
            endpoint: self.endpoint.clone(),
            found: format!(
                "redirects to {}, where nothing was sent",
                printable(&location, MAX_MESSAGE_CHARS)
            ),
        })
    }

    /// The error for a request without an answer.
    pub(crate) fn unanswered(&self, error: &reqwest::Error, doing: &'static str) -> Error {
        let endpoint = self.endpoint.clone();
        if error.is_connect() {
            let reason = if error.is_timeout() {
                format!(
                    "no connection within {} s",
                    self.limits.connect.as_secs_f32()
                )
            } else {
                root_cause(error)
            };
            return Error::NotRunning { endpoint, reason };
        }
        if speaks_no_http(error) {
            return Error::NotAnEmulator {
                endpoint,
                found: "doesn't speak HTTP".to_owned(),
            };
        }
        Error::NoAnswer {
            endpoint,
            doing,
            reason: root_cause(error),
        }
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("endpoint", &self.endpoint)
            .field("token", &self.token)
            .field("loopback", &self.loopback)
            .finish_non_exhaustive()
    }
}

/// The addresses behind an endpoint; none where that can't be told, as behind a proxy.
async fn resolve(endpoint: &Endpoint, patience: Duration) -> Vec<SocketAddr> {
    match timeout(patience, lookup_host((endpoint.host(), endpoint.port()))).await {
        Ok(Ok(addresses)) => addresses.collect(),
        _ => Vec::new(),
    }
}

/// The innermost cause: the outer ones only repeat the URL.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    printable(&cause.to_string(), MAX_MESSAGE_CHARS)
}

fn speaks_no_http(error: &reqwest::Error) -> bool {
    std::iter::successors(error.source(), |cause| (*cause).source())
        .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_parse)
}
