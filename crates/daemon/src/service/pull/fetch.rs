//! Parts of blobs that this machine lacks, fetched and held.
//!
//! What is here already is never fetched again, and what arrives counts only once it is synced: a part
//! is held when [`Fetcher::fetch`] returns, and a pull that is cut off goes on where it stopped.

use std::{sync::Arc, time::Duration};

use podsync_api::{ApiError, ErrorCode, Progress, Stage};
use podsync_core::{
    DeviceId, TeamId,
    engine::{EngineError, Event, Input, Provider, Sources, TransferId, Want, WantedBlob},
    feed::BlobRef,
    units::Units,
};
use podsync_store::{Blobs, Home, StoreError};
use tokio::time::Instant;

use crate::{
    call::Context,
    error::Failure,
    events::transfers::Transferring,
    hub::sync::HubSync,
    node::handle::Node,
    service::{
        absent::Absent,
        find::Finder,
        holdings::Holdings,
        names::{DeviceNames, bytes},
        pause::{Pause, is_paused},
    },
};

/// For whom it is fetched, and whom to ask first.
#[derive(Clone, Copy)]
pub(crate) struct Fetching<'a> {
    pub(crate) team: TeamId,
    pub(crate) prefer: DeviceId,
    pub(crate) sources: Sources,
    pub(crate) deadline: Instant,
    pub(crate) context: &'a Arc<Context>,
    /// Where everybody hears how far it is.
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

/// Fetches parts of blobs, from whoever the engine picks.
#[derive(Clone)]
pub(crate) struct Fetcher {
    pub(crate) node: Node,
    pub(crate) home: Arc<Home>,
    pub(crate) blobs: Blobs,
    pub(crate) holdings: Holdings,
    pub(crate) hubs: Arc<HubSync>,
    pub(crate) finder: Finder,
    pub(crate) pause: Arc<Pause>,
}

impl Fetcher {
    /// Fetches what is missing of some blobs; it is held when this returns.
    pub(crate) async fn fetch(
        &self,
        fetching: &Fetching<'_>,
        parts: &[Part],
    ) -> Result<Sent, Failure> {
        let mut from = Vec::new();
        let wanted = self.missing(parts).await?;
        if !wanted.is_empty() {
            self.pause.check()?;
            let total = wanted.iter().map(|want| want.missing.byte_len(want.len));
            let total = total.sum();
            self.home.ensure_room(total)?;
            let (failure, sent) = self.transfer(fetching, wanted, total).await?;
            from = sent;
            if let Some(error) = failure {
                return Err(self.not_fetched(error, fetching).await?);
            }
        }
        for part in parts.iter().filter(|part| !part.units.is_empty()) {
            self.settle(part).await?;
        }
        Ok(from)
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
        self.holdings.offer_blob(blob.id).await
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
                    // Of whichever transfer: who is absent here is absent there.
                    let seen = *progress.borrow();
                    if matches!(event, Event::TransferStarved { .. }) && seen.providers == 0 {
                        self.tell_who_is_missing(fetching, seen.bytes, total).await?;
                    }
                }
                ended = &mut end => {
                    let ended = ended.map_err(|_| crate::error::Stopped)?;
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

    /// Names who was asked in vain. Nobody is blamed but for bytes that fail their hash.
    async fn not_fetched(
        &self,
        error: EngineError,
        fetching: &Fetching<'_>,
    ) -> Result<Failure, Failure> {
        let EngineError::NoProvider {
            missing,
            blob,
            failed,
            lied,
        } = &error
        else {
            return Ok(error.into());
        };
        let missing = bytes(*missing);
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
                .hint(format!(
                    "podsync kept no wrong bytes: try again when another device that holds the version is online; \
                     `podsync verify` there tells what is damaged at {liars}"
                ))
                .into());
        }
        if failed.is_empty() && fetching.sources == Sources::Bucket {
            let text = format!(
                "the team's bucket lacks {missing}, those of blob {} among them",
                blob.short()
            );
            return Ok(ApiError::new(ErrorCode::Unreachable, text)
                .hint("leave out --source to take them from teammates; `podsync verify --bucket --repair` on a machine that holds the version puts them back")
                .into());
        }
        let author = names.name(&fetching.prefer);
        let trouble = self.hubs.trouble(fetching.team).await?;
        Ok(not_there(&missing, &named(failed), trouble, &author).into())
    }
}

/// Nobody who was reached has what is missing; `gone` are those who sent something before.
fn not_there(missing: &str, gone: &str, trouble: Option<String>, author: &str) -> ApiError {
    let trouble = trouble.map_or_else(String::new, |why| format!("; {why}"));
    let text = match gone {
        "" => format!("no connected device has the {missing} that are missing{trouble}"),
        gone => format!("{missing} are missing: {gone} went away or stopped sending{trouble}"),
    };
    ApiError::new(ErrorCode::Unreachable, text).hint(format!(
        "what arrived is kept: try again when {author}, who made the version, or someone who pulled it, is online"
    ))
}

fn patience(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_goes_away_is_told_as_that_and_not_as_damage() {
        let gone = not_there("1.5 MB", "bob/laptop", None, "alice/desk");
        assert_eq!(gone.code, ErrorCode::Unreachable);
        assert_eq!(
            gone.message,
            "1.5 MB are missing: bob/laptop went away or stopped sending"
        );
        let hint = gone.hint.unwrap();
        assert!(hint.contains("what arrived is kept") && hint.contains("alice/desk"));
        assert!(!hint.contains("verify") && !hint.contains("disk"), "{hint}");

        let trouble = Some("the hub at https://hub.example does not answer".to_owned());
        let never = not_there("1.5 MB", "", trouble, "alice/desk");
        assert_eq!(
            never.message,
            "no connected device has the 1.5 MB that are missing; the hub at https://hub.example does not answer"
        );
    }
}
