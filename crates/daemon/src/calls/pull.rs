//! Pull: resolve, manifest, packs, verified as they come; whoever has pulled serves from then on.

use std::{ops::Range, sync::Arc, time::Duration};

use podsync_api::{ApiError, ErrorCode, Progress, Stage, pods};
use podsync_core::{
    BlobId, DeviceId, TeamId,
    catalog::VersionRecord,
    engine::{EngineError, Event, Input, Want, WantedBlob},
    feed::BlobRef,
    manifest::Manifest,
};
use podsync_store::Held;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, timeout_at},
};

use super::views::{Found, Named};
use crate::{
    daemon::Daemon,
    failure::Failure,
    garbage,
    server::{Context, Handle},
    versions::{HeldVersion, Sealed},
};

impl Handle<pods::Pull> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: pods::Pull,
        context: Arc<Context>,
    ) -> Result<pods::Pulled, ApiError> {
        let team = self.team(&context).await?;
        Ok(self
            .pull(team, &call.reference, call.wait_s, &context)
            .await?
            .1)
    }
}

impl Daemon {
    /// Makes a version whole on this machine.
    pub(super) async fn pull(
        &self,
        team: TeamId,
        reference: &str,
        wait_s: u64,
        context: &Arc<Context>,
    ) -> Result<(HeldVersion, pods::Pulled), Failure> {
        let deadline = Instant::now() + Duration::from_secs(wait_s);
        let named = self
            .resolve_within(team, reference, deadline, context)
            .await?;
        let version = named.found.version();
        if let Some(held) = self.versions.get(team, version) {
            return pulled(held, named, Vec::new());
        }
        let Found::Shared(record) = named.found.clone() else {
            return Err(ApiError::new(
                ErrorCode::NotFound,
                format!(
                    "the packs of {} are gone from this machine",
                    named.reference
                ),
            )
            .hint("save the state again")
            .into());
        };
        let _turn = self.locks.lock(team, &record.publication.pod).await;
        if let Some(held) = self.versions.get(team, version) {
            return pulled(held, named, Vec::new());
        }
        let (held, from) = self.fetch_version(team, &record, deadline, context).await?;
        pulled(held, named, self.name_sources(from).await?)
    }

    /// Resolves; a version that nobody here has heard of may be on its way.
    async fn resolve_within(
        &self,
        team: TeamId,
        reference: &str,
        deadline: Instant,
        context: &Context,
    ) -> Result<Named, Failure> {
        let mut events = self.node.events();
        loop {
            let error = match self.resolve(team, reference).await.map_err(ApiError::from) {
                Ok(named) => return Ok(named),
                Err(error) if error.code == ErrorCode::NotFound => error,
                Err(error) => return Err(error.into()),
            };
            context.report(&Progress {
                stage: Stage::Finding,
                done: 0,
                total: None,
                providers: Vec::new(),
            });
            loop {
                match timeout_at(deadline, events.recv()).await {
                    Ok(Ok(Event::VersionHeard { .. }) | Err(RecvError::Lagged(_))) => break,
                    Ok(Ok(_)) => {}
                    Ok(Err(RecvError::Closed)) | Err(_) => return Err(error.into()),
                }
            }
        }
    }

