//! Fetches parts of blobs that this machine lacks, and records them as held.
//!
//! Parts that are here are never fetched again. A part counts as held only once it is synced, at the latest when
//! [`Fetcher::fetch`] returns. So an interrupted pull goes on where it stopped.

use std::{sync::Arc, time::Duration};

use podsync_api::{ApiError, ErrorCode, Progress, Stage};
use podsync_core::{
    BlobId, DeviceId, TeamId,
    engine::{EngineError, Event, Input, Provider, Sources, TransferId, Want, WantedBlob},
    feed::BlobRef,
    units::Units,
};
use podsync_store::{Blobs, Home, StoreError};
use tokio::time::Instant;

use crate::{
    call::Context,
    error::{Failure, Stopped},
    events::transfers::Transferring,
    hub::{state::NotSent, sync::HubSync},
    node::handle::Node,
    reach::{CUT_OFF, Reach},
    service::{
        absent::Absent,
        find::Finder,
        holdings::Holdings,
        names::{DeviceNames, bytes},
        pause::{Pause, is_paused},
        pull::lack::{AtTheBucket, Author, Lack, mending},
    },
};

/// The team of a fetch, its sources, and the device to ask first.
#[derive(Clone, Copy)]
pub(crate) struct Fetching<'a> {
    pub(crate) team: TeamId,
    /// What is fetched, as people see it: a version and its size, or packs.
    pub(crate) wanted: &'a str,
    pub(crate) prefer: DeviceId,
    pub(crate) sources: Sources,
    pub(crate) deadline: Instant,
    pub(crate) context: &'a Arc<Context>,
    /// Publishes the progress for all listeners.
    pub(crate) told: Option<&'a Transferring>,
}

/// What is needed of a blob.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) blob: BlobRef,
    pub(crate) units: Units,
}

impl Part {
    pub(crate) fn whole(blob: BlobRef) -> Self {
        let units = Units::whole(blob.len);
        Self { blob, units }
    }
}

/// Providers, and the bytes that each of them sent.
pub(crate) type Sent = Vec<(Provider, u64)>;

/// Fetches parts of blobs from providers that the engine picks.
#[derive(Clone)]
pub(crate) struct Fetcher {
    pub(crate) node: Node,
    pub(crate) home: Arc<Home>,
    pub(crate) blobs: Blobs,
    pub(crate) holdings: Holdings,
    pub(crate) hubs: Arc<HubSync>,
    pub(crate) finder: Finder,
    pub(crate) pause: Arc<Pause>,
    pub(crate) reach: Reach,
}

impl Fetcher {
    /// Fetches the missing parts of some blobs. They are held when this returns.
    pub(crate) async fn fetch(
        &self,
        fetching: &Fetching<'_>,
        parts: &[Part],
    ) -> Result<Sent, Failure> {
        let mut from = self.fetch_missing(fetching, parts).await?;
        let lost = self.settle(parts).await?;
        if lost.is_empty() {
            return Ok(from);
        }
        // The store knows bytes whose file is gone, and would not ask for them again.
        for blob in &lost {
            tracing::warn!(blob = %blob.short(), "what arrived is not on the disk any more; podsync fetches it again");
            self.blobs.forget(*blob).await?;
            self.note_gone(*blob).await?;
        }
        from.extend(self.fetch_missing(fetching, parts).await?);
        match self.settle(parts).await?.first() {
            Some(id) => Err(StoreError::NotHeld { id: *id }.into()),
            None => Ok(from),
        }
    }

