//! One team as this home knows it: membership, keys, feeds, and the catalog made of them.
//!
//! The catalog holds only entries that count, and every operation, head or entry can change which
//! do. So all incoming data passes through here. Each change is noted as records to write and
//! events to emit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    digest::Digests,
    output::{Event, Record},
};
use crate::{
    catalog::{Catalog, Fact},
    feed::{Added, Body, Entry, Feed, Head},
    id::{DeviceId, EntryHash, OpId, TeamId},
    keys::DeviceSecret,
    membership::{
        Insert, KeyRing, LastEntry, Membership, Operation, Role, Void,
        operation::{Kind, Settings},
    },
    name::MemberName,
    signed::Verified,
    wire::{AddressRecord, Liveness},
};

/// The effects of adding data: records to write and events to emit.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) records: Vec<Record>,
    /// To be emitted once the records are written.
    pub(super) events: Vec<Event>,
}

/// One team.
pub(super) struct Team {
    pub(super) id: TeamId,
    pub(super) me: DeviceId,
    pub(super) membership: Membership,
    pub(super) keys: KeyRing,
    pub(super) catalog: Catalog,
    pub(super) liveness: BTreeMap<DeviceId, Verified<Liveness>>,
    /// The time in a member's last statement that was too far ahead to be kept.
    pub(super) ahead: BTreeMap<DeviceId, u64>,
    pub(super) addresses: BTreeMap<DeviceId, Verified<AddressRecord>>,
    feeds: BTreeMap<DeviceId, Feed>,
    digests: Digests,
    /// Each device's standing at the last look at the roster.
    standings: BTreeMap<DeviceId, Standing>,
    /// Each device's heads as last written to the log.
    written: BTreeMap<DeviceId, Written>,
    /// Entries that users were already told of, so that a recount tells nothing twice.
    reported: BTreeSet<EntryHash>,
    changes: Changes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    role: Role,
    member: MemberName,
    removed: Option<Option<LastEntry>>,
}

#[derive(Debug, Default)]
struct Written {
    head: Option<EntryHash>,
    second: Option<EntryHash>,
}

impl Team {
    pub(super) fn new(membership: Membership, secret: &DeviceSecret) -> Self {
        let mut team = Self {
            id: membership.team(),
            me: secret.id(),
            keys: KeyRing::unlock(&membership, secret),
            membership,
            catalog: Catalog::default(),
            liveness: BTreeMap::new(),
            ahead: BTreeMap::new(),
            addresses: BTreeMap::new(),
            feeds: BTreeMap::new(),
            digests: Digests::new(),
            standings: BTreeMap::new(),
            written: BTreeMap::new(),
            reported: BTreeSet::new(),
            changes: Changes::default(),
        };
        team.membership_changed(secret);
        team.changes = Changes::default();
        team
    }

