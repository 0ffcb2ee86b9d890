//! The bucket: each call takes a turn, and its effect is checked against what is committed.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use podsync_api::hub::{Action, Sha256};
use podsync_core::{DeviceId, EntryHash, codec::Format};

use crate::{
    keys::ObjectKey,
    storage::{Listed, ObjectHead, Page, Storage, StorageError},
    stored::{HeadKey, SEGMENTS, StoredHead},
};

/// A server refuses a request that was signed longer ago.
const SIGNATURE_LIFE: Duration = Duration::from_secs(900);
/// Few, so that listings are torn.
const PAGE: usize = 7;

/// An entry that a commit is about to make seen.
#[derive(Debug, Clone)]
pub(super) struct Committing {
    pub(super) hash: EntryHash,
    /// The number of its device.
    pub(super) author: u8,
    pub(super) objects: BTreeSet<ObjectKey>,
    /// Publications that it ends by right.
    pub(super) ends: Vec<EntryHash>,
}

#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) authors: BTreeMap<EntryHash, u8>,
    pub(super) live: BTreeMap<EntryHash, BTreeSet<ObjectKey>>,
    pub(super) ended: BTreeSet<EntryHash>,
    pub(super) newest: BTreeMap<DeviceId, (u64, StoredHead)>,
    pub(super) deletions: u64,
    pub(super) commits: u64,
    pub(super) revived: u64,
    pub(super) named_and_condemned: u64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) now: SystemTime,
    pub(super) steps: u64,
    pub(super) objects: BTreeMap<String, (Bytes, SystemTime)>,
    pub(super) truth: Truth,
}

#[derive(Debug, Clone)]
pub(super) struct SimBucket(Arc<Mutex<State>>);

impl SimBucket {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            steps: 0,
            objects: BTreeMap::new(),
            truth: Truth::default(),
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> SystemTime {
        self.state().now
    }

    /// Writes a head, which makes a commit seen.
    pub(super) async fn put_head(
        &self,
        (key, bytes): (String, Vec<u8>),
        entry: Committing,
    ) -> Result<(), StorageError> {
        self.turn().await?;
        let mut state = self.state();
        state.head_is_put(&key, &bytes, entry);
        let now = state.now;
        state.objects.insert(key, (bytes.into(), now));
        Ok(())
    }

    /// A turn for everybody else; then a write that wasn't under way for too long.
    async fn turn(&self) -> Result<(), StorageError> {
        let sent = self.now();
        Turn(false).await;
        let mut state = self.state();
        state.steps += 1;
        let took = state.now.duration_since(sent).unwrap_or_default();
        if took > SIGNATURE_LIFE {
            return Err(StorageError::Unavailable("too late".into()));
        }
        Ok(())
    }
}

struct Turn(bool);

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl State {
    fn head_is_put(&mut self, key: &str, bytes: &[u8], entry: Committing) {
        let parsed: HeadKey = key.parse().unwrap();
        let stored = StoredHead::decode(bytes).unwrap();
        for segment in stored.segments.iter() {
            let key = segment.key(&parsed.device);
            assert!(
                self.objects.contains_key(&key),
                "a head without its segment"
            );
        }
        let truth = &mut self.truth;
        let newest = truth.newest.get(&parsed.device).map_or(0, |(seq, _)| *seq);
        if parsed.seq >= newest {
            truth.newest.insert(parsed.device, (parsed.seq, stored));
        }
        if truth.live.contains_key(&entry.hash) || truth.ended.contains(&entry.hash) {
            return;
        }
        for object in &entry.objects {
            assert!(
                self.objects.contains_key(&object.to_string()),
                "{object} was gone when it was committed"
            );
            truth.revived += u64::from(object.generation > 0);
            truth.named_and_condemned += u64::from(self.objects.contains_key(&object.marker()));
        }
        truth.commits += 1;
        truth.authors.insert(entry.hash, entry.author);
        truth.live.insert(entry.hash, entry.objects);
        for ended in entry.ends {
            truth.live.remove(&ended);
            truth.ended.insert(ended);
        }
    }

    fn check_deletion(&mut self, key: &str) {
        if let Ok(object) = key.parse::<ObjectKey>() {
            let mut live = self.truth.live.iter();
            let named = live.find(|(_, objects)| objects.contains(&object));
            assert!(named.is_none(), "LOST: {object} is named by {named:?}");
            self.truth.deletions += u64::from(self.objects.contains_key(key));
        }
        if key.starts_with(SEGMENTS) {
            for (device, (_, stored)) in &self.truth.newest {
                let mut named = stored.segments.iter();
                assert!(
                    named.all(|segment| segment.key(device) != key),
                    "LOST: a segment that the newest head names"
                );
            }
        }
    }
}

#[async_trait]
impl Storage for SimBucket {
    fn name(&self) -> &str {
        "simulated"
    }

    async fn ensure(&self) -> Result<(), StorageError> {
        self.turn().await
    }

    async fn get(&self, key: &str, _: u64) -> Result<Option<Bytes>, StorageError> {
        self.turn().await?;
        let state = self.state();
        Ok(state.objects.get(key).map(|(bytes, _)| bytes.clone()))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, StorageError> {
        let bytes = self.get(key, u64::MAX).await?;
        Ok(bytes.map(|bytes| ObjectHead {
            len: bytes.len() as u64,
            ..ObjectHead::default()
        }))
    }

    async fn sha256(&self, _: &str, _: u64) -> Result<Option<Sha256>, StorageError> {
        Err(StorageError::Refused("nobody hashes here".into()))
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.turn().await?;
        let mut state = self.state();
        let now = state.now;
        state.objects.insert(key.to_owned(), (bytes, now));
        Ok(())
    }

    /// However late: a sweeper that was asleep signs its request anew.
    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let _ = self.turn().await;
        let mut state = self.state();
        state.check_deletion(key);
        state.objects.remove(key);
        Ok(())
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StorageError> {
        self.turn().await?;
        let state = self.state();
        let mut matching = state
            .objects
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        let objects = matching.by_ref().take(PAGE);
        let objects = objects.map(|(key, (bytes, modified))| Listed {
            key: key.clone(),
            len: bytes.len() as u64,
            modified: *modified,
        });
        let objects = objects.collect();
        let more = matching.next().is_some();
        Ok(Page { objects, more })
    }

    async fn presign_put(
        &self,
        _: &str,
        _: &Sha256,
        _: u64,
        _: Duration,
    ) -> Result<Action, StorageError> {
        Err(StorageError::Refused("uploads are puts here".into()))
    }

    async fn presign_replace(
        &self,
        _: &str,
        _: &Sha256,
        _: u64,
        _: Duration,
    ) -> Result<Action, StorageError> {
        Err(StorageError::Refused("uploads are puts here".into()))
    }

    async fn presign_get(&self, _: &str, _: Duration) -> Result<Action, StorageError> {
        Err(StorageError::Refused("nobody downloads here".into()))
    }
}
