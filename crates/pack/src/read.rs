//! Reading a version: chunks out of packs, and the tables that are themselves chunks.
//!
//! A manifest is signed but may still be wrong: rows are checked against their packs, and chunks
//! against their ids, before use.

use std::io::{self, Read};

use podsync_core::{
    BlobId,
    manifest::{ChunkLocation, Manifest, ManifestError, PackRef, Table},
    seal::{Sealer, TAG_LEN},
};

use crate::{
    chunker::CHUNK_MAX_LEN,
    entry::{Entry, EntryError, TableOrder},
    frame::{self, FrameError, Unpacker},
};

/// Access to sealed packs.
pub trait PackReader: Sync {
    /// Fills `into` with the pack's bytes from `offset` on.
    fn read(&self, pack: &PackRef, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

/// A version that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store failed, or the bytes were never fetched.
    #[error("pack {} cannot be read: {source}", pack.short())]
    Pack { pack: BlobId, source: io::Error },
    /// The bytes are damaged, or were sealed wrongly.
    #[error("pack {}, frame {frame}: {source}", pack.short())]
    Damaged {
        pack: BlobId,
        frame: u32,
        source: FrameError,
    },
    /// The publisher wrote an invalid version. Fetching again does not help.
    #[error("the version is not sound: {0}")]
    Manifest(#[from] ManifestError),
    #[error("the version is not sound: {0}")]
    Entries(EntryError),
    #[error("the version is not sound: {0}")]
    Unsound(&'static str),
    #[error("{name} is {len} bytes, more than the {max} that are read at once")]
    LongEntry { name: String, len: u64, max: u64 },
    #[error("decompression cannot be set up: {0}")]
    Setup(io::Error),
}

impl ReadError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Pack { .. } | Self::Damaged { .. } => {
                "`podsync verify --repair` mends what is damaged on this disk, or fetches it again"
            }
            Self::Manifest(..) => "ask its publisher to save it again",
            Self::Entries(..) => "ask its publisher to save it again",
            Self::Unsound(..) => "ask its publisher to save it again",
            Self::LongEntry { .. } => "export the version to see it",
            Self::Setup(..) => return None,
        })
    }
}

/// A version's manifest and its packs: the start of every read.
#[derive(Clone, Copy)]
pub struct Version<'a> {
    pub manifest: &'a Manifest,
    pub packs: &'a dyn PackReader,
}

impl<'a> Version<'a> {
    pub fn new(manifest: &'a Manifest, packs: &'a dyn PackReader) -> Self {
        Self { manifest, packs }
    }

    /// The entries in the order of their names.
    pub fn entries(&self) -> Result<Entries<'a>, ReadError> {
        Ok(Entries {
            table: TableReader::new(*self, &self.manifest.entries)?,
            order: TableOrder::default(),
            left: self.manifest.entry_count,
            state_left: self.manifest.state_len,
            failed: false,
        })
    }

    /// The rows of the chunk table in stream order, each checked against its pack.
    pub fn chunks(&self) -> Result<ChunkRows<'a>, ReadError> {
        Ok(ChunkRows {
            version: *self,
            table: TableReader::new(*self, &self.manifest.chunks)?,
            state_left: self.manifest.state_len,
            failed: false,
        })
    }

    pub(crate) fn opener(&self) -> Result<ChunkOpener<'a>, ReadError> {
        Ok(ChunkOpener {
            version: *self,
            unpacker: Unpacker::new().map_err(ReadError::Setup)?,
            sealer: None,
            sealed: Vec::new(),
        })
    }
}

/// Opens a version's chunks; one per thread.
pub(crate) struct ChunkOpener<'a> {
    version: Version<'a>,
    unpacker: Unpacker,
    /// The last pack's: neighbours mostly share it.
    sealer: Option<(u32, Sealer)>,
    sealed: Vec<u8>,
}

impl ChunkOpener<'_> {
    /// Puts the chunk at the start of `room`, which is [`room_for`] the chunk. What is behind it changes too.
    ///
    /// A chunk that is stored uncompressed is opened where it is read.
    pub(crate) fn open(&mut self, chunk: &ChunkLocation, room: &mut [u8]) -> Result<(), ReadError> {
        let Version { manifest, packs } = self.version;
        let pack = check_row(manifest, chunk)?;
        let read = |sealed: &mut [u8]| {
            let read = packs.read(pack, u64::from(chunk.offset), sealed);
            read.map_err(|source| ReadError::Pack {
                pack: pack.id,
                source,
            })
        };
        let damaged = |source| ReadError::Damaged {
            pack: pack.id,
            frame: chunk.frame,
            source,
        };
        let sealer = match &mut self.sealer {
            Some((index, sealer)) if *index == chunk.pack => sealer,
            other => &mut other.insert((chunk.pack, Sealer::new(&pack.key))).1,
        };
        if frame::is_plain(chunk.sealed_len, chunk.plain_len) {
            let sealed = &mut room[..chunk.sealed_len as usize];
            read(sealed)?;
            return frame::open_plain(sealer, chunk.frame, chunk.id, sealed).map_err(damaged);
        }
        self.sealed.resize(chunk.sealed_len as usize, 0);
        read(&mut self.sealed)?;
        let plain = &mut room[..chunk.plain_len as usize];
        self.unpacker
            .open(sealer, chunk.frame, chunk.id, &mut self.sealed, plain)
            .map_err(damaged)
    }
}

