//! Lists pods and versions, shows one version, and changes tags and drops versions.

use std::sync::Arc;

use podsync_api::{
    ApiError, Consent, ErrorCode,
    events::{Happened, VersionDropped},
    pods,
};
use podsync_core::{TeamId, engine::Command, reference::Reference};

use crate::{
    call::{Context, Handle},
    error::Failure,
    events::team_events::TeamEvents,
    hub::sync::HubSync,
    locks::PodLocks,
    node::handle::Node,
    service::{
        choose::team_of,
        contents::{Inside, Inspect, not_here},
        disk::whereabouts::Locator,
        find::{Finder, Found, Named, Patience},
        holdings::Holdings,
        views,
    },
    tasks::Tasks,
    versions::Versions,
};

/// Lists and changes the catalog.
pub(crate) struct Catalog {
    pub(crate) node: Node,
    pub(crate) versions: Arc<Versions>,
    pub(crate) locks: Arc<PodLocks>,
    pub(crate) hubs: Arc<HubSync>,
    pub(crate) finder: Finder,
    pub(crate) holdings: Holdings,
    pub(crate) inspect: Inspect,
    pub(crate) locator: Locator,
    pub(crate) team_events: TeamEvents,
    pub(crate) tasks: Tasks,
}

impl Handle<pods::ListPods> for Catalog {
    async fn handle(
        self: Arc<Self>,
        _: pods::ListPods,
        context: Arc<Context>,
    ) -> Result<Vec<pods::Pod>, Failure> {
        let team = team_of(&self.node, &context).await?;
        self.hubs.poll_briefly(team).await;
        let versions = Arc::clone(&self.versions);
        let listed = self.node.read(move |engine| {
            let Some(catalog) = engine.catalog(&team) else {
                return Vec::new();
            };
            let pod = |name: &podsync_core::PodName| {
                let (tips, private) = (catalog.tips(name), catalog.private_versions(name));
                let newest_ms = tips
                    .iter()
                    .map(|record| record.publication.created_ms)
                    .max();
                let mut newest: Vec<_> = tips
                    .iter()
                    .map(|record| views::shared_view(catalog, &versions, team, record))
                    .collect();
                newest.extend(
                    private
                        .last()
                        // A private state that is older than the team's newest isn't listed as a newest version.
                        .filter(|version| Some(version.created_ms) >= newest_ms)
                        .map(|version| views::private_view(&versions, team, version)),
                );
                pods::Pod {
                    name: name.clone(),
                    tips: newest,
                    versions: catalog.versions(name).len(),
                    private: private.len(),
                }
            };
            catalog.pods().into_iter().map(pod).collect()
        });
        listed.await.map_err(Failure::from)
    }
}

impl Handle<pods::ListVersions> for Catalog {
    async fn handle(
        self: Arc<Self>,
        call: pods::ListVersions,
        context: Arc<Context>,
    ) -> Result<Vec<pods::Version>, Failure> {
        let team = team_of(&self.node, &context).await?;
        self.hubs.poll_briefly(team).await;
        // An unknown pod is an error with suggestions, not an empty list.
        match self
            .finder
            .resolve(team, call.pod.as_str())
            .await
            .map_err(ApiError::from)
        {
            Err(error) if error.code != ErrorCode::Ambiguous => return Err(error.into()),
            _ => {}
        }
        let versions = Arc::clone(&self.versions);
        let listed = self.node.read(move |engine| {
            engine
                .catalog(&team)
                .map(|catalog| views::of_pod(catalog, &versions, team, &call.pod))
        });
        Ok(listed.await.map_err(Failure::from)?.unwrap_or_default())
    }
}

impl Handle<pods::Show> for Catalog {
    async fn handle(
        self: Arc<Self>,
        call: pods::Show,
        context: Arc<Context>,
    ) -> Result<pods::Shown, Failure> {
        let team = team_of(&self.node, &context).await?;
        self.hubs.poll_briefly(team).await;
        let named = self.finder.resolve(team, &call.reference).await?;
        let id = named.found.version();
        let held = self.versions.get(team, id);
        let manifest = held
            .as_ref()
            .map(|held| held.manifest())
            .transpose()
            .map_err(Failure::damaged)?;
        let (parents, packs): (Vec<_>, Vec<u64>) = match &named.found {
            Found::Shared(record) => (
                record.publication.parents.to_vec(),
                record.packs().iter().map(|pack| pack.len).collect(),
            ),
            Found::Private(_) => match &manifest {
                Some(manifest) => (
                    manifest.parents.clone(),
                    manifest.packs.iter().map(|pack| pack.len).collect(),
                ),
                None => (Vec::new(), Vec::new()),
            },
        };
        let inside = match (call.contents, manifest) {
            (false, _) => Inside::default(),
            (true, None) => return Err(not_here(&named.reference).into()),
            (true, Some(manifest)) => self.inspect.inside(team, manifest).await?,
        };
        let whereabouts = self
            .locator
            .whereabouts(team, &named, held.as_ref())
            .await?;
        let found = named.found.clone();
        let versions = Arc::clone(&self.versions);
        let view = self
            .node
            .read(move |engine| match (&found, engine.catalog(&team)) {
                (Found::Shared(record), Some(catalog)) => {
                    Some(views::shared_view(catalog, &versions, team, record))
                }
                (Found::Shared(_), None) => None,
                (Found::Private(version), _) => Some(views::private_view(&versions, team, version)),
            });
        let version = view
            .await
            .map_err(Failure::from)?
            .ok_or_else(Failure::left_team)?;
        Ok(pods::Shown {
            version,
            parents,
            packed_len: packs.iter().sum(),
            packs: packs.len(),
            resources: inside.resources,
            entries: inside.entries,
            left_out: inside.left_out,
            whereabouts,
        })
    }
}

