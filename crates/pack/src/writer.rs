//! Writing packs: frames are sealed on the caller's thread, hashed on a second and stored on a third.
//!
//! A pack's id exists only when its last byte is hashed. Until [`crate::save`] knows where every pack
//! stands in the version's list, a new pack is named by [`NEW_PACK`] and the order of its making.

use std::{
    fs::File,
    io::{self, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use aws_lc_rs::digest;
use podsync_core::{
    BlobId, ChunkId,
    manifest::{ChunkLocation, PACK_TARGET_LEN, PackRef},
    seal::{Sealer, SecretKey},
};

use crate::{
    frame,
    ordered::Stopped,
    trailer::{self, MAX_FRAMES, TrailerRow},
};

/// Takes packs as they are made.
pub trait PackSink: Send {
    /// An empty file for the next pack. Its bytes are written from the start to the end, once.
    fn create(&mut self) -> io::Result<File>;

    /// The pack in the last file created is complete. It may become durable while the next is written.
    ///
    /// A file that is created and never finished belongs to a save that failed or found nothing new.
    fn finish(&mut self, file: File, pack: &PackRef) -> io::Result<()>;

    /// No more packs come. Where this returns `Ok` all that were finished are durable.
    fn settle(&mut self) -> io::Result<()>;
}

/// Marks a pack index that counts this save's own packs instead of a list's.
pub(crate) const NEW_PACK: u32 = 1 << 31;

/// Sealed pieces that wait for their hashes: a few MiB.
const QUEUED_TO_HASH: usize = 32;
/// Pieces that wait for the disk: enough to go on while a pack is synced. Mostly 16 MiB, and 64 MiB
/// where every chunk has its greatest length.
const QUEUED_TO_STORE: usize = 256;

enum Piece {
    Begin(SecretKey),
    Bytes(Vec<u8>),
    End,
}

enum HashedPiece {
    Begin,
    Bytes(Vec<u8>),
    End(PackRef),
}

/// The sealing side.
pub(crate) struct PackWriter<'a> {
    entropy: &'a mut dyn FnMut() -> [u8; 32],
    pieces: SyncSender<Piece>,
    open: Option<OpenPack>,
    begun: u32,
    sealed_bytes: u64,
}

struct OpenPack {
    sealer: Sealer,
    rows: Vec<TrailerRow>,
    len: u64,
}

/// The hashing and storing side, to be run on a thread of its own.
pub(crate) struct PackStorer(Receiver<Piece>);

pub(crate) fn pack_writer(entropy: &mut dyn FnMut() -> [u8; 32]) -> (PackWriter<'_>, PackStorer) {
    let (pieces, stored) = sync_channel(QUEUED_TO_HASH);
    (
        PackWriter {
            entropy,
            pieces,
            open: None,
            begun: 0,
            sealed_bytes: 0,
        },
        PackStorer(stored),
    )
}

impl PackWriter<'_> {
    /// Packs begun so far.
    pub(crate) fn begun(&self) -> u32 {
        self.begun
    }

    /// Sealed bytes of all frames so far.
    pub(crate) fn sealed_bytes(&self) -> u64 {
        self.sealed_bytes
    }

    /// Seals a frame's body into the open pack. `Stopped`: the storing side failed.
    pub(crate) fn put(
        &mut self,
        id: ChunkId,
        plain_len: u32,
        mut body: Vec<u8>,
    ) -> Result<ChunkLocation, Stopped> {
        let pack = match &mut self.open {
            Some(pack) => pack,
            none => {
                let key = SecretKey::from_bytes((self.entropy)());
                let sealer = Sealer::new(&key);
                self.pieces.send(Piece::Begin(key)).map_err(|_| Stopped)?;
                self.begun += 1;
                none.insert(OpenPack {
                    sealer,
                    rows: Vec::new(),
                    len: 0,
                })
            }
        };
        let frame = u32::try_from(pack.rows.len()).expect("a pack has at most MAX_FRAMES frames");
        frame::seal(&pack.sealer, frame, &mut body);
        let sealed_len = u32::try_from(body.len()).expect("a frame is below 1 MiB");
        let offset = u32::try_from(pack.len).expect("a pack is below 64 MiB");
        pack.rows.push(TrailerRow {
            id,
            sealed_len,
            plain_len,
        });
        pack.len += u64::from(sealed_len);
        self.sealed_bytes += u64::from(sealed_len);
        let full = pack.len >= PACK_TARGET_LEN || frame + 1 == MAX_FRAMES;
        self.pieces.send(Piece::Bytes(body)).map_err(|_| Stopped)?;
        let pack = NEW_PACK | (self.begun - 1);
        if full {
            self.end_pack()?;
        }
        Ok(ChunkLocation {
            id,
            pack,
            frame,
            offset,
            sealed_len,
            plain_len,
        })
    }

    pub(crate) fn finish(mut self) -> Result<(), Stopped> {
        self.end_pack()
    }

    fn end_pack(&mut self) -> Result<(), Stopped> {
        if let Some(pack) = self.open.take() {
            let trailer = trailer::seal(&pack.sealer, &pack.rows);
            self.pieces
                .send(Piece::Bytes(trailer))
                .map_err(|_| Stopped)?;
            self.pieces.send(Piece::End).map_err(|_| Stopped)?;
        }
        Ok(())
    }
}