    async fn fetch_missing(
        &self,
        fetching: &Fetching<'_>,
        parts: &[Part],
    ) -> Result<Sent, Failure> {
        let wanted = self.missing(parts).await?;
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        self.pause.check()?;
        let total = wanted.iter().map(|want| want.missing.byte_len(want.len));
        let total = total.sum();
        self.home.ensure_room(total)?;
        let begun = Instant::now();
        let (failure, from) = self.transfer(fetching, wanted, total).await?;
        match failure {
            Some(error) => Err(self.blamed(self.not_fetched(error, fetching, parts, begun).await?)),
            None => Ok(from),
        }
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
                self.note_gone(blob.id).await?;
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

    async fn note_gone(&self, blob: BlobId) -> Result<(), Failure> {
        self.holdings.versions.note_held(blob, false);
        Ok(self.node.input(Input::Evicted { blob }).await?)
    }

    fn held_units(&self, blob: &BlobRef) -> Result<Units, Failure> {
        let holding = self.blobs.held(blob.id)?;
        let holding = holding.filter(|holding| holding.len == blob.len);
        Ok(holding.map_or(Units::NONE, |holding| holding.units))
    }

    /// Syncs parts, records them as held and offers them to peers. Returns the blobs that are not on the disk though
    /// the store had taken all of their bytes.
    async fn settle(&self, parts: &[Part]) -> Result<Vec<BlobId>, Failure> {
        let mut lost = Vec::new();
        for Part { blob, units } in parts.iter().filter(|part| !part.units.is_empty()) {
            if !self.held_units(blob)?.contains(*units) {
                match self.blobs.mark_held(blob.id, blob.len).await {
                    Ok(held) if held.contains(*units) => {}
                    Ok(_) | Err(StoreError::NotHeld { .. }) => {
                        lost.push(blob.id);
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            self.holdings.offer_blob(blob.id).await?;
        }
        Ok(lost)
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
        if let Some(told) = fetching.told {
            told.begin_part(total);
        }
        let mut events = self.node.events();
        let (mut progress, mut end) = self.node.want(want).await?;
        loop {
            tokio::select! {
                () = self.pause.begun() => return Err(is_paused().into()),
                Ok(event) = events.recv() => {
                    // This applies to all transfers: a device that is absent for one is absent for all.
                    let seen = *progress.borrow();
                    if matches!(event, Event::TransferStarved { .. }) && seen.providers == 0 {
                        self.tell_who_is_missing(fetching, seen.bytes, total).await?;
                    }
                }
                ended = &mut end => {
                    let ended = ended.map_err(|_| Stopped)?;
                    return Ok((ended.result.err(), ended.from));
                }
                Ok(()) = progress.changed() => {
                    let seen = *progress.borrow_and_update();
                    if let Some(told) = fetching.told {
                        told.moved(seen.bytes, seen.providers);
                    }
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

    async fn tell_who_is_missing(
        &self,
        fetching: &Fetching<'_>,
        done: u64,
        total: u64,
    ) -> Result<(), Failure> {
        let absent = Absent::read(&self.node, self.finder.device, fetching.team).await?;
        let hub = match self.hubs.hub(fetching.team).await {
            Ok(None) => None,
            Ok(Some(_)) => Some(self.hubs.trouble(fetching.team).await?.is_none()),
            Err(_) => Some(false),
        };
        if let Some(line) = absent.line(hub) {
            fetching.context.report(&Progress {
                waiting: Some(line),
                ..Progress::new(Stage::Pulling, done, Some(total))
            });
        }
        Ok(())
    }

    /// The missing bytes of these parts, and whether anything of their blobs is here. Parts are requested in order,
    /// so a provider that lacks the first one lacks the blob.
    async fn lacking(&self, parts: &[Part]) -> Result<(u64, bool), Failure> {
        let (mut lacking, mut has_begun) = (0, false);
        for Part { blob, units } in parts {
            let here = self.blobs.resume(blob.id, blob.len).await?;
            has_begun |= !here.is_empty();
            if !here.contains(*units) {
                lacking += Units::whole(blob.len).without(here).byte_len(blob.len);
            }
        }
        Ok((lacking, has_begun))
    }

    /// Says first what is this machine's own outage.
    fn blamed(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Api(error)
                if error.code == ErrorCode::Unreachable && self.reach.is_cut_off() =>
            {
                let text = format!("{CUT_OFF}. {}", error.message);
                Failure::Api(ApiError {
                    message: text,
                    hint: Some(
                        "check this machine's network: a pull goes on where it stopped".to_owned(),
                    ),
                    ..error
                })
            }
            other => other,
        }
    }

    /// Names the providers that were asked in vain since the transfer was begun. A provider is blamed only for bytes
    /// that fail their hash.
    async fn not_fetched(
        &self,
        error: EngineError,
        fetching: &Fetching<'_>,
        parts: &[Part],
        begun: Instant,
    ) -> Result<Failure, Failure> {
        let EngineError::NoProvider {
            missing: _,
            blob,
            failed,
            lied,
            damaged,
        } = &error
        else {
            return Ok(error.into());
        };
        let (lacking, has_begun) = self.lacking(parts).await?;
        let missing = bytes(lacking);
        let names = DeviceNames::read(&self.node).await?;
        let named = |providers: &[Provider]| {
            let name = |provider: &Provider| match provider {
                Provider::Peer(device) => names.name(device),
                Provider::Bucket => "the team's bucket".to_owned(),
            };
            providers.iter().map(name).collect::<Vec<_>>().join(", ")
        };
        if !lied.is_empty() {
            let liars = named(lied);
            let text = format!(
                "{missing} are missing: {liars} sent bytes that fail their hash, and no other device that podsync could reach has them"
            );
            return Ok(ApiError::new(ErrorCode::Untrusted, text)
                .hint(mending(lied, &liars))
                .into());
        }
        let standing = self.at_the_bucket(fetching, failed, begun).await?;
        if failed.is_empty() && fetching.sources == Sources::Bucket && standing.lacks_it {
            let text = format!(
                "the team's bucket lacks {missing} of {}, those of blob {} among them",
                fetching.wanted,
                blob.short()
            );
            return Ok(ApiError::new(ErrorCode::Unreachable, text)
                .hint("leave out --source to take them from teammates; `podsync verify --bucket --repair` on a machine that holds the version puts them back")
                .into());
        }
        // A bucket that was not asked, or that said why it sends nothing, didn't go away.
        let is_explained = standing.trouble.is_some() || standing.refusal.is_some();
        let gone = failed
            .iter()
            .filter(|provider| **provider != Provider::Bucket || !is_explained);
        let gone = gone.copied().collect::<Vec<_>>();
        let is_own_damage = parts
            .iter()
            .any(|part| self.holdings.versions.has_lost(fetching.team, part.blob.id));
        let author = Author {
            name: names.name(&fetching.prefer),
            is_online: !gone.contains(&Provider::Peer(fetching.prefer))
                && self.is_online(fetching.team, fetching.prefer).await?,
            is_this_device: fetching.prefer == self.finder.device,
        };
        let lack = Lack {
            wanted: fetching.wanted,
            missing: lacking,
            has_begun,
            is_bucket_alone: fetching.sources == Sources::Bucket,
            is_own_damage,
            damaged: named(damaged),
            bucket: standing,
        };
        Ok(lack.told(&named(&gone), &author).into())
    }

    async fn is_online(&self, team: TeamId, device: DeviceId) -> Result<bool, Stopped> {
        self.node
            .read(move |engine| engine.connected(&team).contains(&device))
            .await
    }

    /// What is known of the bucket after a transfer that was begun then.
    async fn at_the_bucket(
        &self,
        fetching: &Fetching<'_>,
        failed: &[Provider],
        begun: Instant,
    ) -> Result<AtTheBucket, Failure> {
        if fetching.sources == Sources::Peers {
            return Ok(AtTheBucket {
                trouble: self.hubs.trouble(fetching.team).await?,
                ..AtTheBucket::default()
            });
        }
        let hub = self.hubs.hub(fetching.team).await.ok().flatten();
        let not_sent = hub
            .as_ref()
            .filter(|_| failed.contains(&Provider::Bucket))
            .and_then(|hub| hub.not_sent_since(begun));
        let (trouble, refusal) = match not_sent {
            Some(NotSent {
                message,
                is_hubs: true,
                ..
            }) => (Some(message), None),
            Some(NotSent { message, hint, .. }) => (None, Some((message, hint))),
            None => (self.hubs.trouble(fetching.team).await?, None),
        };
        let was_heard = hub.is_some_and(|hub| hub.standing().heard_ms.is_some());
        Ok(AtTheBucket {
            lacks_it: was_heard && trouble.is_none() && !failed.contains(&Provider::Bucket),
            trouble,
            refusal,
        })
    }
}

fn patience(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
