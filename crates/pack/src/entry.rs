//! An entry: one file, folder or symlink of a state, and its row in the entry table.
//!
//! A decoded row can be joined safely to a folder: [`EntryName`] and [`LinkTarget`] cannot leave
//! it. The reader of a whole table checks order and parents.

use std::{fmt, io};

use podsync_core::ContentHash;

use crate::name::{EntryName, LinkTarget, NameError};

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// `len` bytes of the state's stream.
    File {
        len: u64,
        crc32: u32,
    },
    Dir,
    /// Lies in the row alone; takes nothing from the stream.
    Symlink {
        target: LinkTarget,
    },
}

/// One row of the entry table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: EntryName,
    pub kind: EntryKind,
    /// Permission bits, `0o777` at most.
    pub mode: u32,
    /// Nanoseconds since 1970, for people; never compared.
    pub mtime_ns: i64,
}

/// The permission bits that are kept: a setuid bit is dropped.
pub(crate) const MODE_MASK: u32 = 0o777;

/// A row is: lengths of name and target, kind, mode, time, CRC-32 and length, then name and target.
const HEAD_LEN: usize = 2 + 2 + 1 + 2 + 8 + 4 + 8;

#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    #[error("an entry's row is malformed: {0}")]
    Malformed(&'static str),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Entry {
    /// Bytes that the entry takes from the state's stream.
    pub fn len(&self) -> u64 {
        match self.kind {
            EntryKind::File { len, .. } => len,
            EntryKind::Dir | EntryKind::Symlink { .. } => 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let (kind, target) = match &self.kind {
            EntryKind::File { .. } => (0, ""),
            EntryKind::Dir => (1, ""),
            EntryKind::Symlink { target } => (2, target.as_str()),
        };
        let (len, crc32) = match self.kind {
            EntryKind::File { len, crc32 } => (len, crc32),
            EntryKind::Dir | EntryKind::Symlink { .. } => (0, 0),
        };
        let name = self.name.as_str();
        let short =
            |len: usize| u16::try_from(len).expect("names and targets are at most 4096 bytes");
        out.extend_from_slice(&short(name.len()).to_le_bytes());
        out.extend_from_slice(&short(target.len()).to_le_bytes());
        out.push(kind);
        out.extend_from_slice(&((self.mode & MODE_MASK) as u16).to_le_bytes());
        out.extend_from_slice(&self.mtime_ns.to_le_bytes());
        out.extend_from_slice(&crc32.to_le_bytes());
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(target.as_bytes());
    }

    /// Reads the next row; none at the end of the table.
    pub fn read(from: &mut impl io::Read) -> Result<Option<Self>, EntryError> {
        let mut head = [0; HEAD_LEN];
        // The first byte tells the end of the table from a cut-off row.
        if from.read(&mut head[..1])? == 0 {
            return Ok(None);
        }
        read_row_part(from, &mut head[1..])?;
        let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let name = read_text(from, u16_at(0))?;
        let target = read_text(from, u16_at(2))?;
        let name = EntryName::new(name)?;
        let mode = u32::from(u16_at(5));
        let mtime_ns = i64::from_le_bytes(head[7..15].try_into().expect("eight bytes"));
        let crc32 = u32::from_le_bytes(head[15..19].try_into().expect("four bytes"));
        let len = u64::from_le_bytes(head[19..27].try_into().expect("eight bytes"));
        if mode & !MODE_MASK != 0 {
            return Err(EntryError::Malformed(
                "its mode has more than permission bits",
            ));
        }
        let kind = match head[4] {
            0 => EntryKind::File { len, crc32 },
            1 => EntryKind::Dir,
            2 => EntryKind::Symlink {
                target: LinkTarget::new(&name, target.clone())?,
            },
            _ => {
                return Err(EntryError::Malformed(
                    "its kind is unknown; a newer podsync may have written it",
                ));
            }
        };
        if !matches!(kind, EntryKind::File { .. }) && (len, crc32) != (0, 0) {
            return Err(EntryError::Malformed("only files have a length"));
        }
        if !matches!(kind, EntryKind::Symlink { .. }) && !target.is_empty() {
            return Err(EntryError::Malformed("only symlinks have a target"));
        }
        Ok(Some(Self {
            name,
            kind,
            mode,
            mtime_ns,
        }))
    }
}

/// Decodes a whole entry table that lies in memory.
pub fn decode_entry_table(mut bytes: &[u8]) -> Result<Vec<Entry>, EntryError> {
    let mut entries = Vec::new();
    let mut order = TableOrder::default();
    while let Some(entry) = Entry::read(&mut bytes)? {
        order.check(&entry)?;
        entries.push(entry);
    }
    Ok(entries)
}

/// Checks of the whole table: names ascend, and nothing lies below a file or a symlink.
#[derive(Debug, Default)]
pub(crate) struct TableOrder {
    previous: Option<EntryName>,
    /// Files and symlinks that a later name could lie below, each a prefix of the next.
    leaves: Vec<EntryName>,
}

impl TableOrder {
    pub(crate) fn check(&mut self, entry: &Entry) -> Result<(), EntryError> {
        self.check_name(&entry.name, entry.kind == EntryKind::Dir)
            .map_err(EntryError::Malformed)
    }

    pub(crate) fn check_name(
        &mut self,
        entry: &EntryName,
        is_dir: bool,
    ) -> Result<(), &'static str> {
        let name = entry.as_str();
        if self
            .previous
            .as_ref()
            .is_some_and(|previous| previous.as_str() >= name)
        {
            return Err("entries are not in ascending order of their names");
        }
        while self
            .leaves
            .last()
            .is_some_and(|leaf| !name.starts_with(leaf.as_str()))
        {
            self.leaves.pop();
        }
        if self
            .leaves
            .iter()
            .any(|leaf| name.as_bytes().get(leaf.as_str().len()) == Some(&b'/'))
        {
            return Err("an entry lies below one that is not a folder");
        }
        if !is_dir {
            self.leaves.push(entry.clone());
        }
        self.previous = Some(entry.clone());
        Ok(())
    }
}

