//! One team: its bucket, what was last seen in it, and what requests do to it.

mod commit;
mod confirm;
mod feeds;
mod garbage;
mod join;
mod membership;
mod objects;
mod quota;
mod settings;
mod view;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use podsync_api::hub::{HubError, HubErrorCode};
use podsync_core::{DeviceId, TeamId};
use tokio::sync::Mutex;

pub use self::settings::{Confirm, TeamSettings};
use self::{confirm::Doubts, quota::Room, view::View};
use crate::{
    abilities::{self, PROBES},
    failure::unknown_team,
    gc::decide::Retention,
    spans,
    storage::{
        Storage, StorageError, list_all,
        watched::{Outcomes, Watched},
    },
    stored::CHANGED,
};

/// How many calls to the bucket one request makes at once.
const AT_ONCE: usize = 16;
/// The most bytes of the mark at [`CHANGED`].
const MAX_MARK_LEN: u64 = 64;
/// After this time a replica lists the bucket again, even if the mark is the same: a hub may have died before
/// it wrote a new one.
const VIEW_LIFETIME: Duration = Duration::from_secs(300);
/// The oldest view that a device may ask for: its own words are believed no further.
const MAX_AGE: Duration = Duration::from_secs(30);
/// A bucket through which nobody can share is tried again after this: its operator may have mended it.
const UNFIT_LIFETIME: Duration = Duration::from_secs(60);

/// The object that the hub writes to see whether the bucket takes it. It stays, and is overwritten.
const TRIAL: &str = "writes";

pub(crate) struct Team {
    id: TeamId,
    bucket: Arc<dyn Storage>,
    /// What came of the calls to it.
    outcomes: Arc<Outcomes>,
    quota: Option<u64>,
    retention: Retention,
    confirm: Confirm,
    /// Until this time the hub assumes that the bucket exists and that it knows the server.
    made: Mutex<Option<Instant>>,
    /// Held while it is brought up to date, so that one request does it for all.
    seen: Mutex<Seen>,
    room: Room,
    doubts: Doubts,
}

impl Team {
    pub(crate) fn new(settings: TeamSettings) -> Self {
        let outcomes = Arc::<Outcomes>::default();
        Self {
            id: settings.team,
            bucket: Arc::new(Watched::new(settings.bucket, outcomes.clone())),
            outcomes,
            quota: settings.quota,
            retention: settings.retention,
            confirm: settings.confirm,
            made: Mutex::default(),
            seen: Mutex::default(),
            room: Room::default(),
            doubts: Doubts::default(),
        }
    }

    pub(crate) fn id(&self) -> TeamId {
        self.id
    }

    /// The bucket's name.
    pub(crate) fn bucket(&self) -> &str {
        self.bucket.name()
    }

    /// For work that no request asks for.
    pub(crate) fn span(&self) -> tracing::Span {
        spans::of_team(&self.id, self.bucket())
    }

    /// Whether the bucket does what serving needs, or why it takes no writes. What went well within `trial` isn't
    /// tried again.
    pub(crate) async fn condition(&self, trial: Duration) -> Result<Option<String>, StorageError> {
        // To try a server anew takes seconds. Only the first use has to wait for it.
        let unmade = self.made.lock().await.is_none();
        if unmade {
            self.made().await?;
        }
        self.bucket.get(CHANGED, MAX_MARK_LEN).await?;
        if !self.outcomes.lists(trial) {
            self.bucket.list(CHANGED, None).await?;
        }
        if self.outcomes.takes(trial) {
            return Ok(None);
        }
        let key = format!("{PROBES}{TRIAL}");
        match self.bucket.put(&key, Bytes::new()).await {
            Ok(()) => Ok(None),
            Err(error @ StorageError::Gone(_)) => Err(error),
            // It could be read just now, so members can pull.
            Err(error) => Ok(Some(format!(
                "the bucket takes no writes: {}",
                error.trouble()
            ))),
        }
    }

    /// Whether the hub still tries what the server can do, which has answered within `age`.
    pub(crate) fn is_tried(&self, age: Duration) -> bool {
        // Whoever tries holds it.
        let known = self.made.try_lock().is_ok_and(|made| made.is_some());
        !known && self.bucket.heard().is_some_and(|at| at.elapsed() < age)
    }

    /// Makes the bucket on its first use, and learns what its server can do.
    async fn made(&self) -> Result<(), StorageError> {
        let mut made = self.made.lock().await;
        if made.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        self.bucket.ensure().await?;
        let seen = self.bucket.abilities();
        let lifetime = if seen.is_none_or(|seen| seen.suffice()) {
            abilities::LIFETIME
        } else {
            UNFIT_LIFETIME
        };
        *made = Some(Instant::now() + lifetime);
        Ok(())
    }

    /// The bucket's present content. If somebody deleted the bucket, the hub makes it anew.
    pub(crate) async fn view(&self) -> Result<Arc<View>, HubError> {
        self.view_within(Duration::ZERO).await
    }

