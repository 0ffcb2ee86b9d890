//! A pause of this device: until it ends, no data is served, fetched or uploaded. Membership and catalog news still
//! flow.
//!
//! The pause is stored in the log, so a restart doesn't end it.

use std::{sync::Arc, time::Duration};

use podsync_api::{ApiError, ErrorCode, node};
use podsync_net::Traffic;
use podsync_store::{Key, Log, Namespace, Record, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    call::{Context, Handle},
    clock::now_ms,
    error::Failure,
};

const PAUSED: Namespace = Namespace::new("paused");
/// The end time that means "until the user ends it".
const OPEN_END: u64 = u64::MAX;
/// How often at least to check for the end: the wall clock may jump, and a laptop may sleep.
const LOOK: Duration = Duration::from_secs(30);

/// Pauses and resumes this device.
pub(crate) struct Pause {
    log: Log,
    traffic: Traffic,
    /// Unix milliseconds at which the pause ends. `None` without a pause.
    until: watch::Sender<Option<u64>>,
}

impl Pause {
    /// Reads the pause that was set when the last daemon ended. Blocks.
    pub(crate) fn load(log: Log, traffic: Traffic) -> Result<Self, StoreError> {
        let kept = log.get(&key())?;
        let until = kept
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_le_bytes)
            .filter(|until| *until > now_ms());
        traffic.set_paused(until.is_some());
        let until = watch::Sender::new(until);
        Ok(Self {
            log,
            traffic,
            until,
        })
    }

    pub(crate) fn state(&self) -> Option<node::Paused> {
        let until = (*self.until.borrow())?;
        Some(node::Paused {
            until_ms: (until != OPEN_END).then_some(until),
        })
    }

    /// Fails during a pause. For calls that would move data.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.state() {
            None => Ok(()),
            Some(_) => Err(is_paused().into()),
        }
    }

    /// Resolves when a pause begins.
    pub(crate) async fn begun(&self) {
        self.traffic.paused().await;
    }

    /// Ends each pause when its time is over, until the daemon stops.
    pub(crate) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut until = self.until.subscribe();
        loop {
            let end = *until.borrow_and_update();
            let left = match end {
                Some(end) if end != OPEN_END => Duration::from_millis(end.saturating_sub(now_ms())),
                _ => LOOK,
            };
            if left.is_zero() {
                match self.set(None).await {
                    Ok(()) => continue,
                    Err(failure) => {
                        tracing::warn!(error = %failure.api(), "podsync could not end the pause");
                    }
                }
            }
            let wait = if left.is_zero() { LOOK } else { left.min(LOOK) };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                Ok(()) = until.changed() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn set(&self, until: Option<u64>) -> Result<(), Failure> {
        let log = self.log.clone();
        let record = match until {
            Some(until) => Record::put(key(), until.to_le_bytes()),
            None => Record::delete(key()),
        };
        tokio::task::spawn_blocking(move || log.commit(&[record])).await??;
        self.until.send_replace(until);
        self.traffic.set_paused(until.is_some());
        match until {
            Some(_) => tracing::info!("paused"),
            None => tracing::info!("the pause is over"),
        }
        Ok(())
    }
}

impl Handle<node::Pause> for Pause {
    async fn handle(
        self: Arc<Self>,
        call: node::Pause,
        _: Arc<Context>,
    ) -> Result<node::Paused, Failure> {
        let until = call.for_s.map_or(OPEN_END, |seconds| {
            now_ms().saturating_add(seconds.saturating_mul(1000))
        });
        self.set(Some(until)).await?;
        Ok(node::Paused {
            until_ms: (until != OPEN_END).then_some(until),
        })
    }
}

impl Handle<node::Resume> for Pause {
    async fn handle(
        self: Arc<Self>,
        _: node::Resume,
        _: Arc<Context>,
    ) -> Result<node::Resumed, Failure> {
        let was_paused = self.state().is_some();
        if was_paused {
            self.set(None).await?;
        }
        Ok(node::Resumed { was_paused })
    }
}

/// The error of calls during a pause.
pub(crate) fn is_paused() -> ApiError {
    ApiError::new(
        ErrorCode::Unreachable,
        "podsync is paused on this machine: it fetches, serves and uploads nothing",
    )
    .hint("`podsync resume` ends the pause; `podsync status` says until when it lasts")
}

fn key() -> Key {
    Key::Setting {
        namespace: PAUSED,
        key: Vec::new(),
    }
}
