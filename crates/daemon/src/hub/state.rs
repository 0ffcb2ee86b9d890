//! The state of a team's hub: its client, its last answer, and the current failure, if any.

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
use podsync_bucket::{Hub, HubAddress, Patience, TransferError};
use podsync_core::{OpId, TeamId, TeamName, keys::DeviceSecret};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use self::{moves::Moves, placements::Placements};
use crate::{
    clock::Clock,
    error::{Failure, api_error},
    events::Events,
};

/// How long a caller waits for the hub before it goes on without it.
pub(crate) const POLL_PATIENCE: Duration = Duration::from_secs(10);

/// How long a hub may take to answer before a caller that waits is told that it doesn't.
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// The hubs of this home's teams.
pub(crate) struct Hubs {
    pub(super) secret: DeviceSecret,
    pub(super) places: Placements,
    pub(super) clock: Clock,
    pub(super) events: Events,
    pub(super) teams: Mutex<BTreeMap<TeamId, Arc<TeamHub>>>,
    pub(super) moves: Moves,
    /// Wakes the upload loop: there is something to upload, or a caller waits.
    pub(super) wake: Notify,
}

/// A team at its hub.
pub(crate) struct TeamHub {
    /// The team's name. `None` if this home isn't in the team.
    pub(super) team: Option<TeamName>,
    pub(super) events: Events,
    /// Where it is asked.
    pub(super) url: String,
    /// Where the roster says that it is.
    pub(super) named: String,
    pub(super) client: Hub,
    /// The hub's last answer. The lock allows one poll at a time.
    pub(super) polled: tokio::sync::Mutex<Polled>,
    pub(super) polling: Turn,
    pub(super) uploading: Turn,
    /// The liveness statement that was uploaded last.
    pub(super) liveness: tokio::sync::Mutex<Option<Arc<[u8]>>>,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) not_sent: Mutex<Option<NotSent>>,
}

/// Why the last range that failed didn't come from the bucket.
#[derive(Debug, Clone)]
pub(crate) struct NotSent {
    pub(super) at: Instant,
    /// The server's words, or the hub's.
    pub(crate) message: String,
    pub(crate) hint: Option<&'static str>,
    /// The hub gave no URL, so the bucket was not asked.
    pub(crate) is_hubs: bool,
}

#[derive(Default)]
pub(super) struct Polled {
    pub(super) etag: Option<String>,
    pub(super) membership: Vec<OpId>,
}

/// Lets one task work and one more wait. The waiting one will do everything that came up so far, so others needn't
/// wait.
#[derive(Default)]
pub(super) struct Turn {
    now: tokio::sync::Mutex<()>,
    next: tokio::sync::Mutex<()>,
}

impl Turn {
    /// Waits for the turn. `None` if another task waits already.
    pub(super) async fn take(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let _next = self.next.try_lock().ok()?;
        Some(self.now.lock().await)
    }
}

/// The state of the exchange with a hub.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// Unix milliseconds of the last answer at this address.
    pub(crate) heard_ms: Option<u64>,
    /// The same at the address before this one.
    heard_before_ms: Option<u64>,
    /// Why polls or uploads fail. `None` while they work.
    pub(crate) trouble: Option<Trouble>,
    /// The newest entry of this device's own feed that is in the bucket.
    pub(crate) committed: u64,
    /// Bytes sent and total bytes of the running upload.
    pub(crate) uploading: Option<(u64, u64)>,
    /// How many polls and uploads were begun so far.
    pub(super) begun: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) error: ApiError,
    /// Whether the failure may pass by itself.
    pub(crate) may_pass: bool,
    /// The number of the attempt that failed.
    pub(super) attempt: u64,
}

impl Standing {
    /// Unix milliseconds of the hub's last answer, wherever it was.
    pub(crate) fn last_heard_ms(&self) -> Option<u64> {
        self.heard_ms.or(self.heard_before_ms)
    }

    /// What stays where the same hub is asked at another address. What is in the bucket is asked anew there.
    pub(super) fn elsewhere(&self) -> Self {
        Self {
            heard_before_ms: self.last_heard_ms(),
            trouble: self.trouble.clone(),
            begun: self.begun,
            ..Self::default()
        }
    }
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

