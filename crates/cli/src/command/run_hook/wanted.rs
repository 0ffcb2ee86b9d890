//! What an emulator gets at its start, in order: the versions that the user named, then what lies in a folder.
//!
//! The folder is like LocalStack's `init-pods.d`: a state in each `.snapshot` or `.zip` file, and names of versions in
//! every other file. All of it is read before anything is loaded.

use std::path::{Path, PathBuf};

use podsync_api::{ApiError, ErrorCode};
use podsync_core::{PodName, reference::Reference};

use crate::arguments::absolute;

/// More than any emulator starts with.
const MAX_WANTED: usize = 64;
/// More than a file has that only names versions.
const MAX_LIST_LEN: u64 = 64 << 10;

/// One thing to load.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A version, by its reference.
    Version(String),
    /// A state in a file. The pod keeps it on this machine.
    File { path: PathBuf, pod: PodName },
}

/// Everything to load, in order.
pub(super) fn in_order(
    named: Option<&str>,
    folder: Option<&Path>,
) -> Result<Vec<Wanted>, ApiError> {
    let mut wanted = listed(named.unwrap_or_default(), Path::new(""))?;
    if let Some(folder) = folder {
        for file in files(folder)? {
            match is_state(&file) {
                true => wanted.push(state(file)?),
                false => wanted.append(&mut listed(&text(&file)?, folder)?),
            }
        }
    }
    if wanted.len() > MAX_WANTED {
        let text = format!(
            "the start names {} versions and files; podsync loads at most {MAX_WANTED}",
            wanted.len()
        );
        return Err(ApiError::new(ErrorCode::Invalid, text)
            .hint("save what they make together as one pod, and load that"));
    }
    Ok(wanted)
}

/// References with commas, spaces or lines between them. A path counts from `folder`.
fn listed(text: &str, folder: &Path) -> Result<Vec<Wanted>, ApiError> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let words = lines.flat_map(|line| line.split(|c: char| c == ',' || c.is_whitespace()));
    words
        .filter(|word| !word.is_empty())
        .map(|word| match word.parse() {
            Ok(Reference::Path(path)) => state(folder.join(path)),
            Ok(_) => Ok(Wanted::Version(word.to_owned())),
            Err(error) => Err(
                ApiError::new(ErrorCode::Invalid, error.to_string()).hint(
                    "name versions such as orders, orders:3 or orders:baseline, with commas between them",
                ),
            ),
        })
        .collect()
}

/// The folder's files by name, without hidden ones: a mounted ConfigMap has those beside its own.
fn files(folder: &Path) -> Result<Vec<PathBuf>, ApiError> {
    let unreadable = |error| unreadable(folder, &error);
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn is_state(file: &Path) -> bool {
    file.extension()
        .is_some_and(|kind| kind == "snapshot" || kind == "zip")
}

fn state(path: PathBuf) -> Result<Wanted, ApiError> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let pod = PodName::new(name).map_err(|error| {
        let text = format!("{} is loaded as a pod of its name: {error}", path.display());
        ApiError::new(ErrorCode::Invalid, text).hint("rename the file, such as to orders.snapshot")
    })?;
    let path = absolute(path)?;
    Ok(Wanted::File { path, pod })
}

fn text(file: &Path) -> Result<String, ApiError> {
    let bytes = podsync_daemon::read_regular(file, MAX_LIST_LEN + 1)
        .map_err(|error| unreadable(file, &error))?;
    let is_long = bytes.len() as u64 > MAX_LIST_LEN;
    match String::from_utf8(bytes) {
        Ok(text) if !is_long => Ok(text),
        _ => {
            let text = format!("{} does not list versions to load", file.display());
            Err(ApiError::new(ErrorCode::Invalid, text)
                .hint("give a state a name that ends in .snapshot, and move other files away"))
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> ApiError {
    let text = format!("podsync cannot read {}: {error}", path.display());
    ApiError::new(ErrorCode::Invalid, text)
        .hint("name a folder with states and lists of versions, which this user may read")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn version(reference: &str) -> Wanted {
        Wanted::Version(reference.to_owned())
    }

    fn file(path: &Path, pod: &str) -> Wanted {
        Wanted::File {
            path: path.to_owned(),
            pod: PodName::new(pod).unwrap(),
        }
    }

    #[test]
    fn names_come_in_the_order_in_which_they_are_written() {
        let wanted = in_order(Some("base:baseline, orders\npod:a@b7c1d2,"), None).unwrap();
        let expected = ["base:baseline", "orders", "pod:a@b7c1d2"].map(version);
        assert_eq!(wanted, expected);
        for nothing in [None, Some(""), Some(" , "), Some("# orders")] {
            assert!(in_order(nothing, None).unwrap().is_empty());
        }
    }

    #[test]
    fn a_folder_comes_after_the_names_and_in_the_order_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(
            at("20-more"),
            "# two of them\norders:3, billing # and\n./30.d/late.zip\n",
        )
        .unwrap();
        fs::write(at("base.snapshot"), "").unwrap();
        fs::write(at(".hidden"), "not a name!").unwrap();
        fs::create_dir(at("30.d")).unwrap();
        let wanted = in_order(Some("first"), Some(folder.path())).unwrap();
        let expected = [
            version("first"),
            version("orders:3"),
            version("billing"),
            file(&at("./30.d/late.zip"), "late"),
            file(&at("base.snapshot"), "base"),
        ];
        assert_eq!(wanted, expected);
    }

    #[test]
    fn each_mistake_is_told_before_anything_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mistake = |named: &str| {
            let error = in_order(Some(named), Some(folder.path())).unwrap_err();
            assert_eq!(error.code, ErrorCode::Invalid, "{error}");
            assert!(error.hint.is_some(), "{error}");
            error.message
        };
        assert!(mistake("orders:0").contains("`0`"));
        assert!(mistake(&"orders ".repeat(MAX_WANTED + 1)).contains("at most"));
        fs::write(at("my state.snapshot"), "").unwrap();
        assert!(mistake("").contains("my state"));
        fs::remove_file(at("my state.snapshot")).unwrap();
        fs::write(at("list"), vec![b' '; MAX_LIST_LEN as usize + 1]).unwrap();
        assert!(mistake("").contains("does not list"));
        fs::write(at("list"), [0xff]).unwrap();
        assert!(mistake("").contains("does not list"));
        let gone = in_order(None, Some(&at("gone"))).unwrap_err();
        assert!(gone.message.contains("gone"), "{gone}");
    }
}
