//! The hub's endpoints as methods.
//!
//! Calls are retried within bounds where that may help, and every answer is bounded. Answers are not
//! trusted here: entries, heads, operations and statements are signed bytes for core to verify.

mod address;
mod last;
mod patience;
mod send;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use podsync_api::hub::{
    BatchOperation, BatchRequest, BatchResponse, BatchedId, Commit, FeedPage, FetchOperations,
    Heads, JoinByInvite, MAX_BATCH_OBJECTS, Operations, PostLiveness, PostOperations, Stored,
    TeamInfo, Time,
};
use podsync_core::{DeviceId, OpId, TeamId, keys::DeviceSecret};
use serde::{Serialize, de::DeserializeOwned};

pub use self::{address::HubAddress, patience::Patience};
use self::{
    address::LONGEST_ETAG,
    send::{Call, Line},
};
use crate::{HubClientError, outboards::Known};

/// A team at its hub, as one device sees it. Clones share connections and learnt state.
#[derive(Clone)]
pub struct Hub(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) line: Line,
    pub(crate) team: TeamId,
    pub(crate) outboards: Mutex<Known>,
}

/// The answer to [`Hub::heads`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadsAnswer {
    /// Nothing has changed since the answer with that tag.
    NotModified,
    Changed {
        heads: Heads,
        /// The tag to send with the next call.
        etag: Option<String>,
    },
}

impl Hub {
    /// Connects on the first call.
    pub fn new(
        address: HubAddress,
        team: TeamId,
        secret: DeviceSecret,
    ) -> Result<Self, HubClientError> {
        Self::with_patience(address, team, secret, Patience::default())
    }

    pub fn with_patience(
        address: HubAddress,
        team: TeamId,
        secret: DeviceSecret,
        patience: Patience,
    ) -> Result<Self, HubClientError> {
        Ok(Self(Arc::new(Inner {
            line: Line::new(address, team, secret, patience)?,
            team,
            outboards: Mutex::default(),
        })))
    }

    pub fn team(&self) -> TeamId {
        self.0.team
    }

    pub fn address(&self) -> &HubAddress {
        self.0.line.address()
    }

    /// The hub's clock.
    pub async fn time(&self) -> Result<Time, HubClientError> {
        self.json(Call::get("/v1/time").unsigned()).await
    }

    pub async fn team_info(&self) -> Result<TeamInfo, HubClientError> {
        let info: TeamInfo = self.json(Call::get(self.path("")).unsigned()).await?;
        self.check(info.team == self.team(), "it answers for another team")?;
        Ok(info)
    }

    /// The newest heads, unless `etag` is still current.
    pub async fn heads(&self, etag: Option<&str>) -> Result<HeadsAnswer, HubClientError> {
        self.heads_within(etag, Duration::ZERO).await
    }

    /// The same, as of at most this long ago: the hub then asks the bucket once for all who come meanwhile.
    pub async fn heads_within(
        &self,
        etag: Option<&str>,
        age: Duration,
    ) -> Result<HeadsAnswer, HubClientError> {
        let mut call = Call::get(self.path("/heads"));
        call.if_none_match = etag.map(str::to_owned);
        call.max_age = age;
        let answer = self.0.line.send(&call).await?;
        if answer.not_modified {
            self.check(
                etag.is_some(),
                "it answers that nothing is new to a question without an ETag",
            )?;
            return Ok(HeadsAnswer::NotModified);
        }
        let heads = self.0.line.parse(&answer.body)?;
        let etag = answer.etag.filter(|etag| etag.len() <= LONGEST_ETAG);
        Ok(HeadsAnswer::Changed { heads, etag })
    }

    /// Entries `from..=to` of a feed, newest first; up to the newest where `to` is none.
    pub async fn feed_page(
        &self,
        device: DeviceId,
        from: u64,
        to: Option<u64>,
    ) -> Result<FeedPage, HubClientError> {
        let mut call = Call::get(self.path(&format!("/feeds/{device}")));
        let to = to.map(|to| format!("&to={to}")).unwrap_or_default();
        call.query = Some(format!("from={from}{to}"));
        let page: FeedPage = self.json(call).await?;
        self.check(
            page.device == device,
            "it gives another feed than it was asked for",
        )?;
        self.check(
            !page.more || !page.entries.is_empty(),
            "a page is empty and not the last",
        )?;
        Ok(page)
    }