/// Bytes that [`ChunkOpener::open`] needs for chunks of so many bytes in all.
pub(crate) fn room_for(plain_len: usize) -> usize {
    plain_len + TAG_LEN
}

/// The pack of a row whose place and lengths are possible.
pub(crate) fn check_row<'m>(
    manifest: &'m Manifest,
    chunk: &ChunkLocation,
) -> Result<&'m PackRef, ReadError> {
    manifest.check_location(chunk)?;
    frame::check_lengths(chunk.sealed_len, chunk.plain_len)
        .map_err(|_| ReadError::Unsound("a chunk's lengths are impossible"))?;
    Ok(&manifest.packs[chunk.pack as usize])
}

/// A table's plain bytes, one chunk at a time in memory.
pub(crate) struct TableReader<'a> {
    opener: ChunkOpener<'a>,
    chunks: std::slice::Iter<'a, ChunkLocation>,
    plain: Vec<u8>,
    at: usize,
}

impl<'a> TableReader<'a> {
    fn new(version: Version<'a>, table: &'a Table) -> Result<Self, ReadError> {
        Ok(Self {
            opener: version.opener()?,
            chunks: table.chunks.iter(),
            plain: Vec::with_capacity(room_for(CHUNK_MAX_LEN)),
            at: 0,
        })
    }
}

impl Read for TableReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.plain.len() {
            let Some(chunk) = self.chunks.next() else {
                return Ok(0);
            };
            check_row(self.opener.version.manifest, chunk).map_err(io::Error::other)?;
            self.at = 0;
            let len = chunk.plain_len as usize;
            self.plain.resize(room_for(len), 0);
            let opened = self.opener.open(chunk, &mut self.plain);
            self.plain.truncate(len);
            opened.map_err(io::Error::other)?;
        }
        let len = into.len().min(self.plain.len() - self.at);
        into[..len].copy_from_slice(&self.plain[self.at..][..len]);
        self.at += len;
        Ok(len)
    }
}

/// Unwraps a [`TableReader`]'s errors, which pass through `io::Error`.
impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<ReadError>() {
            Ok(error) => error,
            Err(error) => Self::Setup(error),
        }
    }
}

impl From<EntryError> for ReadError {
    fn from(error: EntryError) -> Self {
        match error {
            EntryError::Io(error) => error.into(),
            error => Self::Entries(error),
        }
    }
}

/// A version's entries, checked against its header: how many, how long together, and in order.
pub struct Entries<'a> {
    table: TableReader<'a>,
    order: TableOrder,
    left: u64,
    state_left: u64,
    failed: bool,
}

impl Entries<'_> {
    fn read(&mut self) -> Result<Option<Entry>, ReadError> {
        let Some(entry) = Entry::read(&mut self.table)? else {
            return match (self.left, self.state_left) {
                (0, 0) => Ok(None),
                _ => Err(ReadError::Unsound(
                    "its entries are fewer or shorter than its header says",
                )),
            };
        };
        self.order.check(&entry)?;
        let more = || ReadError::Unsound("its entries are more or longer than its header says");
        self.left = self.left.checked_sub(1).ok_or_else(more)?;
        self.state_left = self.state_left.checked_sub(entry.len()).ok_or_else(more)?;
        Ok(Some(entry))
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let entry = self.read();
        self.failed = entry.is_err();
        entry.transpose()
    }
}

/// A version's chunks in stream order, checked against its header.
pub struct ChunkRows<'a> {
    version: Version<'a>,
    table: TableReader<'a>,
    state_left: u64,
    failed: bool,
}

impl ChunkRows<'_> {
    fn read(&mut self) -> Result<Option<ChunkLocation>, ReadError> {
        let mut row = [0; ChunkLocation::ROW_LEN];
        if self.table.read(&mut row[..1])? == 0 {
            return match self.state_left {
                0 => Ok(None),
                _ => Err(ReadError::Unsound(
                    "its chunks are shorter than its header says",
                )),
            };
        }
        self.table.read_exact(&mut row[1..])?;
        let chunk = ChunkLocation::from_row(&row);
        check_row(self.version.manifest, &chunk)?;
        self.state_left = self
            .state_left
            .checked_sub(u64::from(chunk.plain_len))
            .ok_or(ReadError::Unsound(
                "its chunks are longer than its header says",
            ))?;
        Ok(Some(chunk))
    }
}

impl Iterator for ChunkRows<'_> {
    type Item = Result<ChunkLocation, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let chunk = self.read();
        self.failed = chunk.is_err();
        chunk.transpose()
    }
}
