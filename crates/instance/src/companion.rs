//! The companion plugin that the program carries: a Python package, as a wheel for pip or as a folder to mount.
//!
//! Both hold the same files. If a reader may cache the content, the name carries its fingerprint: LocalStack
//! keeps the entry points of a path until something on it looks newer.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use rust_embed::RustEmbed;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use zip::{ZipWriter, write::SimpleFileOptions};

const MODULE: &str = "podsync_localstack";

#[derive(RustEmbed)]
#[folder = "localstack-plugin"]
#[include = "pyproject.toml"]
#[include = "src/*.py"]
#[include = "src/*/py.typed"]
struct Sources;

/// The files of the package, as they lie in a folder of Python's path.
struct Package {
    version: String,
    files: Vec<(String, Vec<u8>)>,
}

static CARRIED: LazyLock<Package> = LazyLock::new(Package::carried);

/// The version of the plugin that the program carries.
pub fn version() -> &'static str {
    &CARRIED.version
}

/// Twelve hexadecimal digits that stand for the content of the package.
pub fn fingerprint() -> String {
    let mut hash = Sha256::new();
    for (name, bytes) in &CARRIED.files {
        hash.update(name);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    HEXLOWER.encode(&hash.finalize()[..6])
}

/// Writes a wheel that pip installs without a network, and returns its path.
///
/// # Errors
/// If it can't be written there.
pub fn write_wheel(folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join(format!("{MODULE}-{}-py3-none-any.whl", version()));
    let mut wheel = ZipWriter::new(fs::File::create(&path)?);
    for (name, bytes) in &CARRIED.files {
        wheel.start_file(name, SimpleFileOptions::default())?;
        wheel.write_all(bytes)?;
    }
    wheel.finish()?.sync_all()?;
    Ok(path)
}

/// Writes the package as a folder for `PYTHONPATH`, whole or not at all, and returns its path under `parent`.
///
/// The folder's name has the version and the fingerprint in it, so another content has another path.
///
/// # Errors
/// If it can't be written there.
pub fn write_folder(parent: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(parent)?;
    let folder = parent.join(format!("{MODULE}-{}-{}", version(), fingerprint()));
    if folder.is_dir() {
        return Ok(folder);
    }
    let aside = tempfile::Builder::new()
        .prefix(".podsync-")
        .tempdir_in(parent)?;
    write_into(aside.path())?;
    readable_by_all(aside.path())?;
    match fs::rename(aside.path(), &folder) {
        Ok(()) => drop(aside.keep()),
        // Another podsync wrote the same folder meanwhile.
        Err(_) if folder.is_dir() => {}
        Err(error) => return Err(error),
    }
    fs::File::open(parent)?.sync_all()?;
    Ok(folder)
}

/// Writes the package's files into a folder of Python's path, such as one of installed packages.
///
/// # Errors
/// If they can't be written there.
pub fn write_into(folder: &Path) -> io::Result<()> {
    for (name, bytes) in &CARRIED.files {
        let path = folder.join(name);
        if let Some(within) = path.parent() {
            fs::create_dir_all(within)?;
        }
        let mut file = fs::File::create(&path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    Ok(())
}

/// An emulator in a container runs as another user.
#[cfg(unix)]
fn readable_by_all(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            readable_by_all(&entry.path())?;
        } else {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o644))?;
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn readable_by_all(_: &Path) -> io::Result<()> {
    Ok(())
}

#[derive(Deserialize)]
struct PyProject {
    project: Project,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Project {
    name: String,
    version: String,
    description: String,
    requires_python: String,
    license: String,
    #[serde(default)]
    entry_points: toml::Table,
}

impl Package {
    fn carried() -> Self {
        let described = Sources::get("pyproject.toml").expect("the build embeds pyproject.toml");
        let text = std::str::from_utf8(&described.data).expect("pyproject.toml is text");
        let PyProject { project } = toml::from_str(text).expect("a test parses pyproject.toml");
        let mut files: Vec<_> = Sources::iter()
            .filter_map(|name| Some((name.strip_prefix("src/")?.to_owned(), name)))
            .filter_map(|(inside, name)| Some((inside, Sources::get(&name)?.data.into_owned())))
            .collect();
        files.sort();
        let information = format!("{MODULE}-{}.dist-info", project.version);
        for (name, text) in [
            ("METADATA", project.metadata()),
            ("WHEEL", WHEEL.to_owned()),
            ("entry_points.txt", project.entry_points()),
            ("top_level.txt", format!("{MODULE}\n")),
        ] {
            files.push((format!("{information}/{name}"), text.into_bytes()));
        }
        let record = record(&files, &format!("{information}/RECORD"));
        files.push((format!("{information}/RECORD"), record.into_bytes()));
        Self {
            version: project.version,
            files,
        }
    }
}

const WHEEL: &str =
    "Wheel-Version: 1.0\nGenerator: podsync\nRoot-Is-Purelib: true\nTag: py3-none-any\n";

impl Project {
    fn metadata(&self) -> String {
        format!(
            "Metadata-Version: 2.4\nName: {}\nVersion: {}\nSummary: {}\nLicense-Expression: {}\nRequires-Python: {}\n",
            self.name, self.version, self.description, self.license, self.requires_python
        )
    }

    fn entry_points(&self) -> String {
        let mut text = String::new();
        for (group, points) in &self.entry_points {
            let _ = writeln!(text, "[{group}]");
            for (name, target) in points.as_table().into_iter().flatten() {
                let _ = writeln!(text, "{name} = {}", target.as_str().unwrap_or_default());
            }
        }
        text
    }
}

/// What pip compares with the files, and what it removes when the package goes.
fn record(files: &[(String, Vec<u8>)], own: &str) -> String {
    let mut text = String::new();
    for (name, bytes) in files {
        let hash = BASE64URL_NOPAD.encode(&Sha256::digest(bytes));
        let _ = writeln!(text, "{name},sha256={hash},{}", bytes.len());
    }
    let _ = writeln!(text, "{own},,");
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_package_has_every_module_and_its_entry_points() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("localstack-plugin/src");
        let mut wanted = BTreeSet::new();
        let mut folders = vec![sources.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("the sources are there") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|end| end == "py") {
                    let name = path.strip_prefix(&sources).expect("it lies there");
                    wanted.insert(name.to_string_lossy().into_owned());
                }
            }
        }
        let carried: BTreeSet<_> = CARRIED
            .files
            .iter()
            .map(|(name, _)| name.clone())
            .filter(|name| name.ends_with(".py"))
            .collect();
        assert_eq!(carried, wanted);
        let points = CARRIED
            .files
            .iter()
            .find(|(name, _)| name.ends_with("/entry_points.txt"))
            .map(|(_, text)| String::from_utf8_lossy(text).into_owned())
            .unwrap_or_default();
        assert!(points.contains(
            "[localstack.hooks.on_infra_start]\npodsync = podsync_localstack.plugin:start\n"
        ));
        assert!(points.contains("dynamodb:moto = podsync_localstack.moto_providers:dynamodb\n"));
    }

    #[test]
    fn a_folder_is_written_once_and_everyone_may_read_it() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = write_folder(parent.path()).expect("it is written");
        assert_eq!(write_folder(parent.path()).expect("it is there"), folder);
        assert!(folder.join("podsync_localstack/plugin.py").is_file());
        assert_eq!(fs::read_dir(parent.path()).expect("it is there").count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&folder)
                .expect("it is there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o755);
        }
    }

    #[test]
    fn the_same_content_makes_the_same_wheel() {
        let (one, other) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        let read = |folder: &tempfile::TempDir| {
            fs::read(write_wheel(folder.path()).expect("it is written")).expect("it is there")
        };
        assert_eq!(read(&one), read(&other));
    }
}
