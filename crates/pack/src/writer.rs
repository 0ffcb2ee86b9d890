//! Writes packs: frames are sealed on the caller's thread, then hashed and stored on a second.
//!
//! A pack's id is its hash, known after the last byte. Until [`crate::save`] knows every pack's index
//! in the version, a new pack is named by [`NEW_PACK`] and a count.

use std::{
    fs::File,
    io::{self, Write},
    mem,
    ops::Range,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use podsync_core::{
    BlobId, ChunkId,
    manifest::{ChunkLocation, PACK_TARGET_LEN, PackRef},
    seal::{Sealer, SecretKey},
};

use crate::{
    frame,
    ordered::Stopped,
    shelf::Shelf,
    trailer::{self, MAX_FRAMES, TrailerRow},
};

/// Receives packs as they are made.
pub trait PackSink: Send {
    /// An empty file for the next pack. Its bytes are written from the start to the end, once.
    fn create(&mut self) -> io::Result<File>;

    /// The pack in the last file created is complete. It may become durable while the next is written.
    ///
    /// A file that is created and never finished belongs to a save that failed or found nothing new.
    fn finish(&mut self, file: File, pack: &PackRef) -> io::Result<()>;

    /// Called after the last pack. When it returns `Ok`, all finished packs are durable.
    fn settle(&mut self) -> io::Result<()>;
}

/// Marks a pack index as a count of this save's own packs.
pub(crate) const NEW_PACK: u32 = 1 << 31;

/// Batches that wait for the disk, of 2 MiB at most: enough to go on while a pack is synced.
const QUEUED_TO_STORE: usize = 8;

/// A batch's frames and what is to be done with them.
struct Batch {
    frames: Vec<u8>,
    steps: Vec<Step>,
}

enum Step {
    Begin(SecretKey),
    /// Where the pack's next frames lie in the batch.
    Frames(Range<usize>),
    /// The trailer, with which the pack ends.
    End(Vec<u8>),
}

/// The sealing side.
pub(crate) struct PackWriter<'a> {
    entropy: &'a mut dyn FnMut() -> [u8; 32],
    batches: SyncSender<Batch>,
    shelf: Arc<Shelf>,
    /// The steps for the current batch.
    steps: Vec<Step>,
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
pub(crate) struct PackStorer {
    batches: Receiver<Batch>,
    shelf: Arc<Shelf>,
}

pub(crate) fn pack_writer(entropy: &mut dyn FnMut() -> [u8; 32]) -> (PackWriter<'_>, PackStorer) {
    let (sent, batches) = sync_channel(QUEUED_TO_STORE);
    let shelf = Arc::new(Shelf::default());
    let storer = PackStorer {
        batches,
        shelf: Arc::clone(&shelf),
    };
    let writer = PackWriter {
        entropy,
        batches: sent,
        shelf,
        steps: Vec::new(),
        open: None,
        begun: 0,
        sealed_bytes: 0,
    };
    (writer, storer)
}

impl PackWriter<'_> {
    /// Where buffers for batches are taken from.
    pub(crate) fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf)
    }

    /// Packs begun so far.
    pub(crate) fn begun(&self) -> u32 {
        self.begun
    }

    /// Sealed bytes of all frames so far.
    pub(crate) fn sealed_bytes(&self) -> u64 {
        self.sealed_bytes
    }

    /// Seals a frame of `batch`, a body and room for its tag, into the open pack. It gets there by
    /// [`Self::hand_on`].
    pub(crate) fn put(
        &mut self,
        id: ChunkId,
        plain_len: u32,
        batch: &mut [u8],
        frame: Range<usize>,
    ) -> ChunkLocation {
        let pack = match &mut self.open {
            Some(pack) => pack,
            none => {
                let key = SecretKey::from_bytes((self.entropy)());
                let sealer = Sealer::new(&key);
                self.steps.push(Step::Begin(key));
                self.begun += 1;
                none.insert(OpenPack {
                    sealer,
                    rows: Vec::new(),
                    len: 0,
                })
            }
        };
        let index = u32::try_from(pack.rows.len()).expect("a pack has at most MAX_FRAMES frames");
        frame::seal(&pack.sealer, index, &mut batch[frame.clone()]);
        let sealed_len = u32::try_from(frame.len()).expect("a frame is below 1 MiB");
        let offset = u32::try_from(pack.len).expect("a pack is below 64 MiB");
        pack.rows.push(TrailerRow {
            id,
            sealed_len,
            plain_len,
        });
        pack.len += u64::from(sealed_len);
        self.sealed_bytes += u64::from(sealed_len);
        match self.steps.last_mut() {
            Some(Step::Frames(before)) if before.end == frame.start => before.end = frame.end,
            _ => self.steps.push(Step::Frames(frame)),
        }
        if pack.len >= PACK_TARGET_LEN || index + 1 == MAX_FRAMES {
            self.end_pack();
        }
        ChunkLocation {
            id,
            pack: NEW_PACK | (self.begun - 1),
            frame: index,
            offset,
            sealed_len,
            plain_len,
        }
    }

    /// Passes on a batch after its frames were put. `Stopped`: the storing side failed.
    pub(crate) fn hand_on(&mut self, frames: Vec<u8>) -> Result<(), Stopped> {
        let steps = mem::take(&mut self.steps);
        let batch = Batch { frames, steps };
        self.batches.send(batch).map_err(|_| Stopped)
    }

    pub(crate) fn finish(mut self) -> Result<(), Stopped> {
        self.end_pack();
        self.hand_on(Vec::new())
    }

    fn end_pack(&mut self) {
        if let Some(pack) = self.open.take() {
            let trailer = trailer::seal(&pack.sealer, &pack.rows);
            self.steps.push(Step::End(trailer));
        }
    }
}

impl PackStorer {
    /// Stores the batches, and returns the packs in the order they were begun. A pack without an end
    /// when the writer is dropped stays unfinished.
    pub(crate) fn run(self, sink: &mut dyn PackSink) -> io::Result<Vec<PackRef>> {
        let mut packs = Vec::new();
        let mut open: Option<StoredPack> = None;
        while let Ok(Batch { frames, steps }) = self.batches.recv() {
            for step in steps {
                match step {
                    Step::Begin(key) => open = Some(StoredPack::new(key, sink.create()?)),
                    Step::Frames(range) => open
                        .as_mut()
                        .expect("frames follow a beginning")
                        .append(&frames[range])?,
                    Step::End(trailer) => {
                        let mut pack = open.take().expect("an end follows a beginning");
                        pack.append(&trailer)?;
                        let (file, pack) = pack.finish();
                        sink.finish(file, &pack)?;
                        packs.push(pack);
                    }
                }
            }
            self.shelf.give(frames);
        }
        sink.settle()?;
        Ok(packs)
    }
}

/// A pack on its way to the disk. Its hash is taken once, from the bytes as they go by.
struct StoredPack {
    file: File,
    key: SecretKey,
    len: u64,
    blake3: blake3::Hasher,
}

impl StoredPack {
    fn new(key: SecretKey, file: File) -> Self {
        Self {
            file,
            key,
            len: 0,
            blake3: blake3::Hasher::new(),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.blake3.update(bytes);
        self.len += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn finish(self) -> (File, PackRef) {
        let pack = PackRef {
            id: BlobId::from_bytes(*self.blake3.finalize().as_bytes()),
            sha256: None,
            len: self.len,
            key: self.key,
        };
        (self.file, pack)
    }
}
