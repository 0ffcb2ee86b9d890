//! `podsync.lock`: which version each name stands for, kept beside a project's code.
//!
//! People read this file in reviews: one block a name, sorted, with number, author and time beside the hash.
//! Only the hash counts.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use podsync_api::{ApiError, ErrorCode, pods};
use podsync_core::{TeamId, VersionId, reference::Reference};
use serde::{Deserialize, Serialize};

use crate::files::{behind_links, read_text};

/// The form that this podsync writes.
const FORM: u32 = 1;
/// More than any project locks.
const MAX_LEN: u64 = 1 << 20;
const MAX_NAMES: usize = 4096;

/// `podsync lock` replaces only a lock file.
const RENEW: &str =
    "restore it from version control, or move it away and write a new one with `podsync lock`";

const HEAD: &str = "\
# Which version each name stands for. Written by `podsync lock`, for `podsync pull --frozen`.
# Only `id` counts; the rest is for people.

";

/// A lock file, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockFile {
    path: PathBuf,
    pub(crate) team: TeamId,
    locked: BTreeMap<String, Locked>,
}

/// What one name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Locked {
    /// As it was asked for: `orders:baseline`.
    name: String,
    pub(crate) id: VersionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(default)]
    author: String,
    #[serde(default)]
    created: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    team: TeamId,
    #[serde(default)]
    locked: Vec<Locked>,
}

/// The fields that every version of the format has.
#[derive(Deserialize)]
struct Form {
    version: u32,
}

impl LockFile {
    pub(crate) fn new(path: &Path, team: TeamId) -> Self {
        Self {
            path: path.to_owned(),
            team,
            locked: BTreeMap::new(),
        }
    }

