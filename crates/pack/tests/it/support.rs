//! Packs in a folder, keys from a counter, and folders to compare.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use podsync_core::manifest::{Manifest, PackRef, Source as StateSource};
use podsync_pack::{
    Base, ChunkIndex, PackReader, PackSink, SaveError, SaveOptions, Saved, SavedState, Source,
    Version, save,
};
use tempfile::TempDir;

/// A home for packs: each a file named by its id.
pub(crate) struct Home {
    pub(crate) dir: TempDir,
    keys: u8,
    /// The disk is full after this many packs.
    pub(crate) fail_finish_after: Option<usize>,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            keys: 0,
            fail_finish_after: None,
        }
    }

    pub(crate) fn packs(&self) -> Packs {
        Packs(self.dir.path().to_owned())
    }

    pub(crate) fn pack_path(&self, pack: &PackRef) -> PathBuf {
        self.dir.path().join(pack.id.to_string())
    }

    pub(crate) fn try_save(
        &mut self,
        source: Source,
        parents: &[&Manifest],
        options: SaveChoice,
    ) -> Result<Saved, SaveError> {
        let mut packs = self.packs();
        let keys = &mut self.keys;
        let mut entropy = || {
            *keys += 1;
            [*keys; 32]
        };
        let spool = self.dir.path();
        let options = SaveOptions {
            spool,
            unless: options.unless,
            allow_secrets: options.allow_secrets,
        };
        let index = ChunkIndex::new(parents, &packs, spool)?;
        let reader = Packs(spool.to_owned());
        let base = Base {
            chunks: &index,
            packs: &reader,
        };
        match self.fail_finish_after {
            None => save(source, base, &mut packs, &options, &mut entropy, &()),
            Some(left) => {
                let packs = &mut packs;
                save(
                    source,
                    base,
                    &mut Full { packs, left },
                    &options,
                    &mut entropy,
                    &(),
                )
            }
        }
    }

    pub(crate) fn save(&mut self, path: &Path, parents: &[&Manifest]) -> (Manifest, SavedState) {
        let source = Source::open(path).unwrap();
        let Saved::Version(saved) = self
            .try_save(source, parents, SaveChoice::default())
            .unwrap()
        else {
            panic!("nothing says that it is unchanged")
        };
        (manifest(&saved), saved)
    }
}

#[derive(Default)]
pub(crate) struct SaveChoice {
    pub(crate) unless: Option<podsync_core::ContentHash>,
    pub(crate) allow_secrets: bool,
}

pub(crate) fn manifest(saved: &SavedState) -> Manifest {
    let manifest = Manifest {
        pod: "orders".parse().unwrap(),
        parents: Vec::new(),
        message: String::new(),
        source: StateSource {
            emulator: None,
            services: Vec::new(),
        },
        created_ms: 0,
        container: saved.container,
        state_len: saved.state_len,
        entry_count: saved.entry_count,
        content: saved.content,
        entries: saved.entries.clone(),
        chunks: saved.chunks.clone(),
        packs: saved.packs.clone(),
    };
    // Through its own bounds, as a reader would have it.
    let key = podsync_core::seal::SecretKey::from_bytes([9; 32]);
    let (plain, id) = manifest.to_version();
    Manifest::open(&Manifest::seal(&plain, &key, [0; 32]), &key, id).unwrap()
}

pub(crate) struct Packs(PathBuf);

/// Packs on a disk that gets full.
struct Full<'p> {
    packs: &'p mut Packs,
    left: usize,
}

impl PackSink for Full<'_> {
    fn create(&mut self) -> io::Result<File> {
        self.packs.create()
    }

    fn finish(&mut self, file: File, pack: &PackRef) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        self.packs.finish(file, pack)
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PackSink for Packs {
    fn create(&mut self) -> io::Result<File> {
        File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.0.join("writing"))
    }

    fn finish(&mut self, _: File, pack: &PackRef) -> io::Result<()> {
        fs::rename(self.0.join("writing"), self.0.join(pack.id.to_string()))
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PackReader for Packs {
    fn read(&self, pack: &PackRef, offset: u64, into: &mut [u8]) -> io::Result<()> {
        File::open(self.0.join(pack.id.to_string()))?.read_exact_at(into, offset)
    }
}

/// What a folder holds: type and mode, time, and content or target, by name.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(folder) = left.pop() {
        for child in fs::read_dir(folder).unwrap() {
            let path = child.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let content = if metadata.is_dir() {
                left.push(path.clone());
                Vec::new()
            } else if metadata.is_symlink() {
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else {
                fs::read(&path).unwrap()
            };
            let time = if metadata.is_symlink() {
                0
            } else {
                metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec()
            };
            found.insert(
                path.strip_prefix(root).unwrap().to_owned(),
                (metadata.mode(), time, content),
            );
        }
    }
    found
}

/// Bytes that don't compress, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// The state rebuilt as a folder equals `original`.
pub(crate) fn assert_rebuilds(manifest: &Manifest, home: &Home, original: &Path) {
    let out = tempfile::tempdir().unwrap();
    let target = out.path().join("rebuilt");
    Version::new(manifest, &home.packs())
        .to_folder(&target, &())
        .unwrap();
    assert_eq!(tree(original), tree(&target));
}
