//! Waiting until what this device shared is in the team's bucket.

use std::{sync::Arc, time::Duration};

use podsync_api::{ApiError, Progress, Stage};
use podsync_core::TeamId;
use tokio::time::sleep;

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

/// How often who waits looks at what the hub's client has run into.
const LOOK: Duration = Duration::from_secs(1);

/// What came of waiting for a hub.
enum Durable {
    /// All is in the bucket.
    There,
    /// The team has another hub by now, or none.
    Elsewhere,
}

impl HubSync {
    /// Sees to it that what was shared gets into the bucket; whether it is there by now, or none where the
    /// team has no hub.
    ///
    /// A daemon goes on by itself, so only who asked for it waits. A command that hosts one leaves nobody
    /// behind: it waits too, but a hub that can't be reached is no failure of sharing.
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

    /// Entries of the own feed that the bucket lacks.
    pub(crate) async fn waiting(&self, team: TeamId, hub: &TeamHub) -> Result<u64, Failure> {
        let me = self.device;
        let newest = self
            .node
            .read(move |engine| engine.feed(&team, &me).map_or(0, |feed| feed.seq));
        Ok(newest.await?.saturating_sub(hub.standing().committed))
    }

    /// `patient` waits out what may pass. What comes of the `begun` attempts that began before this was
    /// asked for tells nothing: another one follows.
    async fn until_durable(
        &self,
        team: TeamId,
        hub: &Arc<TeamHub>,
        patient: bool,
        begun: u64,
        context: &Context,
    ) -> Result<Durable, Failure> {
        let mut standing = hub.watch();
        loop {
            // Seen first, so that what changes meanwhile wakes this up again.
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
            let waiting = trouble.map(|trouble| trouble.error.to_string());
            // An attempt asks for minutes before it gives up.
            let waiting = hub.client.failing().or(waiting);
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
