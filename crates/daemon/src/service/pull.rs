//! Pull: resolves a reference, then fetches the manifest, the tables and the chunks. After a pull this device
//! serves the version too.
//!
//! A version that is listed as held may still lack bytes that were found damaged. A pull fetches those again.

pub(crate) mod fetch;
mod lack;

use std::sync::Arc;

use podsync_api::{
    ApiError, ErrorCode, Progress, Stage,
    events::{Direction, Happened, VersionPulled},
    pods,
};
use podsync_core::{
    BlobId, TeamId, VersionId,
    catalog::VersionRecord,
    engine::{EngineError, Event, Sources},
    feed::BlobRef,
    manifest::{Manifest, PackRef},
    units::Units,
};
use podsync_pack::{NeededUnits, Version, table_units};
use podsync_store::{Blobs, Log, Pin};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, timeout_at},
};

use crate::{
    call::{Context, Handle},
    error::Failure,
    events::{team_events::TeamEvents, transfers::About},
    hub::sync::HubSync,
    locks::PodLocks,
    node::handle::Node,
    packs::HeldPacks,
    pulls,
    service::{
        choose::team_of,
        disk::evictor::Evictor,
        find::{CATCHES_UP_WITHIN, Finder, Found, Named, Patience},
        holdings::{Holdings, pack_ids},
        names::{DeviceNames, bytes},
        pull::fetch::{Fetcher, Fetching, Part, Sent},
    },
    versions::{HeldVersion, Sealed, Versions},
};

/// Pulls versions to this machine.
pub(crate) struct Pull {
    pub(crate) node: Node,
    pub(crate) log: Log,
    pub(crate) blobs: Blobs,
    pub(crate) versions: Arc<Versions>,
    pub(crate) locks: Arc<PodLocks>,
    pub(crate) hubs: Arc<HubSync>,
    pub(crate) finder: Finder,
    pub(crate) holdings: Holdings,
    pub(crate) fetcher: Fetcher,
    pub(crate) evictor: Arc<Evictor>,
    pub(crate) team_events: TeamEvents,
    /// When the daemon started.
    pub(crate) started: Instant,
}

impl Handle<pods::Pull> for Pull {
    async fn handle(
        self: Arc<Self>,
        call: pods::Pull,
        context: Arc<Context>,
    ) -> Result<pods::Pulled, Failure> {
        let team = team_of(&self.node, &context).await?;
        let asked = Wanted::new(
            &call.reference,
            Patience::new(call.wait_s, call.until_shared),
            call.sources,
        );
        let (_, pulled) = self.pull(team, asked, &context).await?;
        self.evictor.used(team, pulled.version).await;
        self.evictor.keep_within_budget();
        Ok(pulled)
    }
}

/// A version to pull.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) reference: &'a str,
    pub(crate) patience: Patience,
    pub(crate) sources: Sources,
    /// Whether its sealed manifest must be here too. Only those who pull the version from here need that.
    pub(crate) with_manifest: bool,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(reference: &'a str, patience: Patience, sources: pods::Sources) -> Self {
        Self {
            reference,
            patience,
            sources: match sources {
                pods::Sources::Any => Sources::Any,
                pods::Sources::Peers => Sources::Peers,
                pods::Sources::Bucket => Sources::Bucket,
            },
            with_manifest: false,
        }
    }
}

