//! The keys of the log's records, and their encoding as ordered bytes.
//!
//! Every key begins with its listing prefix (a team or a namespace), so that a listing is a range.

use std::fmt;

use podsync_core::{DeviceId, EntryHash, OpId, TeamId, VersionId};

/// The name of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A membership operation: its envelope as received.
    Operation { team: TeamId, id: OpId },
    /// A feed entry as received. A fork has several with one sequence number.
    Entry { team: TeamId, entry: EntryKey },
    /// The signed head of a device's feed.
    Head { team: TeamId, device: DeviceId },
    /// This home's data about a version. Private versions and checkpoints exist only here.
    Version { team: TeamId, id: VersionId },
    /// A transfer to resume after a restart.
    Transfer { team: TeamId, id: VersionId },
    /// Anything else that must last.
    Setting { namespace: Namespace, key: Vec<u8> },
}

/// A feed entry within its team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    pub device: DeviceId,
    pub seq: u64,
    pub hash: EntryHash,
}

/// A group of settings, fixed at compile time: `based_on`, `checkpoints`, ...
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Namespace(&'static str);

impl Namespace {
    /// Refuses at compile time, in a constant, names that can't be a unique prefix: empty ones and
    /// those with a NUL.
    pub const fn new(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty(), "a namespace has a name");
        let mut at = 0;
        while at < bytes.len() {
            assert!(bytes[at] != 0, "a namespace has no NUL");
            at += 1;
        }
        Self(name)
    }

    pub(super) fn prefix(self) -> Vec<u8> {
        [self.0.as_bytes(), &[0]].concat()
    }
}

/// One change: a value for a key, or its deletion.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    key: Key,
    value: Option<Vec<u8>>,
}

impl Record {
    pub fn put(key: Key, value: impl Into<Vec<u8>>) -> Self {
        Self {
            key,
            value: Some(value.into()),
        }
    }

    pub fn delete(key: Key) -> Self {
        Self { key, value: None }
    }

    pub fn key(&self) -> &Key {
        &self.key
    }

    /// None for a deletion.
    pub fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }
}

/// Without the value: team keys are among them.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.value.as_ref().map(Vec::len);
        f.debug_struct("Record")
            .field("key", &self.key)
            .field("value_len", &len)
            .finish()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Operation,
    Entry,
    Head,
    Version,
    Transfer,
    Setting,
}

impl Kind {
    pub(super) const ALL: [Self; 6] = [
        Self::Operation,
        Self::Entry,
        Self::Head,
        Self::Version,
        Self::Transfer,
        Self::Setting,
    ];

    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Operation => "operations",
            Self::Entry => "entries",
            Self::Head => "heads",
            Self::Version => "versions",
            Self::Transfer => "transfers",
            Self::Setting => "settings",
        }
    }
}

impl Key {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Operation { .. } => Kind::Operation,
            Self::Entry { .. } => Kind::Entry,
            Self::Head { .. } => Kind::Head,
            Self::Version { .. } => Kind::Version,
            Self::Transfer { .. } => Kind::Transfer,
            Self::Setting { .. } => Kind::Setting,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Operation { team, id } => [*team.as_bytes(), *id.as_bytes()].concat(),
            Self::Entry { team, entry } => {
                let EntryKey { device, seq, hash } = entry;
                // Big-endian, so that the order of bytes is the order of numbers.
                [
                    &team.as_bytes()[..],
                    device.as_bytes(),
                    &seq.to_be_bytes(),
                    hash.as_bytes(),
                ]
                .concat()
            }
            Self::Head { team, device } => [*team.as_bytes(), *device.as_bytes()].concat(),
            Self::Version { team, id } | Self::Transfer { team, id } => {
                [*team.as_bytes(), *id.as_bytes()].concat()
            }
            Self::Setting { namespace, key } => [namespace.prefix(), key.clone()].concat(),
        }
    }
}

/// A part of a key, taken off its front.
pub trait Field: Sized {
    fn read(bytes: &mut &[u8]) -> Option<Self>;
}

impl<const N: usize> Field for [u8; N] {
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (field, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(*field)
    }
}

macro_rules! id_field {
    ($($id:ty),*) => {$(
        impl Field for $id {
            fn read(bytes: &mut &[u8]) -> Option<Self> {
                Field::read(bytes).map(Self::from_bytes)
            }
        }
    )*};
}

id_field!(TeamId, OpId, EntryHash, DeviceId, VersionId);

impl Field for EntryKey {
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            device: Field::read(bytes)?,
            seq: Field::read(bytes).map(u64::from_be_bytes)?,
            hash: Field::read(bytes)?,
        })
    }
}

impl Field for Vec<u8> {
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some(std::mem::take(bytes).to_vec())
    }
}