impl PackStorer {
    /// Stores what comes and returns the packs in the order they were begun. A pack that isn't ended
    /// when the writer goes away is left unfinished.
    pub(crate) fn run(self, sink: &mut dyn PackSink) -> io::Result<Vec<PackRef>> {
        let (hashed, stored) = sync_channel(QUEUED_TO_STORE);
        // The storing side's queue ends with the closure: a hashing side that waits for room in it must
        // not wait for ever where storing has failed.
        thread::scope(move |scope| {
            scope.spawn(move || hash(&self.0, &hashed));
            store(stored, sink)
        })
    }
}

/// Takes both hashes of a pack, once, from the bytes on their way to the disk.
fn hash(pieces: &Receiver<Piece>, hashed: &SyncSender<HashedPiece>) {
    let mut open: Option<PackHashes> = None;
    while let Ok(piece) = pieces.recv() {
        let piece = match piece {
            Piece::Begin(key) => {
                open = Some(PackHashes::new(key));
                HashedPiece::Begin
            }
            Piece::Bytes(bytes) => {
                open.as_mut()
                    .expect("bytes follow a beginning")
                    .update(&bytes);
                HashedPiece::Bytes(bytes)
            }
            Piece::End => {
                HashedPiece::End(open.take().expect("an end follows a beginning").finish())
            }
        };
        // A storing side that has stopped says why itself.
        if hashed.send(piece).is_err() {
            break;
        }
    }
}

fn store(pieces: Receiver<HashedPiece>, sink: &mut dyn PackSink) -> io::Result<Vec<PackRef>> {
    let mut packs = Vec::new();
    let mut open: Option<File> = None;
    while let Ok(piece) = pieces.recv() {
        match piece {
            HashedPiece::Begin => open = Some(sink.create()?),
            HashedPiece::Bytes(bytes) => open
                .as_mut()
                .expect("bytes follow a beginning")
                .write_all(&bytes)?,
            HashedPiece::End(pack) => {
                sink.finish(open.take().expect("an end follows a beginning"), &pack)?;
                packs.push(pack);
            }
        }
    }
    sink.settle()?;
    Ok(packs)
}

struct PackHashes {
    key: SecretKey,
    len: u64,
    blake3: blake3::Hasher,
    sha256: digest::Context,
}

impl PackHashes {
    fn new(key: SecretKey) -> Self {
        Self {
            key,
            len: 0,
            blake3: blake3::Hasher::new(),
            sha256: digest::Context::new(&digest::SHA256),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.blake3.update(bytes);
        self.sha256.update(bytes);
        self.len += bytes.len() as u64;
    }

    fn finish(self) -> PackRef {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.sha256.finish().as_ref());
        let id = BlobId::from_bytes(*self.blake3.finalize().as_bytes());
        PackRef {
            id,
            sha256,
            len: self.len,
            key: self.key,
        }
    }
}
