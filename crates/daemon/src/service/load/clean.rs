//! What a run of an instance held when podsync had last put something into it: as long as it holds just that, nobody
//! has changed anything there that a load could take away.

use podsync_core::{ContentHash, codec::Format};
use podsync_instance::Identity;
use podsync_store::{Key, Log, Namespace, Record};
use serde::{Deserialize, Serialize};

use crate::error::Failure;

const CLEAN: Namespace = Namespace::new("clean");
/// Runs of instances that are remembered; a run that ended never comes back.
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

/// What each run of an instance held.
pub(crate) struct CleanStates {
    pub(crate) log: Log,
}

impl CleanStates {
    /// What a run held then; none where that isn't known.
    pub(crate) async fn of(&self, run: Option<&Identity>) -> Result<Option<ContentHash>, Failure> {
        let Some(key) = run.map(key_of) else {
            return Ok(None);
        };
        let log = self.log.clone();
        let kept = tokio::task::spawn_blocking(move || log.get(&key)).await??;
        let state = kept.and_then(|bytes| CleanState::decode(&bytes).ok());
        Ok(state.map(|state| state.content))
    }

    /// It holds this now; one that doesn't say which run it is can't be remembered.
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
