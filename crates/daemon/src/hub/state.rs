//! A team's hub as this device sees it: how to ask it, what it said last, and what keeps this device from it.

mod moves;
pub(crate) mod placements;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use podsync_api::{
    ApiError, ErrorCode,
    events::{Happened, Trouble as Told},
};
use podsync_bucket::{Hub, HubAddress};
use podsync_core::{OpId, TeamId, TeamName, keys::DeviceSecret};
use tokio::sync::{Notify, watch};

use self::{moves::Moves, placements::Placements};
use crate::{
    clock::Clock,
    error::{Failure, api_error},
    events::Events,
};

/// How long somebody waits for what the hub knows before going on without it.
pub(crate) const POLL_PATIENCE: Duration = Duration::from_secs(10);

/// The hubs of this home's teams.
pub(crate) struct Hubs {
    pub(super) secret: DeviceSecret,
    pub(super) places: Placements,
    pub(super) clock: Clock,
    pub(super) events: Events,
    pub(super) teams: Mutex<BTreeMap<TeamId, Arc<TeamHub>>>,
    pub(super) moves: Moves,
    /// There is something to bring, or somebody waits.
    pub(super) wake: Notify,
}

/// A team's place at its hub.
pub(crate) struct TeamHub {
    /// Whose it is, where this home is in the team.
    pub(super) team: Option<TeamName>,
    pub(super) events: Events,
    /// Where it is asked.
    pub(super) url: String,
    /// Where the roster says that it is.
    pub(super) named: String,
    pub(super) client: Hub,
    /// What the hub said last; one question at a time.
    pub(super) polled: tokio::sync::Mutex<Polled>,
    pub(super) polling: Turn,
    pub(super) uploading: Turn,
    /// The statement of liveness that was brought last.
    pub(super) liveness: tokio::sync::Mutex<Option<Arc<[u8]>>>,
    pub(super) standing: watch::Sender<Standing>,
}

#[derive(Default)]
pub(super) struct Polled {
    pub(super) etag: Option<String>,
    pub(super) membership: Vec<OpId>,
}

/// One does it, and one more waits to: whatever there is to do by now, that one will see.
#[derive(Default)]
pub(super) struct Turn {
    now: tokio::sync::Mutex<()>,
    next: tokio::sync::Mutex<()>,
}

impl Turn {
    /// None where somebody waits already.
    pub(super) async fn take(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
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
    pub(super) begun: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) error: ApiError,
    /// Whether it may go away by itself.
    pub(crate) may_pass: bool,
    /// Which attempt came to this.
    pub(super) attempt: u64,
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
    pub(super) fn not_heard(&self) -> ApiError {
        if let Some(failing) = self.client.failing() {
            return ApiError::new(ErrorCode::Unreachable, failing).hint(
                "podsync tries again by itself; `podsync status` shows the state of the hub",
            );
        }
        let seconds = POLL_PATIENCE.as_secs();
        let text = format!("the hub at {} didn't answer in {seconds} s", self.url);
        ApiError::new(ErrorCode::Unreachable, text)
            .hint("check that it runs and that this machine reaches it")
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_modify(change);
    }

    /// The number of an attempt that begins now: it knows of everything that was decided before.
    pub(super) fn begin(&self) -> u64 {
        let mut attempt = 0;
        self.note(|standing| {
            standing.begun += 1;
            attempt = standing.begun;
        });
        attempt
    }

    pub(super) fn note_outcome<T>(&self, attempt: u64, outcome: &Result<T, Failure>) {
        let trouble = outcome.as_ref().err().map(|failure| Trouble {
            error: failure.api().clone(),
            may_pass: matches!(failure, Failure::Api(error) if error.code == ErrorCode::Unreachable),
            attempt,
        });
        if let Some(trouble) = &trouble {
            self.tell(&trouble.error);
        }
        self.note(|standing| standing.trouble = trouble);
    }

    fn tell(&self, error: &ApiError) {
        self.events.tell(Happened::Trouble(Told {
            team: self.team.clone(),
            pod: None,
            reference: None,
            code: error.code,
            message: format!("the hub at {}: {}", self.url, error.message),
            hint: error.hint.clone(),
        }));
    }
}

impl Hubs {
    pub(crate) fn new(
        secret: DeviceSecret,
        places: Placements,
        clock: Clock,
        events: Events,
    ) -> Self {
        Self {
            secret,
            places,
            clock,
            events,
            teams: Mutex::default(),
            moves: Moves::default(),
            wake: Notify::new(),
        }
    }

    /// Has the hubs asked, and what waits brought, now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(crate) fn client(&self, team: TeamId, url: &str) -> Result<Hub, Failure> {
        let address: HubAddress = url.parse().map_err(|error: podsync_bucket::AddressError| {
            api_error(ErrorCode::Invalid, &error, Some(error.hint()))
        })?;
        let secret = DeviceSecret::from_seed(*self.secret.expose_seed());
        Ok(Hub::new(address, team, secret)?)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<TeamId, Arc<TeamHub>>> {
        self.teams.lock().unwrap_or_else(PoisonError::into_inner)
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
