//! Stores what a run of an instance held after podsync's last load into it. While it still holds exactly that, a
//! load can destroy nobody's changes.

use podsync_core::{ContentHash, codec::Format};
use podsync_instance::Identity;
use podsync_store::{Key, Log, Namespace, Record};
use serde::{Deserialize, Serialize};

use crate::error::Failure;

const CLEAN: Namespace = Namespace::new("clean");
/// How many runs of instances are remembered. A run that ended never comes back.
const MAX_RUNS: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
struct CleanState {
    content: ContentHash,
}

impl Format for CleanState {
    const NAME: &'static str = "clean state";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 33;
}

/// The content of each run of an instance after the last load.
pub(crate) struct CleanStates {
    pub(crate) log: Log,
}

impl CleanStates {
    /// The content of a run after the last load. `None` if it isn't known.
    pub(crate) async fn of(&self, run: Option<&Identity>) -> Result<Option<ContentHash>, Failure> {
        let Some(key) = run.map(key_of) else {
            return Ok(None);
        };
        let log = self.log.clone();
        let kept = tokio::task::spawn_blocking(move || log.get(&key)).await??;
        let state = kept.and_then(|bytes| CleanState::decode(&bytes).ok());
        Ok(state.map(|state| state.content))
    }

    /// Records what a run holds now. Does nothing if the instance doesn't say which run it is.
    pub(crate) async fn note(
        &self,
        run: Option<&Identity>,
        content: ContentHash,
    ) -> Result<(), Failure> {
        let Some(key) = run.map(key_of) else {
            return Ok(());
        };
        let log = self.log.clone();
        tokio::task::spawn_blocking(move || {
            let others = log.settings(CLEAN)?;
            let others = others
                .map(|row| row.map(|(name, _)| Record::delete(setting(name))))
                .collect::<Result<Vec<_>, _>>()?;
            let mut records = if others.len() < MAX_RUNS {
                Vec::new()
            } else {
                others
            };
            records.push(Record::put(key, CleanState { content }.encode()));
            log.commit(&records)
        })
        .await??;
        Ok(())
    }
}

fn key_of(run: &Identity) -> Key {
    setting(run.as_str().as_bytes().to_vec())
}

fn setting(key: Vec<u8>) -> Key {
    Key::Setting {
        namespace: CLEAN,
        key,
    }
}
