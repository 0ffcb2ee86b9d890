//! Converts the byte counts of the `pack` crate into a call's progress reports.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use podsync_api::{Progress, Stage};

use crate::call::Context;

/// Progress is reported in steps of this many bytes: a bar is drawn ten times a second at most.
const STEP: u64 = 4 << 20;

/// Counts bytes of one stage of a call.
pub(crate) struct Meter {
    context: Arc<Context>,
    stage: Stage,
    /// 0 as long as nobody knows.
    total: Arc<AtomicU64>,
    done: AtomicU64,
    muted: Arc<AtomicBool>,
}

impl Meter {
    pub(crate) fn new(context: Arc<Context>, stage: Stage, total: Option<u64>) -> Self {
        Self {
            context,
            stage,
            total: Arc::new(AtomicU64::new(total.unwrap_or_default())),
            done: AtomicU64::new(0),
            muted: Arc::default(),
        }
    }

    /// The total, which can be set later; 0 if it is unknown.
    pub(crate) fn total(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.total)
    }

    /// While this is set, bytes are counted but not reported.
    pub(crate) fn muted(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.muted)
    }
}

impl podsync_pack::Progress for Meter {
    fn advanced(&self, bytes: u64) {
        let before = self.done.fetch_add(bytes, Ordering::Relaxed);
        let done = before + bytes;
        if before / STEP != done / STEP && !self.muted.load(Ordering::Relaxed) {
            let total = self.total.load(Ordering::Relaxed);
            let total = (total > 0).then_some(total);
            self.context.report(&Progress::new(self.stage, done, total));
        }
    }

    fn cancelled(&self) -> bool {
        self.context.cancel.is_cancelled()
    }
}