impl Pull {
    /// Fetches what a version lacks on this machine.
    pub(crate) async fn pull(
        &self,
        team: TeamId,
        asked: Wanted<'_>,
        context: &Arc<Context>,
    ) -> Result<(HeldVersion, pods::Pulled), Failure> {
        if !self.ask_the_hub(team, asked, context).await? {
            self.catch_up(team, context).await?;
        }
        let named = self
            .finder
            .resolve_within(team, asked.reference, asked.patience, context)
            .await?;
        let version = named.found.version();
        if let Some(held) = self.here(team, version, asked).await? {
            return pulled(held, named, Vec::new());
        }
        let Found::Shared(record) = named.found.clone() else {
            return Err(bytes_gone(&named.reference).into());
        };
        let _turn = self.locks.lock(team, &record.publication.pod).await;
        if let Some(held) = self.here(team, version, asked).await? {
            return pulled(held, named, Vec::new());
        }
        let about = About {
            direction: Direction::Pull,
            pod: record.publication.pod.clone(),
            reference: named.reference.clone(),
        };
        let transferring = self.team_events.transfer(team, about).await;
        let packs = record.packs().iter().map(|pack| pack.len);
        let len = packs.sum::<u64>() + record.manifest().len;
        let wanted = format!("{} ({})", named.reference, bytes(len));
        let fetching = Fetching {
            team,
            wanted: &wanted,
            prefer: record.device(),
            sources: asked.sources,
            deadline: asked.patience.deadline,
            context,
            told: Some(&transferring),
        };
        self.finder.check_is_member(team).await?;
        let fetched = self.fetch_version(&record, &fetching).await;
        if fetched.is_err() {
            // If this device was removed meanwhile, nobody serves it: that is the real reason.
            self.finder.check_is_member(team).await?;
        }
        let (held, from) = fetched?;
        transferring.done();
        let (held, pulled) = pulled(held, named, self.name_sources(from).await?)?;
        let told = |name| {
            Happened::Pulled(VersionPulled {
                team: name,
                pod: record.publication.pod.clone(),
                reference: pulled.reference.clone(),
                version: pulled.version,
                author: pulled.author.clone(),
                fetched: pulled.fetched,
            })
        };
        self.team_events.publish(team, told).await;
        Ok((held, pulled))
    }

    /// A version of which nothing is missing here.
    async fn here(
        &self,
        team: TeamId,
        version: VersionId,
        asked: Wanted<'_>,
    ) -> Result<Option<HeldVersion>, Failure> {
        let Some(held) = self.holdings.held_whole(team, version).await? else {
            return Ok(None);
        };
        let lacks_manifest = asked.with_manifest && self.blobs.held(held.sealed.blob.id)?.is_none();
        Ok((!lacks_manifest).then_some(held))
    }

    /// If no teammate is connected, asks the hub what is new. A hub that doesn't answer is an error only if the
    /// bytes must come from the bucket. Returns whether it answered.
    async fn ask_the_hub(
        &self,
        team: TeamId,
        asked: Wanted<'_>,
        context: &Context,
    ) -> Result<bool, Failure> {
        let hub = self.hubs.hub(team).await?;
        if asked.sources == Sources::Bucket && hub.is_none() {
            return Err(no_hub().into());
        }
        let alone = self
            .node
            .read(move |engine| engine.connected(&team).is_empty());
        let asks = match asked.sources {
            Sources::Bucket => true,
            Sources::Any => hub.is_some() && alone.await?,
            Sources::Peers => false,
        };
        if !asks {
            return Ok(false);
        }
        context.report(&Progress::new(Stage::Finding, 0, None));
        match self.hubs.poll_now(team).await {
            Err(failure) if asked.sources == Sources::Bucket => Err(failure),
            Err(failure) => {
                tracing::warn!(error = %failure.api(), "podsync could not poll the hub");
                Ok(false)
            }
            Ok(_) => Ok(true),
        }
    }

    /// A name may mean a newer version since the last daemon ran. So a daemon that has just started waits a moment
    /// for a teammate's news.
    async fn catch_up(&self, team: TeamId, context: &Context) -> Result<(), Failure> {
        let deadline = self.started + CATCHES_UP_WITHIN;
        let mut events = self.node.events();
        let is_behind = self.node.read(move |engine| {
            let roster = engine.roster(&team);
            let has_others = roster.is_some_and(|roster| roster.devices().count() > 1);
            has_others && !engine.is_caught_up(&team)
        });
        if Instant::now() >= deadline || !is_behind.await? {
            return Ok(());
        }
        context.report(&Progress::new(Stage::Finding, 0, None));
        loop {
            match timeout_at(deadline, events.recv()).await {
                Ok(Ok(Event::CaughtUp { team: of } | Event::Expelled { team: of }))
                    if of == team =>
                {
                    return Ok(());
                }
                Ok(Ok(_) | Err(RecvError::Lagged(_))) => {}
                Ok(Err(RecvError::Closed)) | Err(_) => return Ok(()),
            }
        }
    }

