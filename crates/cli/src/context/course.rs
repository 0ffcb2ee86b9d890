//! How far a command came, as it heard from the daemon: what a signal interrupts is told by that.

use std::sync::{Mutex, MutexGuard, PoisonError};

use podsync_api::{Consent, Stage};

#[derive(Debug, Default)]
pub(crate) struct Course(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    has_called: bool,
    is_cut_short: bool,
    has_served: bool,
    stages: Vec<Stage>,
    agreed: Vec<Consent>,
}

impl Course {
    /// Whether the daemon was asked for anything.
    pub(crate) fn has_called(&self) -> bool {
        self.lock().has_called
    }

    pub(crate) fn has_reached(&self, stage: Stage) -> bool {
        self.lock().stages.contains(&stage)
    }

    /// Whether somebody said yes to this when they were asked.
    pub(crate) fn has_agreed(&self, consent: Consent) -> bool {
        self.lock().agreed.contains(&consent)
    }

    /// Whether the process ends before its daemon has tidied up.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.lock().is_cut_short
    }

    pub(crate) fn note_cut_short(&self) {
        self.lock().is_cut_short = true;
    }

    /// Whether this process served as a daemon: it did start.
    pub(crate) fn has_served(&self) -> bool {
        self.lock().has_served
    }

    pub(crate) fn note_serving(&self) {
        self.lock().has_served = true;
    }

    pub(crate) fn note_call(&self) {
        self.lock().has_called = true;
    }

    pub(crate) fn note_stage(&self, stage: Stage) {
        let mut seen = self.lock();
        if !seen.stages.contains(&stage) {
            seen.stages.push(stage);
        }
    }

    pub(crate) fn note_consent(&self, consent: Consent) {
        self.lock().agreed.push(consent);
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
