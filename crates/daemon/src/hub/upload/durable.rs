//! Waits until what this device shared is in the team's bucket.

use std::{sync::Arc, time::Duration};

use podsync_api::{ApiError, Progress, Stage};
use podsync_core::TeamId;
use tokio::time::{Instant, sleep};

use crate::{
    call::Context,
    error::Failure,
    hub::{
        state::{Standing, TeamHub},
        sync::HubSync,
    },
    service::pause::is_paused,
    tasks::Lifetime,
};

/// How often a waiting caller checks the hub client for failures.
const LOOK: Duration = Duration::from_secs(1);
/// How long nothing may move before a waiting caller is told for whom it waits.
const QUIET_AFTER: Duration = Duration::from_secs(5);

/// What came of waiting for a hub.
enum Durable {
    /// All is in the bucket.
    There,
    /// The team has another hub by now, or none.
    Elsewhere,
}

impl HubSync {
    /// Starts the upload of what was shared. Returns whether it is in the bucket now, or `None` if the team has no
    /// hub.
    ///
    /// A daemon uploads in the background, so only callers that asked for it wait. A command's own daemon ends with
    /// the command, so it always waits. There, an unreachable hub doesn't make sharing fail.
    pub(crate) async fn bring_to_bucket(
        &self,
        team: TeamId,
        asked: bool,
        context: &Context,
    ) -> Result<Option<bool>, Failure> {
        while let Some(hub) = self.hub(team).await? {
            let begun = hub.standing().begun;
            self.hubs.wake();
            if !asked && self.lifetime == Lifetime::Service {
                return Ok(Some(self.waiting(team, &hub).await? == 0));
            }
            match self.until_durable(team, &hub, asked, begun, context).await {
                Ok(Durable::There) => return Ok(Some(true)),
                Ok(Durable::Elsewhere) => {}
                Err(failure) if asked => return Err(failure),
                Err(failure) => {
                    tracing::warn!(error = %failure.api(), "not in the bucket yet");
                    return Ok(Some(false));
                }
            }
        }
        Ok(None)
    }

    /// The number of entries of this device's feed that the bucket lacks.
    pub(crate) async fn waiting(&self, team: TeamId, hub: &TeamHub) -> Result<u64, Failure> {
        let me = self.device;
        let newest = self
            .node
            .read(move |engine| engine.feed(&team, &me).map_or(0, |feed| feed.seq));
        Ok(newest.await?.saturating_sub(hub.standing().committed))
    }

    /// With `patient`, failures that may pass don't end the wait. Failures of the first `begun` attempts are
    /// ignored: they began before this call, and another attempt follows.
    async fn until_durable(
        &self,
        team: TeamId,
        hub: &Arc<TeamHub>,
        patient: bool,
        begun: u64,
        context: &Context,
    ) -> Result<Durable, Failure> {
        let mut standing = hub.watch();
        let mut moved = (Instant::now(), None);
        // What was said last, while nothing moves.
        let mut last: Option<String> = None;
        loop {
            // Marks the state as seen first, so that a later change wakes this again.
            let Standing {
                trouble, uploading, ..
            } = standing.borrow_and_update().clone();
            if self.waiting(team, hub).await? == 0 {
                return Ok(Durable::There);
            }
            let now = self.hub(team).await?;
            if now.is_none_or(|now| !Arc::ptr_eq(&now, hub)) {
                return Ok(Durable::Elsewhere);
            }
            if self.traffic.is_paused() {
                return Err(is_paused().into());
            }
            let trouble = trouble.filter(|trouble| trouble.attempt > begun);
            if let Some(trouble) = &trouble
                && !(patient && trouble.may_pass)
            {
                return Err(trouble.error.clone().into());
            }
            if moved.1 != uploading {
                moved = (Instant::now(), uploading);
                last = None;
            }
            // One attempt retries for minutes before it gives up.
            let failing = hub.client.failing();
            let said = failing
                .or_else(|| trouble.map(|trouble| trouble.error.to_string()))
                .or_else(|| hub.not_taken_since(moved.0));
            if said.is_some() {
                last.clone_from(&said);
            }
            let is_quiet = moved.0.elapsed() >= QUIET_AFTER;
            let quiet = || {
                let still = uploading.map(|_| hub.still());
                last.clone().or_else(|| hub.silence()).or(still)
            };
            let waiting = said.or_else(|| is_quiet.then(quiet).flatten());
            let waiting = waiting.map(|why| format!("waiting: {why}"));
            if uploading.is_some() || waiting.is_some() {
                let (sent, total) = uploading.unzip();
                context.report(&Progress {
                    waiting,
                    ..Progress::new(Stage::Uploading, sent.unwrap_or_default(), total)
                });
            }
            tokio::select! {
                changed = standing.changed() => if changed.is_err() {
                    return Err(crate::error::Stopped.into());
                },
                () = sleep(LOOK) => {}
                () = context.cancel.cancelled() => return Err(cancelled().into()),
            }
        }
    }
}

fn cancelled() -> ApiError {
    ApiError::new(podsync_api::ErrorCode::Cancelled, "cancelled")
        .hint("the version is shared; the daemon goes on bringing it to the bucket")
}
