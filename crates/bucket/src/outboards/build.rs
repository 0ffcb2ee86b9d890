//! Makes outboards objects. Each pack is read once, on blocking threads.

use std::io::{self, Read};

use bao_tree::{
    BaoTree,
    io::{outboard::PreOrderMemOutboard, sync::outboard},
};
use bytes::Bytes;
use podsync_api::hub::{MAX_OUTBOARDS_LEN, ObjectId, ObjectKind, Sha256};
use podsync_core::{BlobId, manifest::PACK_MAX_LEN};
use sha2::Digest;

use super::{BLOCK, HEAD_LEN, MAX_PACKS, OutboardsIndex, ROW_LEN, outboard_len};
use crate::{ReadAt, Source, TransferError, Upload};

/// Read at once.
const PIECE: usize = 1 << 20;

/// Collects outboards until an object is full.
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

    /// Adds a pack and reads it completely from `pack.source`; `blob` is its hash. If the current object
    /// has no room for it, returns that object.
    pub async fn add(
        &mut self,
        pack: &Upload,
        blob: BlobId,
    ) -> Result<Option<Built>, TransferError> {
        let object = pack.id;
        let read = PackRead::of(&pack.source, object.size).await;
        let read = read.map_err(|error| TransferError::Source {
            object,
            reason: error.to_string(),
        })?;
        if read.blob != blob {
            return Err(TransferError::Damaged { object });
        }
        Ok(self.add_read(read))
    }

    /// Adds a pack that is already read. If the current object has no room for it, returns that
    /// object.
    pub fn add_read(&mut self, pack: PackRead) -> Option<Built> {
        let len = pack.object.size;
        let full = if self.has_room(len) {
            None
        } else {
            self.finish()
        };
        self.packs.push((pack.blob, len));
        self.outboards.extend_from_slice(&pack.outboard);
        full
    }

    /// The object with the packs since the last one. None if there are none.
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

/// The data about a pack that an upload needs, from reading it once.
#[derive(Debug)]
pub struct PackRead {
    /// Its id in the bucket.
    pub object: ObjectId,
    /// The hash of its bytes.
    pub blob: BlobId,
    outboard: Vec<u8>,
}

impl PackRead {
    /// Reads `len` bytes on a blocking thread.
    pub async fn of(source: &Source, len: u64) -> io::Result<Self> {
        let reader = source.open().await?;
        let read = tokio::task::spawn_blocking(move || {
            let mut pieces = Hashed {
                reader: At {
                    reader: &*reader,
                    offset: 0,
                    len,
                },
                sha256: sha2::Sha256::new(),
            };
            let buffered = io::BufReader::with_capacity(PIECE, &mut pieces);
            let (blob, outboard) = pack_outboard(buffered, len)?;
            let object = ObjectId {
                kind: ObjectKind::Pack,
                sha256: Sha256::from_bytes(pieces.sha256.finalize().into()),
                size: len,
            };
            Ok(Self {
                object,
                blob,
                outboard,
            })
        });
        read.await.map_err(io::Error::other)?
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

/// A sequential reader over reads at offsets.
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

/// A reader that also computes the SHA-256 of its bytes.
struct Hashed<R> {
    reader: R,
    sha256: sha2::Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.sha256.update(&buffer[..count]);
        Ok(count)
    }
}

impl Built {
    /// The object's id, which the commit names together with a generation.
    pub fn id(&self) -> ObjectId {
        self.upload.id
    }
}
