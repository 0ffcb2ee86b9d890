//! Polls the hub: verifies its answer, hands it to the engine, and records the places of blobs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use podsync_api::hub::{Base64, Committed, FeedPage, Heads, HubErrorCode, PostOperations};
use podsync_bucket::{HeadsAnswer, HubClientError};
use podsync_core::{
    BlobId, DeviceId, OpId, TeamId,
    engine::{HubNews, Input},
    feed::{Entry, Head},
    membership::Operation,
    signed::{SignedPayload, Verified, verify},
    wire::{Liveness, MAX_HEADS},
};

use super::HubSync;
use crate::{
    error::Failure,
    hub::state::{Polled, TeamHub, placements::Placed},
};

/// Most operations in one post, and their bytes. A body has at most 8 MiB, and the operations are base64 in it.
const MAX_POSTED: usize = 512;
const MAX_POSTED_LEN: usize = 4 << 20;
/// Most requests in a row about one thing. The rest is left for the next poll.
const MAX_PAGES: usize = 1 << 12;

/// What came of asking a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Heard {
    /// What it knows.
    All,
    /// Where to ask instead.
    Moved,
}

/// What a hub says is newest, as far as it was signed.
struct OpenedHeads {
    membership: Vec<OpId>,
    feeds: Vec<Verified<Head>>,
    liveness: Vec<Verified<Liveness>>,
}

impl OpenedHeads {
    fn of(heads: Heads) -> Self {
        Self {
            feeds: open_all(&heads.feeds),
            liveness: open_all(&heads.liveness),
            membership: heads.membership,
        }
    }

    /// How far each feed reaches.
    fn reach(&self) -> Vec<(DeviceId, u64)> {
        let heads = self.feeds.iter();
        heads
            .map(|head| (head.signer(), head.value().seq))
            .collect()
    }
}

impl HubSync {
    /// Fetches what the hub has, or had at most `age` ago: operations, heads, entries, and the places of their
    /// blobs.
    pub(in crate::hub) async fn poll_hub(
        &self,
        team: TeamId,
        hub: &TeamHub,
        age: Duration,
    ) -> Result<Heard, Failure> {
        let mut polled = hub.polled.lock().await;
        let etag = polled.etag.clone();
        let answer = match self.ask(team, hub, etag.as_deref(), age).await? {
            Ok(answer) => answer,
            Err(moved @ HubClientError::Moved { .. }) => {
                return self.follow(team, hub, moved).await;
            }
            Err(error) => {
                if !is_of_teams_hub(&error) {
                    self.hubs.moves.forget(team, &hub.url);
                }
                return Err(error.into());
            }
        };
        if let HeadsAnswer::Changed { heads, etag } = answer {
            polled.etag = None;
            let named = heads.membership.clone();
            let opened = tokio::task::spawn_blocking(move || OpenedHeads::of(heads)).await?;
            if !age.is_zero() && self.goes_back(team, hub, &opened).await? {
                // Another replica has just told more: what this one knows now counts.
                drop(polled);
                return Box::pin(self.poll_hub(team, hub, Duration::ZERO)).await;
            }
            self.take_heads(team, hub, opened, &mut polled).await?;
            // Set only now, so that an incomplete poll is repeated.
            let whole = self.node.read(move |engine| {
                !engine.lacks_operations(&team, &named) && engine.hub_gaps(&team).is_empty()
            });
            polled.etag = if whole.await? { etag } else { None };
        }
        let now = self.hubs.clock.now().wall_ms;
        hub.note(|standing| standing.heard_ms = Some(now));
        Ok(Heard::All)
    }

    /// Asks for the heads. A hub that doesn't know this device or the team first gets the operations that made this
    /// device a member.
    async fn ask(
        &self,
        team: TeamId,
        hub: &TeamHub,
        etag: Option<&str>,
        age: Duration,
    ) -> Result<Result<HeadsAnswer, HubClientError>, Failure> {
        match hub.client.heads_within(etag, age).await {
            Err(error) if is_unknown_here(&error) => {}
            answer => return Ok(answer),
        }
        let operations = self
            .node
            .read(move |engine| engine.operations_beyond(&team, &[]));
        Ok(match post(hub, operations.await?).await {
            Ok(_) => hub.client.heads(None).await,
            Err(error) => Err(error),
        })
    }

    /// Has the team's hub asked where the one before says that it is. That has to be the word of a key that the
    /// team takes for its hub's: whoever took over the address can say what it likes.
    async fn follow(
        &self,
        team: TeamId,
        hub: &TeamHub,
        moved: HubClientError,
    ) -> Result<Heard, Failure> {
        let HubClientError::Moved { to, signer, .. } = &moved else {
            return Err(moved.into());
        };
        let signer = *signer;
        let speaks = self
            .node
            .read(move |engine| engine.is_hub_key(&team, &signer));
        if !speaks.await? || !self.hubs.moves.note(team, &hub.named, to) {
            self.hubs.moves.forget(team, &hub.url);
            return Err(moved.into());
        }
        tracing::info!(team = %team.short(), from = hub.url, to, "the team's hub is at another address");
        Ok(Heard::Moved)
    }

