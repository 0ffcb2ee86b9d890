//! Decides when to use the bucket: for data that no peer has, or that the peers with it don't send.
//!
//! A request to the bucket costs money and leaves the local network, so peers come first. A peer that
//! goes quiet for a few seconds no longer counts; its fetches are given up only much later.

use std::{ops::Range, time::Duration};

use super::{
    ANSWERED_WITHIN, Account, MAX_AT_BUCKET, MAX_BUCKET_RANGE_UNITS, MIN_BUCKET_RANGE_UNITS,
    MIN_RANGE_UNITS, Provider, Slots, Transfer,
};
use crate::{engine::provider::Sources, id::BlobId, units::Units};

impl Transfer {
    /// The earliest time for the bucket, if peers may be used too.
    pub(super) fn bucket_opens(sources: Sources, now: Duration) -> Option<Duration> {
        (sources == Sources::Any).then_some(now + ANSWERED_WITHIN)
    }

    /// Whether members may still say what they have.
    pub fn awaits_answers(&self) -> bool {
        self.answers_by.is_some()
    }

    /// Records that all connected members have said what they have.
    pub fn peers_answered(&mut self) {
        self.bucket_from = None;
        self.answers_by = None;
    }

    pub(super) fn bucket_is_open(&self, now: Duration) -> bool {
        self.bucket_from.is_none_or(|from| from <= now)
    }

    /// Peers that are expected to send what they have.
    pub(super) fn usable_peers(&self, slots: &Slots) -> Vec<&Account> {
        self.providers
            .iter()
            .filter(|(provider, account)| is_usable_peer(provider, account, slots))
            .map(|(_, account)| account)
            .collect()
    }

    /// Whether a fetch is at a provider that the bucket doesn't replace.
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

    /// The longest range to request from the bucket: whole packs if much is missing, and at the end
    /// at least the minimum that is worth a request.
    pub(super) fn longest_for_bucket(&self) -> u64 {
        (self.units_left() / MAX_AT_BUCKET as u64)
            .clamp(MIN_BUCKET_RANGE_UNITS, MAX_BUCKET_RANGE_UNITS)
    }
}

/// The units of a blob that these peers are expected to send.
pub(super) fn left_to(peers: &[&Account], blob: &BlobId) -> Units {
    let haves = peers.iter().filter_map(|account| account.have.get(blob));
    haves.fold(Units::NONE, |all, have| all | *have)
}

/// Whether a peer's last fetch didn't fail and it isn't quiet.
fn is_usable_peer(provider: &Provider, account: &Account, slots: &Slots) -> bool {
    provider.peer().is_some() && account.promises() && !account.banned && !slots.is_quiet(provider)
}

/// The start of the longest run. Random pieces would only mean more requests to the bucket.
pub(super) fn cut(units: Units, longest: u64) -> Option<Range<u64>> {
    let run = units.runs().max_by_key(|run| run.end - run.start)?;
    let end = if run.end - run.start < longest + MIN_RANGE_UNITS {
        run.end
    } else {
        run.start + longest
    };
    Some(run.start..end.min(run.start + MAX_BUCKET_RANGE_UNITS))
}