    /// Reads the file; `None` if there is no file.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, ApiError> {
        let text = match read_text(path, MAX_LEN) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| unreadable(path, &error))?,
        };
        Self::parse(path, &text).map(Some)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ApiError> {
        let form: Form = toml::from_str(text).map_err(|error| wrong(path, error.message()))?;
        if form.version > FORM {
            return Err(ApiError::new(
                ErrorCode::Invalid,
                format!(
                    "a newer podsync wrote {} (format {}; this podsync knows {FORM})",
                    path.display(),
                    form.version
                ),
            )
            .hint(
                "update podsync, or move the file away and write a new one with `podsync lock`",
            ));
        }
        let written: Written =
            toml::from_str(text).map_err(|error| wrong(path, error.message()))?;
        if written.version == 0 {
            return Err(wrong(path, "format 0 does not exist"));
        }
        if written.locked.len() > MAX_NAMES {
            return Err(wrong(
                path,
                &format!("it locks more than {MAX_NAMES} names"),
            ));
        }
        let mut locked = BTreeMap::new();
        for entry in written.locked {
            let name = lockable(&entry.name)?.to_string();
            if locked.insert(name, entry.clone()).is_some() {
                return Err(wrong(path, &format!("it contains `{}` twice", entry.name)));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            team: written.team,
            locked,
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.locked.keys().map(String::as_str)
    }

    /// The version that a name stands for, as an exact reference.
    pub(crate) fn exact(&self, name: &str) -> Result<(String, &Locked), ApiError> {
        let reference = lockable(name)?;
        let pod = reference.pod().ok_or_else(|| unlockable(name))?;
        let locked = self.locked.get(&reference.to_string()).ok_or_else(|| {
            ApiError::new(
                ErrorCode::NotFound,
                format!("{} does not contain `{name}`", self.path.display()),
            )
            .hint(format!("`podsync lock {name}` adds it"))
        })?;
        Ok((format!("{pod}@{}", locked.id), locked))
    }

    pub(crate) fn put(&mut self, name: &str, version: &pods::Version) -> Result<(), ApiError> {
        let name = lockable(name)?.to_string();
        let created = UNIX_EPOCH + Duration::from_millis(version.created_ms);
        let entry = Locked {
            name: name.clone(),
            id: version.id,
            number: version.number,
            author: version.author.clone(),
            created: humantime::format_rfc3339_seconds(created).to_string(),
        };
        self.locked.insert(name, entry);
        Ok(())
    }

    /// Writes a temporary file and renames it once it is complete.
    pub(crate) fn write(&self) -> Result<(), ApiError> {
        let failed = |error: std::io::Error| {
            ApiError::new(
                ErrorCode::Disk,
                format!("podsync cannot write {}: {error}", self.path.display()),
            )
            .hint("check the folder and its disk, or choose another file with --file")
        };
        let path = behind_links(&self.path).map_err(failed)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut aside = tempfile::Builder::new()
            .prefix(".podsync-lock-")
            .permissions(permissions(&path))
            .tempfile_in(folder)
            .map_err(failed)?;
        aside.write_all(self.text()?.as_bytes()).map_err(failed)?;
        aside.as_file().sync_all().map_err(failed)?;
        aside.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    fn text(&self) -> Result<String, ApiError> {
        let written = Written {
            version: FORM,
            team: self.team,
            locked: self.locked.values().cloned().collect(),
        };
        let body = toml::to_string(&written)
            .map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?;
        Ok(format!("{HEAD}{body}"))
    }
}

/// The permissions of the replaced file, or those that a project's files usually have.
fn permissions(path: &Path) -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().map_or_else(
        |_| std::fs::Permissions::from_mode(0o644),
        |found| found.permissions(),
    )
}

/// A name that means the same to every member.
pub(crate) fn lockable(name: &str) -> Result<Reference, ApiError> {
    let reference: Reference = name.parse().map_err(|error| {
        ApiError::new(ErrorCode::Invalid, format!("{error}"))
            .hint("lock a name such as orders, orders:3 or orders:baseline")
    })?;
    match reference {
        Reference::Path(_) | Reference::Private { .. } => Err(unlockable(name)),
        reference => Ok(reference),
    }
}

fn unlockable(name: &str) -> ApiError {
    ApiError::new(
        ErrorCode::Invalid,
        format!("`{name}` is on this machine only, so it cannot be locked"),
    )
    .hint("share it first, then lock its pod, number or tag")
}

/// `--file` of `podsync lock`, or `--lock-file` of the others, may name what is no file.
fn unreadable(path: &Path, error: &std::io::Error) -> ApiError {
    let hint = match path.is_file() {
        true => RENEW,
        false => "name a file in an existing folder, such as podsync.lock",
    };
    ApiError::new(
        ErrorCode::Invalid,
        format!("podsync cannot read {}: {error}", path.display()),
    )
    .hint(hint)
}

fn wrong(path: &Path, what: &str) -> ApiError {
    ApiError::new(
        ErrorCode::Invalid,
        format!("{} is not a podsync lock file: {what}", path.display()),
    )
    .hint(RENEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "podsync.lock";

    fn version(number: u64) -> pods::Version {
        pods::Version {
            reference: format!("orders:{number}"),
            id: VersionId::of(&number.to_le_bytes()),
            number: Some(number),
            author: "alice".to_owned(),
            message: "it's \"quoted\"".to_owned(),
            created_ms: 1_762_300_000_000,
            state_len: 1,
            services: Vec::new(),
            emulator: None,
            tags: Vec::new(),
            parents: Vec::new(),
            tip: true,
            held: false,
        }
    }

    fn file() -> LockFile {
        let mut file = LockFile::new(Path::new(PATH), TeamId::of(b"team"));
        file.put("orders:baseline", &version(3)).unwrap();
        file.put("billing", &version(1)).unwrap();
        file
    }

    fn parse(text: &str) -> Result<LockFile, ApiError> {
        LockFile::parse(Path::new(PATH), text)
    }

    #[test]
    fn a_file_reads_back_sorted() {
        let text = file().text().unwrap();
        assert_eq!(parse(&text).unwrap(), file());
        assert_eq!(
            file().names().collect::<Vec<_>>(),
            ["billing", "orders:baseline"]
        );
        assert!(text.find("billing") < text.find("orders:baseline"));
        assert!(
            text.contains("created = \"2025-11-04T23:46:40Z\""),
            "{text}"
        );
        let (exact, locked) = file()
            .exact("pod:orders:baseline")
            .map(|(exact, locked)| (exact, locked.clone()))
            .unwrap();
        assert_eq!(exact, format!("orders@{}", locked.id));
    }

    /// Fails if podsync now writes other bytes than before.
    #[test]
    fn the_form_is_kept() {
        let text = file().text().unwrap();
        let team = TeamId::of(b"team");
        let ids = [1_u64, 3].map(|number| VersionId::of(&number.to_le_bytes()));
        let expected = format!(
            "{HEAD}version = 1\nteam = \"{team}\"\n\n\
             [[locked]]\nname = \"billing\"\nid = \"{}\"\nnumber = 1\nauthor = \"alice\"\ncreated = \"2025-11-04T23:46:40Z\"\n\n\
             [[locked]]\nname = \"orders:baseline\"\nid = \"{}\"\nnumber = 3\nauthor = \"alice\"\ncreated = \"2025-11-04T23:46:40Z\"\n",
            ids[0], ids[1]
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn each_mistake_has_its_answer() {
        let text = file().text().unwrap();
        let newer = parse(&text.replace("version = 1", "version = 2\nshape = 'round'"));
        assert!(newer.unwrap_err().message.contains("newer podsync"));
        let twice = format!(
            "{text}\n{}",
            text.split("[[locked]]")
                .nth(1)
                .map_or(String::new(), |block| format!("[[locked]]{block}"))
        );
        let error = parse(&twice).unwrap_err();
        assert!(error.message.contains("`billing` twice"), "{error}");
        // One name in two spellings.
        let alias = twice.replacen("name = \"billing\"", "name = \"pod:billing\"", 1);
        assert!(parse(&alias).unwrap_err().message.contains("twice"));
        for garbage in [
            "",
            "\0\0\0",
            "version = 'one'",
            "{\"version\": 1}",
            "version = 0",
            "version = 1",
            &text.replace("id = ", "di = "),
            &text.replace("orders:baseline", "orders:+1"),
            &text.replace("orders:baseline", "/etc/passwd"),
            &text.replace("orders:baseline", "not a name"),
            &text.replace(&VersionId::of(&1_u64.to_le_bytes()).to_string(), "abc"),
        ] {
            let error = parse(garbage).unwrap_err();
            assert_eq!(error.code, ErrorCode::Invalid, "{garbage}: {error}");
            assert!(error.hint.is_some(), "{error}");
        }
        let error = file().exact("orders").unwrap_err();
        assert_eq!(error.code, ErrorCode::NotFound);
    }

    #[test]
    fn what_is_no_file_is_neither_read_nor_said_to_need_restoring() {
        for path in ["/", "/dev/null", "/dev/zero"] {
            let error = LockFile::read(Path::new(path)).unwrap_err();
            assert_eq!(error.code, ErrorCode::Invalid, "{error}");
            let hint = error.hint.unwrap();
            assert!(hint.starts_with("name a file"), "{path}: {hint}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(PATH);
        std::fs::write(&path, vec![b'#'; MAX_LEN as usize + 1]).unwrap();
        let error = LockFile::read(&path).unwrap_err();
        assert!(error.message.contains("larger than"), "{error}");
        assert_eq!(error.hint.as_deref(), Some(RENEW));
    }

    #[test]
    fn writing_replaces_the_file_whole_and_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(PATH);
        assert_eq!(LockFile::read(&path).unwrap(), None);
        let mut file = LockFile {
            path: path.clone(),
            ..file()
        };
        file.write().unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        file.put("orders:baseline", &version(4)).unwrap();
        file.write().unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(LockFile::read(&path).unwrap(), Some(file));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
