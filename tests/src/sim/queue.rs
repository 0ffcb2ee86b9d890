//! What is still to happen, in the order of virtual time. Of two at one moment, the first entered is
//! the first out: a run must not depend on anything but its seed.

use std::{collections::BTreeMap, time::Duration};

#[derive(Debug)]
pub(super) struct Queue<T> {
    due: BTreeMap<(Duration, u64), T>,
    entered: u64,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self {
            due: BTreeMap::new(),
            entered: 0,
        }
    }

    pub(super) fn enter(&mut self, at: Duration, what: T) {
        self.entered += 1;
        self.due.insert((at, self.entered), what);
    }

    /// The next thing, if it is due by `until`.
    pub(super) fn next(&mut self, until: Duration) -> Option<(Duration, T)> {
        let first = self.due.first_entry()?;
        let at = first.key().0;
        (at <= until).then(|| (at, first.remove()))
    }
}
