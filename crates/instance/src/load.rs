//! Loading: streams a state into the instance, and reads its report.
//!
//! From the first byte sent on, a failure is an [`Error::Interrupted`] unless the instance itself
//! said no. A service that it couldn't load is no error: it is in [`LoadReport::failed`].

use std::{io, time::Duration};

use bytes::Bytes;
use futures::Stream;
use podsync_core::manifest::Emulator;
use reqwest::{Body, Method, Response, Url, header};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::{
    answer,
    error::{Aftermath, Error, Interruption},
    events::{EventReader, LoadEvent},
    instance::{Instance, root_cause},
    probe::{Environment, Identity},
    runtime::Runtime,
    service::{Merge, Service},
    upload::{Upload, Watched},
};

const DOING: &str = "loading the state";
const PLANNING: &str = "saying what a load would change";

const PATH: &str = "/_localstack/pods";
/// The companion plugin reads it, and a licensed instance does not know it.
const REFERENCE: &str = "x-podsync-reference";

/// How long the instance has to answer after an interruption.
const AFTERMATH_PATIENCE: Duration = Duration::from_secs(5);

/// A load's parameters.
#[derive(Debug, Clone, Copy)]
pub struct LoadRequest<'a> {
    /// Exact bytes of the state.
    pub len: u64,
    /// What the instance's own log calls the state.
    pub reference: &'a str,
    pub merge: Merge,
    /// Who saved the state, for the message if this instance can't take it.
    pub saved_by: Option<&'a Emulator>,
    /// The expected instance: nothing is sent to another one that answers.
    pub meant: Option<&'a Identity>,
}

/// How far a load is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadProgress {
    /// So many bytes of the state have left.
    Sent(u64),
    /// The instance is done with a service.
    Service(LoadEvent),
}

/// An instance's report of a finished load.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    /// Services loaded, in the instance's order.
    pub applied: Vec<Service>,
    /// Services not loaded, or in part, and why.
    pub failed: Vec<LoadEvent>,
    /// The longest time for which clients of a service waited while others were changed. None if the instance
    /// doesn't say.
    pub longest_wait_ms: Option<u64>,
}