    /// Restores heads and entries from the log. Nothing is noted as new.
    pub(super) fn restore(&mut self, heads: Vec<Verified<Head>>, entries: Vec<Arc<Entry>>) {
        for head in heads {
            self.feed_mut(head.signer()).add_head(head);
        }
        // The newest first: each is proved by the one after it.
        let mut entries = entries;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.header().seq));
        for entry in entries {
            self.feed_mut(entry.header().device).restore(entry);
        }
        let devices: Vec<_> = self.feeds.keys().copied().collect();
        for device in devices {
            self.recount(&device);
            self.note_heads(&device);
        }
        self.changes = Changes::default();
    }

    pub(super) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn is_member(&self, device: &DeviceId) -> bool {
        self.membership.state().is_member(device)
    }

    pub(super) fn feed(&self, device: &DeviceId) -> Option<&Feed> {
        self.feeds.get(device)
    }

    pub(super) fn feeds(&self) -> impl Iterator<Item = &Feed> {
        self.feeds.values()
    }

    /// Adds operations. True if some were new. Missing parents are added to `missing`.
    pub(super) fn add_operations(
        &mut self,
        operations: &[Arc<Verified<Operation>>],
        missing: &mut BTreeSet<OpId>,
        secret: &DeviceSecret,
    ) -> bool {
        let before = self.membership.heads().to_vec();
        for insert in self.membership.insert_all(operations.iter().cloned()) {
            if let Insert::Waiting { missing: parents } = insert {
                missing.extend(parents);
            }
        }
        missing.retain(|id| !self.membership.contains(id));
        // Operations that waited for these are new as well.
        let new = self.membership.ops_since(&before);
        let are_new = !new.is_empty();
        for bytes in new {
            let id = OpId::of(&bytes);
            self.changes.records.push(Record::Operation {
                team: self.id,
                id,
                bytes,
            });
        }
        if are_new {
            self.membership_changed(secret);
        }
        are_new
    }

    /// Adds a head. Heads of devices that never were members are not kept.
    pub(super) fn add_head(&mut self, head: Verified<Head>) -> Added {
        let device = head.signer();
        if head.team() != self.id || self.membership.state().member(&device).is_none() {
            return Added::Unwanted;
        }
        let added = self.feed_mut(device).add_head(head);
        self.feed_changed(&device, added);
        added
    }

    /// Adds an entry, if a known head leads to it.
    pub(super) fn add_entry(&mut self, entry: Arc<Entry>) -> Added {
        let device = entry.header().device;
        if entry.header().team != self.id {
            return Added::Unwanted;
        }
        let Some(feed) = self.feeds.get_mut(&device) else {
            return Added::Unwanted;
        };
        let added = feed.add(entry.clone());
        if matches!(added, Added::New | Added::Forked) {
            let (seq, hash) = (entry.header().seq, entry.hash());
            let bytes = entry.bytes().clone();
            self.changes.records.push(Record::Entry {
                team: self.id,
                device,
                seq,
                hash,
                bytes,
            });
        }
        self.feed_changed(&device, added);
        added
    }

    /// Adds this device's own entry, which is on disk already. False if its feed was continued
    /// elsewhere meanwhile.
    pub(super) fn add_own(&mut self, head: Verified<Head>, entry: Arc<Entry>) -> bool {
        let noted = self.changes.records.len();
        let added = self.add_head(head);
        let fits = added == Added::New && self.add_entry(entry) == Added::New;
        self.changes.records.truncate(noted);
        fits
    }

    /// Adds an operation that this device made and wrote.
    pub(super) fn add_own_operation(
        &mut self,
        operation: Arc<Verified<Operation>>,
        secret: &DeviceSecret,
    ) {
        let own = OpId::of(operation.bytes());
        self.add_operations(&[operation], &mut BTreeSet::new(), secret);
        // Operations that waited for it are not written yet.
        self.changes
            .records
            .retain(|record| !matches!(record, Record::Operation { id, .. } if *id == own));
    }

    fn feed_mut(&mut self, device: DeviceId) -> &mut Feed {
        let last = self
            .membership
            .state()
            .member(&device)
            .and_then(|record| record.removed);
        let feed = self
            .feeds
            .entry(device)
            .or_insert_with(|| Feed::new(device));
        feed.pick(last.and_then(|removal| removal.last));
        feed
    }

    fn feed_changed(&mut self, device: &DeviceId, added: Added) {
        match added {
            Added::Known | Added::Unwanted => return,
            Added::Forked => {
                if let Some(fork) = self.feeds.get(device).and_then(Feed::fork) {
                    let event = Event::ForkProof {
                        team: self.id,
                        device: *device,
                        seq: fork.seq,
                    };
                    self.changes.events.push(event);
                }
                if *device == self.me {
                    self.changes
                        .events
                        .push(Event::DeviceMustBeMinted { team: self.id });
                }
            }
            Added::New => {}
        }
        self.digests.changed(device);
        self.note_heads(device);
        self.recount(device);
    }

    /// Notes heads newer than those written. They are floors: nobody can show us an older feed of
    /// the device.
    fn note_heads(&mut self, device: &DeviceId) {
        let Some(feed) = self.feeds.get(device) else {
            return;
        };
        let written = self.written.entry(*device).or_default();
        let (team, device) = (self.id, *device);
        if let Some(head) = feed
            .head()
            .filter(|head| written.head != Some(head.value().entry))
        {
            written.head = Some(head.value().entry);
            if is_floor(&device, &self.me) {
                let bytes = head.bytes().clone();
                self.changes.records.push(Record::Head {
                    team,
                    device,
                    bytes,
                });
            }
        }
        if let Some(head) = feed
            .second_head()
            .filter(|head| written.second != Some(head.value().entry))
        {
            written.second = Some(head.value().entry);
            let bytes = head.bytes().clone();
            self.changes.records.push(Record::Fork {
                team,
                device,
                bytes,
            });
        }
    }

    /// Updates the catalog to the entries of a feed that count now.
    fn recount(&mut self, device: &DeviceId) {
        let Some(feed) = self.feeds.get(device) else {
            return;
        };
        let counting = self.counting(feed);
        let hashes: BTreeSet<_> = counting.iter().map(|entry| entry.hash()).collect();
        let gone: Vec<_> = feed
            .entries()
            .map(|entry| entry.hash())
            .filter(|hash| self.catalog.contains(hash) && !hashes.contains(hash))
            .collect();
        for hash in &gone {
            self.catalog.retract(hash);
        }
        for entry in counting {
            if !self.catalog.contains(&entry.hash()) {
                self.count(entry);
            }
        }
    }

    /// The entries of a feed that count by the current roster.
    fn counting(&self, feed: &Feed) -> Vec<Arc<Entry>> {
        let device = feed.device();
        let Some(standing) = self.standings.get(&device) else {
            return Vec::new();
        };
        let entries = match standing.removed {
            Some(last) => feed.counting_up_to(last),
            None => feed.counting(),
        };
        let may_publish = standing.role >= Role::Publisher;
        let counts = |entry: &&Arc<Entry>| {
            may_publish
                || self.role_at(&device, &entry.header().membership) >= Some(Role::Publisher)
        };
        entries.into_iter().filter(counts).cloned().collect()
    }

    /// The role of a device at these membership heads. Decides on versions that a device shared
    /// before it became a reader.
    fn role_at(&self, device: &DeviceId, heads: &[OpId]) -> Option<Role> {
        // Probe with a change that only an admin may make: the refusal names the device's role.
        let kind = Kind::Settings(Settings {
            changes: BTreeMap::new(),
        });
        let probe = Operation {
            parents: heads.to_vec(),
            kind,
        };
        match self.membership.would_count(*device, &probe) {
            Ok(()) => Some(Role::Admin),
            Err(Void::RoleTooLow { has, .. }) => Some(has),
            Err(_) => None,
        }
    }

    /// Adds an entry to the catalog, unless its body can't be read (yet).
    fn count(&mut self, entry: Arc<Entry>) {
        let device = entry.header().device;
        let Some(key) = self.keys.get(&entry.header().epoch) else {
            return;
        };
        let Ok(body) = entry.open(key) else { return };
        let Some(standing) = self.standings.get(&device) else {
            return;
        };
        let (author, admin) = (standing.member.clone(), standing.role == Role::Admin);
        let news = match self.reported.insert(entry.hash()) {
            true => self.news(device, &body),
            false => None,
        };
        self.catalog.apply(Fact {
            entry,
            body,
            author,
            admin,
        });
        self.changes
            .events
            .extend(news.filter(|news| self.has_happened(news)));
    }

    /// The event for an entry that newly counts. The catalog doesn't hold it yet.
    fn news(&self, by: DeviceId, body: &Body) -> Option<Event> {
        let team = self.id;
        Some(match body {
            Body::Publish(publication) => {
                let pod = publication.pod.clone();
                let (number, version) = (publication.number, publication.version);
                match by == self.me {
                    true => Event::VersionShared {
                        team,
                        pod,
                        number,
                        version,
                    },
                    false => Event::VersionHeard {
                        team,
                        pod,
                        number,
                        version,
                        author: by,
                    },
                }
            }
            Body::Tag(change) => Event::TagMoved {
                team,
                pod: change.pod.clone(),
                tag: change.tag.clone(),
                version: change.version,
                by,
            },
            Body::Drop { pod, version } => {
                let record = self.catalog.version(pod, version)?;
                Event::VersionDropped {
                    team,
                    pod: pod.clone(),
                    version: *version,
                    reference: self.catalog.exact_reference(record),
                    by,
                }
            }
        })
    }

    /// Whether the event took effect: a drop by a device without the right to it has not.
    fn has_happened(&self, news: &Event) -> bool {
        match news {
            Event::VersionDropped { pod, version, .. } => {
                self.catalog.version(pod, version).is_none()
            }
            _ => true,
        }
    }

    /// Handles changes of keys, roles and members, and their effects on the feeds.
    pub(super) fn membership_changed(&mut self, secret: &DeviceSecret) {
        let known = self.keys.epochs().count();
        self.keys.extend(&self.membership, secret);
        let unlocked = self.keys.epochs().count() > known;
        let roster = self.membership.state();
        let standings: BTreeMap<_, _> = roster
            .devices()
            .chain(roster.removed())
            .map(|record| {
                let removed = record.removed.map(|removal| removal.last);
                let standing = Standing {
                    role: record.role,
                    member: record.member.clone(),
                    removed,
                };
                (record.device, standing)
            })
            .collect();
        let before = std::mem::replace(&mut self.standings, standings);
        let mut changed: BTreeSet<DeviceId> = self
            .standings
            .iter()
            .filter(|(device, standing)| before.get(device) != Some(standing))
            .map(|(device, _)| *device)
            .collect();
        changed.extend(
            before
                .keys()
                .filter(|device| !self.standings.contains_key(device)),
        );
        for device in &changed {
            self.tell(device, before.get(device));
            self.restate(device);
        }
        let due: Vec<_> = if unlocked {
            self.feeds.keys().copied().collect()
        } else {
            changed.into_iter().collect()
        };
        for device in due {
            self.recount(&device);
        }
    }

    /// Recounts all entries of a device, since its name or rights have changed.
    fn restate(&mut self, device: &DeviceId) {
        if self.feeds.contains_key(device) {
            let feed = self.feed_mut(*device);
            let hashes: Vec<_> = feed.entries().map(|entry| entry.hash()).collect();
            for hash in hashes {
                self.catalog.retract(&hash);
            }
        }
    }

    fn tell(&mut self, device: &DeviceId, before: Option<&Standing>) {
        let team = self.id;
        let was_member = before.is_some_and(|standing| standing.removed.is_none());
        let now = self.standings.get(device);
        match now.filter(|standing| standing.removed.is_none()) {
            Some(standing) if !was_member => {
                let (member, role) = (standing.member.clone(), standing.role);
                self.changes.events.push(Event::MemberJoined {
                    team,
                    device: *device,
                    member,
                    role,
                });
            }
            None if was_member => {
                self.changes.events.push(Event::MemberRemoved {
                    team,
                    device: *device,
                });
                if *device == self.me {
                    self.changes.events.push(Event::Expelled { team });
                }
            }
            _ => {}
        }
    }

    /// The heads to compare with peers: the newest of each feed, and both of a forked one.
    pub(super) fn heads(&self) -> impl Iterator<Item = &Verified<Head>> + Clone {
        self.feeds.values().flat_map(|feed| {
            let fork = feed.fork().and_then(|fork| fork.other.as_ref());
            feed.head().into_iter().chain(fork)
        })
    }

    pub(super) fn buckets(&mut self) -> crate::bounded::Bounded<u64, { crate::wire::BUCKETS }> {
        let heads = self.feeds.values().flat_map(|feed| {
            let fork = feed.fork().and_then(|fork| fork.other.as_ref());
            feed.head().into_iter().chain(fork)
        });
        self.digests
            .of(heads.map(|head| (head.signer(), head.value())))
    }
}

#[cfg(not(podsync_planted = "forget-floor"))]
fn is_floor(_: &DeviceId, _: &DeviceId) -> bool {
    true
}

#[cfg(podsync_planted = "forget-floor")]
fn is_floor(device: &DeviceId, me: &DeviceId) -> bool {
    device == me
}