    /// The same for a version that is read next. Its packs stay on the disk until the pins are dropped, even if the
    /// version is evicted or dropped meanwhile.
    pub(crate) async fn pull_to_read(
        &self,
        team: TeamId,
        asked: Wanted<'_>,
        context: &Arc<Context>,
    ) -> Result<(HeldVersion, pods::Pulled, Vec<Pin>), Failure> {
        let (held, pulled) = self.pull(team, asked, context).await?;
        let manifest = held.manifest().map_err(Failure::damaged)?;
        let mut pins = Vec::new();
        for pack in pack_ids(&manifest) {
            pins.push(self.blobs.pin(pack).await);
        }
        // A version is unlisted before its packs are collected. So a listed version still has all of them.
        if self.versions.get(team, pulled.version).is_none() {
            let text = format!(
                "{} left this machine as it was about to be read",
                pulled.reference
            );
            return Err(ApiError::new(ErrorCode::Busy, text)
                .hint("run the command again: it is pulled anew")
                .into());
        }
        self.evictor.used(team, pulled.version).await;
        Ok((held, pulled, pins))
    }

    async fn fetch_version(
        &self,
        record: &VersionRecord,
        fetching: &Fetching<'_>,
    ) -> Result<(HeldVersion, Sent), Failure> {
        let team = fetching.team;
        let announced = record.manifest();
        // Pinned until the record that names them is written, so that the garbage collection keeps them.
        let mut pins = vec![self.blobs.pin(announced.id).await];
        let mut from = self
            .fetcher
            .fetch(fetching, &[Part::whole(announced)])
            .await?;
        let manifest = self.open_manifest(team, record).await?;
        check_announced(&manifest, record)?;
        let mut named = vec![announced.id];
        for pack in &manifest.packs {
            pins.push(self.blobs.pin(pack.id).await);
            named.push(pack.id);
        }
        let (log, version) = (self.log.clone(), record.version());
        tokio::task::spawn_blocking(move || pulls::begin_pull(&log, team, version, &named))
            .await??;

        let tables = table_units(&manifest)?;
        from.extend(
            self.fetcher
                .fetch(fetching, &parts(&manifest, tables))
                .await?,
        );
        let manifest = Arc::new(manifest);
        let needed = self.needed_units(team, &manifest).await?;
        from.extend(
            self.fetcher
                .fetch(fetching, &parts(&manifest, needed))
                .await?,
        );
        fail::fail_point!("daemon::pull::packs");

        let sealed = Sealed {
            blob: announced,
            epoch: record.entry.header().epoch,
        };
        let (plain, _) = manifest.to_version();
        // Packs may have been fetched again that this device's own save had written.
        let own_packs = self.versions.get(team, version);
        let own_packs = own_packs.map_or_else(Vec::new, |held| held.own_packs);
        let held = HeldVersion::new(record.publication.pod.clone(), sealed, plain, own_packs);
        let (versions, log, recorded) =
            (Arc::clone(&self.versions), self.log.clone(), held.clone());
        let (blobs, packs) = (self.blobs.clone(), pack_ids(&manifest));
        tokio::task::spawn_blocking(move || {
            versions.put(team, recorded)?;
            pulls::end_pull(&log, team, version)?;
            blobs.drop_damaged(&packs)
        })
        .await??;
        drop(pins);
        Ok((held, from))
    }

