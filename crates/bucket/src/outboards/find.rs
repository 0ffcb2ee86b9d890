//! Finds a pack's outboard in the objects that an entry names.
//!
//! Small objects are fetched whole, since other packs of the version follow.

use std::sync::PoisonError;

use bytes::Bytes;
use podsync_api::hub::{ObjectId, ObjectKind, ObjectRef, Sha256};
use podsync_core::{BlobId, manifest::PACK_MAX_LEN};
use sha2::Digest;

use super::{GROUP, MAX_PACKS, OutboardsIndex, ROW_LEN, known::Known, outboard_len};
use crate::{Hub, TransferError, download::Reader};

/// Objects up to this are fetched whole: the outboards of 1 GiB.
const WHOLE: u64 = 4 << 20;
/// The first bytes to fetch of a larger one: rows for 1,600 packs.
const FIRST: u64 = 64 << 10;

const _: () = assert!(MAX_PACKS * ROW_LEN < 1 << 20, "an index is read at once");
const _: () = assert!(
    PACK_MAX_LEN / GROUP * 64 <= 1 << 20,
    "an outboard is read at once"
);

impl Hub {
    /// The unverified outboard of a blob of `len` bytes, from one of `objects`.
    pub async fn outboard(
        &self,
        objects: &[ObjectRef],
        blob: BlobId,
        len: u64,
    ) -> Result<Bytes, TransferError> {
        let needed = outboard_len(len);
        if needed == 0 {
            return Ok(Bytes::new());
        }
        if let Some(known) = self.known(|known| known.get(blob))
            && known.len() as u64 == needed
        {
            return Ok(known);
        }
        let mut failure = None;
        for object in objects {
            match self.look_in(*object, blob, len).await {
                Ok(Some(outboard)) => return Ok(outboard),
                Ok(None) => {}
                // Another object may still have it.
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| TransferError::NotFound {
            object: objects.first().map_or(
                ObjectId {
                    kind: ObjectKind::Outboards,
                    sha256: Sha256::from_bytes([0; 32]),
                    size: 0,
                },
                |object| object.id,
            ),
            message: format!(
                "no outboards object of its entry covers pack {}",
                blob.short()
            ),
        }))
    }

    /// The packs that an outboards object claims to cover.
    pub async fn covered(&self, object: &ObjectRef) -> Result<Vec<BlobId>, TransferError> {
        let mut reader = Reader::new(self, object.id, Some(object.generation));
        let index = read_index(&mut reader, object.id).await?;
        Ok(index.packs().iter().map(|(pack, _)| *pack).collect())
    }

    /// Forgets an outboard that turned out to be wrong.
    pub(crate) fn forget_outboard(&self, blob: BlobId) {
        self.known(|known| known.remove(blob));
    }

    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(
            &mut self
                .0
                .outboards
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    async fn look_in(
        &self,
        object: ObjectRef,
        blob: BlobId,
        len: u64,
    ) -> Result<Option<Bytes>, TransferError> {
        let id = object.id;
        if id.kind != ObjectKind::Outboards || id.size > ObjectKind::Outboards.max_len() {
            return Err(crate::bucket::garbled(id, "it is no outboards object"));
        }
        let wrong = |error: super::IndexError| TransferError::Garbled {
            object: id,
            what: error.to_string(),
        };
        let mut reader = Reader::new(self, id, Some(object.generation));
        if id.size <= WHOLE {
            let bytes = reader.read(0, id.size).await?;
            if sha2::Sha256::digest(&bytes).as_slice() != id.sha256.as_bytes() {
                let what = "their hash is not the announced one";
                return Err(TransferError::Liar { object: id, what });
            }
            let index = OutboardsIndex::decode(&bytes, id.size).map_err(wrong)?;
            return Ok(self.keep_all(&index, &bytes, (blob, len)));
        }
        let index = read_index(&mut reader, id).await?;
        let Some(place) = index.find(blob, len) else {
            return Ok(None);
        };
        let outboard = reader.read(place.start, place.end - place.start).await?;
        self.known(|known| known.insert(blob, outboard.clone()));
        Ok(Some(outboard))
    }

    /// Caches all outboards of an object, and returns the wanted one.
    fn keep_all(
        &self,
        index: &OutboardsIndex,
        bytes: &Bytes,
        wanted: (BlobId, u64),
    ) -> Option<Bytes> {
        let mut found = None;
        for (pack, place) in index.places() {
            // The index was checked against the length. Copy the slice, so that one outboard
            // doesn't keep the whole object in memory.
            let outboard = bytes.get(place.start as usize..place.end as usize)?;
            let outboard = Bytes::copy_from_slice(outboard);
            if pack == wanted {
                found = Some(outboard.clone());
            }
            self.known(|known| known.insert(pack.0, outboard));
        }
        found
    }
}

/// Reads the index before the outboards.
async fn read_index(
    reader: &mut Reader<'_>,
    id: ObjectId,
) -> Result<OutboardsIndex, TransferError> {
    let wrong = |error: super::IndexError| TransferError::Garbled {
        object: id,
        what: error.to_string(),
    };
    let first = FIRST.min(id.size);
    reader.plan(std::iter::once(0..first));
    let mut head = reader.read(0, first).await?;
    let index_len = (OutboardsIndex::len_of(&head).map_err(wrong)? as u64).min(id.size);
    if index_len > first {
        let rest = reader.read(first, index_len - first).await?;
        head = [head, rest].concat().into();
    }
    OutboardsIndex::decode(&head, id.size).map_err(wrong)
}
