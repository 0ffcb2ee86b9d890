//! Fetches in flight, over all transfers of an engine.
//!
//! The bucket's are counted apart from the peers': whatever sleeping peers hold, the bucket can be asked.

use std::{collections::BTreeMap, time::Duration};

use super::{HEDGED_AFTER, MAX_AT_BUCKET, MAX_IN_ALL, MAX_PER_PROVIDER, Provider};
use crate::engine::input::FetchId;

#[derive(Debug, Default)]
pub struct Slots {
    at_peers: usize,
    taken: BTreeMap<Provider, Taken>,
    minted: u64,
}

#[derive(Debug)]
struct Taken {
    count: usize,
    /// When a byte came last, or when the first of these was asked for.
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

    /// Whether a provider was asked for something and has sent none of it for a while.
    pub(super) fn is_quiet(&self, provider: &Provider, now: Duration) -> bool {
        self.taken
            .get(provider)
            .is_some_and(|taken| now.saturating_sub(taken.moved) >= HEDGED_AFTER)
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
