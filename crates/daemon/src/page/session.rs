//! Who may use the page. A token is valid once and for a short time, and it begins a session.
//!
//! A session has two secrets. Browsers send a cookie to every port of a host, so other servers on this machine may
//! see it. So each call also sends a key that only the page's own scripts can read.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::secret::{Secret, SecretHash};

/// How long a token is valid. It leaves time for a browser to start.
pub(super) const TOKEN_LIFE: Duration = Duration::from_secs(120);
/// How long a session lasts without a request. An open page sends requests more often.
pub(super) const IDLE_LIFE: Duration = Duration::from_secs(30 * 60);
/// The most tokens, and the most sessions, at a time. A new one removes the oldest.
const MAX_TOKENS: usize = 8;
const MAX_SESSIONS: usize = 16;

pub(super) struct Sessions {
    /// Cancelling this ends all sessions.
    stopping: CancellationToken,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    tokens: Vec<(SecretHash, Instant)>,
    sessions: Vec<Session>,
}

struct Session {
    cookie: SecretHash,
    key: SecretHash,
    ends: Instant,
    /// Each request in progress holds a clone.
    used: Arc<()>,
    ended: CancellationToken,
    /// Cancels `ended` when the session is dropped.
    _end: DropGuard,
}

/// Keeps a session alive while one of its requests is being answered.
pub(super) struct InUse {
    pub(super) ended: CancellationToken,
    _used: Arc<()>,
}

/// The two secrets that a browser gets when its session begins.
pub(super) struct Begun {
    pub(super) cookie: Secret,
    pub(super) key: Secret,
}

impl Sessions {
    pub(super) fn new(stopping: CancellationToken) -> Self {
        Self {
            stopping,
            inside: Mutex::default(),
        }
    }

    /// Makes a token that can begin one session.
    pub(super) fn token(&self) -> Secret {
        let token = Secret::draw();
        let tokens = &mut self.living().tokens;
        make_room(tokens, MAX_TOKENS);
        tokens.push((token.hash(), Instant::now() + TOKEN_LIFE));
        token
    }

    /// Exchanges a token for a session. `None` if the token is wrong, expired or already used.
    pub(super) fn begin(&self, token: &str) -> Option<Begun> {
        let shown = SecretHash::of(token);
        let mut inside = self.living();
        let place = inside.tokens.iter().position(|(kept, _)| *kept == shown)?;
        inside.tokens.remove(place);
        let begun = Begun {
            cookie: Secret::draw(),
            key: Secret::draw(),
        };
        make_room(&mut inside.sessions, MAX_SESSIONS);
        let ended = self.stopping.child_token();
        inside.sessions.push(Session {
            cookie: begun.cookie.hash(),
            key: begun.key.hash(),
            ends: Instant::now() + IDLE_LIFE,
            used: Arc::new(()),
            _end: ended.clone().drop_guard(),
            ended,
        });
        Some(begun)
    }

    /// Finds the session and extends it. `key` is `None` for links, with which a browser can't send it.
    pub(super) fn admit(&self, cookie: &str, key: Option<&str>) -> Option<InUse> {
        let (cookie, key) = (SecretHash::of(cookie), key.map(SecretHash::of));
        let mut inside = self.living();
        let session = inside
            .sessions
            .iter_mut()
            .find(|session| session.cookie == cookie && key.is_none_or(|key| key == session.key))?;
        session.ends = Instant::now() + IDLE_LIFE;
        Some(InUse {
            ended: session.ended.clone(),
            _used: Arc::clone(&session.used),
        })
    }

    pub(super) fn end(&self, cookie: &str) {
        let cookie = SecretHash::of(cookie);
        self.living()
            .sessions
            .retain(|session| session.cookie != cookie);
    }

