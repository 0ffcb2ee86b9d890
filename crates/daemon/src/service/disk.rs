//! What stays on this machine: pins, the disk budget, and giving up what others have.

pub(crate) mod evictor;
pub(crate) mod holders;
mod plan;
pub(crate) mod survey;
pub(crate) mod usage;
pub(crate) mod whereabouts;

use std::{sync::Arc, time::Duration};

use podsync_api::{ApiError, ErrorCode, disk, pods};
use podsync_store::Log;
use tokio::time::Instant;

use crate::{
    call::{Context, Handle},
    error::Failure,
    node::handle::Node,
    service::{
        choose::team_of,
        disk::{evictor::Evictor, usage},
        find::Finder,
        views,
    },
    versions::Versions,
};

/// Pins versions, and gives up others.
pub(crate) struct Disk {
    pub(crate) node: Node,
    pub(crate) log: Log,
    pub(crate) versions: Arc<Versions>,
    pub(crate) finder: Finder,
    pub(crate) evictor: Arc<Evictor>,
}

impl Handle<disk::Pin> for Disk {
    async fn handle(
        self: Arc<Self>,
        call: disk::Pin,
        context: Arc<Context>,
    ) -> Result<pods::Version, Failure> {
        let team = team_of(&self.node, &context).await?;
        let deadline = Instant::now() + Duration::from_secs(call.wait_s);
        let named = self
            .finder
            .resolve_within(team, &call.reference, deadline, &context)
            .await?;
        let (log, version) = (self.log.clone(), named.found.version());
        tokio::task::spawn_blocking(move || usage::pin(&log, team, version, call.pinned))
            .await
            .map_err(Failure::from)?
            .map_err(Failure::from)?;
        let versions = Arc::clone(&self.versions);
        let view = self
            .node
            .read(move |engine| views::view(engine, &versions, team, &named.found));
        view.await
            .map_err(Failure::from)?
            .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "this home is in that team no more"))
    }
}

impl Handle<disk::Collect> for Disk {
    async fn handle(
        self: Arc<Self>,
        call: disk::Collect,
        _: Arc<Context>,
    ) -> Result<disk::Collected, Failure> {
        Ok(self.evictor.make_room(&call).await?)
    }
}
