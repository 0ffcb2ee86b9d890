//! Fetches in flight, over all transfers of an engine.
//!
//! The bucket's fetches are counted separately, so stalled peers never block the bucket.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{HEDGED_AFTER, MAX_AT_BUCKET, MAX_IN_ALL, MAX_PER_PROVIDER, Provider};
use crate::{engine::input::FetchId, units::UNIT_LEN};

#[derive(Debug, Default)]
pub struct Slots {
    at_peers: usize,
    taken: BTreeMap<Provider, Taken>,
    /// Providers that went quiet and have completed no range since.
    quiet: BTreeSet<Provider>,
    minted: u64,
}

#[derive(Debug)]
struct Taken {
    count: usize,
    /// When the last byte came, or else when the first of these fetches started.
    moved: Duration,
}

impl Slots {
    pub(super) fn is_free(&self, provider: &Provider) -> bool {
        match provider {
            Provider::Peer(_) => self.at_peers < MAX_IN_ALL && self.at(provider) < MAX_PER_PROVIDER,
            Provider::Bucket => self.at(provider) < MAX_AT_BUCKET,
        }
    }

    pub(super) fn at(&self, provider: &Provider) -> usize {
        self.taken.get(provider).map_or(0, |taken| taken.count)
    }

    /// Marks providers as quiet whose fetches brought nothing for a while.
    pub(super) fn look(&mut self, now: Duration) {
        let silent = |taken: &Taken| now.saturating_sub(taken.moved) >= HEDGED_AFTER;
        let quiet = self.taken.iter().filter(|(_, taken)| silent(taken));
        self.quiet.extend(quiet.map(|(provider, _)| *provider));
    }

    /// Whether a provider went quiet. Starting to send again is not enough to clear this: it may do that
    /// with every range.
    pub(super) fn is_quiet(&self, provider: &Provider) -> bool {
        self.quiet.contains(provider)
    }

    /// Records a complete range of `bytes` bytes. A small range doesn't clear the mark, as it fits
    /// into the first bytes that a stalling provider sends.
    pub(super) fn delivered(&mut self, provider: &Provider, bytes: u64, now: Duration) {
        self.moved(provider, now);
        if bytes >= UNIT_LEN {
            self.quiet.remove(provider);
        }
    }

    /// Forgets a provider whose connection ended.
    pub(super) fn gone(&mut self, provider: &Provider) {
        self.quiet.remove(provider);
    }

    pub(super) fn moved(&mut self, provider: &Provider, now: Duration) {
        if let Some(taken) = self.taken.get_mut(provider) {
            taken.moved = now;
        }
    }

    pub(super) fn take(&mut self, provider: Provider, now: Duration) -> FetchId {
        if provider != Provider::Bucket {
            self.at_peers += 1;
        }
        let first = Taken {
            count: 0,
            moved: now,
        };
        self.taken.entry(provider).or_insert(first).count += 1;
        self.minted += 1;
        FetchId(self.minted)
    }

    pub(super) fn give_back(&mut self, provider: &Provider) {
        if *provider != Provider::Bucket {
            self.at_peers -= 1;
        }
        if let Some(taken) = self.taken.get_mut(provider) {
            taken.count -= 1;
            if taken.count == 0 {
                self.taken.remove(provider);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn in_all(&self) -> usize {
        self.taken.values().map(|taken| taken.count).sum()
    }
}