    /// Whether feeds that were read already, or the own one, end earlier there.
    async fn goes_back(
        &self,
        team: TeamId,
        hub: &TeamHub,
        heads: &OpenedHeads,
    ) -> Result<bool, Failure> {
        let reach = heads.reach();
        let own = reach.iter().find(|(device, _)| *device == self.device);
        if hub.standing().committed > own.map_or(0, |(_, seq)| *seq) {
            return Ok(true);
        }
        let places = self.hubs.places.clone();
        let read = tokio::task::spawn_blocking(move || places.read_up_to(team)).await??;
        let mut reach = reach.into_iter();
        Ok(reach.any(|(device, reach)| read.get(&device).is_some_and(|after| *after > reach)))
    }

    async fn take_heads(
        &self,
        team: TeamId,
        hub: &TeamHub,
        heads: OpenedHeads,
        polled: &mut Polled,
    ) -> Result<(), Failure> {
        self.take_operations(team, hub, &heads.membership).await?;
        let reach = heads.reach();
        let OpenedHeads {
            membership,
            feeds: heads,
            liveness,
        } = heads;
        polled.membership = membership;
        let news = HubNews::Heads { heads, liveness };
        self.node.input(Input::Hub { team, news }).await?;
        let own = reach.iter().find(|(device, _)| *device == self.device);
        let committed = own.map_or(0, |(_, seq)| *seq);
        hub.note(|standing| standing.committed = committed);
        self.read_feeds(team, hub, reach).await
    }