    async fn fetch_version(
        &self,
        team: TeamId,
        record: &VersionRecord,
        deadline: Instant,
        context: &Arc<Context>,
    ) -> Result<(HeldVersion, Vec<(DeviceId, u64)>), Failure> {
        let announced = record.manifest();
        // Pinned until the record that names them is written: a collection must not take them.
        let mut pins = vec![self.blobs.pin(announced.id).await];
        let mut from = self
            .fetch(team, vec![announced], record, deadline, context)
            .await?;
        let epoch = record.entry.header().epoch;
        let manifest = self.open_manifest(team, record).await?;
        check_announced(&manifest, record)?;
        let packs: Vec<_> = manifest
            .packs
            .iter()
            .map(|pack| BlobRef {
                id: pack.id,
                len: pack.len,
            })
            .collect();
        for pack in &packs {
            pins.push(self.blobs.pin(pack.id).await);
        }
        let log = self.log.clone();
        let (version, named) = (
            record.version(),
            packs
                .iter()
                .map(|pack| pack.id)
                .chain([announced.id])
                .collect::<Vec<_>>(),
        );
        tokio::task::spawn_blocking(move || garbage::begin_pull(&log, team, version, &named))
            .await??;
        from.extend(self.fetch(team, packs, record, deadline, context).await?);
        fail::fail_point!("daemon::pull::packs");
        let sealed = Sealed {
            blob: announced,
            epoch,
        };
        let (plain, _) = manifest.to_version();
        let held = HeldVersion::new(record.publication.pod.clone(), sealed, plain, Vec::new());
        let (versions, log, recorded) =
            (Arc::clone(&self.versions), self.log.clone(), held.clone());
        tokio::task::spawn_blocking(move || {
            versions.put(team, recorded)?;
            garbage::end_pull(&log, team, version)
        })
        .await??;
        drop(pins);
        Ok((held, from))
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

    /// Fetches what is missing of some blobs; they are held when this returns.
    async fn fetch(
        &self,
        team: TeamId,
        blobs: Vec<BlobRef>,
        record: &VersionRecord,
        deadline: Instant,
        context: &Arc<Context>,
    ) -> Result<Vec<(DeviceId, u64)>, Failure> {
        let mut from = Vec::new();
        let wanted = self.missing(&blobs).await?;
        if !wanted.is_empty() {
            let patience = deadline.saturating_duration_since(Instant::now());
            let (failure, sent) = self
                .transfer(team, wanted, record.device(), patience, context)
                .await?;
            from = sent;
            if let Some(error) = failure {
                return Err(self.not_pulled(error).await?);
            }
        }
        for blob in &blobs {
            if !matches!(self.blobs.held(blob.id).await?, Held::Whole) {
                self.blobs.mark_held(blob.id).await?;
            }
            self.node
                .input(Input::Held {
                    blob: blob.id,
                    len: blob.len,
                    bytes: 0..blob.len,
                })
                .await?;
        }
        Ok(from)
    }

    async fn missing(&self, blobs: &[BlobRef]) -> Result<Vec<WantedBlob>, Failure> {
        let mut wanted = Vec::new();
        for &blob in blobs {
            match self.blobs.held(blob.id).await? {
                Held::Whole => {}
                Held::No => wanted.push(WantedBlob::whole(blob)),
                Held::Partial(ranges) => {
                    let missing = gaps(ranges.iter(), blob.len);
                    if !missing.is_empty() {
                        wanted.push(WantedBlob {
                            blob: blob.id,
                            len: blob.len,
                            missing,
                        });
                    }
                }
            }
        }
        Ok(wanted)
    }

    async fn transfer(
        &self,
        team: TeamId,
        blobs: Vec<WantedBlob>,
        prefer: DeviceId,
        patience: Duration,
        context: &Arc<Context>,
    ) -> Result<(Option<EngineError>, Vec<(DeviceId, u64)>), Failure> {
        let total: u64 = blobs
            .iter()
            .flat_map(|blob| &blob.missing)
            .map(|range| range.end - range.start)
            .sum();
        let want = Want {
            transfer: podsync_core::engine::TransferId(0),
            team,
            blobs,
            prefer: Some(prefer),
            patience,
        };
        let (mut progress, mut end) = self.node.want(want).await?;
        loop {
            tokio::select! {
                ended = &mut end => {
                    let ended = ended.map_err(|_| crate::node::Stopped)?;
                    return Ok((ended.result.err(), ended.from));
                }
                Ok(()) = progress.changed() => {
                    let seen = *progress.borrow_and_update();
                    let providers = match seen.providers {
                        0 => Vec::new(),
                        1 => vec!["1 provider".to_owned()],
                        n => vec![format!("{n} providers")],
                    };
                    context.report(&Progress { stage: Stage::Pulling, done: seen.bytes, total: Some(total), providers });
                }
            }
        }
    }

    /// Names who was asked in vain: somebody should look after that machine.
    async fn not_pulled(&self, error: EngineError) -> Result<Failure, Failure> {
        let EngineError::NoProvider { missing, failed } = &error else {
            return Ok(error.into());
        };
        if failed.is_empty() {
            return Ok(error.into());
        }
        let names = self.node.read(super::node::device_names).await?;
        let failed: Vec<_> = failed
            .iter()
            .map(|device| {
                names
                    .get(device)
                    .cloned()
                    .flatten()
                    .unwrap_or_else(|| device.short())
            })
            .collect();
        Ok(ApiError::new(
            ErrorCode::Unreachable,
            format!(
                "{missing} bytes are missing: {} offered them and didn't deliver, or sent other bytes",
                failed.join(", ")
            ),
        )
        .hint("try again when somebody else who holds the version is online; look into the disk and the daemon's log there")
        .into())
    }

    async fn name_sources(
        &self,
        from: Vec<(DeviceId, u64)>,
    ) -> Result<Vec<pods::PulledFrom>, Failure> {
        let names = self.node.read(super::node::device_names).await?;
        let mut sums = std::collections::BTreeMap::new();
        for (device, bytes) in from {
            *sums.entry(device).or_insert(0) += bytes;
        }
        let mut sources: Vec<_> = sums
            .into_iter()
            .filter(|(_, bytes)| *bytes > 0)
            .map(|(device, bytes)| {
                let name = names
                    .get(&device)
                    .cloned()
                    .flatten()
                    .unwrap_or_else(|| device.short());
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

/// What was announced in the clear and what the manifest says must be the same packs: peers serve
/// only what was announced.
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

/// What `held`, ascending, leaves of `0..len`.
fn gaps(held: impl Iterator<Item = Range<u64>>, len: u64) -> Vec<Range<u64>> {
    let mut gaps = Vec::new();
    let mut from = 0;
    for range in held {
        if from < range.start {
            gaps.push(from..range.start);
        }
        from = from.max(range.end);
    }
    if from < len {
        gaps.push(from..len);
    }
    gaps
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
