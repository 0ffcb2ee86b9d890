//! Where a state comes from: a folder, a zip that is opened, or a file that is kept as it is.
//!
//! Everything is read once, straight into the chunker's buffers. A name or size that differs from
//! the announced one ends the save.

mod archive;
mod arriving;
mod error;
mod file;
mod folder;
mod inside;
mod rules;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use podsync_core::manifest::Container;

use arriving::Arriving;
pub use error::SourceError;
pub use folder::folder_len;
pub use rules::secret_in;
use rules::{Scanner, without_secrets};

use crate::{
    chunker::Chunker,
    entry::{Entry, EntryKind},
    entry_table::EntryTable,
    stream::Halt,
    zip::directory::{Directory, DirectoryError, Loose, loose_members},
};

/// A state ready to be read. Nothing of its content has been read yet.
pub struct Source(Kind);

enum Kind {
    Folder(PathBuf),
    Zip {
        file: File,
        directory: Directory,
    },
    Arriving(Arriving),
    File {
        file: File,
        path: PathBuf,
        /// Its members, if it is a zip that can't be opened.
        members: Vec<Loose>,
    },
}

impl Source {
    /// Opens a folder, a zip or any other file.
    ///
    /// A zip that cannot be rebuilt from its members alone is kept as a file, byte for byte. Its members
    /// are looked into all the same. A zip that climbs, lies or explodes is refused.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let unreadable = |source| SourceError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let metadata = path.metadata().map_err(unreadable)?;
        rules::refuse_inside_of_home(path)?;
        if metadata.is_dir() {
            return Ok(Self(Kind::Folder(path.to_owned())));
        }
        if !metadata.is_file() {
            return Err(SourceError::Refused {
                path: path.to_owned(),
                reason: "is neither a file nor a folder",
            });
        }
        let file = File::open(path).map_err(unreadable)?;
        match Directory::read(&file) {
            Ok(directory) => {
                let members = directory.members().iter();
                rules::refuse_home_among(members.map(|member| member.name.as_str()))?;
                Ok(Self(Kind::Zip { file, directory }))
            }
            Err(DirectoryError::NotZip | DirectoryError::Unsupported(_)) => {
                // None in what is no zip.
                let members = loose_members(&file).unwrap_or_default();
                rules::refuse_home_among(members.iter().map(|member| member.name.as_str()))?;
                Ok(Self(Kind::File {
                    file,
                    path: path.to_owned(),
                    members,
                }))
            }
            Err(DirectoryError::Io(error)) => Err(unreadable(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a zip that a running emulator sent and that is already in a file. It must rebuild
    /// exactly, since nothing else can be loaded into an emulator.
    ///
    /// It must be one that is rebuilt exactly: nothing else goes back into an emulator.
    pub fn from_instance(file: File) -> Result<Self, SourceError> {
        match Directory::read(&file) {
            Ok(directory) => Ok(Self(Kind::Zip { file, directory })),
            Err(DirectoryError::NotZip) => Err(SourceError::NotAState),
            Err(error) => Err(error.into()),
        }
    }

    /// The same while the zip still arrives. It is read once and not stored. `spool` is a folder for an
    /// unlinked file.
    ///
    /// A zip whose members come in the order of their names, stored and with their lengths in front, is
    /// saved so. Any other ends in [`SourceError::NotAsItCame`].
    pub fn arriving(zip: impl Read + Send + 'static, spool: &Path) -> Self {
        Self(Kind::Arriving(Arriving {
            zip: Box::new(zip),
            spool: spool.to_owned(),
        }))
    }

    /// What the state is rebuilt into.
    pub fn container(&self) -> Container {
        match self.0 {
            Kind::Folder(_) => Container::Folder,
            Kind::Zip { .. } | Kind::Arriving(_) => Container::Zip,
            Kind::File { .. } => Container::File,
        }
    }

    /// Bytes to come, where that is known beforehand: for a progress bar.
    pub fn len_hint(&self) -> Option<u64> {
        match &self.0 {
            Kind::Folder(_) | Kind::Arriving(_) => None,
            Kind::Zip { directory, .. } => Some(directory.state_len()),
            Kind::File { file, .. } => file.metadata().ok().map(|metadata| metadata.len()),
        }
    }

    /// The folder that it is, whose length takes a walk to find out: [`folder_len`].
    pub fn folder(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Folder(root) => Some(root),
            _ => None,
        }
    }

    /// Streams all entries, in the order of their names. Secrets in them are refused unless `allow_secrets`.
    pub(crate) fn feed(
        self,
        chunker: &mut Chunker<'_>,
        entries: &mut EntryTable,
        allow_secrets: bool,
    ) -> Result<(), Halt<SourceError>> {
        let mut intake = Intake {
            chunker,
            scanner: (!allow_secrets).then(Scanner::new),
        };
        match self.0 {
            Kind::Folder(root) => folder::feed(&root, &mut intake, entries),
            Kind::Zip { file, directory } => archive::feed(&file, directory, &mut intake, entries),
            Kind::Arriving(arriving) => arriving::feed(arriving, &mut intake, entries),
            Kind::File {
                file,
                path,
                members,
            } => {
                if !allow_secrets {
                    inside::refuse_secrets(&file, &members)?;
                }
                file::feed(file, &path, &mut intake, entries)
            }
        }
    }
}

impl From<SourceError> for Halt<SourceError> {
    fn from(error: SourceError) -> Self {
        Self::Failed(error)
    }
}

/// Files of at least this length start and end a chunk, so that they deduplicate wherever they are.
/// Smaller ones share chunks, so that a hundred thousand of them cost as little as one file.
const OWN_CHUNKS_LEN: u64 = 64 << 10;

/// The destination of the entries' bytes, and the checks on them.
struct Intake<'i, 'c> {
    chunker: &'i mut Chunker<'c>,
    scanner: Option<Scanner>,
}

impl Intake<'_, '_> {
    /// Notes an entry. A name or a link's target with a secret in it is refused.
    fn note(&self, entry: &Entry, entries: &mut EntryTable) -> Result<(), Halt<SourceError>> {
        if self.scanner.is_some() {
            let target = match &entry.kind {
                EntryKind::Symlink { target } => Some(target.as_str()),
                _ => None,
            };
            let names = [Some(entry.name.as_str()), target];
            for name in names.into_iter().flatten() {
                if let Some(what) = secret_in(name) {
                    return Err(SourceError::SecretName {
                        name: without_secrets(name),
                        what,
                    }
                    .into());
                }
            }
        }
        Ok(entries.add(entry)?)
    }

    /// Reads up to `len` bytes of the file `name` and returns their CRC-32 and how many there were.
    fn read(
        &mut self,
        name: &[u8],
        len: u64,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
        failed: impl Fn(io::Error) -> SourceError,
    ) -> Result<(u32, u64), Halt<SourceError>> {
        let own_chunks = len >= OWN_CHUNKS_LEN;
        if own_chunks {
            self.chunker.boundary();
        }
        if let Some(scanner) = &mut self.scanner {
            scanner.begin(name, len);
        }
        let mut crc = crc32fast::Hasher::new();
        let mut done = 0;
        while done < len {
            let space = self.chunker.space();
            let wanted =
                usize::try_from(len - done).map_or(space.len(), |left| left.min(space.len()));
            let got = match read(&mut space[..wanted]) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Halt::Failed(failed(error))),
            };
            crc.update(&space[..got]);
            if let Some(what) = self.scanner.as_mut().and_then(|s| s.take(&space[..got])) {
                return Err(secret(name, what).into());
            }
            done += got as u64;
            self.chunker.advance(got)?;
        }
        if let Some(what) = self.scanner.as_mut().and_then(Scanner::end) {
            return Err(secret(name, what).into());
        }
        if own_chunks {
            self.chunker.boundary();
        }
        Ok((crc.finalize(), done))
    }
}

fn secret(name: &[u8], what: &'static str) -> SourceError {
    SourceError::Secret {
        name: without_secrets(&String::from_utf8_lossy(name)),
        what,
    }
}