impl Instance {
    /// Streams a zip into the instance. Checks that it can load at all before a byte is sent.
    ///
    /// Dropping the future stops the upload, but not what the instance has begun.
    pub async fn load<S>(
        &self,
        state: S,
        request: LoadRequest<'_>,
        mut on_progress: impl FnMut(LoadProgress) + Send,
    ) -> Result<LoadReport, Error>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let limit = self.limits().state_len;
        if request.len > limit {
            let endpoint = self.endpoint().clone();
            return Err(Error::TooLarge {
                endpoint,
                what: "the state for the load",
                limit,
            });
        }
        let environment = self.environment().await?;
        // If none is expected, the identity only tells a restart from a short failure.
        let before = match request.meant {
            None => self.identity().await.unwrap_or(None),
            Some(meant) => match self.identity().await? {
                Some(here) if here == *meant => Some(here),
                _ => {
                    let endpoint = self.endpoint().clone();
                    return Err(Error::AnotherInstance { endpoint });
                }
            },
        };
        let url = self.endpoint().at(PATH);
        let sent = self.send(url, state, &request, &mut on_progress).await;
        let response = match sent {
            Ok(response) => response,
            Err(Unsent::Refused(error)) => return Err(error),
            Err(Unsent::Interrupted(reason)) => {
                return Err(self
                    .interrupted(LoadReport::default(), reason, before)
                    .await);
            }
        };
        if !matches!(response.status().as_u16(), 200 | 201) {
            return Err(self
                .load_refused(response, &environment, request.saved_by)
                .await);
        }
        let mut report = LoadReport::default();
        match self.follow(response, &mut report, &mut on_progress).await {
            Ok(()) => Ok(report),
            Err(reason) => Err(self.interrupted(report, reason, before).await),
        }
    }

    /// Posts a state for inspection only: a failure has changed nothing.
    pub(crate) async fn post_state<S>(
        &self,
        url: Url,
        state: S,
        request: &LoadRequest<'_>,
    ) -> Result<Response, Error>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        self.send(url, state, request, &mut |_| {})
            .await
            .map_err(|unsent| match unsent {
                Unsent::Refused(error) => error,
                Unsent::Interrupted(reason) => Error::Unintelligible {
                    endpoint: self.endpoint().clone(),
                    doing: PLANNING,
                    what: format!("no whole answer: {reason}"),
                },
            })
    }

    /// Sends the state and waits for the head of the answer.
    async fn send<S>(
        &self,
        mut url: Url,
        state: S,
        request: &LoadRequest<'_>,
        on_progress: &mut (dyn FnMut(LoadProgress) + Send),
    ) -> Result<Response, Unsent>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        url.query_pairs_mut()
            .append_pair("merge", request.merge.as_str());
        let (
            upload,
            Watched {
                mut taken,
                mut failure,
            },
        ) = Upload::new(state, request.len);
        let post = self
            .authorized(self.request(Method::POST, url))
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, request.len)
            .header(REFERENCE, request.reference)
            .body(Body::wrap_stream(upload))
            .send();
        tokio::pin!(post);
        let mut leaving = true;
        let answer = loop {
            let all_sent = *taken.borrow_and_update() == request.len;
            let patience = if all_sent {
                self.limits().work
            } else {
                self.limits().idle
            };
            tokio::select! {
                biased;
                answer = &mut post => break answer,
                changed = taken.changed(), if leaving => match changed {
                    Ok(()) => on_progress(LoadProgress::Sent(*taken.borrow())),
                    Err(_) => leaving = false,
                },
                () = sleep(patience) => {
                    return Err(Unsent::Interrupted(silence(patience)));
                }
            }
        };
        if let Ok(source) = failure.try_recv() {
            return Err(Unsent::Refused(Error::Source(source)));
        }
        match answer {
            Ok(response) => self.checked(response).map_err(Unsent::Refused),
            Err(error) if error.is_connect() => {
                Err(Unsent::Refused(self.unanswered(&error, DOING)))
            }
            Err(error) => Err(Unsent::Interrupted(root_cause(&error))),
        }
    }

    pub(crate) async fn load_refused(
        &self,
        response: Response,
        environment: &Environment,
        saved_by: Option<&Emulator>,
    ) -> Error {
        let idle = self.limits().idle;
        match response.status().as_u16() {
            404 => self.no_state_endpoints(Runtime::LocalStack {
                edition: String::new(),
                version: environment.localstack_version.clone(),
            }),
            422 => Error::Incompatible {
                endpoint: self.endpoint().clone(),
                instance: Box::new(environment.emulator()),
                saved_by: saved_by.cloned(),
                message: match answer::message(response, idle).await {
                    message if message.is_empty() => "it gave no reason".to_owned(),
                    message => message,
                },
            },
            _ => answer::refusal(response, self.endpoint(), DOING, idle).await,
        }
    }

    /// Reads events until the instance is done; an error is the reason for an interruption.
    async fn follow(
        &self,
        mut response: Response,
        report: &mut LoadReport,
        on_progress: &mut (dyn FnMut(LoadProgress) + Send),
    ) -> Result<(), String> {
        let mut reader = EventReader::default();
        let mut take = |event: LoadEvent| {
            on_progress(LoadProgress::Service(event.clone()));
            report.longest_wait_ms = report.longest_wait_ms.max(event.waited_ms);
            match event.failure {
                None => report.applied.push(event.service),
                Some(_) => report.failed.push(event),
            }
        };
        let work = self.limits().work;
        loop {
            let bytes = timeout(work, response.chunk())
                .await
                .map_err(|_| silence(work))?
                .map_err(|error| format!("its report broke off: {}", root_cause(&error)))?;
            let Some(bytes) = bytes else { break };
            reader.push(&bytes);
            while let Some(event) = reader.next().map_err(|error| error.to_string())? {
                take(event);
            }
        }
        reader
            .finish()
            .map_err(|error| error.to_string())?
            .into_iter()
            .for_each(take);
        Ok(())
    }

    async fn interrupted(
        &self,
        report: LoadReport,
        reason: String,
        before: Option<Identity>,
    ) -> Error {
        let aftermath = match timeout(AFTERMATH_PATIENCE, self.identity()).await {
            Ok(Ok(now)) => match (before, now) {
                (Some(before), Some(now)) if before == now => Aftermath::Running,
                (Some(_), Some(_)) => Aftermath::Restarted,
                _ => Aftermath::Unknown,
            },
            Ok(Err(Error::NotRunning { .. } | Error::NoAnswer { .. })) | Err(_) => Aftermath::Gone,
            Ok(Err(_)) => Aftermath::Unknown,
        };
        Error::Interrupted(Box::new(Interruption {
            endpoint: self.endpoint().clone(),
            applied: report.applied,
            failed: report
                .failed
                .into_iter()
                .map(|event| event.service)
                .collect(),
            reason,
            aftermath,
        }))
    }
}

/// Why there is no answer to a load.
enum Unsent {
    /// Nothing was loaded.
    Refused(Error),
    /// It is unknown what was loaded.
    Interrupted(String),
}

fn silence(after: Duration) -> String {
    format!("it was silent for {} s", after.as_secs_f32())
}
