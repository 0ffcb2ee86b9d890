//! What stays on this machine: pins, the disk budget, and the eviction of versions that others have.

mod account;
pub(crate) mod evictor;
pub(crate) mod holders;
mod plan;
pub(crate) mod survey;
pub(crate) mod usage;
pub(crate) mod whereabouts;

use std::{collections::BTreeMap, sync::Arc};

use podsync_api::{ApiError, ErrorCode, disk, pods};
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

/// Pins and evicts versions.
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
        let named = if call.pinned {
            let patience = Patience::new(call.wait_s, call.until_shared);
            let finding = self
                .finder
                .resolve_within(team, &call.reference, patience, &context);
            finding.await?
        } else {
            // What is pinned is known here.
            self.finder.resolve(team, &call.reference).await?
        };
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

impl Handle<disk::GetUsage> for Disk {
    async fn handle(
        self: Arc<Self>,
        call: disk::GetUsage,
        _: Arc<Context>,
    ) -> Result<disk::Usage, Failure> {
        let (survey, plan) = self.evictor.look().await?;
        let teams = self.node.read(|engine| {
            let named = engine.teams().filter_map(|team| {
                let roster = engine.membership(&team)?.state();
                Some((team, roster.name().clone()))
            });
            named.collect::<BTreeMap<_, _>>()
        });
        let mut pods = account::account(&survey, &plan, &teams.await?);
        if let Some(pod) = &call.pod {
            pods.retain(|usage| usage.pod == *pod);
            if pods.is_empty() {
                let text = format!("no version of {pod} is on this machine");
                let hint = "`podsync list` shows the pods, `podsync pull` brings one here";
                let error = ApiError::new(ErrorCode::NotFound, text).hint(hint);
                return Err(self.finder.did_you_mean(error, pod).await?.into());
            }
        }
        Ok(disk::Usage {
            pods,
            held: plan.before,
            evictable: plan.before - plan.after,
            free: self.evictor.free()?,
            budget: self.evictor.settings.budget(),
            bucket_unknown: survey.bucket_unknown,
        })
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