    /// Why ranges didn't come from the bucket since then. `None` if all came that were asked for.
    pub(crate) fn not_sent_since(&self, since: Instant) -> Option<NotSent> {
        let last = self.not_sent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref().filter(|last| last.at >= since) {
            return Some(last.clone());
        }
        // The engine gives a download up while it is still being tried.
        Some(NotSent {
            at: since,
            message: self.not_served_since(since)?,
            hint: Some("tell the hub's operator if this goes on"),
            is_hubs: false,
        })
    }

    /// What the bucket's server answered to downloads since then instead of sending, or why it wasn't reached.
    fn not_served_since(&self, since: Instant) -> Option<String> {
        let why = self.client.not_served(since.into_std())?;
        Some(format!("the bucket can't serve it now: {why}"))
    }

    /// The same of uploads.
    pub(super) fn not_taken_since(&self, since: Instant) -> Option<String> {
        let why = self.client.not_taken(since.into_std())?;
        Some(format!("the bucket can't take it now: {why}"))
    }

    /// That the hub was asked and answers nothing, if that is so.
    pub(super) fn silence(&self) -> Option<String> {
        let is_silent = self.client.is_silent_for(SILENT_AFTER);
        is_silent.then(|| format!("the hub at {} does not answer", self.url))
    }

    /// What is said of a transfer that stands still, where neither the hub nor the bucket said why.
    pub(super) fn still(&self) -> String {
        format!(
            "the hub at {} answers, and nothing moves at its bucket",
            self.url
        )
    }

    /// Why nothing has moved since then, for a caller that waits: who answered what, or who doesn't answer.
    pub(crate) fn holdup(&self, since: Instant) -> String {
        let said = self.client.failing();
        said.or_else(|| self.not_taken_since(since))
            .or_else(|| self.not_served_since(since))
            .or_else(|| self.silence())
            .unwrap_or_else(|| self.still())
    }

    pub(super) fn note_not_sent(&self, error: &TransferError) {
        let noted = NotSent {
            at: Instant::now(),
            message: error.to_string(),
            hint: error.hint(),
            is_hubs: matches!(error, TransferError::Hub(_)),
        };
        *self.not_sent.lock().unwrap_or_else(PoisonError::into_inner) = Some(noted);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// The error of a caller that has waited too long.
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

    /// Begins an attempt and returns its number. It includes everything that was decided before.
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

    /// Wakes the loop, so that it polls the hubs and uploads now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(crate) fn client(&self, team: TeamId, url: &str) -> Result<Hub, Failure> {
        self.client_with(team, url, Patience::default())
    }

    /// For a caller that tries again by itself, and has to know why each try failed.
    pub(super) fn client_of_one_try(&self, team: TeamId, url: &str) -> Result<Hub, Failure> {
        let once = Patience {
            retries: 0,
            ..Patience::default()
        };
        self.client_with(team, url, once)
    }

    fn client_with(&self, team: TeamId, url: &str, patience: Patience) -> Result<Hub, Failure> {
        let address: HubAddress = url.parse().map_err(|error: podsync_bucket::AddressError| {
            api_error(ErrorCode::Invalid, &error, Some(error.hint()))
        })?;
        let secret = DeviceSecret::from_seed(*self.secret.expose_seed());
        Ok(Hub::with_patience(address, team, secret, patience)?)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<TeamId, Arc<TeamHub>>> {
        self.teams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::ready, pin::pin};

    use super::*;

    #[test]
    fn another_address_of_a_hub_keeps_when_it_was_heard_and_what_fails() {
        let standing = Standing {
            heard_ms: Some(7),
            trouble: Some(Trouble {
                error: ApiError::new(ErrorCode::Unreachable, "refused"),
                may_pass: false,
                attempt: 3,
            }),
            committed: 5,
            begun: 3,
            ..Standing::default()
        };
        // There and back.
        let back = standing.elsewhere().elsewhere();
        assert_eq!((back.heard_ms, back.last_heard_ms()), (None, Some(7)));
        assert_eq!(back.trouble.unwrap().error.message, "refused");
        assert_eq!((back.committed, back.begun), (0, 3));
    }

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
        // The waiting place is free again.
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
