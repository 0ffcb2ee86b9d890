//! Parts of blobs that this machine lacks, fetched and held.
//!
//! What is here already is never fetched again, and what arrives counts only once it is synced: a part
//! is held when [`Daemon::fetch`] returns, and a pull that is cut off goes on where it stopped.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use podsync_api::{ApiError, ErrorCode, Progress, Stage};
use podsync_core::{
    BlobId, DeviceId, TeamId,
    engine::{EngineError, Input, Provider, Sources, TransferId, Want, WantedBlob},
    feed::BlobRef,
    units::Units,
};
use podsync_store::StoreError;
use tokio::time::Instant;

use crate::{daemon::Daemon, failure::Failure, packs::held_inputs, server::Context};

/// For whom it is fetched, and whom to ask first.
pub(super) struct Fetching<'a> {
    pub(super) team: TeamId,
    pub(super) prefer: DeviceId,
    pub(super) sources: Sources,
    pub(super) deadline: Instant,
    pub(super) context: &'a Arc<Context>,
}

/// What is needed of a blob.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) blob: BlobRef,
    pub(super) units: Units,
}

impl Part {
    pub(super) fn whole(blob: BlobRef) -> Self {
        let units = Units::whole(blob.len);
        Self { blob, units }
    }
}

/// Providers, and the bytes that each of them sent.
pub(super) type Sent = Vec<(Provider, u64)>;

impl Daemon {
    /// Fetches what is missing of some blobs; it is held when this returns.
    pub(super) async fn fetch(
        &self,
        fetching: &Fetching<'_>,
        parts: &[Part],
    ) -> Result<Sent, Failure> {
        let mut from = Vec::new();
        let wanted = self.missing(parts).await?;
        if !wanted.is_empty() {
            let total = wanted.iter().map(|want| want.missing.byte_len(want.len));
            let total = total.sum();
            self.home.ensure_room(total)?;
            let (failure, sent) = self.transfer(fetching, wanted, total).await?;
            from = sent;
            if let Some(error) = failure {
                return Err(self.not_fetched(error, fetching.sources).await?);
            }
        }
        for part in parts.iter().filter(|part| !part.units.is_empty()) {
            self.settle(part).await?;
        }
        Ok(from)
    }

    /// Tells the engine what of a blob can be served from here.
    pub(super) async fn offer_blob(&self, blob: BlobId) -> Result<(), Failure> {
        if let Some(holding) = self.blobs.held(blob)? {
            for input in held_inputs(blob, holding) {
                self.node.input(input).await?;
            }
        }
        Ok(())
    }

    /// A pack that was found damaged counts as held no more: it isn't served or built on, and a pull
    /// fetches it anew. So do the shared ones of `packs`, the others that were read: where one is
    /// damaged more may be, and the pull checks them all.
    pub(super) async fn doubting<T>(
        &self,
        team: TeamId,
        packs: Vec<BlobId>,
        result: Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Err(failure) = result else { return result };
        let Some(damaged) = failure.damaged else {
            return Err(failure);
        };
        let shared = self.node.read(move |engine| {
            let catalog = engine.catalog(&team);
            let packs = packs.into_iter().chain([damaged]);
            packs
                .filter(|pack| catalog.is_some_and(|catalog| catalog.is_shared(pack)))
                .collect::<BTreeSet<_>>()
        });
        let mut doubted = shared.await?;
        let failure = if doubted.insert(damaged) {
            failure.hint("save the state again: nobody else has these bytes")
        } else {
            failure
        };
        for blob in doubted {
            self.blobs.doubt(blob).await?;
            self.node.input(Input::Evicted { blob }).await?;
        }
        Err(failure)
    }

    async fn missing(&self, parts: &[Part]) -> Result<Vec<WantedBlob>, Failure> {
        let mut wanted = Vec::new();
        for Part { blob, units } in parts {
            let held = self.held_units(blob)?;
            if held.contains(*units) {
                continue;
            }
            let here = self.blobs.resume(blob.id, blob.len).await?;
            if here.is_empty() && !held.is_empty() {
                self.node.input(Input::Evicted { blob: blob.id }).await?;
            }
            let missing = units.without(here);
            if !missing.is_empty() {
                wanted.push(WantedBlob {
                    blob: blob.id,
                    len: blob.len,
                    missing,
                });
            }
        }
        Ok(wanted)
    }

    fn held_units(&self, blob: &BlobRef) -> Result<Units, Failure> {
        let holding = self.blobs.held(blob.id)?;
        let holding = holding.filter(|holding| holding.len == blob.len);
        Ok(holding.map_or(Units::NONE, |holding| holding.units))
    }

    /// Makes durable what of a part isn't yet, and offers it.
    async fn settle(&self, part: &Part) -> Result<(), Failure> {
        let Part { blob, units } = part;
        if !self.held_units(blob)?.contains(*units)
            && !self
                .blobs
                .mark_held(blob.id, blob.len)
                .await?
                .contains(*units)
        {
            return Err(StoreError::NotHeld { id: blob.id }.into());
        }
        self.offer_blob(blob.id).await
    }

    async fn transfer(
        &self,
        fetching: &Fetching<'_>,
        blobs: Vec<WantedBlob>,
        total: u64,
    ) -> Result<(Option<EngineError>, Sent), Failure> {
        let want = Want {
            transfer: TransferId(0),
            team: fetching.team,
            blobs,
            prefer: Some(fetching.prefer),
            sources: fetching.sources,
            patience: patience(fetching.deadline),
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
                    let progress = Progress::new(Stage::Pulling, seen.bytes, Some(total));
                    fetching.context.report(&Progress { providers, ..progress });
                }
            }
        }
    }

    /// Names who was asked in vain: somebody should look after that machine.
    async fn not_fetched(&self, error: EngineError, sources: Sources) -> Result<Failure, Failure> {
        let EngineError::NoProvider {
            missing,
            blob,
            failed,
        } = &error
        else {
            return Ok(error.into());
        };
        if failed.is_empty() && sources == Sources::Bucket {
            let text = format!(
                "the team's bucket lacks {missing} bytes, those of blob {} among them",
                blob.short()
            );
            return Ok(ApiError::new(ErrorCode::Unreachable, text)
                .hint("leave out --source to take them from teammates; `podsync verify --bucket --repair` on a machine that holds the version puts them back")
                .into());
        }
        if failed.is_empty() {
            return Ok(error.into());
        }
        let names = self.node.read(super::node::device_names).await?;
        let failed: Vec<_> = failed
            .iter()
            .map(|provider| match provider {
                Provider::Peer(device) => names
                    .get(device)
                    .cloned()
                    .flatten()
                    .unwrap_or_else(|| device.short()),
                Provider::Bucket => "the bucket".to_owned(),
            })
            .collect();
        Ok(ApiError::new(
            ErrorCode::Unreachable,
            format!(
                "{missing} bytes are missing, those of blob {} among them: {} offered them and didn't deliver, or sent other bytes",
                blob.short(),
                failed.join(", ")
            ),
        )
        .hint("try again when somebody else who holds the version is online; look into the disk and the daemon's log there")
        .into())
    }
}

fn patience(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