impl Handle<pods::Resolve> for Catalog {
    async fn handle(
        self: Arc<Self>,
        call: pods::Resolve,
        context: Arc<Context>,
    ) -> Result<pods::Resolved, Failure> {
        let team = team_of(&self.node, &context).await?;
        let patience = Patience::new(call.wait_s, call.until_shared);
        let named = self
            .finder
            .resolve_within(team, &call.reference, patience, &context)
            .await?;
        let Found::Shared(record) = named.found else {
            return Err(ApiError::new(
                ErrorCode::Invalid,
                format!("{} is private: teammates can't see it", named.reference),
            )
            .hint(format!(
                "share it first: `podsync share {}`",
                named.reference
            ))
            .into());
        };
        let versions = Arc::clone(&self.versions);
        let view = self.node.read(move |engine| {
            engine
                .catalog(&team)
                .map(|catalog| views::shared_view(catalog, &versions, team, &record))
        });
        let version = view
            .await
            .map_err(Failure::from)?
            .ok_or_else(Failure::left_team)?;
        Ok(pods::Resolved { team, version })
    }
}

impl Handle<pods::Tag> for Catalog {
    async fn handle(
        self: Arc<Self>,
        call: pods::Tag,
        context: Arc<Context>,
    ) -> Result<pods::Version, Failure> {
        let team = team_of(&self.node, &context).await?;
        let named = self.finder.resolve(team, &call.reference).await?;
        let Found::Shared(record) = named.found else {
            return Err(ApiError::new(
                ErrorCode::Invalid,
                format!("{} is private, and tags are the team's", named.reference),
            )
            .hint(format!(
                "share it first: `podsync share {}`",
                named.reference
            ))
            .into());
        };
        let (pod, version) = (record.publication.pod.clone(), record.version());
        self.node
            .command(Command::Tag {
                team,
                pod,
                tag: call.tag,
                version: Some(version),
            })
            .await??;
        let versions = Arc::clone(&self.versions);
        let view = self.node.read(move |engine| {
            engine
                .catalog(&team)
                .map(|catalog| views::shared_view(catalog, &versions, team, &record))
        });
        view.await
            .map_err(Failure::from)?
            .ok_or_else(Failure::left_team)
    }
}

impl Handle<pods::DropVersion> for Catalog {
    async fn handle(
        self: Arc<Self>,
        call: pods::DropVersion,
        context: Arc<Context>,
    ) -> Result<pods::Dropped, Failure> {
        let team = team_of(&self.node, &context).await?;
        let named = self.finder.resolve(team, &call.reference).await?;
        check_is_exact(&call, &named)?;
        let _turn = self.locks.lock(team, named.found.pod()).await;
        let version = named.found.version();
        let shared = match &named.found {
            Found::Shared(record) => {
                let pod = record.publication.pod.clone();
                self.node
                    .command(Command::Drop { team, pod, version })
                    .await??;
                true
            }
            Found::Private(_) => {
                self.node
                    .command(Command::ForgetPrivate { team, version })
                    .await??;
                false
            }
        };
        self.holdings.forget(team, version).await?;
        self.tasks.spawn(self.holdings.clone().collect_garbage());
        if !shared {
            self.tell_of_drop(team, &named).await;
        }
        Ok(pods::Dropped {
            reference: named.reference,
            version,
            shared,
        })
    }
}

impl Catalog {
    /// Publishes the drop of a private version. The engine reports drops of shared ones.
    async fn tell_of_drop(&self, team: TeamId, named: &Named) {
        let told = |name| {
            Happened::Dropped(VersionDropped {
                team: name,
                pod: named.found.pod().clone(),
                reference: named.reference.clone(),
                version: named.found.version(),
                by: named.author.clone(),
                this_device: true,
                shared: false,
            })
        };
        self.team_events.publish(team, told).await;
    }
}

/// A pod's name or a tag may mean another version tomorrow, so dropping by it needs consent.
fn check_is_exact(call: &pods::DropVersion, named: &Named) -> Result<(), ApiError> {
    let moves = matches!(
        call.reference.parse(),
        Ok(Reference::Pod(_) | Reference::Tag { .. })
    );
    if !moves || call.consents.contains(&Consent::NotExact) {
        return Ok(());
    }
    let whom = match named.found {
        Found::Shared(_) => "for the whole team",
        Found::Private(_) => "from this machine",
    };
    Err(ApiError::unconfirmed(
        Consent::NotExact,
        format!(
            "`{}` stands for {} by {} now, and podsync would drop that version {whom}",
            call.reference, named.reference, named.author
        ),
    ))
}
