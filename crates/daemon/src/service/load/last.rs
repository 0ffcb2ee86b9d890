//! Stores which versions a run of an instance holds, so that a hook that is run again loads none of them again.
//!
//! The loads of a hook add up. Every other load may have replaced them, so it begins a new list.

use podsync_core::{VersionId, codec::Format};
use podsync_instance::Identity;
use podsync_store::{Key, Log, Namespace, Record, StoreError};
use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// More than a hook loads; older ones are forgotten, and would be loaded again.
const MAX_VERSIONS: usize = 64;

/// Which versions a run of an instance got last, oldest first.
///
/// Version 1 was a single version. A record that can't be read counts as none: the next hook loads again.
#[derive(Debug, Default, Serialize, Deserialize)]
struct LastLoaded {
    versions: Vec<VersionId>,
}

impl Format for LastLoaded {
    const NAME: &'static str = "last loaded versions";
    const VERSION: u8 = 2;
    const MAX_LEN: usize = 2 + 32 * MAX_VERSIONS;
}

impl LastLoaded {
    fn add(&mut self, version: VersionId, before: Before) {
        if before == Before::Ends {
            self.versions.clear();
        }
        self.versions.retain(|held| *held != version);
        self.versions.push(version);
        let surplus = self.versions.len().saturating_sub(MAX_VERSIONS);
        self.versions.drain(..surplus);
    }
}

/// What a load does to what was loaded before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// It is still there.
    Stays,
    /// It may be gone.
    Ends,
}

const LAST_LOADED: Namespace = Namespace::new("last-loaded");

/// Which versions each instance got last.
pub(crate) struct LastLoads {
    pub(crate) log: Log,
}

impl LastLoads {
    /// Whether this run of an instance holds this version. False if the instance doesn't say which run it is.
    pub(crate) async fn holds(
        &self,
        run: Option<&Identity>,
        version: VersionId,
    ) -> Result<bool, Failure> {
        let Some(key) = run.map(last_loaded) else {
            return Ok(false);
        };
        let log = self.log.clone();
        let last = tokio::task::spawn_blocking(move || read(&log, &key)).await??;
        Ok(last.versions.contains(&version))
    }

    /// Records a load into this run.
    pub(crate) async fn note(
        &self,
        run: Option<&Identity>,
        version: VersionId,
        before: Before,
    ) -> Result<(), Failure> {
        self.change(run, move |last| last.add(version, before))
            .await
    }

    /// Records that nobody knows what this run holds.
    pub(crate) async fn forget(&self, run: Option<&Identity>) -> Result<(), Failure> {
        self.change(run, |last| last.versions.clear()).await
    }

    async fn change(
        &self,
        run: Option<&Identity>,
        change: impl FnOnce(&mut LastLoaded) + Send + 'static,
    ) -> Result<(), Failure> {
        let Some(key) = run.map(last_loaded) else {
            return Ok(());
        };
        let log = self.log.clone();
        tokio::task::spawn_blocking(move || {
            let mut last = read(&log, &key)?;
            change(&mut last);
            // Only the run of the latest load is asked about, so the records of all others are removed.
            let others = log.settings(LAST_LOADED)?;
            let mut records = others
                .map(|row| row.map(|(name, _)| Record::delete(setting(name))))
                .collect::<Result<Vec<_>, _>>()?;
            records.push(Record::put(key, last.encode()));
            log.commit(&records)
        })
        .await??;
        Ok(())
    }
}

fn read(log: &Log, key: &Key) -> Result<LastLoaded, StoreError> {
    let kept = log.get(key)?;
    let last = kept.and_then(|bytes| LastLoaded::decode(&bytes).ok());
    Ok(last.unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u8) -> VersionId {
        VersionId::of(&[number])
    }

    #[test]
    fn a_hooks_loads_add_up_and_any_other_begins_anew() {
        let mut last = LastLoaded::default();
        for (number, before, held) in [
            (1, Before::Stays, &[1][..]),
            (2, Before::Stays, &[1, 2]),
            (1, Before::Stays, &[2, 1]),
            (3, Before::Ends, &[3]),
        ] {
            last.add(version(number), before);
            let held: Vec<_> = held.iter().copied().map(version).collect();
            assert_eq!(last.versions, held);
        }
    }

    #[test]
    fn the_longest_list_fits_its_record_and_reads_back() {
        let mut last = LastLoaded::default();
        for number in 0..=MAX_VERSIONS {
            last.add(VersionId::of(&number.to_le_bytes()), Before::Stays);
        }
        let bytes = last.encode();
        assert_eq!(bytes.len(), LastLoaded::MAX_LEN);
        let read = LastLoaded::decode(&bytes).unwrap();
        assert_eq!(read.versions, last.versions);
        assert!(
            !read
                .versions
                .contains(&VersionId::of(&0_usize.to_le_bytes()))
        );
    }
}
