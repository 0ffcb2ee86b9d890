//! Fetches parts of blobs that this machine lacks, and records them as held.
//!
//! Parts that are here are never fetched again. A part counts as held only once it is synced, at the latest when
//! [`Fetcher::fetch`] returns. So an interrupted pull goes on where it stopped.

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
    reach::{CUT_OFF, Reach},
    service::{
        absent::Absent,
        find::Finder,
        holdings::Holdings,
        names::{DeviceNames, bytes},
        pause::{Pause, is_paused},
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
                return Err(self.blamed(self.not_fetched(error, fetching, parts).await?));
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

    /// Syncs a part, records it as held and offers it to peers.
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
                    // This applies to all transfers: a device that is absent for one is absent for all.
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

    /// Names the providers that were asked in vain. A provider is blamed only for bytes that fail their hash.
    async fn not_fetched(
        &self,
        error: EngineError,
        fetching: &Fetching<'_>,
        parts: &[Part],
    ) -> Result<Failure, Failure> {
        let EngineError::NoProvider {
            missing: _,
            blob,
            failed,
            lied,
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
        if failed.is_empty() && fetching.sources == Sources::Bucket {
            let text = format!(
                "the team's bucket lacks {missing} of {}, those of blob {} among them",
                fetching.wanted,
                blob.short()
            );
            return Ok(ApiError::new(ErrorCode::Unreachable, text)
                .hint("leave out --source to take them from teammates; `podsync verify --bucket --repair` on a machine that holds the version puts them back")
                .into());
        }
        let author = names.name(&fetching.prefer);
        let trouble = self.hubs.trouble(fetching.team).await?;
        let has_hub = !matches!(self.hubs.hub(fetching.team).await, Ok(None));
        let lack = Lack {
            wanted: fetching.wanted,
            missing: lacking,
            has_begun,
            bucket_lacks: has_hub && trouble.is_none() && fetching.sources != Sources::Peers,
            trouble,
        };
        Ok(lack.told(&named(failed), &author).into())
    }
}

/// The hint on how providers that sent wrong bytes can repair their copy.
fn mending(lied: &[Provider], liars: &str) -> String {
    let mut hint = "podsync kept no wrong bytes: try again when another device that holds the version is online"
        .to_owned();
    if lied.contains(&Provider::Bucket) {
        hint.push_str(
            "; `podsync verify --bucket --repair` on a machine that holds the version puts right ones into the bucket",
        );
    }
    if lied.iter().any(|provider| *provider != Provider::Bucket) {
        hint = format!("{hint}; `podsync verify` tells what is damaged, at {liars}");
    }
    hint
}

/// A fetch that no reached provider could complete.
struct Lack<'a> {
    wanted: &'a str,
    missing: u64,
    /// Whether a part arrived.
    has_begun: bool,
    /// Whether the hub answers, but its bucket lacks the missing parts.
    bucket_lacks: bool,
    /// Why the hub can't be used.
    trouble: Option<String>,
}

impl Lack<'_> {
    /// `gone` are providers that sent something and then disconnected.
    fn told(&self, gone: &str, author: &str) -> ApiError {
        let missing = bytes(self.missing);
        let wanted = self.wanted;
        let mut text = match (gone, self.has_begun) {
            ("", false) => format!("nobody who is online has {wanted}"),
            ("", true) => format!("nobody who is online has the missing {missing} of {wanted}"),
            (gone, _) => {
                format!("{missing} of {wanted} are missing: {gone} went away or stopped sending")
            }
        };
        let mut hint = format!(
            "try again when {author}, who made the version, or someone who pulled it, is online"
        );
        if self.has_begun {
            hint = format!("what arrived is kept: {hint}");
        }
        if let Some(trouble) = &self.trouble {
            text = format!("{text}; {trouble}");
        } else if self.bucket_lacks && gone.is_empty() {
            text = format!("{text}; the team's bucket lacks {missing} of it");
            hint.push_str(
                "; `podsync verify --bucket --repair` on a machine that holds the version puts it back into the bucket",
            );
        }
        ApiError::new(ErrorCode::Unreachable, text).hint(hint)
    }
}

fn patience(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LACK: Lack<'static> = Lack {
        wanted: "gamma:1 (3.0 MB)",
        missing: 1_500_000,
        has_begun: true,
        bucket_lacks: false,
        trouble: None,
    };

    #[test]
    fn a_provider_that_goes_away_is_told_as_that_and_not_as_damage() {
        let gone = LACK.told("bob/laptop", "alice/desk");
        assert_eq!(gone.code, ErrorCode::Unreachable);
        assert_eq!(
            gone.message,
            "1.5 MB of gamma:1 (3.0 MB) are missing: bob/laptop went away or stopped sending"
        );
        let hint = gone.hint.unwrap();
        assert!(hint.contains("what arrived is kept") && hint.contains("alice/desk"));
        assert!(!hint.contains("verify") && !hint.contains("disk"), "{hint}");
    }

    #[test]
    fn what_nobody_has_is_named_and_nothing_is_said_to_be_kept_where_nothing_arrived() {
        let never = Lack {
            has_begun: false,
            trouble: Some("the hub at https://hub.example does not answer".to_owned()),
            ..LACK
        };
        let never = never.told("", "alice/desk");
        assert_eq!(
            never.message,
            "nobody who is online has gamma:1 (3.0 MB); the hub at https://hub.example does not answer"
        );
        let hint = never.hint.unwrap();
        assert!(!hint.contains("is kept"), "{hint}");
    }

    #[test]
    fn wrong_bytes_in_the_bucket_are_mended_in_the_bucket() {
        let hint = mending(&[Provider::Bucket], "the team's bucket");
        assert!(
            hint.contains("`podsync verify --bucket --repair`"),
            "{hint}"
        );
        assert!(!hint.contains("`podsync verify`"), "{hint}");
        let peer = mending(
            &[Provider::Peer(DeviceId::from_bytes([1; 32]))],
            "bob/laptop",
        );
        assert!(
            peer.contains("`podsync verify`") && !peer.contains("--bucket"),
            "{peer}"
        );
    }

    #[test]
    fn what_the_bucket_lacks_is_told_with_the_way_to_put_it_back() {
        let lack = Lack {
            missing: 3_003_814,
            has_begun: false,
            bucket_lacks: true,
            ..LACK
        };
        let lack = lack.told("", "alice/desk");
        assert!(
            lack.message
                .ends_with("the team's bucket lacks 3.0 MB of it"),
            "{lack}"
        );
        let hint = lack.hint.unwrap();
        assert!(
            hint.contains("`podsync verify --bucket --repair`"),
            "{hint}"
        );
    }
}
