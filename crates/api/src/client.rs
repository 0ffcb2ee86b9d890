//! The typed client: calls over the daemon's Unix socket.

use std::{path::Path, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use podsync_core::TeamName;
use reqwest::Response;
use sse_stream::{Sse, SseStream};

use crate::{
    ApiError, Call, ErrorCode, Progress, Scope, event,
    events::{self, Event},
};

/// Bytes. The longest answer that isn't streamed: a list of as many versions as there may be.
const MAX_EVENT_LEN: usize = 64 << 20;
/// How long a connection may take. A daemon that listens accepts at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Which team a call is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TeamChoice {
    /// The only team of the home.
    #[default]
    Only,
    Named(TeamName),
    /// By its whole id: two teams may have one name.
    Id(String),
}

impl TeamChoice {
    /// Means "the only team" in a path. No team can have this name.
    pub const ONLY: &'static str = "-";

    pub fn as_path(&self) -> &str {
        match self {
            Self::Only => Self::ONLY,
            Self::Named(name) => name.as_str(),
            Self::Id(id) => id,
        }
    }
}

/// A connection to a daemon; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    team: TeamChoice,
}

impl Client {
    /// A client of the daemon that listens at `socket`. Connects on the first call.
    pub fn new(socket: &Path, team: TeamChoice) -> Result<Self, ApiError> {
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            // Nothing is ever checked against certificates here; the system may have none.
            .tls_certs_only([])
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| ApiError::new(ErrorCode::Internal, format!("HTTP client: {error}")))?;
        Ok(Self { http, team })
    }

    /// Makes a call and waits for its answer; dropping the future cancels it.
    pub async fn call<C: Call>(&self, call: &C) -> Result<C::Answer, ApiError> {
        self.watch(call, |_| ()).await
    }

    /// Makes a call and passes its progress to a callback.
    pub async fn watch<C: Call>(
        &self,
        call: &C,
        mut progress: impl FnMut(Progress),
    ) -> Result<C::Answer, ApiError> {
        let body = serde_json::to_vec(call).map_err(malformed)?;
        let response = self
            .http
            .post(self.url::<C>())
            .header("accept", "text/event-stream")
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .map_err(unreachable)?;
        let response = checked(response).await?;
        let mut events = SseStream::from_bytes_stream(response.bytes_stream());
        while let Some(next) = events.next().await {
            let next = next.map_err(|_| gone())?;
            let data = next.data.unwrap_or_default();
            if data.len() > MAX_EVENT_LEN {
                return Err(ApiError::new(
                    ErrorCode::Internal,
                    "the daemon's answer is too long",
                ));
            }
            match next.event.as_deref() {
                Some(event::PROGRESS) => {
                    progress(serde_json::from_str(&data).map_err(malformed)?);
                }
                Some(event::ANSWER) => return serde_json::from_str(&data).map_err(malformed),
                Some(event::ERROR) => {
                    return Err(serde_json::from_str(&data).unwrap_or_else(malformed));
                }
                _ => {}
            }
        }
        Err(gone())
    }

    /// Streams events from now on, or those after the event with this id.
    pub async fn events(&self, after: Option<&str>) -> Result<EventStream, ApiError> {
        let mut request = self
            .http
            .get(format!("http://podsync/v1/{}", events::PATH))
            .header("accept", "text/event-stream");
        if let Some(id) = after {
            request = request.header(events::LAST_EVENT_ID, id);
        }
        let response = checked(request.send().await.map_err(unreachable)?).await?;
        let frames = SseStream::from_bytes_stream(response.bytes_stream());
        Ok(EventStream {
            frames: frames.boxed(),
            last_id: after.map(str::to_owned),
        })
    }

    fn url<C: Call>(&self) -> String {
        // The host is never resolved: the connection goes to the socket.
        match C::SCOPE {
            Scope::Home => format!("http://podsync/v1/{}", C::PATH),
            Scope::Team => format!(
                "http://podsync/v1/teams/{}/{}",
                self.team.as_path(),
                C::PATH
            ),
        }
    }
}

/// The daemon's stream of events.
pub struct EventStream {
    frames: BoxStream<'static, Result<Sse, sse_stream::Error>>,
    last_id: Option<String>,
}

impl EventStream {
    /// The next event. `None` once the daemon has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Event, ApiError>> {
        loop {
            let frame = self.frames.next().await?.ok()?;
            if frame.id.is_some() {
                self.last_id = frame.id;
            }
            // A message that has only an id has no data.
            match frame.data {
                Some(data) if !data.is_empty() => {
                    return Some(serde_json::from_str(&data).map_err(malformed));
                }
                _ => {}
            }
        }
    }

    /// The id to go on from after a lost connection.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }
}

/// The error that the daemon answered, if it answered one.
async fn checked(response: Response) -> Result<Response, ApiError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.bytes().await.map_err(|_| gone())?;
    Err(serde_json::from_slice(&body).unwrap_or_else(|_| {
        ApiError::new(ErrorCode::Internal, format!("the daemon answered {status}"))
            .hint("it may be of another version: restart it")
    }))
}

fn unreachable(error: reqwest::Error) -> ApiError {
    if !error.is_connect() && !error.is_timeout() {
        return gone();
    }
    let error = error.without_url();
    ApiError::new(
        ErrorCode::NoDaemon,
        format!("the daemon doesn't answer: {error}"),
    )
    .hint("start it with `podsync daemon`")
}

/// The daemon was killed or crashed during the call.
fn gone() -> ApiError {
    ApiError::new(
        ErrorCode::NoDaemon,
        "the daemon ended before it had answered",
    )
    .hint("run the command again; daemon.log in the home may say why it ended")
}

fn malformed(error: serde_json::Error) -> ApiError {
    ApiError::new(
        ErrorCode::Internal,
        format!("unexpected answer of the daemon: {error}"),
    )
    .hint("it may be of another version: restart it")
}
