//! Writes the engine's records to the disk, one transaction at a time, in order.

use podsync_core::engine::{PersistId, Record};
use podsync_store::{Log, StoreError};
use tokio::task::JoinHandle;

use super::records;

/// What a transaction was for, and its result.
pub(super) type Written = (Vec<PersistId>, Result<(), StoreError>);

pub(super) struct Writes {
    log: Log,
    queued: Vec<(PersistId, Vec<Record>)>,
    under_way: Option<JoinHandle<Written>>,
}

impl Writes {
    pub(super) fn new(log: Log) -> Self {
        Self {
            log,
            queued: Vec::new(),
            under_way: None,
        }
    }

    pub(super) fn queue(&mut self, id: PersistId, records: Vec<Record>) {
        self.queued.push((id, records));
    }

    /// Begins to write all that is queued, unless the last transaction is still under way.
    pub(super) fn start(&mut self) {
        if self.under_way.is_some() || self.queued.is_empty() {
            return;
        }
        let (ids, batches): (Vec<_>, Vec<_>) = std::mem::take(&mut self.queued).into_iter().unzip();
        let log = self.log.clone();
        self.under_way = Some(tokio::task::spawn_blocking(move || {
            let records: Vec<_> = batches
                .into_iter()
                .flatten()
                .map(records::to_store)
                .collect();
            (ids, log.commit(&records))
        }));
    }

    /// Waits for the end of the running transaction. `None` if none runs.
    pub(super) async fn next(&mut self) -> Option<Written> {
        let task = self.under_way.as_mut()?;
        // A panic while writing must not look like success: it is passed on.
        let written = task.await.expect("writing to the log doesn't panic");
        self.under_way = None;
        Some(written)
    }
}
