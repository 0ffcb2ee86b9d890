//! Rebuilding a state from its packs: chunks are opened on all cores and handed to one writer in
//! stream order.
//!
//! The entry table divides the stream. An entry fails if the stream ends inside it or its bytes
//! don't match its CRC-32.

mod check;
mod file;
mod folder;
mod zip;

pub use zip::{Keep, Sink};

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use podsync_core::manifest::ChunkLocation;

use crate::{
    chunker::BATCH_LEN,
    entry::{Entry, EntryKind},
    ordered::{self, Stopped},
    progress::Progress,
    read::{Entries, ReadError, Version, room_for},
    shelf::Shelf,
};

/// Why a state could not be rebuilt. If the target is a path, the files written so far are removed.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The publisher wrote an invalid version.
    #[error("the version is not sound: the checksum of {name:?} is wrong")]
    Checksum { name: String },
    #[error("`{}` exists already", path.display())]
    Exists { path: PathBuf },
    #[error("`{}` cannot be written: {source}", path.display())]
    Target { path: PathBuf, source: io::Error },
    /// The receiver of the stream failed, mostly a broken connection.
    #[error("the rebuilt state cannot be handed on: {0}")]
    Output(io::Error),
    #[error("the state is {entries} entries and not one file")]
    NotOneFile { entries: u64 },
    #[error("cancelled; nothing was written")]
    Cancelled,
}

impl RebuildError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Read(error) => return error.hint(),
            Self::Checksum { .. } => "ask its publisher to save it again",
            Self::Exists { .. } => "name another path or remove it first",
            Self::Target { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "make the folder that it is to lie in first"
            }
            Self::Target { .. } => "check space and permissions",
            Self::NotOneFile { .. } => "write it as a folder or a zip",
            Self::Output(..) | Self::Cancelled => return None,
        })
    }
}

/// Receives a state's entries one after the other.
pub(crate) trait Target {
    fn begin(&mut self, entry: &Entry) -> Result<(), RebuildError>;
    /// More bytes of the entry that was begun last.
    fn data(&mut self, bytes: Bytes) -> Result<(), RebuildError>;
    /// The entry is complete and its checksum right.
    fn end(&mut self, entry: &Entry) -> Result<(), RebuildError>;
}

/// Streams all of a version into `target`.
pub(crate) fn stream(
    version: Version<'_>,
    target: &mut dyn Target,
    progress: &dyn Progress,
) -> Result<(), RebuildError> {
    let mut splitter = Splitter {
        entries: version.entries()?,
        target,
        current: None,
    };
    let shelf = Arc::new(Shelf::default());
    let (produced, consumed) = ordered::in_order(
        |jobs| batches(version, |batch| jobs.push(batch)),
        || version.opener(),
        |opener, batch: Vec<ChunkLocation>| {
            let opener = opener
                .as_mut()
                .map_err(|_| ReadError::Setup(io::ErrorKind::OutOfMemory.into()))?;
            let len = batch.iter().map(|chunk| chunk.plain_len as usize).sum();
            let mut plain = shelf.take();
            plain.resize(room_for(len), 0);
            let mut at = 0;
            for chunk in &batch {
                let end = at + chunk.plain_len as usize;
                // The next chunk overwrites what is behind this one.
                opener.open(chunk, &mut plain[at..room_for(end)])?;
                at = end;
            }
            Ok(Bytes::from_owner(shelf.lend(plain)).slice(..len))
        },
        |plain: Result<Bytes, ReadError>| {
            if progress.cancelled() {
                return Err(RebuildError::Cancelled);
            }
            let plain = plain?;
            let len = plain.len() as u64;
            splitter.take(plain)?;
            progress.advanced(len);
            Ok(())
        },
    );
    consumed?;
    match produced {
        Ok(()) => splitter.finish(),
        Err(Some(error)) => Err(error.into()),
        Err(None) => unreachable!("a consumer that stops says why"),
    }
}

/// Groups the chunk table's rows. `None` if nobody takes them any more.
fn batches(
    version: Version<'_>,
    push: impl Fn(Vec<ChunkLocation>) -> Result<(), Stopped>,
) -> Result<(), Option<ReadError>> {
    let mut batch = Vec::new();
    let mut len = 0;
    for chunk in version.chunks().map_err(Some)? {
        let chunk = chunk.map_err(Some)?;
        len += chunk.plain_len as usize;
        batch.push(chunk);
        if len >= BATCH_LEN {
            push(std::mem::take(&mut batch)).map_err(|Stopped| None)?;
            len = 0;
        }
    }
    if batch.is_empty() {
        Ok(())
    } else {
        push(batch).map_err(|Stopped| None)
    }
}

/// Divides the stream among the entries.
struct Splitter<'a, 't> {
    entries: Entries<'a>,
    target: &'t mut dyn Target,
    current: Option<Open>,
}

struct Open {
    entry: Entry,
    left: u64,
    crc: crc32fast::Hasher,
}

impl Splitter<'_, '_> {
    fn take(&mut self, mut bytes: Bytes) -> Result<(), RebuildError> {
        while !bytes.is_empty() {
            let Some(open) = &mut self.current else {
                if !self.begin_next()? {
                    return Err(ReadError::Unsound("its chunks hold more than its entries").into());
                }
                continue;
            };
            let len = usize::try_from(open.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let part = bytes.split_to(len);
            open.crc.update(&part);
            open.left -= len as u64;
            self.target.data(part)?;
            self.end_if_complete()?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), RebuildError> {
        while self.current.is_none() {
            if !self.begin_next()? {
                return Ok(());
            }
        }
        Err(ReadError::Unsound("its chunks hold less than its entries").into())
    }

    fn begin_next(&mut self) -> Result<bool, RebuildError> {
        let Some(entry) = self.entries.next().transpose()? else {
            return Ok(false);
        };
        self.target.begin(&entry)?;
        let left = entry.len();
        self.current = Some(Open {
            entry,
            left,
            crc: crc32fast::Hasher::new(),
        });
        self.end_if_complete()?;
        Ok(true)
    }

    fn end_if_complete(&mut self) -> Result<(), RebuildError> {
        let Some(Open { entry, crc, .. }) = self.current.take_if(|open| open.left == 0) else {
            return Ok(());
        };
        if let EntryKind::File { crc32, .. } = entry.kind
            && crc.finalize() != crc32
        {
            return Err(RebuildError::Checksum {
                name: entry.name.to_string(),
            });
        }
        self.target.end(&entry)
    }
}
