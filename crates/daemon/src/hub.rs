//! The team's hub, as this device uses it: kept in step in the background, and asked at once where
//! somebody waits.
//!
//! Nothing here is a second record of what was shared: what the bucket lacks is told by this device's
//! own feed and by how far the hub says that it has it, so a restart goes on where things stopped.

mod bring;
mod confirm;
mod durable;
mod fetch;
mod hear;
mod join;
mod placements;
mod upload;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use podsync_api::{ApiError, ErrorCode};
use podsync_bucket::{Hub, HubAddress};
use podsync_core::{DeviceId, OpId, TeamId, keys::DeviceSecret};
use podsync_store::Blobs;
use tokio::sync::{Notify, watch};

pub(crate) use self::{
    bring::Uploads,
    confirm::{Named, committed},
    fetch::BucketFetch,
    join::ask_to_join,
    placements::Placements,
    upload::held_blob,
};
use crate::{
    clock::Clock,
    error::{Failure, told},
    node::handle::Node,
    tasks::Lifetime,
};

/// How long somebody waits for what the hub knows before going on without it.
pub(crate) const HEAR_PATIENCE: Duration = Duration::from_secs(10);
/// How long a look at what there is waits for what the hub knows.
const BRIEFLY: Duration = Duration::from_secs(3);

/// The hubs of this home's teams.
pub(crate) struct Hubs {
    secret: DeviceSecret,
    places: Placements,
    clock: Clock,
    teams: Mutex<BTreeMap<TeamId, Arc<TeamHub>>>,
    /// There is something to bring, or somebody waits.
    wake: Notify,
}

/// A team's place at its hub.
pub(crate) struct TeamHub {
    url: String,
    client: Hub,
    /// What the hub said last; one question at a time.
    heard: tokio::sync::Mutex<Heard>,
    hearing: Turn,
    bringing: Turn,
    /// The statement of liveness that was brought last.
    liveness: tokio::sync::Mutex<Option<Arc<[u8]>>>,
    standing: watch::Sender<Standing>,
}

#[derive(Default)]
struct Heard {
    etag: Option<String>,
    membership: Vec<OpId>,
}

/// One does it, and one more waits to: whatever there is to do by now, that one will see.
#[derive(Default)]
struct Turn {
    now: tokio::sync::Mutex<()>,
    next: tokio::sync::Mutex<()>,
}

impl Turn {
    /// None where somebody waits already.
    async fn take(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let _next = self.next.try_lock().ok()?;
        Some(self.now.lock().await)
    }
}

/// How things are with a hub.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// Unix milliseconds of the last answer.
    pub(crate) heard_ms: Option<u64>,
    /// Why it can't be asked, or doesn't take what is brought; none while all is well.
    pub(crate) trouble: Option<Trouble>,
    /// The newest entry of this device's own feed that is in the bucket.
    pub(crate) committed: u64,
    /// Bytes sent, and bytes to send, of an upload that is under way.
    pub(crate) uploading: Option<(u64, u64)>,
    /// How often it has been begun to ask the hub, or to bring it something.
    begun: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) error: ApiError,
    /// Whether it may go away by itself.
    pub(crate) may_pass: bool,
    /// Which attempt came to this.
    attempt: u64,
}

impl TeamHub {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn client(&self) -> &Hub {
        &self.client
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Nobody waits longer.
    fn not_heard(&self) -> ApiError {
        if let Some(failing) = self.client.failing() {
            return ApiError::new(ErrorCode::Unreachable, failing);
        }
        let seconds = HEAR_PATIENCE.as_secs();
        let text = format!("the hub at {} didn't answer in {seconds} s", self.url);
        ApiError::new(ErrorCode::Unreachable, text)
            .hint("look whether it runs and whether this machine reaches it")
    }

    fn note(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_modify(change);
    }

    /// The number of an attempt that begins now: it knows of everything that was decided before.
    fn begin(&self) -> u64 {
        let mut attempt = 0;
        self.note(|standing| {
            standing.begun += 1;
            attempt = standing.begun;
        });
        attempt
    }

