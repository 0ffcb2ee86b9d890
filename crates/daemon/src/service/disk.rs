//! What stays on this machine: pins, the disk budget, and giving up what others have.

pub(crate) mod evictor;
pub(crate) mod holders;
mod plan;
pub(crate) mod survey;
pub(crate) mod usage;
pub(crate) mod whereabouts;

use std::sync::Arc;

use podsync_api::{disk, pods};
use podsync_store::Log;

use crate::{
    call::{Context, Handle},
    error::Failure,
    node::handle::Node,
    service::{
        choose::team_of,
        disk::evictor::Evictor,
        find::{Finder, Patience},
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
        let patience = Patience::new(call.wait_s, call.until_shared);
        let named = self
            .finder
            .resolve_within(team, &call.reference, patience, &context)
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
            .ok_or_else(Failure::left_team)
    }
}

impl Handle<disk::Collect> for Disk {
    async fn handle(
        self: Arc<Self>,
        call: disk::Collect,
        _: Arc<Context>,
    ) -> Result<disk::Collected, Failure> {
        self.evictor.make_room(&call).await
    }
}
