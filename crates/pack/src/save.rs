//! Saving: a source becomes entries, chunks, packs and tables.
//!
//! The chunk table cannot be encoded while the state streams by: where a pack stands in the version's
//! list is known only once all chunks are placed. So rows are spooled and the tables follow the state.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    thread,
};

use podsync_core::{
    BlobId, ContentHash,
    manifest::{Container, MAX_CHUNKS, PackRef, Table},
};

use crate::{
    chunker::Chunker,
    draft::{Draft, Head},
    entry_table::EntryTable,
    fold,
    known::Base,
    ordered::Stopped,
    read::ReadError,
    rows::StateRows,
    source::{Source, SourceError},
    stream::{Halt, Placer},
    writer::{PackSink, PackWriter, pack_writer},
};

/// What is told while a save or a rebuild runs, and asked of whoever watches.
pub trait Progress: Sync {
    /// This many more bytes of the state, or of its tables, are done.
    fn advanced(&self, bytes: u64);

    /// Whether to stop with [`SaveError::Cancelled`].
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody watches.
impl Progress for () {
    fn advanced(&self, _: u64) {}
}

/// How to save.
pub struct SaveOptions<'a> {
    /// A folder for unlinked temporary files: the tables while they grow.
    pub spool: &'a Path,
    /// Where the state turns out to be this, no tables are written and nothing is saved.
    pub unless: Option<ContentHash>,
    /// Whether a state with podsync's own secrets in it is saved all the same.
    pub allow_secrets: bool,
}

/// How a save ended.
#[derive(Debug)]
pub enum Saved {
    Version(SavedState),
    /// The state is what [`SaveOptions::unless`] says.
    Unchanged(SaveStats),
}

/// What a manifest needs to know of a saved state.
#[derive(Debug, Clone)]
pub struct SavedState {
    pub container: Container,
    pub state_len: u64,
    pub entry_count: u64,
    pub content: ContentHash,
    pub entries: Table,
    pub chunks: Table,
    /// All packs that the version draws on.
    pub packs: Vec<PackRef>,
    /// Those of them that this save wrote.
    pub written: Vec<BlobId>,
    pub stats: SaveStats,
}

/// Figures of a save, tables included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SaveStats {
    pub chunks_new: u64,
    /// Chunks that lay in a known pack, or came up a second time.
    pub chunks_reused: u64,
    /// Plain bytes in all.
    pub plain: u64,
    /// Plain bytes of the new chunks.
    pub plain_new: u64,
    /// Sealed bytes written, packs' trailers included.
    pub sealed_new: u64,
    /// Sealed bytes among them that were moved out of other packs.
    pub sealed_moved: u64,
}

/// A state that could not be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The state itself is in the way.
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(
        "the state has more than {MAX_CHUNKS} chunks (about 256 GiB), more than a version may have"
    )]
    TooLarge,
    /// The disk: mostly full.
    #[error("a pack cannot be written: {0}")]
    Sink(io::Error),
    #[error("a temporary file for the tables cannot be used: {0}")]
    Spool(io::Error),
    #[error("the chunks held already cannot be looked up: {0}")]
    Known(io::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("cancelled; nothing was saved")]
    Cancelled,
    /// Replaced by the reason that the other side gives.
    #[error("the save stopped")]
    #[doc(hidden)]
    Stopped,
}

impl SaveError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Source(error) => return error.hint(),
            Self::TooLarge => "save fewer services or a part of it",
            Self::Sink(..) => "free some space and save again",
            Self::Spool(..) => "free some space and save again",
            Self::Known(..) => "look into the disk and the daemon's log, and save again",
            Self::Read(error) => return error.hint(),
            Self::Cancelled | Self::Stopped => return None,
        })
    }
}

impl From<Stopped> for SaveError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<io::Error> for SaveError {
    fn from(error: io::Error) -> Self {
        Self::Spool(error)
    }
}

impl From<io::Error> for Halt<SaveError> {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Saves what `source` holds; new packs go to `sink`.
///
/// `entropy` gives each new pack its key and must never give the same bytes twice. The call blocks
/// and uses all cores. Memory stays below 128 MiB whatever the size of the state, except for two
/// dozen bytes a chunk and a folder's own list of names.
pub fn save(
    source: Source,
    base: Base<'_>,
    sink: &mut dyn PackSink,
    options: &SaveOptions<'_>,
    entropy: &mut dyn FnMut() -> [u8; 32],
    progress: &dyn Progress,
) -> Result<Saved, SaveError> {
    let (drafted, written) = with_packs(sink, entropy, |writer| {
        draft_source(source, Placer::new(base, writer, progress), options)
    })?;
    Ok(match drafted {
        Drafted::Version(draft) => Saved::Version(draft.into_saved(base.chunks.packs(), &written)),
        Drafted::Unchanged(stats) => Saved::Unchanged(stats),
    })
}

enum Drafted {
    Version(Draft),
    Unchanged(SaveStats),
}

fn draft_source(
    source: Source,
    mut placer: Placer<'_>,
    options: &SaveOptions<'_>,
) -> Result<Drafted, SaveError> {
    let container = source.container();
    let mut rows = StateRows::new(options.spool)?;
    let mut table = EntryTable::new(options.spool)?;
    let allow_secrets = options.allow_secrets;
    let table = placer.stream(
        move |chunker| {
            source.feed(chunker, &mut table, allow_secrets)?;
            Ok::<_, Halt<SourceError>>(table)
        },
        &mut rows,
    )?;
    let content = table.content(container, &rows.ids());
    if options.unless == Some(content) {
        return Ok(Drafted::Unchanged(placer.stats));
    }
    let mut head = Head {
        container,
        state_len: table.state_len(),
        entry_count: table.count(),
        content,
        entries: Vec::new(),
    };
    let mut entries = table.into_reader()?;
    placer.stream(|chunker| copy(&mut entries, chunker), &mut head.entries)?;
    let mut rows = rows.spool;
    fold::limit_packs(&mut placer, &mut rows, &mut head.entries, options.spool)?;
    Draft::new(placer, rows, head).map(Drafted::Version)
}

fn copy(from: &mut File, chunker: &mut Chunker<'_>) -> Result<(), Halt<SaveError>> {
    loop {
        match from.read(chunker.space()) {
            Ok(0) => return Ok(()),
            Ok(len) => chunker.advance(len)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Halt::Failed(SaveError::Spool(error))),
        }
    }
}

/// Runs `work` with a pack writer beside the thread that stores its packs.
pub(crate) fn with_packs<'e, T>(
    sink: &mut dyn PackSink,
    entropy: &'e mut dyn FnMut() -> [u8; 32],
    work: impl FnOnce(PackWriter<'e>) -> Result<T, SaveError>,
) -> Result<(T, Vec<PackRef>), SaveError> {
    let (writer, storer) = pack_writer(entropy);
    thread::scope(|scope| {
        let storing = scope.spawn(move || storer.run(sink));
        let done = work(writer);
        let stored = match storing.join() {
            Ok(stored) => stored.map_err(SaveError::Sink),
            Err(panic) => std::panic::resume_unwind(panic),
        };
        match done {
            Err(SaveError::Stopped) => Err(stored.err().unwrap_or(SaveError::Stopped)),
            Err(error) => Err(error),
            Ok(done) => Ok((done, stored?)),
        }
    })
}