    async fn take_operations(
        &self,
        team: TeamId,
        hub: &TeamHub,
        named: &[OpId],
    ) -> Result<(), Failure> {
        for _ in 0..MAX_PAGES {
            let named = named.to_vec();
            let asked = self.node.read(move |engine| {
                let lacking = engine.lacks_operations(&team, &named);
                lacking.then(|| engine.membership_heads(&team))
            });
            let Some(known) = asked.await? else {
                return Ok(());
            };
            let page = hub.client.fetch_operations(known).await?;
            if page.operations.is_empty() {
                return Ok(());
            }
            let operations = page.operations;
            let opened =
                tokio::task::spawn_blocking(move || open_all::<Operation>(&operations)).await?;
            let news = HubNews::Operations(opened.into_iter().map(Arc::new).collect());
            self.node.input(Input::Hub { team, news }).await?;
            if !page.more {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads the feeds from where the last poll stopped, and whatever else is missing.
    async fn read_feeds(
        &self,
        team: TeamId,
        hub: &TeamHub,
        reach: Vec<(DeviceId, u64)>,
    ) -> Result<(), Failure> {
        let places = self.hubs.places.clone();
        let read = tokio::task::spawn_blocking(move || places.read_up_to(team)).await??;
        for (device, reach) in reach {
            let after = read.get(&device).copied().unwrap_or(0);
            // If the bucket was lost and made again, reading begins anew.
            let from = if after > reach { 1 } else { after + 1 };
            if from <= reach {
                self.read_feed(team, hub, device, from, reach).await?;
                self.note_read(team, device, reach).await?;
            }
        }
        // An entry that is still missing is left for the next poll. The hub doesn't have it, or this disk is
        // failing.
        let mut tried = BTreeSet::new();
        for _ in 0..MAX_PAGES {
            let gaps = self.node.read(move |engine| engine.hub_gaps(&team)).await?;
            let untried = gaps
                .iter()
                .find(|gap| tried.insert((gap.device, gap.from, gap.to)));
            let Some(gap) = untried else {
                return Ok(());
            };
            self.read_feed(team, hub, gap.device, gap.from, gap.to)
                .await?;
        }
        Ok(())
    }

    async fn read_feed(
        &self,
        team: TeamId,
        hub: &TeamHub,
        device: DeviceId,
        from: u64,
        to: u64,
    ) -> Result<(), Failure> {
        let mut to = to;
        for _ in 0..MAX_PAGES {
            let FeedPage { entries, more, .. } =
                hub.client.feed_page(device, from, Some(to)).await?;
            let opened = tokio::task::spawn_blocking(move || open_entries(entries));
            let (entries, places) = opened.await?;
            let oldest = entries.last().map(|entry| entry.header().seq);
            self.note_places(team, places).await?;
            let news = HubNews::Entries { device, entries };
            self.node.input(Input::Hub { team, news }).await?;
            match oldest {
                Some(oldest) if more && oldest > from && oldest <= to => to = oldest - 1,
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Records the places of blobs, and tells the engine that the bucket has them.
    pub(in crate::hub) async fn note_places(
        &self,
        team: TeamId,
        places: Vec<(BlobId, Placed)>,
    ) -> Result<(), Failure> {
        let log = self.hubs.places.clone();
        let noted = move || log.note(team, places, None);
        let blobs = tokio::task::spawn_blocking(noted).await??;
        self.tell_places(team, blobs).await
    }

    pub(in crate::hub) async fn tell_places(
        &self,
        team: TeamId,
        blobs: Vec<BlobId>,
    ) -> Result<(), Failure> {
        if blobs.is_empty() {
            return Ok(());
        }
        Ok(self.node.input(Input::BucketHas { team, blobs }).await?)
    }

    pub(in crate::hub) async fn note_read(
        &self,
        team: TeamId,
        device: DeviceId,
        seq: u64,
    ) -> Result<(), Failure> {
        let log = self.hubs.places.clone();
        let noted = move || log.note(team, Vec::new(), Some((device, seq)));
        tokio::task::spawn_blocking(noted).await??;
        Ok(())
    }

    /// Uploads the operations that the hub lacks, judging by the heads that it reported.
    pub(in crate::hub) async fn bring_operations(
        &self,
        team: TeamId,
        hub: &TeamHub,
    ) -> Result<(), Failure> {
        let mut polled = hub.polled.lock().await;
        let heads = polled.membership.clone();
        let lacking = self
            .node
            .read(move |engine| engine.operations_beyond(&team, &heads));
        let lacking = lacking.await?;
        if let Some(heads) = post(hub, lacking).await? {
            polled.membership = heads;
        }
        Ok(())
    }
}

/// Posts operations, parents first. Returns the hub's heads after that, or `None` if there was nothing to post.
async fn post(
    hub: &TeamHub,
    operations: Vec<Arc<[u8]>>,
) -> Result<Option<Vec<OpId>>, HubClientError> {
    let mut heads = None;
    let mut rest = &operations[..];
    while !rest.is_empty() {
        let mut len = 0;
        let fits = rest.iter().take(MAX_POSTED).take_while(|operation| {
            len += operation.len();
            len <= MAX_POSTED_LEN
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        let operations = now.iter().map(Base64::from).collect();
        heads = Some(
            hub.client
                .post_operations(&PostOperations { operations })
                .await?,
        );
        rest = later;
    }
    Ok(heads)
}

/// Whether the error says that the hub doesn't know the team, or this device in it.
fn is_unknown_here(error: &HubClientError) -> bool {
    let unknown_team = error
        .refusal()
        .is_some_and(|refusal| refusal.code == HubErrorCode::UnknownTeam);
    unknown_team || matches!(error, HubClientError::NotListed { .. })
}

/// Whether a hub that has the team answered, whatever it refuses. A bucket that refuses the hub doesn't make its
/// address wrong.
fn is_of_teams_hub(error: &HubClientError) -> bool {
    match error {
        HubClientError::Unreachable { .. }
        | HubClientError::NotTheHub { .. }
        | HubClientError::Garbled { .. }
        | HubClientError::Moved { .. } => false,
        HubClientError::Refused { error, .. } => error.code != HubErrorCode::UnknownTeam,
        HubClientError::Busy { .. }
        | HubClientError::NotListed { .. }
        | HubClientError::RoleTooLow { .. }
        | HubClientError::QuotaExceeded { .. }
        | HubClientError::BucketRefuses { .. } => true,
    }
}

/// Keeps the items of a hub's answer that verify. Others are only logged: a hub can leave items out anyway.
pub(super) fn open_all<T: SignedPayload>(items: &[Base64]) -> Vec<Verified<T>> {
    let opened = items.iter().take(MAX_HEADS.max(items.len().min(1 << 14)));
    opened
        .filter_map(|bytes| {
            verify::<T>(bytes)
                .inspect_err(
                    |error| tracing::error!(%error, "the hub sent something that nobody signed"),
                )
                .ok()
        })
        .collect()
}

/// Entries with the places of their blobs. They are proved by the head before them, in the engine.
fn open_entries(committed: Vec<Committed>) -> (Vec<Arc<Entry>>, Vec<(BlobId, Placed)>) {
    let mut entries = Vec::new();
    let mut places = Vec::new();
    for committed in committed {
        let entry = match Entry::decode(&committed.entry) {
            Ok(entry) => entry,
            Err(error) => {
                tracing::error!(%error, "the hub sent an entry that podsync can't decode");
                continue;
            }
        };
        let blobs = entry.header().blobs.iter().enumerate();
        let placed = blobs.zip(&committed.objects).map(|((at, blob), place)| {
            (blob.id, Placed::of(at, blob, place, &committed.outboards))
        });
        places.extend(placed);
        entries.push(Arc::new(entry));
    }
    (entries, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_whose_bucket_refuses_it_is_still_the_teams_hub() {
        let (hub, text) = ("127.0.0.1:1".to_owned(), "no".to_owned());
        assert!(is_of_teams_hub(&HubClientError::BucketRefuses {
            hub: hub.clone(),
            message: text.clone(),
        }));
        assert!(is_of_teams_hub(&HubClientError::Busy {
            hub: hub.clone(),
            reason: text.clone(),
            retry_after: None,
        }));
        assert!(!is_of_teams_hub(&HubClientError::Unreachable {
            hub: hub.clone(),
            reason: text.clone(),
            asked: true,
        }));
        assert!(!is_of_teams_hub(&HubClientError::NotTheHub {
            hub: hub.clone(),
            status: 502,
            retry_after: None,
        }));
        assert!(!is_of_teams_hub(&HubClientError::Garbled {
            hub,
            what: text
        }));
    }
}