    /// What the bucket said at most this long ago, or after anything that this replica wrote to it.
    async fn view_within(&self, age: Duration) -> Result<Arc<View>, HubError> {
        match self.see(age).await {
            Err(Unseen::Storage(StorageError::Gone(trouble))) => {
                tracing::warn!(%trouble, "the bucket is gone: the hub makes it again");
                *self.made.lock().await = None;
                self.see(age).await.map_err(HubError::from)
            }
            seen => seen.map_err(HubError::from),
        }
    }

    async fn see(&self, age: Duration) -> Result<Arc<View>, Unseen> {
        let arrived = Instant::now();
        self.made().await?;
        let mut seen = self.seen.lock().await;
        // Another request looked while this one waited. It saw all that was written before this one came.
        let recent = seen.begun.is_some_and(|begun| begun + age > arrived);
        if let (Some(view), true) = (&seen.view, recent) {
            return Ok(view.clone());
        }
        let begun = Instant::now();
        // Read before the listing: what is written meanwhile changes it again.
        let mark = self.bucket.get(CHANGED, MAX_MARK_LEN).await?;
        let current = |view: &&Arc<View>| view.is_current(mark.as_ref());
        let view = match seen.view.as_ref().filter(current) {
            Some(view) => view.clone(),
            None => {
                let before = seen.view.as_deref();
                Arc::new(View::read(self.id, &self.bucket, mark, before).await?)
            }
        };
        *seen = Seen {
            view: Some(view.clone()),
            begun: Some(begun),
        };
        Ok(view)
    }

    /// Whether this seems to be a member: good enough to share out places by. The bucket is asked only
    /// about those who weren't members when it was last looked at.
    pub(crate) async fn seems_member(&self, device: &DeviceId) -> bool {
        let known = match self.seen.try_lock() {
            Ok(seen) => seen
                .view
                .as_ref()
                .and_then(|view| view.membership.as_ref())
                .is_some_and(|membership| membership.state().is_member(device)),
            Err(_) => false, // It is being looked at: wait for that.
        };
        known || self.view_for(device).await.is_ok()
    }

    /// Forgets the last listing, so that the next request looks again.
    async fn look_again(&self) {
        *self.seen.lock().await = Seen::default();
    }

    /// The view, for a member to whom it may be this old.
    pub(crate) async fn view_for_within(
        &self,
        device: &DeviceId,
        age: Duration,
    ) -> Result<Arc<View>, HubError> {
        let view = self.view_within(age.min(MAX_AGE)).await?;
        let membership = view.membership.as_ref();
        if membership.is_some_and(|membership| membership.state().is_member(device)) {
            return Ok(view);
        }
        // It may have joined since.
        self.view_for(device).await
    }

    /// The view, for a member.
    pub(crate) async fn view_for(&self, device: &DeviceId) -> Result<Arc<View>, HubError> {
        let view = self.view().await?;
        let membership = view.membership.as_ref().ok_or_else(unknown_team)?;
        if membership.state().is_member(device) {
            return Ok(view);
        }
        let removed = membership.state().member(device).is_some();
        Err(HubError::new(
            HubErrorCode::NotListed,
            if removed {
                "this device was removed from the team; ask an admin"
            } else {
                "this device isn't in the team, as far as the hub knows; let an admin's daemon reach the hub, or ask for an invite"
            },
        ))
    }

    /// The view, for a publisher.
    async fn view_for_publisher(&self, device: &DeviceId) -> Result<Arc<View>, HubError> {
        let view = self.view_for(device).await?;
        let publishes = view
            .membership
            .as_ref()
            .is_some_and(|membership| membership.state().may_publish(device));
        if publishes {
            return Ok(view);
        }
        Err(HubError::new(
            HubErrorCode::RoleTooLow,
            "this device is a reader, and only publishers upload and commit; ask an admin for the role",
        ))
    }

    /// Tells other replicas that something was written.
    async fn changed(&self) -> Result<(), StorageError> {
        let mark = data_encoding::HEXLOWER.encode(&rand::random::<[u8; 16]>());
        let told = self.bucket.put(CHANGED, Bytes::from(mark)).await;
        // Who is content with an older view still sees what was written here.
        self.seen.lock().await.begun = None;
        told
    }
}

/// The last listing of the bucket.
#[derive(Default)]
struct Seen {
    view: Option<Arc<View>>,
    /// When it was looked at.
    begun: Option<Instant>,
}

/// Why nothing could be seen.
enum Unseen {
    Storage(StorageError),
    Hub(HubError),
}

impl From<StorageError> for Unseen {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<HubError> for Unseen {
    fn from(error: HubError) -> Self {
        Self::Hub(error)
    }
}

impl From<Unseen> for HubError {
    fn from(unseen: Unseen) -> Self {
        match unseen {
            Unseen::Storage(error) => error.into(),
            Unseen::Hub(error) => error,
        }
    }
}

impl std::fmt::Debug for Team {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Team({})", self.id.short())
    }
}
