//! The saving pipeline: bytes are cut on one thread, hashed and compressed on all, and placed in
//! packs in stream order on the caller's.

use std::{io, ops::Range, sync::mpsc::sync_channel};

use podsync_core::{ChunkId, manifest::ChunkLocation};

use crate::{
    chunker::{BATCH_LEN, Batch, Chunker},
    error::SaveError,
    frame::Packer,
    known::Base,
    ordered::{self, Stopped},
    progress::Progress,
    saved::SaveStats,
    writer::PackWriter,
};

/// Why the producer stopped early.
pub(crate) enum Halt<E> {
    /// The pipeline stopped and reports the reason itself.
    Stopped,
    Failed(E),
}

impl<E> From<Stopped> for Halt<E> {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<io::Error> for Halt<SaveError> {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// A chunk on its way into a version.
struct Prepared {
    id: ChunkId,
    plain_len: u32,
    place: Place,
}

enum Place {
    Known(ChunkLocation),
    /// Where among the frames of its batch.
    New(Range<usize>),
}

/// A batch's chunks, and the frames of those that are new, yet to be sealed.
struct PreparedBatch {
    chunks: Vec<Prepared>,
    frames: Vec<u8>,
}

/// Places chunks: known ones at their old place, new ones in the current pack.
pub(crate) struct Placer<'a> {
    pub(crate) base: Base<'a>,
    pub(crate) writer: PackWriter<'a>,
    /// Sealed bytes drawn from each known pack.
    pub(crate) drawn: Vec<u64>,
    pub(crate) stats: SaveStats,
    pub(crate) progress: &'a dyn Progress,
}

impl<'a> Placer<'a> {
    pub(crate) fn new(base: Base<'a>, writer: PackWriter<'a>, progress: &'a dyn Progress) -> Self {
        let drawn = vec![0; base.chunks.packs().len()];
        Self {
            base,
            writer,
            drawn,
            stats: SaveStats::default(),
            progress,
        }
    }

    /// Runs the stream that `produce` writes through the pipeline.
    ///
    /// `rows` gets every chunk in order.
    pub(crate) fn stream<T: Send, E: Send + Into<SaveError>, S: ChunkRows>(
        &mut self,
        produce: impl FnOnce(&mut Chunker<'_>) -> Result<T, Halt<E>> + Send,
        rows: &mut S,
    ) -> Result<T, SaveError> {
        let (base, shelf) = (self.base, self.writer.shelf());
        let (spent, empty) = sync_channel::<Vec<u8>>(ordered::MAX_WORKERS);
        let (produced, consumed) = ordered::in_order(
            move |jobs| {
                let mut hand_on = |batch: Batch| {
                    jobs.push(batch)?;
                    let mut buffer = empty.try_recv().unwrap_or_default();
                    buffer.resize(BATCH_LEN, 0);
                    Ok(buffer)
                };
                let mut chunker = Chunker::new(&mut hand_on);
                let result = produce(&mut chunker)?;
                chunker.finish()?;
                Ok(result)
            },
            Packer::new,
            |packer, batch: Batch| {
                let packer = packer
                    .as_mut()
                    .map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
                let mut frames = shelf.take();
                frames.clear();
                let prepared = prepare(packer, base, &batch, frames);
                // If there are enough spare buffers, drop this one.
                let _ = spent.try_send(batch.bytes);
                prepared
            },
            |prepared: io::Result<PreparedBatch>| {
                self.place_all(prepared.map_err(SaveError::Known)?, rows)
            },
        );
        match produced {
            Err(Halt::Failed(error)) => Err(error.into()),
            Err(Halt::Stopped) => Err(consumed.err().unwrap_or(SaveError::Stopped)),
            Ok(result) => consumed.map(|()| result),
        }
    }

    fn place_all<S: ChunkRows>(
        &mut self,
        prepared: PreparedBatch,
        rows: &mut S,
    ) -> Result<(), SaveError> {
        if self.progress.cancelled() {
            return Err(SaveError::Cancelled);
        }
        let PreparedBatch { chunks, mut frames } = prepared;
        let mut plain = 0;
        for Prepared {
            id,
            plain_len,
            place,
        } in chunks
        {
            plain += u64::from(plain_len);
            let location = match place {
                Place::Known(location) => {
                    self.stats.chunks_reused += 1;
                    self.drawn[location.pack as usize] += u64::from(location.sealed_len);
                    location
                }
                Place::New(frame) => match rows.seen(&id).map_err(SaveError::Spool)? {
                    Some(location) => {
                        self.stats.chunks_reused += 1;
                        location
                    }
                    None => {
                        self.stats.chunks_new += 1;
                        self.stats.plain_new += u64::from(plain_len);
                        self.writer.put(id, plain_len, &mut frames, frame)
                    }
                },
            };
            rows.push(location)?;
        }
        self.writer.hand_on(frames)?;
        self.stats.plain += plain;
        self.progress.advanced(plain);
        Ok(())
    }
}

/// Where a stream's rows go.
pub(crate) trait ChunkRows {
    /// Where this stream has put the chunk before.
    fn seen(&self, id: &ChunkId) -> io::Result<Option<ChunkLocation>>;
    fn push(&mut self, location: ChunkLocation) -> Result<(), SaveError>;
}

/// A table's chunks are few and hardly repeat.
impl ChunkRows for Vec<ChunkLocation> {
    fn seen(&self, _: &ChunkId) -> io::Result<Option<ChunkLocation>> {
        Ok(None)
    }

    fn push(&mut self, location: ChunkLocation) -> Result<(), SaveError> {
        self.push(location);
        Ok(())
    }
}

/// `frames` is an empty buffer.
fn prepare(
    packer: &mut Packer,
    base: Base<'_>,
    batch: &Batch,
    mut frames: Vec<u8>,
) -> io::Result<PreparedBatch> {
    let mut prepare = |chunk: &[u8]| {
        let id = ChunkId::of(chunk);
        let plain_len = u32::try_from(chunk.len()).expect("a chunk is at most 256 KiB");
        let place = match base.chunks.locate(&id)? {
            Some(location) if location.plain_len == plain_len => Place::Known(location),
            _ => Place::New(packer.append(chunk, &mut frames)?),
        };
        Ok(Prepared {
            id,
            plain_len,
            place,
        })
    };
    let chunks = batch
        .chunks()
        .map(&mut prepare)
        .collect::<io::Result<_>>()?;
    Ok(PreparedBatch { chunks, frames })
}