    fn note_outcome<T>(&self, attempt: u64, outcome: &Result<T, Failure>) {
        let trouble = outcome.as_ref().err().map(|failure| Trouble {
            error: failure.told().clone(),
            may_pass: failure.told().code == ErrorCode::Unreachable,
            attempt,
        });
        self.note(|standing| standing.trouble = trouble);
    }
}

impl Hubs {
    pub(crate) fn new(secret: DeviceSecret, places: Placements, clock: Clock) -> Self {
        Self {
            secret,
            places,
            clock,
            teams: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Has the hubs asked, and what waits brought, now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(crate) fn client(&self, team: TeamId, url: &str) -> Result<Hub, Failure> {
        let address: HubAddress = url.parse().map_err(|error: podsync_bucket::AddressError| {
            told(ErrorCode::Invalid, &error, Some(error.hint()))
        })?;
        let secret = DeviceSecret::from_seed(*self.secret.expose_seed());
        Ok(Hub::new(address, team, secret)?)
    }

    /// What fetching from a team's bucket takes; none before its hub was looked up.
    pub(crate) fn bucket(&self, team: TeamId, blobs: &Blobs) -> Option<BucketFetch> {
        let hub = Arc::clone(self.lock().get(&team)?);
        Some(BucketFetch {
            hub,
            places: self.places.clone(),
            blobs: blobs.clone(),
            team,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TeamId, Arc<TeamHub>>> {
        self.teams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Learns what hubs know, and tells them what was decided here.
pub(crate) struct HubSync {
    pub(crate) device: DeviceId,
    pub(crate) lifetime: Lifetime,
    pub(crate) node: Node,
    pub(crate) hubs: Arc<Hubs>,
}

impl HubSync {
    /// A team's hub, by its URL.
    pub(crate) fn client(&self, team: TeamId, url: &str) -> Result<Hub, Failure> {
        self.hubs.client(team, url)
    }

    /// Has the hubs asked, and what waits brought, now.
    pub(crate) fn wake(&self) {
        self.hubs.wake();
    }

    /// The team's hub; none where it has none.
    pub(crate) async fn hub(&self, team: TeamId) -> Result<Option<Arc<TeamHub>>, Failure> {
        let url = self
            .node
            .read(move |engine| engine.hub_url(&team).map(str::to_owned));
        let Some(url) = url.await? else {
            self.hubs.lock().remove(&team);
            return Ok(None);
        };
        if let Some(known) = self.hubs.lock().get(&team)
            && known.url == url
        {
            return Ok(Some(Arc::clone(known)));
        }
        let client = self.hubs.client(team, &url)?;
        let (places, of) = (self.hubs.places.clone(), url.clone());
        let known = tokio::task::spawn_blocking(move || {
            if places.adopt(team, &of)? {
                tracing::info!(team = %team.short(), "another hub: what lies in its bucket is learnt anew");
            }
            places.blobs(team)
        });
        let known = known.await??;
        self.tell_places(team, known).await?;
        let hub = Arc::new(TeamHub {
            url,
            client,
            heard: tokio::sync::Mutex::default(),
            hearing: Turn::default(),
            bringing: Turn::default(),
            liveness: tokio::sync::Mutex::default(),
            standing: watch::Sender::new(Standing::default()),
        });
        // Two that came here at once: the one that is there stays.
        let mut teams = self.hubs.lock();
        match teams.get(&team) {
            Some(there) if there.url == hub.url => Ok(Some(Arc::clone(there))),
            _ => {
                teams.insert(team, Arc::clone(&hub));
                Ok(Some(hub))
            }
        }
    }

    /// Asks the hub now; whether it was heard, and none where the team has no hub.
    pub(crate) async fn hear(&self, team: TeamId) -> Result<Option<bool>, Failure> {
        if let Ok(None) = self.hub(team).await {
            return Ok(None);
        }
        match self.hear_now(team).await {
            Ok(()) => Ok(Some(true)),
            Err(failure) => {
                tracing::warn!(error = %failure.told(), "the hub wasn't heard");
                Ok(Some(false))
            }
        }
    }

    /// What keeps this device from the team's hub, if anything does.
    pub(crate) async fn trouble(&self, team: TeamId) -> Result<Option<String>, Failure> {
        let hub = match self.hub(team).await {
            Ok(Some(hub)) => hub,
            Ok(None) => return Ok(None),
            Err(failure) => return Ok(Some(failure.told().message.clone())),
        };
        let trouble = hub.standing().trouble;
        Ok(hub
            .client
            .failing()
            .or(trouble.map(|trouble| trouble.error.message)))
    }

    /// Asks the hub now, for somebody who waits: what it doesn't say in time is heard later.
    pub(crate) async fn hear_now(&self, team: TeamId) -> Result<(), Failure> {
        let Some(hub) = self.hub(team).await? else {
            return Ok(());
        };
        let attempt = hub.begin();
        let heard = tokio::time::timeout(HEAR_PATIENCE, self.hear_hub(team, &hub));
        let outcome = heard.await.unwrap_or_else(|_| Err(hub.not_heard().into()));
        hub.note_outcome(attempt, &outcome);
        outcome
    }

    /// Asks the hub for somebody who looks at what there is through a command's own daemon: nothing was
    /// heard in the background there. Without an answer, what is known is shown.
    pub(crate) async fn hear_briefly(&self, team: TeamId) {
        if self.lifetime == Lifetime::Service {
            return;
        }
        match tokio::time::timeout(BRIEFLY, self.hear_now(team)).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                tracing::warn!(team = %team.short(), error = %failure.told(), "the hub wasn't heard");
            }
            Err(_) => tracing::warn!(team = %team.short(), "the hub wasn't heard in time"),
        }
    }
}

impl HubSync {
    /// Brings what this device just decided about the team. What can't be brought now is later, by the
    /// daemon: deciding it has not failed.
    pub(crate) async fn tell_hub(&self, team: TeamId) {
        let told = async {
            let Some(hub) = self.hub(team).await? else {
                return Ok(());
            };
            self.hear_now(team).await?;
            self.bring_operations(team, &hub).await
        };
        match tokio::time::timeout(HEAR_PATIENCE, told).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                let failure: Failure = failure;
                tracing::warn!(team = %team.short(), error = %failure.told(), "the hub doesn't know of it yet");
            }
            Err(_) => tracing::warn!(team = %team.short(), "the hub doesn't know of it yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::ready, pin::pin};

    use super::*;

    #[tokio::test]
    async fn one_waits_and_whoever_comes_then_leaves_it_to_that_one() {
        let turn = Turn::default();
        let first = turn.take().await.unwrap();
        let mut second = pin!(turn.take());
        tokio::select! {
            biased;
            _ = &mut second => panic!("two at once"),
            () = ready(()) => {}
        }
        assert!(turn.take().await.is_none());
        drop(first);
        let second = second.await.unwrap();
        // The place of who waits is free again.
        let mut third = pin!(turn.take());
        tokio::select! {
            biased;
            _ = &mut third => panic!("two at once"),
            () = ready(()) => {}
        }
        drop(second);
        assert!(third.await.is_some());
    }
}
