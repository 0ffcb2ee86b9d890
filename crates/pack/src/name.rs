//! Names within a state: relative, `/`-separated, and unable to climb out of their folder.
//!
//! The same rule applies to input (a zip's members) and to output (a teammate's table). It refuses
//! names that would leave the folder on any system, not only on this one.

use std::{borrow::Borrow, fmt};

/// The longest name of an entry and the longest target of a symlink, in bytes.
pub const MAX_ENTRY_NAME_LEN: usize = 4096;
/// The deepest folder.
pub const MAX_DEPTH: usize = 128;

/// Why a text cannot name an entry, or a symlink cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("entry {name:?} is refused: its name {reason}")]
    Entry { name: String, reason: &'static str },
    #[error("symlink {name:?} is refused: its target {target:?} {reason}")]
    Link {
        name: String,
        target: String,
        reason: &'static str,
    },
}

/// Where an entry lies: `assets/s3/object`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(Box<str>);

impl EntryName {
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        match check(&name) {
            Ok(()) => Ok(Self(name.into())),
            Err(reason) => Err(NameError::Entry {
                name: shown(&name),
                reason,
            }),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number of folders above it.
    pub(crate) fn depth(&self) -> usize {
        self.0.matches('/').count()
    }
}

fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("is empty");
    }
    if name.len() > MAX_ENTRY_NAME_LEN {
        return Err("is longer than 4096 bytes");
    }
    if name.contains(['\0', '\\']) {
        return Err("holds a NUL or a backslash");
    }
    let bytes = name.as_bytes();
    if bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
        return Err("begins with a drive");
    }
    for part in name.split('/') {
        match part {
            "" => return Err("is absolute or has an empty part"),
            "." | ".." => return Err("climbs with `.` or `..`"),
            _ => {}
        }
    }
    if name.matches('/').count() >= MAX_DEPTH {
        return Err("lies more than 128 folders deep");
    }
    Ok(())
}

/// The target of a symlink: relative, and inside the state's folder.
///
/// `..` is allowed only in front. Folders above an entry are real ones, so leading `..` climb as far
/// as they seem to; behind another symlink a `..` could climb further.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkTarget(Box<str>);

impl LinkTarget {
    /// The target of the symlink called `name`.
    pub fn new(name: &EntryName, target: impl Into<String>) -> Result<Self, NameError> {
        let target = target.into();
        match check_target(name.depth(), &target) {
            Ok(()) => Ok(Self(target.into())),
            Err(reason) => Err(NameError::Link {
                name: name.as_str().to_owned(),
                target: shown(&target),
                reason,
            }),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_target(depth: usize, target: &str) -> Result<(), &'static str> {
    let mut rest = target;
    let mut climbed = 0;
    while rest == ".." || rest.starts_with("../") {
        climbed += 1;
        rest = rest[2..].trim_start_matches('/');
    }
    if climbed > depth {
        return Err("lies outside of the state's folder");
    }
    if rest.is_empty() {
        return if climbed > 0 { Ok(()) } else { Err("is empty") };
    }
    check(rest.strip_suffix('/').unwrap_or(rest))
        .map_err(|_| "is not a plain path within the state's folder")
}

/// Enough of a hostile name to recognise it.
fn shown(name: &str) -> String {
    name.chars().take(200).collect()
}

impl Borrow<str> for EntryName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn climbing_names_are_refused() {
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a/..",
            "./a",
            "a/./b",
            "a//b",
            "a/",
            "a\\b",
            "a\0b",
            "C:/x",
            "c:x",
        ] {
            assert!(EntryName::new(bad).is_err(), "{bad:?}");
        }
        assert!(EntryName::new("x".repeat(MAX_ENTRY_NAME_LEN + 1)).is_err());
        assert!(EntryName::new("a/".repeat(MAX_DEPTH) + "b").is_err());
        for good in [
            "a",
            "a/b",
            ".hidden",
            "..a",
            "a..",
            "ü/日本",
            "a b",
            "...",
            "-rf",
            "ab:c",
        ] {
            assert!(EntryName::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn links_stay_inside() {
        let link = |name: &str, target: &str| {
            LinkTarget::new(&EntryName::new(name).unwrap(), target).is_ok()
        };
        assert!(
            link("a", "b")
                && link("d/a", "../b")
                && link("d/e/a", "../../b/c")
                && link("d/a", "..")
                && link("a", "b/")
        );
        for (name, target) in [
            ("a", ""),
            ("a", "/etc"),
            ("a", ".."),
            ("a", "../b"),
            ("d/a", "../../b"),
            ("d/a", "s/../../b"),
            ("a", "b/.."),
            ("a", "b\0"),
            ("d/a", "..//../b"),
        ] {
            assert!(!link(name, target), "{name} -> {target}");
        }
    }
}
