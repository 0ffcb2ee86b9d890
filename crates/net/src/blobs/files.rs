//! Serves blobs that are files: a thread of its own reads them without the store.
//!
//! The bytes equal those that the store would send. Each group is hashed once more before it is sent, so that
//! a damaged disk doesn't make this device send wrong bytes.

use std::{
    fs::File,
    io::{self, Write},
    sync::Arc,
};

use bao_tree::{
    BaoTree,
    io::{outboard::PreOrderOutboard, sync::encode_ranges_validated},
};
use futures::AsyncWrite;
use iroh_blobs::{api::Store, protocol::ChunkRanges, store::IROH_BLOCK_SIZE};
use iroh_io::AsyncStreamWriter;
use podsync_core::BlobId;
use tokio::sync::mpsc;

use super::{GROUP, hash_of, wire::Writer};

/// The bytes to read and pass on at once.
const PIECE: usize = 128 * 1024;

/// Pieces of one answer: one is read while one is sent and one waits.
const PIECES: usize = 3;

/// Finds blobs that are stored as files.
pub trait Shelf: Send + Sync + 'static {
    /// The files of a complete blob. It blocks. None if only the store has it.
    fn open(&self, blob: BlobId) -> Option<BlobFiles>;

    /// Whether this machine's copy was found damaged. Askers are told so then, and nothing is sent.
    fn is_damaged(&self, blob: BlobId) -> bool;
}

/// Where blobs are served from.
#[derive(Clone)]
pub struct Source {
    pub store: Store,
    /// Tried first. None if the store has all blobs.
    pub shelf: Option<Arc<dyn Shelf>>,
}

impl Source {
    pub(super) fn is_damaged(&self, blob: BlobId) -> bool {
        self.shelf
            .as_ref()
            .is_some_and(|shelf| shelf.is_damaged(blob))
    }
}

impl From<Store> for Source {
    fn from(store: Store) -> Self {
        Self { store, shelf: None }
    }
}

/// A whole blob, open.
#[derive(Debug)]
pub struct BlobFiles {
    pub data: File,
    pub len: u64,
    /// Its hash tree: nodes in pre-order, over groups of 16 KiB.
    pub tree: Vec<u8>,
}

/// The files of a blob, where a shelf has them.
pub(super) async fn open(source: &Source, blob: BlobId) -> Option<BlobFiles> {
    let shelf = Arc::clone(source.shelf.as_ref()?);
    // It fails only where the runtime is going away.
    let opened = tokio::task::spawn_blocking(move || shelf.open(blob)).await;
    opened.ok().flatten()
}

/// Sends the size, then the nodes and leaves of these ranges.
pub(super) async fn send(
    files: BlobFiles,
    blob: BlobId,
    ranges: ChunkRanges,
    writer: &mut Writer<impl AsyncWrite + Unpin + Send>,
) -> io::Result<()> {
    writer.write(&files.len.to_le_bytes()).await?;
    let (full, mut pieces) = mpsc::channel(PIECES);
    let (spent, again) = mpsc::channel(PIECES);
    for _ in 0..PIECES {
        // There is room for all of them.
        let _ = spent.try_send(Vec::with_capacity(PIECE));
    }
    let reading = tokio::task::spawn_blocking(move || read(files, blob, &ranges, full, again));
    while let Some(piece) = pieces.recv().await {
        writer.write(&piece).await?;
        let _ = spent.try_send(piece);
    }
    reading.await.map_err(io::Error::other)?
}

fn read(
    files: BlobFiles,
    blob: BlobId,
    ranges: &ChunkRanges,
    full: mpsc::Sender<Vec<u8>>,
    again: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let BlobFiles { data, len, tree } = files;
    let outboard = PreOrderOutboard {
        root: hash_of(blob).into(),
        tree: BaoTree::new(len, IROH_BLOCK_SIZE),
        data: tree,
    };
    let mut out = Pieces {
        piece: Vec::new(),
        full,
        again,
    };
    encode_ranges_validated(&data, outboard, ranges, &mut out).map_err(io::Error::other)?;
    out.pass_on()
}

/// Fills one piece after another, and waits while all are in use.
struct Pieces {
    piece: Vec<u8>,
    full: mpsc::Sender<Vec<u8>>,
    again: mpsc::Receiver<Vec<u8>>,
}

impl Pieces {
    fn pass_on(&mut self) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let piece = std::mem::take(&mut self.piece);
        if !piece.is_empty() {
            self.full.blocking_send(piece).map_err(|_| gone())?;
        }
        Ok(())
    }

    fn next(&mut self) -> io::Result<()> {
        let piece = self.again.blocking_recv();
        self.piece = piece.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        self.piece.clear();
        Ok(())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.next()?;
        }
        self.piece.extend_from_slice(bytes);
        // A leaf more must fit, or the piece would grow.
        if self.piece.len() + GROUP as usize > PIECE {
            self.pass_on()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
