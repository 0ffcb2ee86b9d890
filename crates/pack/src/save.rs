//! Saving: a source becomes entries, chunks, packs and tables.
//!
//! The chunk table can't be encoded while the state streams through: a pack's index in the version is
//! known only once all chunks are placed. So rows are spooled, and the tables follow the state.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    thread,
};

use podsync_core::{ContentHash, manifest::PackRef};

use crate::{
    chunker::Chunker,
    draft::{Draft, Head},
    entry_table::EntryTable,
    error::SaveError,
    fold,
    known::Base,
    progress::Progress,
    rows::StateRows,
    saved::{SaveStats, Saved},
    source::{Source, SourceError},
    stream::{Halt, Placer},
    writer::{PackSink, PackWriter, pack_writer},
};

/// How to save.
pub struct SaveOptions<'a> {
    /// A folder for unlinked temporary files: the tables while they grow.
    pub spool: &'a Path,
    /// If the state has this hash, no tables are written and nothing is saved.
    pub unless: Option<ContentHash>,
    /// Whether to save a state that contains podsync's own secrets.
    pub allow_secrets: bool,
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