    /// The parts of its packs that the version needs. Its tables must be here.
    async fn needed_units(
        &self,
        team: TeamId,
        manifest: &Arc<Manifest>,
    ) -> Result<NeededUnits, Failure> {
        let named = pack_ids(manifest);
        let (manifest, packs) = (Arc::clone(manifest), HeldPacks::new(self.blobs.clone()));
        let needed = tokio::task::spawn_blocking(move || {
            let version = Version::new(&manifest, &packs);
            version.needed_units().map_err(Failure::from)
        });
        self.holdings.doubting(team, named, needed.await?).await
    }

    async fn open_manifest(
        &self,
        team: TeamId,
        record: &VersionRecord,
    ) -> Result<Manifest, Failure> {
        let epoch = record.entry.header().epoch;
        let key = self
            .node
            .read(move |engine| engine.key(&team, &epoch).cloned())
            .await?
            .ok_or(EngineError::NoTeamKey(team))?;
        let blob = record.manifest();
        let reader = self.blobs.reader(blob.id).await?;
        let expected = record.version();
        let opened = tokio::task::spawn_blocking(move || {
            let mut sealed = vec![0; usize::try_from(reader.len()).unwrap_or(0)];
            reader.read_at(0, &mut sealed)?;
            Ok::<_, Failure>(Manifest::open(&sealed, &key, expected)?)
        });
        opened.await?
    }

    async fn name_sources(&self, from: Sent) -> Result<Vec<pods::PulledFrom>, Failure> {
        let names = DeviceNames::read(&self.node).await?;
        let mut sums = std::collections::BTreeMap::new();
        for (provider, bytes) in from {
            *sums.entry(provider).or_insert(0) += bytes;
        }
        let mut sources: Vec<_> = sums
            .into_iter()
            .filter(|(_, bytes)| *bytes > 0)
            .map(|(provider, bytes)| {
                let device = provider.peer();
                let name = match device {
                    Some(device) => names.name(&device),
                    None => "the bucket".to_owned(),
                };
                pods::PulledFrom {
                    name,
                    device,
                    bytes,
                }
            })
            .collect();
        sources.sort_by_key(|source| std::cmp::Reverse(source.bytes));
        Ok(sources)
    }
}

pub(crate) fn no_hub() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "the team has no hub, so no bucket")
        .hint("an admin names one with `podsync team set-hub URL`")
}

/// A private version that can't be rebuilt.
pub(crate) fn bytes_gone(reference: &str) -> ApiError {
    let text = format!("bytes of {reference} are gone from this machine, or damaged");
    ApiError::new(ErrorCode::Disk, text).hint("no other device has it: save the state again")
}

/// The announcement and the manifest must name the same packs: peers serve only announced ones.
fn check_announced(manifest: &Manifest, record: &VersionRecord) -> Result<(), Failure> {
    let announced: std::collections::BTreeMap<BlobId, u64> = record
        .packs()
        .iter()
        .map(|pack| (pack.id, pack.len))
        .collect();
    let sound = manifest.pod == record.publication.pod
        && manifest
            .packs
            .iter()
            .all(|pack| announced.get(&pack.id) == Some(&pack.len));
    if sound {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::Untrusted,
        "the manifest is of other packs or of another pod than its announcement",
    )
    .hint(format!("ask {} to share the version again", record.author))
    .into())
}

fn parts(manifest: &Manifest, needed: NeededUnits) -> Vec<Part> {
    let packs = manifest.packs.iter().zip(needed);
    let part = |(pack, units): (&PackRef, Units)| Part {
        blob: BlobRef {
            id: pack.id,
            len: pack.len,
        },
        units,
    };
    packs.map(part).collect()
}

fn pulled(
    held: HeldVersion,
    named: Named,
    sources: Vec<pods::PulledFrom>,
) -> Result<(HeldVersion, pods::Pulled), Failure> {
    let manifest = held.manifest().map_err(Failure::damaged)?;
    let pulled = pods::Pulled {
        reference: named.reference,
        version: named.found.version(),
        author: named.author,
        state_len: manifest.state_len,
        fetched: sources.iter().map(|source| source.bytes).sum(),
        sources,
    };
    Ok((held, pulled))
}