/// Computes a state's content hash: its entries without their times, and its chunks.
pub(crate) struct ContentHasher {
    entries: blake3::Hasher,
    row: Vec<u8>,
}

const CONTENT_CONTEXT: &str = "podsync 2026 state content 1";

impl ContentHasher {
    pub(crate) fn new() -> Self {
        Self {
            entries: blake3::Hasher::new_derive_key(CONTENT_CONTEXT),
            row: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, entry: &Entry) {
        self.row.clear();
        Entry {
            mtime_ns: 0,
            ..entry.clone()
        }
        .encode_into(&mut self.row);
        self.entries.update(&self.row);
    }

    /// `chunk_ids` is the hash over the ids of all chunks in stream order.
    pub(crate) fn finish(&self, container: &[u8], chunk_ids: &blake3::Hash) -> ContentHash {
        let mut all = self.entries.clone();
        // A head without a name: no real row looks like it, so rows can't be confused with what
        // follows.
        all.update(&[0; HEAD_LEN])
            .update(chunk_ids.as_bytes())
            .update(container);
        ContentHash::from_bytes(*all.finalize().as_bytes())
    }
}

fn read_text(from: &mut impl io::Read, len: u16) -> Result<String, EntryError> {
    if usize::from(len) > crate::name::MAX_ENTRY_NAME_LEN {
        return Err(EntryError::Malformed("a name is longer than names may be"));
    }
    let mut bytes = vec![0; usize::from(len)];
    read_row_part(from, &mut bytes)?;
    String::from_utf8(bytes).map_err(|_| EntryError::Malformed("a name is not UTF-8"))
}

fn read_row_part(from: &mut impl io::Read, into: &mut [u8]) -> Result<(), EntryError> {
    from.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => EntryError::Malformed("it ends too soon"),
        _ => error.into(),
    })
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File { .. } => "file",
            Self::Dir => "folder",
            Self::Symlink { .. } => "symlink",
        })
    }
}
