//! Decides which versions are evicted when the disk budget is exceeded. Pure.
//!
//! The longest unused version goes first. Pinned versions stay, and so do only copies unless the user agreed. A
//! version frees the bytes that no remaining version needs.

use std::collections::BTreeMap;

use podsync_core::{BlobId, TeamId, VersionId};

/// A version on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) team: TeamId,
    pub(crate) version: VersionId,
    /// Unix milliseconds.
    pub(crate) last_used_ms: u64,
    pub(crate) pinned: bool,
    /// Whether no other device or bucket is known to have all of it.
    pub(crate) only_copy: bool,
    /// Its blobs, and what is held of each.
    pub(crate) blobs: BTreeMap<BlobId, u64>,
}

/// The versions to evict.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Indexes into the candidates, in the order of eviction, with the bytes that each frees.
    pub(crate) evict: Vec<(usize, u64)>,
    /// Only copies that were spared.
    pub(crate) only_copies: Vec<(usize, u64)>,
    /// Pinned versions that were spared.
    pub(crate) pinned: Vec<usize>,
    pub(crate) before: u64,
    pub(crate) after: u64,
}

/// Picks versions until at most `budget` bytes are held.
pub(crate) fn plan(candidates: &[Candidate], budget: u64, only_copies: bool) -> Plan {
    let mut needed: BTreeMap<BlobId, (usize, u64)> = BTreeMap::new();
    for candidate in candidates {
        for (blob, len) in &candidate.blobs {
            let (users, held) = needed.entry(*blob).or_insert((0, *len));
            *users += 1;
            *held = (*held).max(*len);
        }
    }
    let before = needed.values().map(|(_, len)| len).sum();
    let mut plan = Plan {
        before,
        after: before,
        ..Plan::default()
    };
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|at| (candidates[*at].last_used_ms, candidates[*at].version));
    for at in order {
        if plan.after <= budget {
            break;
        }
        let candidate = &candidates[at];
        if candidate.pinned {
            plan.pinned.push(at);
        } else if candidate.only_copy && !only_copies {
            plan.only_copies.push((at, frees(candidate, &needed)));
        } else {
            let freed = give_up(candidate, &mut needed);
            plan.after -= freed;
            plan.evict.push((at, freed));
        }
    }
    plan
}

fn frees(candidate: &Candidate, needed: &BTreeMap<BlobId, (usize, u64)>) -> u64 {
    let own = candidate.blobs.keys().filter_map(|blob| needed.get(blob));
    own.filter(|(users, _)| *users == 1)
        .map(|(_, len)| len)
        .sum()
}

fn give_up(candidate: &Candidate, needed: &mut BTreeMap<BlobId, (usize, u64)>) -> u64 {
    let freed = frees(candidate, needed);
    for blob in candidate.blobs.keys() {
        if let Some((users, _)) = needed.get_mut(blob) {
            *users -= 1;
            if *users == 0 {
                needed.remove(blob);
            }
        }
    }
    freed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(n: u8, used: u64, blobs: &[(u8, u64)]) -> Candidate {
        Candidate {
            team: TeamId::of(b"team"),
            version: VersionId::from_bytes([n; 32]),
            last_used_ms: used,
            pinned: false,
            only_copy: false,
            blobs: blobs
                .iter()
                .map(|(id, len)| (BlobId::from_bytes([*id; 32]), *len))
                .collect(),
        }
    }

    fn evicted(plan: &Plan) -> Vec<usize> {
        plan.evict.iter().map(|(at, _)| *at).collect()
    }

    #[test]
    fn the_longest_unused_goes_first_and_only_as_much_as_must() {
        let all = [
            candidate(1, 30, &[(1, 100)]),
            candidate(2, 10, &[(2, 100)]),
            candidate(3, 20, &[(3, 100)]),
        ];
        let within = plan(&all, 300, false);
        assert!(within.evict.is_empty() && within.after == 300);
        let one = plan(&all, 299, false);
        assert_eq!((evicted(&one), one.before, one.after), (vec![1], 300, 200));
        assert_eq!(evicted(&plan(&all, 150, false)), [1, 2]);
    }

    #[test]
    fn what_another_version_needs_is_not_freed() {
        let all = [
            candidate(1, 10, &[(1, 100), (2, 5)]),
            candidate(2, 20, &[(1, 100), (3, 5)]),
        ];
        let one = plan(&all, 105, false);
        assert_eq!(one.evict, [(0, 5)]);
        assert_eq!(one.after, 105);
        let both = plan(&all, 0, false);
        assert_eq!(both.evict, [(0, 5), (1, 105)]);
        assert_eq!(both.after, 0);
    }

    #[test]
    fn pinned_versions_and_only_copies_stay() {
        let mut all = [
            candidate(1, 10, &[(1, 100)]),
            candidate(2, 20, &[(2, 100)]),
            candidate(3, 30, &[(3, 100)]),
        ];
        all[0].pinned = true;
        all[1].only_copy = true;
        let asked = plan(&all, 0, false);
        assert_eq!(evicted(&asked), [2]);
        assert_eq!(asked.only_copies, [(1, 100)]);
        assert_eq!((asked.pinned, asked.after), (vec![0], 200));
        let said = plan(&all, 0, true);
        assert_eq!(evicted(&said), [1, 2]);
        assert_eq!((said.pinned, said.after), (vec![0], 100));
    }
}