    /// When the last token or session expires if no request comes. `None` if that has passed.
    pub(super) fn last_end(&self) -> Option<Instant> {
        let inside = self.living();
        let tokens = inside.tokens.iter().map(|(_, ends)| *ends);
        let sessions = inside.sessions.iter().map(|session| session.ends);
        tokens.chain(sessions).max()
    }

    fn living(&self) -> MutexGuard<'_, Inside> {
        let now = Instant::now();
        // Each step leaves the content consistent, so a poisoned lock is safe to use.
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.tokens.retain(|(_, ends)| *ends > now);
        for session in &mut inside.sessions {
            if Arc::strong_count(&session.used) > 1 {
                session.ends = now + IDLE_LIFE;
            }
        }
        inside.sessions.retain(|session| session.ends > now);
        inside
    }
}

/// Removes the oldest one.
fn make_room<T>(list: &mut Vec<T>, most: usize) {
    if list.len() >= most {
        list.remove(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_is_good_once_and_for_a_short_time() {
        let sessions = Sessions::new(CancellationToken::new());
        let token = sessions.token();
        assert!(sessions.begin("").is_none());
        assert!(sessions.begin("0123").is_none());
        assert!(sessions.begin(token.expose()).is_some());
        assert!(sessions.begin(token.expose()).is_none(), "spent");

        let late = sessions.token();
        tokio::time::advance(TOKEN_LIFE).await;
        assert!(sessions.begin(late.expose()).is_none(), "too old");
        assert!(!format!("{late:?}").contains(late.expose()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_lasts_as_long_as_somebody_asks() {
        let sessions = Sessions::new(CancellationToken::new());
        let begun = sessions.begin(sessions.token().expose()).unwrap();
        let (cookie, key) = (begun.cookie.expose(), begun.key.expose());
        for _ in 0..3 {
            tokio::time::advance(IDLE_LIFE / 2).await;
            assert!(sessions.admit(cookie, Some(key)).is_some());
        }
        assert!(sessions.admit(cookie, None).is_some());
        assert!(sessions.admit(cookie, Some(cookie)).is_none());
        assert!(sessions.admit(key, Some(key)).is_none());
        tokio::time::advance(IDLE_LIFE).await;
        assert!(
            sessions.admit(cookie, Some(key)).is_none(),
            "idle for too long"
        );
        assert!(sessions.last_end().is_none());

        let begun = sessions.begin(sessions.token().expose()).unwrap();
        assert!(sessions.last_end().is_some());
        sessions.end(begun.cookie.expose());
        assert!(
            sessions
                .admit(begun.cookie.expose(), Some(begun.key.expose()))
                .is_none()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_lasts_while_it_is_answered_and_its_end_is_told() {
        let stopping = CancellationToken::new();
        let sessions = Sessions::new(stopping.clone());
        let begun = sessions.begin(sessions.token().expose()).unwrap();
        let used = sessions.admit(begun.cookie.expose(), None).unwrap();
        tokio::time::advance(2 * IDLE_LIFE).await;
        assert!(sessions.last_end().is_some());
        assert!(!used.ended.is_cancelled());
        sessions.end(begun.cookie.expose());
        assert!(used.ended.is_cancelled());
        assert!(sessions.last_end().is_none());

        let begun = sessions.begin(sessions.token().expose()).unwrap();
        let used = sessions.admit(begun.cookie.expose(), None).unwrap();
        stopping.cancel();
        assert!(used.ended.is_cancelled());
    }

    #[tokio::test]
    async fn the_oldest_makes_room() {
        let sessions = Sessions::new(CancellationToken::new());
        let first = sessions.begin(sessions.token().expose()).unwrap();
        for _ in 0..MAX_SESSIONS {
            assert!(sessions.begin(sessions.token().expose()).is_some());
        }
        assert!(sessions.admit(first.cookie.expose(), None).is_none());
        let token = sessions.token();
        for _ in 0..MAX_TOKENS {
            sessions.token();
        }
        assert!(sessions.begin(token.expose()).is_none());
    }
}
