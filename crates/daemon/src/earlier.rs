//! Blobs that were here before the log was made anew. Only the earlier log may name them, so nothing of this log says
//! that they are garbage.
//!
//! They are kept while the earlier log is set aside, for its owner may put it back. After that they are kept until the
//! team has told what is shared, and those that are shared until a version here needs them.

use std::collections::BTreeSet;

use podsync_core::BlobId;
use podsync_store::{Blobs, Key, Log, Namespace, Record, StoreError};

/// A blob a record, and a record without a blob once all are noted.
const EARLIER: Namespace = Namespace::new("earlier_blob");

/// Writes down what a home holds whose log was made anew. It must run before anything can be collected.
pub(crate) async fn note_blobs(log: &Log, blobs: &Blobs) -> Result<(), StoreError> {
    if !log.is_made_anew()? || log.get(&key(&[]))?.is_some() {
        return Ok(());
    }
    let there = blobs.all().await?;
    tracing::warn!(
        blobs = there.len(),
        "the log was made anew; podsync keeps the blobs that only the earlier one may name"
    );
    let noted = there
        .iter()
        .map(|blob| &blob.as_bytes()[..])
        .chain([&[][..]]);
    let records: Vec<_> = noted
        .map(|name| Record::put(key(name), Vec::new()))
        .collect();
    log.commit(&records)
}

/// The blobs that were noted and not released yet.
pub(crate) fn kept(log: &Log) -> Result<BTreeSet<BlobId>, StoreError> {
    let mut kept = BTreeSet::new();
    for row in log.settings(EARLIER)? {
        let (name, _) = row?;
        if let Ok(id) = name.try_into() {
            kept.insert(BlobId::from_bytes(id));
        }
    }
    Ok(kept)
}

/// From now on these are kept only if a version needs them.
pub(crate) fn release(log: &Log, blobs: &BTreeSet<BlobId>) -> Result<(), StoreError> {
    let records: Vec<_> = blobs
        .iter()
        .map(|blob| Record::delete(key(blob.as_bytes())))
        .collect();
    log.commit(&records)
}

fn key(name: &[u8]) -> Key {
    Key::Setting {
        namespace: EARLIER,
        key: name.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use podsync_store::Home;

    use super::*;

    #[tokio::test]
    async fn what_an_earlier_log_may_name_is_kept_until_it_is_released() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path(), "a test").unwrap();
        let log = Log::open(&home).unwrap();
        let blobs = Blobs::open(&home).await.unwrap();
        let (id, pin) = blobs.put_bytes(Bytes::from_static(b"saved")).await.unwrap();
        drop(pin);
        note_blobs(&log, &blobs).await.unwrap();
        assert!(
            kept(&log).unwrap().is_empty(),
            "this log knows of all of them"
        );
        drop(log);

        std::fs::remove_file(folder.path().join("log.redb")).unwrap();
        let log = Log::open(&home).unwrap();
        note_blobs(&log, &blobs).await.unwrap();
        assert_eq!(kept(&log).unwrap(), BTreeSet::from([id]));
        let (_, pin) = blobs.put_bytes(Bytes::from_static(b"later")).await.unwrap();
        drop(pin);
        note_blobs(&log, &blobs).await.unwrap();
        assert_eq!(kept(&log).unwrap(), BTreeSet::from([id]), "noted once");
        release(&log, &BTreeSet::from([id])).unwrap();
        note_blobs(&log, &blobs).await.unwrap();
        assert!(kept(&log).unwrap().is_empty());
        blobs.shutdown().await.unwrap();
    }
}
