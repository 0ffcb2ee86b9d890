//! The keys of what members upload, and of the markers that condemn it.
//!
//! A marker names the kind as its object's key does: `gc/condemned/packs/...` is of `packs/...`.

use std::{fmt, str::FromStr};

use podsync_api::hub::{ObjectKind, ObjectRef, Sha256};

/// Where markers lie.
pub const CONDEMNED: &str = "gc/condemned/";

/// Where the marks of confirmed uploads lie.
pub const CONFIRMED: &str = "confirmed/";

/// An uploaded object's place in the bucket: `packs/SHA256.GENERATION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    pub kind: ObjectKind,
    pub sha256: Sha256,
    pub generation: u32,
}

impl ObjectKey {
    pub const KINDS: [ObjectKind; 3] = [
        ObjectKind::Pack,
        ObjectKind::Manifest,
        ObjectKind::Outboards,
    ];

    /// The folder of all objects of a kind, with its slash.
    pub const fn folder(kind: ObjectKind) -> &'static str {
        match kind {
            ObjectKind::Pack => "packs/",
            ObjectKind::Manifest => "manifests/",
            ObjectKind::Outboards => "outboards/",
        }
    }

    /// The key of the marker that condemns this object.
    pub fn marker(&self) -> String {
        format!("{CONDEMNED}{self}")
    }

    /// The key of the mark that says which writing of this object was hashed.
    pub fn confirmation(&self) -> String {
        format!("{CONFIRMED}{self}")
    }

    /// The object that a marker condemns.
    pub fn of_marker(key: &str) -> Option<Self> {
        key.strip_prefix(CONDEMNED)?.parse().ok()
    }
}

impl From<&ObjectRef> for ObjectKey {
    fn from(object: &ObjectRef) -> Self {
        Self {
            kind: object.id.kind,
            sha256: object.id.sha256,
            generation: object.generation,
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = Self::folder(self.kind);
        write!(f, "{folder}{}.{}", self.sha256, self.generation)
    }
}

/// A key that is of no uploaded object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the key of an uploaded object")]
pub struct ParseObjectKeyError;

impl FromStr for ObjectKey {
    type Err = ParseObjectKeyError;

    fn from_str(key: &str) -> Result<Self, ParseObjectKeyError> {
        let (kind, name) = Self::KINDS
            .into_iter()
            .find_map(|kind| Some((kind, key.strip_prefix(Self::folder(kind))?)))
            .ok_or(ParseObjectKeyError)?;
        let (sha256, generation) = name.split_once('.').ok_or(ParseObjectKeyError)?;
        let parsed = Self {
            kind,
            sha256: sha256.parse().map_err(|_| ParseObjectKeyError)?,
            generation: generation.parse().map_err(|_| ParseObjectKeyError)?,
        };
        // `+1` and `01` parse as numbers, and are other keys.
        (parsed.to_string() == key)
            .then_some(parsed)
            .ok_or(ParseObjectKeyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_markers_go_there_and_back() {
        for kind in ObjectKey::KINDS {
            let key = ObjectKey {
                kind,
                sha256: Sha256::from_bytes([7; 32]),
                generation: 12,
            };
            assert_eq!(key.to_string().parse(), Ok(key));
            assert_eq!(ObjectKey::of_marker(&key.marker()), Some(key));
        }
    }

    #[test]
    fn other_spellings_are_other_keys() {
        let hex = "ab".repeat(32);
        assert!(format!("packs/{hex}.0").parse::<ObjectKey>().is_ok());
        for wrong in [
            format!("packs/{hex}"),
            format!("packs/{hex}.00"),
            format!("packs/{hex}.+1"),
            format!("packs/{hex}.4294967296"),
            format!("packs/{}.0", "AB".repeat(32)),
            format!("packs/{hex}.0/x"),
            format!("pack/{hex}.0"),
            format!("/packs/{hex}.0"),
        ] {
            assert_eq!(
                wrong.parse::<ObjectKey>(),
                Err(ParseObjectKeyError),
                "{wrong}"
            );
        }
    }
}