    /// The operations beyond `known` and their ancestors.
    pub async fn fetch_operations(&self, known: Vec<OpId>) -> Result<Operations, HubClientError> {
        self.post("/membership/fetch", &FetchOperations { known })
            .await
    }

    /// Posts operations, parents first. Returns the heads that the hub then has.
    pub async fn post_operations(
        &self,
        operations: &PostOperations,
    ) -> Result<Vec<OpId>, HubClientError> {
        let heads: FetchOperations = self.post("/membership", operations).await?;
        Ok(heads.known)
    }

    /// Asks the hub to witness a join request that is signed by an invite's key.
    pub async fn join(&self, request: &JoinByInvite) -> Result<Operations, HubClientError> {
        self.post("/join", request).await
    }

    pub async fn post_liveness(&self, statement: &PostLiveness) -> Result<(), HubClientError> {
        let call = self.posting("/liveness", statement)?;
        self.0.line.send(&call).await.map(drop)
    }

    /// The hub's instruction for each object, in the same order.
    pub async fn batch(
        &self,
        operation: BatchOperation,
        objects: Vec<BatchedId>,
    ) -> Result<BatchResponse, HubClientError> {
        self.batch_of(BatchRequest {
            operation,
            objects,
            following: None,
        })
        .await
    }

    /// The same for a whole request.
    pub(crate) async fn batch_of(
        &self,
        request: BatchRequest,
    ) -> Result<BatchResponse, HubClientError> {
        self.check(
            request.objects.len() <= MAX_BATCH_OBJECTS,
            "a batch has fewer objects",
        )?;
        let response: BatchResponse = self.post("/objects/batch", &request).await?;
        let asked = request.objects.iter().map(|batched| batched.id);
        let answered = response.objects.iter().map(|batched| batched.object.id);
        self.check(
            asked.eq(answered),
            "it answers for other objects than it was asked about",
        )?;
        Ok(response)
    }

    /// Commits entries of this device's own feed. Their objects must be uploaded first.
    pub async fn commit(&self, commit: &Commit) -> Result<Stored, HubClientError> {
        self.post("/commit", commit).await
    }
}

impl Hub {
    /// Why the last attempt of a call failed that is still being retried. For callers that don't wait
    /// for its end.
    pub fn failing(&self) -> Option<String> {
        self.0.line.failing()
    }

    /// Whether the hub has been asked for so long and has answered nothing.
    pub fn is_silent_for(&self, time: Duration) -> bool {
        self.0.line.is_silent_for(time)
    }

    /// What the bucket's server said, or why it wasn't reached, where a download had to be asked for again since then.
    /// For a caller that gives up before the download ends.
    pub fn not_served(&self, since: Instant) -> Option<String> {
        self.0.line.not_served.since(since)
    }

    /// The same of uploads.
    pub fn not_taken(&self, since: Instant) -> Option<String> {
        self.0.line.not_taken.since(since)
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/teams/{}{rest}", self.team())
    }

    fn posting(&self, path: &str, body: &impl Serialize) -> Result<Call, HubClientError> {
        let body = serde_json::to_vec(body)
            .map_err(|_| self.0.line.garbled("the request can't be written as JSON"))?;
        Ok(Call::post(self.path(path), Bytes::from(body)))
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, HubClientError> {
        let call = self.posting(path, body)?;
        self.json(call).await
    }

    async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, HubClientError> {
        let answer = self.0.line.send(&call).await?;
        self.0.line.parse(&answer.body)
    }

    fn check(&self, holds: bool, what: &str) -> Result<(), HubClientError> {
        if holds {
            Ok(())
        } else {
            Err(self.0.line.garbled(what))
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("address", self.address())
            .field("team", &self.0.team)
            .finish_non_exhaustive()
    }
}
