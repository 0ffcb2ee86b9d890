//! Commits: entries of a device's own feed, checked, written in segments, and then made seen by their head.
//!
//! Writing the head's object makes the commit: before that nobody sees any of it, after that everybody sees
//! all. Two replicas may commit to one feed at once; where both entries have one number, both heads stay, and
//! that is the proof that the device signed two feeds.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use podsync_api::hub::{
    Commit, CommitEntry, HubError, HubErrorCode, MAX_COMMIT_ENTRIES, MAX_ENTRY_OUTBOARDS,
    ObjectKind, ObjectRef, Stored,
};
use podsync_core::{
    DeviceId, EntryHash, TeamId,
    bounded::Bounded,
    codec::Format,
    feed::{Entry, Head},
    signed::verify,
};
use serde_bytes::ByteBuf;

use super::{
    AT_ONCE, Team,
    confirm::HASHED_AT_ONCE,
    feeds::load_segment,
    list_all,
    view::{View, newest},
};
use crate::{
    failure::malformed,
    gc::{
        self, GcError,
        generation::{COMMIT_DEADLINE, may_be_named},
    },
    keys::ObjectKey,
    storage::StorageError,
    stored::{HeadKey, MAX_SEGMENT_ENTRIES, RECENT, Segment, SegmentRef, StoredEntry, StoredHead},
};

/// Segments are merged up to this many bytes, so that little is written again.
const MERGE_LEN: u64 = 4 << 20;

/// A commit whose entries prove each other.
struct Checked {
    head: Vec<u8>,
    key: HeadKey,
    entries: Vec<(Entry, CommitEntry)>,
}

impl Team {
    pub(crate) async fn commit(
        &self,
        device: &DeviceId,
        commit: Commit,
    ) -> Result<Stored, HubError> {
        let mut checked = check(self.id, device, commit)?;
        let view = self.view_for_publisher(device).await?;
        let begun = Begun::now();
        let heads = self.heads_of(device).await?;
        let stored = Stored {
            seq: checked.key.seq,
        };
        if heads.iter().any(|(key, _)| *key == checked.key) {
            return Ok(stored);
        }
        let base = self.follow(&mut checked, &heads).await?;
        if checked.entries.is_empty() {
            let (newest, _) = heads.first().ok_or_else(|| malformed("no entries"))?;
            return Ok(Stored { seq: newest.seq });
        }
        self.check_objects(device, &checked, &view).await?;
        self.write(device, checked, base, begun).await?;
        Ok(stored)
    }

    /// The feed's heads as they are now.
    async fn heads_of(
        &self,
        device: &DeviceId,
    ) -> Result<Vec<(HeadKey, Arc<StoredHead>)>, HubError> {
        let listed = list_all(self.bucket.as_ref(), &HeadKey::folder(device)).await?;
        let keys = listed
            .iter()
            .filter_map(|listed| listed.key.parse().ok())
            .collect();
        Ok(newest(self.bucket.as_ref(), keys, &[]).await?)
    }

    /// Drops the entries that the bucket has, and returns the head that the others follow.
    async fn follow(
        &self,
        checked: &mut Checked,
        heads: &[(HeadKey, Arc<StoredHead>)],
    ) -> Result<Option<Arc<StoredHead>>, HubError> {
        let first = checked.entries.first().map(|(entry, _)| entry.header().seq);
        let first = first.unwrap_or_default();
        let Some((newest, stored)) = heads.first() else {
            return if first == 1 {
                Ok(None)
            } else {
                Err(not_next(1))
            };
        };
        if let Some((_, other)) = heads.get(1) {
            return Err(forked(other));
        }
        if first > newest.seq + 1 {
            return Err(not_next(newest.seq + 1));
        }
        for (entry, _) in &checked.entries {
            let seq = entry.header().seq;
            if seq <= newest.seq && self.hash_at(newest, stored, seq).await? != Some(entry.hash()) {
                return Err(forked(stored));
            }
        }
        checked
            .entries
            .retain(|(entry, _)| entry.header().seq > newest.seq);
        let next = checked.entries.first();
        if next.is_some_and(|(entry, _)| entry.header().previous != Some(newest.entry)) {
            return Err(forked(stored));
        }
        Ok(Some(stored.clone()))
    }

    async fn hash_at(
        &self,
        newest: &HeadKey,
        stored: &StoredHead,
        seq: u64,
    ) -> Result<Option<EntryHash>, HubError> {
        if let Some(hash) = stored.hash_at(newest.seq, seq) {
            return Ok(Some(hash));
        }
        let named = stored
            .segments
            .iter()
            .find(|segment| (segment.first..=segment.last).contains(&seq));
        let Some(named) = named else { return Ok(None) };
        let segment = load_segment(self.bucket.as_ref(), &newest.device, named).await?;
        let at = usize::try_from(seq - named.first).unwrap_or(usize::MAX);
        let entry = segment.entries.get(at);
        Ok(entry.map(|entry| EntryHash::of(&entry.entry)))
    }

