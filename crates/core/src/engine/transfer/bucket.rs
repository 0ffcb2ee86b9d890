//! When the bucket is asked: for what no peer has, and for what those who have it don't send.
//!
//! A request to the bucket costs money and a way out of the office, so whatever a peer can be expected
//! to send is left to peers. How long that is expected of a peer that has gone quiet is a matter of
//! seconds, not of the longer time after which its fetches are given up.

use std::{ops::Range, time::Duration};

use super::{
    ANSWERED_WITHIN, Account, MAX_AT_BUCKET, MAX_BUCKET_RANGE_UNITS, MIN_BUCKET_RANGE_UNITS,
    MIN_RANGE_UNITS, Provider, Slots, Transfer,
};
use crate::{engine::provider::Sources, id::BlobId, units::Units};

impl Transfer {
    /// When the bucket may be asked at all, if peers may be too.
    pub(super) fn bucket_opens(sources: Sources, now: Duration) -> Option<Duration> {
        (sources == Sources::Any).then_some(now + ANSWERED_WITHIN)
    }

    /// Whether the bucket waits for members to say what they have.
    pub fn awaits_answers(&self) -> bool {
        self.bucket_from.is_some()
    }

    /// All connected members have said what they have.
    pub fn peers_answered(&mut self) {
        self.bucket_from = None;
    }

    pub(super) fn bucket_is_open(&self, now: Duration) -> bool {
        self.bucket_from.is_none_or(|from| from <= now)
    }

    /// Peers that can be expected to send what they have.
    pub(super) fn usable_peers(&self, slots: &Slots) -> Vec<&Account> {
        self.providers
            .iter()
            .filter(|(provider, account)| is_usable_peer(provider, account, slots))
            .map(|(_, account)| account)
            .collect()
    }

    /// Whether a fetch is at a provider that the bucket doesn't step in for.
    pub(super) fn is_in_good_hands(&self, provider: &Provider, slots: &Slots) -> bool {
        self.providers
            .get(provider)
            .is_some_and(|account| is_usable_peer(provider, account, slots))
    }

    /// Whether the bucket can be asked for something right now.
    pub(super) fn bucket_is_at_hand(&self, now: Duration) -> bool {
        let account = self.providers.get(&Provider::Bucket);
        self.bucket_is_open(now) && account.is_some_and(|bucket| bucket.rests_until <= now)
    }

    /// How much to ask of the bucket at once: whole packs where there is much, and at the end no less
    /// than is worth a request.
    pub(super) fn longest_for_bucket(&self) -> u64 {
        (self.units_left() / MAX_AT_BUCKET as u64)
            .clamp(MIN_BUCKET_RANGE_UNITS, MAX_BUCKET_RANGE_UNITS)
    }
}

/// What of a blob is left to these peers.
pub(super) fn left_to(peers: &[&Account], blob: &BlobId) -> Units {
    let haves = peers.iter().filter_map(|account| account.have.get(blob));
    haves.fold(Units::NONE, |all, have| all | *have)
}

/// Whether it didn't fail last time, and isn't quiet.
fn is_usable_peer(provider: &Provider, account: &Account, slots: &Slots) -> bool {
    provider.peer().is_some() && account.promises() && !account.banned && !slots.is_quiet(provider)
}

/// The beginning of the longest run: the bucket doesn't mind who asks it for what, and whole runs are
/// fewer requests than random pieces.
pub(super) fn cut(units: Units, longest: u64) -> Option<Range<u64>> {
    let run = units.runs().max_by_key(|run| run.end - run.start)?;
    let end = if run.end - run.start < longest + MIN_RANGE_UNITS {
        run.end
    } else {
        run.start + longest
    };
    Some(run.start..end.min(run.start + MAX_BUCKET_RANGE_UNITS))
}
