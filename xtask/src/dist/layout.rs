//! Files of a package on their way into an archive or a folder, always in one order and with one time.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::Path};

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// A file of a package.
pub(crate) struct File {
    /// Below `/usr`.
    pub(crate) path: String,
    pub(crate) mode: u32,
    pub(crate) bytes: Vec<u8>,
}

impl File {
    pub(crate) fn program(path: String, bytes: Vec<u8>) -> Self {
        let mode = 0o755;
        Self { path, mode, bytes }
    }

    pub(crate) fn plain(path: String, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            path,
            mode: 0o644,
            bytes: bytes.into(),
        }
    }
}

/// Compressed, without a time or a name.
pub(crate) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut compressed = GzBuilder::new().write(Vec::new(), Compression::best());
    compressed.write_all(bytes)?;
    Ok(compressed.finish()?)
}

/// A tar.gz of the files in the folder `stem`.
pub(crate) fn archive(stem: &str, mut files: Vec<&File>, time: u64) -> Result<Vec<u8>> {
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let mut archive = Builder::new(Vec::new());
    for file in files {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(file.bytes.len().try_into()?);
        header.set_mode(file.mode);
        header.set_mtime(time);
        header.set_uid(0);
        header.set_gid(0);
        let path = format!("{stem}/{}", file.path);
        archive.append_data(&mut header, path, &file.bytes[..])?;
    }
    gzip(&archive.into_inner()?)
}

/// Lays the files out below `root`, with modes that no umask changes.
pub(crate) fn stage(files: &[File], root: &Path) -> Result<()> {
    for file in files {
        let path = root.join("usr").join(&file.path);
        if let Some(folder) = path.parent() {
            make_folder(folder, root)?;
        }
        fs::write(&path, &file.bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

/// Makes a folder and all above it up to `root` as everybody may read them.
pub(crate) fn make_folder(folder: &Path, root: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for folder in folder
        .ancestors()
        .take_while(|above| above.starts_with(root))
    {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