    async fn check_objects(
        &self,
        device: &DeviceId,
        checked: &Checked,
        view: &View,
    ) -> Result<(), HubError> {
        // Nobody asks for a publication that the same commit ends, and its bytes may be gone.
        let ended = checked.entries.iter();
        let mut ended: BTreeSet<EntryHash> = ended
            .flat_map(|(entry, _)| entry.retires().iter().copied())
            .collect();
        let mut missing = self.missing(checked, &ended).await?;
        if !missing.is_empty() {
            // Nor is one that somebody else dropped before it came here. All feeds have to be read for
            // that, so only now.
            ended.extend(self.ended_elsewhere(device, checked, view).await?);
            missing = self.missing(checked, &ended).await?;
        }
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!(
            "{} of the objects that the entries name aren't in the bucket, or have other bytes there; upload them and commit again",
            missing.len()
        );
        Err(HubError {
            missing,
            ..HubError::new(HubErrorCode::MissingObjects, message)
        })
    }

    /// The objects that can't be named, of entries that aren't ended.
    async fn missing(
        &self,
        checked: &Checked,
        ended: &BTreeSet<EntryHash>,
    ) -> Result<Vec<ObjectRef>, HubError> {
        let mut objects = BTreeSet::new();
        let live = checked
            .entries
            .iter()
            .filter(|(entry, _)| !ended.contains(&entry.hash()));
        for (_, committed) in live {
            let named = StoredEntry::from(committed).objects();
            objects.extend(named.map_err(malformed)?);
        }
        let missing: Vec<Option<ObjectRef>> = stream::iter(objects.iter().copied())
            .map(|object| async move {
                let fine = may_be_named(self.bucket.as_ref(), &object).await?;
                Ok::<_, StorageError>((!fine).then_some(object))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let missing: Vec<ObjectRef> = missing.into_iter().flatten().collect();
        if missing.is_empty() {
            self.note_stored(objects.iter().map(ObjectKey::from));
        }
        if !missing.is_empty() || !self.confirms() {
            return Ok(missing);
        }
        let damaged: Vec<Option<ObjectRef>> = stream::iter(objects)
            .map(|object| async move {
                let sound = self.is_sound(&object).await?;
                Ok::<_, StorageError>((!sound).then_some(object))
            })
            .buffered(HASHED_AT_ONCE)
            .try_collect()
            .await?;
        Ok(damaged.into_iter().flatten().collect())
    }

    /// The publications of this commit that drops in the bucket end.
    async fn ended_elsewhere(
        &self,
        device: &DeviceId,
        checked: &Checked,
        view: &View,
    ) -> Result<BTreeSet<EntryHash>, HubError> {
        let unread = |error: GcError| {
            tracing::warn!(%error, "the hub can't look for drops");
            HubError::from(StorageError::Unavailable(
                "the hub can't read the feeds now".into(),
            ))
        };
        let mut references = gc::references(self.bucket.as_ref()).await.map_err(unread)?;
        for (_, committed) in &checked.entries {
            let added = references.add(*device, &StoredEntry::from(committed), true);
            added.map_err(|error| malformed(error.to_string()))?;
        }
        let membership = view.membership.as_ref();
        Ok(membership.map_or_else(BTreeSet::new, |team| references.ended(team.state())))
    }

    async fn write(
        &self,
        device: &DeviceId,
        checked: Checked,
        base: Option<Arc<StoredHead>>,
        begun: Begun,
    ) -> Result<(), HubError> {
        let (mut segments, mut recent) = match base {
            Some(base) => (base.segments.to_vec(), base.recent.to_vec()),
            None => (Vec::new(), Vec::new()),
        };
        recent.extend(checked.entries.iter().map(|(entry, _)| entry.hash()));
        let recent = recent.split_off(recent.len().saturating_sub(RECENT));
        let first = checked.entries.first().map(|(entry, _)| entry.header().seq);
        let entries = checked
            .entries
            .iter()
            .map(|(_, committed)| StoredEntry::from(committed))
            .collect();
        begun.in_time()?;
        let merged = self
            .merge(device, &mut segments, first.unwrap_or_default(), entries)
            .await?;
        segments.push(merged);
        let segments = Bounded::new(segments).map_err(|_| {
            HubError::new(
                HubErrorCode::TooLarge,
                "this feed is as long as a feed may be; make a new home with `podsync init`",
            )
        })?;
        let stored = StoredHead {
            head: ByteBuf::from(checked.head),
            segments,
            recent: Bounded::first(recent),
        };
        begun.in_time()?;
        let (key, bytes) = (checked.key.to_string(), Bytes::from(stored.encode()));
        self.bucket.put(&key, bytes).await?;
        self.changed().await?;
        Ok(())
    }

    /// Writes the new entries as a segment, together with the last ones where these are no longer: so a feed
    /// has few segments, and an entry is written again about as often as the number of entries has digits.
    async fn merge(
        &self,
        device: &DeviceId,
        segments: &mut Vec<SegmentRef>,
        first: u64,
        mut entries: Vec<StoredEntry>,
    ) -> Result<SegmentRef, HubError> {
        let mut first = first;
        let mut len = Segment {
            entries: Bounded::first(entries.iter().cloned()),
        }
        .encode()
        .len() as u64;
        while let Some(last) = segments.last() {
            let fits = last.entries() <= entries.len() as u64
                && last.entries() + entries.len() as u64 <= MAX_SEGMENT_ENTRIES as u64
                && last.len + len <= MERGE_LEN;
            if !fits {
                break;
            }
            let before = load_segment(self.bucket.as_ref(), device, last).await?;
            (first, len) = (last.first, len + last.len);
            entries = before
                .entries
                .into_vec()
                .into_iter()
                .chain(entries)
                .collect();
            segments.pop();
        }
        let count = entries.len() as u64;
        let segment = Segment {
            entries: Bounded::first(entries),
        };
        let bytes = segment.encode();
        let named = SegmentRef {
            first,
            last: first + count - 1,
            hash: *blake3::hash(&bytes).as_bytes(),
            len: bytes.len() as u64,
        };
        self.bucket.put(&named.key(device), bytes.into()).await?;
        Ok(named)
    }
}

/// When a commit began to look at its objects.
#[derive(Clone, Copy)]
struct Begun {
    /// Stands still while the machine sleeps.
    mono: Instant,
    /// May be set.
    wall: SystemTime,
}

impl Begun {
    fn now() -> Self {
        Self {
            mono: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// Whether what was seen of the objects still holds: the garbage collector may condemn them any time, and
    /// leaves them alone for a while after that.
    fn in_time(self) -> Result<(), StorageError> {
        let by_wall = self.wall.elapsed().unwrap_or_default();
        if self.mono.elapsed().max(by_wall) > COMMIT_DEADLINE {
            return Err(StorageError::Unavailable("a commit took too long".into()));
        }
        Ok(())
    }
}

/// Everything that can be checked without the bucket.
fn check(team: TeamId, device: &DeviceId, commit: Commit) -> Result<Checked, HubError> {
    if commit.entries.is_empty() || commit.entries.len() > MAX_COMMIT_ENTRIES {
        return Err(HubError::new(
            HubErrorCode::TooLarge,
            format!("a commit has 1 to {MAX_COMMIT_ENTRIES} entries"),
        ));
    }
    let head = verify::<Head>(&commit.head).map_err(untrusted)?;
    if head.team() != team || head.signer() != *device {
        return Err(untrusted("the head is another team's or another device's"));
    }
    let mut entries: Vec<(Entry, CommitEntry)> = Vec::with_capacity(commit.entries.len());
    for committed in commit.entries {
        let entry = Entry::decode(&committed.entry).map_err(untrusted)?;
        let header = entry.header();
        if header.team != team || header.device != *device {
            return Err(untrusted("an entry is another team's or another device's"));
        }
        if let Some((before, _)) = entries.last()
            && (header.previous != Some(before.hash()) || header.seq != before.header().seq + 1)
        {
            return Err(untrusted("an entry doesn't name the one before it"));
        }
        check_places(&entry, &committed)?;
        entries.push((entry, committed));
    }
    let Head { seq, entry } = *head.value();
    let named = entries
        .last()
        .map(|(last, _)| (last.header().seq, last.hash()));
    if named != Some((seq, entry)) {
        return Err(untrusted("the head doesn't name the last entry"));
    }
    Ok(Checked {
        head: commit.head.0,
        key: HeadKey {
            device: *device,
            seq,
            entry,
        },
        entries,
    })
}

fn check_places(entry: &Entry, committed: &CommitEntry) -> Result<(), HubError> {
    let blobs = &entry.header().blobs;
    if blobs.len() != committed.objects.len() {
        return Err(malformed(
            "an entry needs one placement for each blob of its header",
        ));
    }
    let of_kind = |object: &ObjectRef| {
        let longest = ObjectKind::Outboards.max_len();
        object.id.kind == ObjectKind::Outboards && (1..=longest).contains(&object.id.size)
    };
    if committed.outboards.len() > MAX_ENTRY_OUTBOARDS || !committed.outboards.iter().all(of_kind) {
        return Err(malformed("an entry's outboards aren't, or are too many"));
    }
    if blobs.len() > 1 && committed.outboards.is_empty() {
        return Err(malformed("an entry with packs needs their outboards"));
    }
    Ok(())
}

fn untrusted(why: impl std::fmt::Display) -> HubError {
    HubError::new(HubErrorCode::Untrusted, why.to_string())
}

fn not_next(expected: u64) -> HubError {
    HubError {
        expected_seq: Some(expected),
        ..HubError::new(
            HubErrorCode::NotNext,
            format!("the bucket's feed goes on with entry {expected}; commit from there"),
        )
    }
}

fn forked(stored: &StoredHead) -> HubError {
    HubError {
        head: Some((&stored.head[..]).into()),
        ..HubError::new(
            HubErrorCode::Forked,
            "the bucket has another feed of this device: its home was copied, or restored from a backup; `podsync status` says which feeds are left out",
        )
    }
}
