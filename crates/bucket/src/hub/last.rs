//! What a server last said, for callers that wait and give up before a call ends.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Words, and when they were said.
#[derive(Default)]
pub(crate) struct Last(Mutex<Option<(Instant, String)>>);

impl Last {
    pub(crate) fn note(&self, words: &str) {
        *self.lock() = Some((Instant::now(), words.to_owned()));
    }

    /// The last words, if they were said since then.
    pub(super) fn since(&self, since: Instant) -> Option<String> {
        let last = self.lock();
        let (_, words) = last.as_ref().filter(|(at, _)| *at >= since)?;
        Some(words.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
