//! The ground truth of a world: what was requested, written and removed, and by whom.
//!
//! Its sources are commands and each device's own disk, never an engine's view of others.

use std::collections::{BTreeMap, BTreeSet};

use podsync_core::{BlobId, DeviceId, EntryHash, PodName, TeamId, VersionId};

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Entries that became durable in the home of the device that wrote them.
    written: BTreeMap<(TeamId, DeviceId, u64), BTreeSet<EntryHash>>,
    /// Numbers under which a device wrote several entries.
    forked: BTreeSet<(TeamId, DeviceId, u64)>,
    /// BLAKE3 of every operation, entry and head that became durable in the home of its signer.
    pub(super) durable: BTreeSet<[u8; 32]>,
    /// The device that was asked to publish each version.
    pub(super) published: BTreeMap<(TeamId, VersionId), (DeviceId, PodName)>,
    /// Numbers that a device has reported.
    pub(super) numbers: BTreeMap<(TeamId, DeviceId, PodName, u64), VersionId>,
    /// The teams that a blob was published to.
    pub(super) blobs: BTreeMap<BlobId, BTreeSet<TeamId>>,
    /// Devices whose home was copied or put back to an older state: these sign two feeds.
    pub(super) copied: BTreeSet<DeviceId>,
    /// Devices whose removal by the founder was reported as done.
    pub(super) removed: BTreeSet<(TeamId, DeviceId)>,
}

impl Ledger {
    /// Notes an entry in its author's own home. How many the author wrote of this number.
    pub(super) fn wrote(
        &mut self,
        team: TeamId,
        device: DeviceId,
        seq: u64,
        hash: EntryHash,
    ) -> usize {
        let entries = self.written.entry((team, device, seq)).or_default();
        entries.insert(hash);
        if entries.len() > 1 {
            self.forked.insert((team, device, seq));
        }
        entries.len()
    }

    /// Of what a device wrote twice under one number: whose it is, and the entries.
    pub(super) fn forks(&self) -> impl Iterator<Item = (TeamId, DeviceId, &BTreeSet<EntryHash>)> {
        self.forked
            .iter()
            .filter_map(|key| Some((key.0, key.1, self.written.get(key)?)))
    }

    pub(super) fn has_written(
        &self,
        team: TeamId,
        device: DeviceId,
        seq: u64,
        hash: &EntryHash,
    ) -> bool {
        self.written
            .get(&(team, device, seq))
            .is_some_and(|entries| entries.contains(hash))
    }
}
