//! Stores which version each run of an instance got last, so that `load --once` does nothing if that version is
//! loaded already.

use podsync_core::{VersionId, codec::Format};
use podsync_instance::Identity;
use podsync_store::{Key, Log, Namespace, Record};
use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// Which version a run of an instance got last.
#[derive(Debug, Serialize, Deserialize)]
struct LastLoaded {
    version: VersionId,
}

impl Format for LastLoaded {
    const NAME: &'static str = "last loaded version";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 33;
}

const LAST_LOADED: Namespace = Namespace::new("last-loaded");

/// Which version each instance got last.
pub(crate) struct LastLoads {
    pub(crate) log: Log,
}

impl LastLoads {
    /// Whether this run of an instance got this version last. False if the instance doesn't say which run it is.
    pub(crate) async fn holds(
        &self,
        run: Option<&Identity>,
        version: VersionId,
    ) -> Result<bool, Failure> {
        let Some(key) = run.map(last_loaded) else {
            return Ok(false);
        };
        let log = self.log.clone();
        let kept = tokio::task::spawn_blocking(move || log.get(&key)).await??;
        let last = kept.and_then(|bytes| LastLoaded::decode(&bytes).ok());
        Ok(last.is_some_and(|last| last.version == version))
    }

    pub(crate) async fn note(
        &self,
        run: Option<&Identity>,
        version: Option<VersionId>,
    ) -> Result<(), Failure> {
        let Some(key) = run.map(last_loaded) else {
            return Ok(());
        };
        let log = self.log.clone();
        tokio::task::spawn_blocking(move || {
            // Only the run of the latest load is asked about, so the records of all others are removed.
            let others = log.settings(LAST_LOADED)?;
            let mut records = others
                .map(|row| row.map(|(name, _)| Record::delete(setting(name))))
                .collect::<Result<Vec<_>, _>>()?;
            records.push(match version {
                Some(version) => Record::put(key, LastLoaded { version }.encode()),
                None => Record::delete(key),
            });
            log.commit(&records)
        })
        .await??;
        Ok(())
    }
}

fn last_loaded(run: &Identity) -> Key {
    setting(run.as_str().as_bytes().to_vec())
}

fn setting(key: Vec<u8>) -> Key {
    Key::Setting {
        namespace: LAST_LOADED,
        key,
    }
}
