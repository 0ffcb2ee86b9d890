//! Making outboards objects: each pack is read once, off the threads that wait.

use std::io::{self, Read};

use bao_tree::{
    BaoTree,
    io::{outboard::PreOrderMemOutboard, sync::outboard},
};
use bytes::Bytes;
use podsync_api::hub::{MAX_OUTBOARDS_LEN, ObjectId, ObjectKind};
use podsync_core::{BlobId, manifest::PACK_MAX_LEN};

use super::{BLOCK, HEAD_LEN, MAX_PACKS, OutboardsIndex, ROW_LEN, outboard_len};
use crate::{ReadAt, TransferError, Upload};

/// Read at once.
const PIECE: usize = 1 << 20;

/// Gathers outboards until an object is full.
#[derive(Debug, Default)]
pub struct OutboardsBuilder {
    packs: Vec<(BlobId, u64)>,
    outboards: Vec<u8>,
}

/// An outboards object and the packs that it covers.
#[derive(Debug, Clone)]
pub struct Built {
    pub upload: Upload,
    pub packs: Vec<BlobId>,
}

impl OutboardsBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pack, which is read from beginning to end. `pack.source` is where its bytes are, `blob` what
    /// they hash to. Returns an object that had no room for it.
    pub async fn add(
        &mut self,
        pack: &Upload,
        blob: BlobId,
    ) -> Result<Option<Built>, TransferError> {
        let object = pack.id;
        let failed = |error: io::Error| TransferError::Source {
            object,
            reason: error.to_string(),
        };
        let reader = pack.source.open().await.map_err(failed)?;
        let len = object.size;
        let hashed = tokio::task::spawn_blocking(move || {
            let reader = At {
                reader: &*reader,
                offset: 0,
                len,
            };
            pack_outboard(io::BufReader::with_capacity(PIECE, reader), len)
        });
        let (found, outboard) = hashed
            .await
            .map_err(io::Error::other)
            .and_then(|hashed| hashed)
            .map_err(failed)?;
        if found != blob {
            return Err(TransferError::Damaged { object });
        }
        let full = if self.has_room(len) {
            None
        } else {
            self.finish()
        };
        self.packs.push((blob, len));
        self.outboards.extend_from_slice(&outboard);
        Ok(full)
    }

    /// The object of what was added since the last one; none where that is nothing.
    pub fn finish(&mut self) -> Option<Built> {
        if self.packs.is_empty() {
            return None;
        }
        let packs = std::mem::take(&mut self.packs);
        let ids = packs.iter().map(|(id, _)| *id).collect();
        let mut bytes = OutboardsIndex { packs }.encode();
        bytes.append(&mut self.outboards);
        Some(Built {
            upload: Upload::of_bytes(ObjectKind::Outboards, Bytes::from(bytes)),
            packs: ids,
        })
    }

    fn has_room(&self, len: u64) -> bool {
        let rows = (HEAD_LEN + (self.packs.len() + 1) * ROW_LEN) as u64;
        let len = rows + self.outboards.len() as u64 + outboard_len(len);
        self.packs.len() < MAX_PACKS && len <= MAX_OUTBOARDS_LEN
    }
}

/// The BLAKE3 and the outboard of a pack of `len` bytes. It blocks.
pub fn pack_outboard(bytes: impl Read, len: u64) -> io::Result<(BlobId, Vec<u8>)> {
    if len > PACK_MAX_LEN {
        return Err(io::Error::other("it is longer than a pack may be"));
    }
    let tree = BaoTree::new(len, BLOCK);
    let mut made = PreOrderMemOutboard {
        root: blake3::Hash::from_bytes([0; 32]),
        tree,
        // A pack's, so at most 256 KiB.
        data: vec![0; outboard_len(len) as usize],
    };
    let root = outboard(bytes, tree, &mut made)?;
    Ok((BlobId::from_bytes(*root.as_bytes()), made.data))
}

/// Reads one after the other from what is read at offsets.
struct At<'a> {
    reader: &'a dyn ReadAt,
    offset: u64,
    len: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.len - self.offset;
        let count = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        self.reader.read_at(self.offset, &mut buffer[..count])?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl Built {
    /// What the commit names, but for the generation.
    pub fn id(&self) -> ObjectId {
        self.upload.id
    }
}
