//! Why a state can't be saved as it is.

use std::{io, path::PathBuf};

use podsync_core::manifest::MAX_ENTRIES;

use crate::{name::NameError, zip::directory::DirectoryError};

/// A state that cannot be taken as it is.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("`{}` cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("`{}` changed while it was read", path.display())]
    Changed { path: PathBuf },
    #[error("`{}` {reason}", path.display())]
    Refused { path: PathBuf, reason: &'static str },
    #[error("`{name}` has {what} in it, and everybody who gets the version could use it")]
    Secret { name: String, what: &'static str },
    /// `name` is without the secret.
    #[error("the name `{name}` has {what} in it, and everybody who gets the version could use it")]
    SecretName { name: String, what: &'static str },
    #[error(
        "the zip inflates to more than podsync looks through, and a secret in it would not be noticed"
    )]
    TooMuchToSee,
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(
        "the state has more than {MAX_ENTRIES} files and folders, more than a version may have"
    )]
    TooManyEntries,
    #[error("the zip cannot be saved: {0}")]
    Zip(#[from] DirectoryError),
    #[error("the zip cannot be saved: member {name:?} {reason}")]
    Member { name: String, reason: &'static str },
    #[error("the emulator's state is not a zip")]
    NotAState,
    #[error("the emulator's state broke off on its way: {0}")]
    Broken(io::Error),
    /// The complete file may be fine: try [`Source::from_instance`](crate::Source::from_instance).
    #[error("the emulator's state can't be read before it is whole")]
    NotAsItCame,
    #[error("a temporary file for the entries cannot be written: {0}")]
    Spool(io::Error),
}

impl SourceError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unreadable { .. } => "check that it exists and that you may read it",
            Self::Changed { .. } => "stop what writes to it and save again",
            Self::Refused { .. } => "save a folder without it",
            Self::Secret { .. } => {
                "remove it from there; `podsync save --allow-secrets` saves it all the same"
            }
            Self::SecretName { .. } => {
                "rename it; `podsync save --allow-secrets` saves it all the same"
            }
            Self::TooMuchToSee => {
                "unpack it and save the folder; `podsync save --allow-secrets` saves it as it is"
            }
            Self::TooManyEntries => "save a part of it",
            Self::Zip(error) => return error.hint(),
            Self::Member { .. } => "it is damaged: make it again",
            Self::NotAState => "check that the endpoint is an emulator that can save its state",
            Self::Broken(..) => "save again",
            Self::NotAsItCame => "save it from a file with --from",
            Self::Spool(..) => "free some space and save again",
            Self::Name(..) => return None,
        })
    }
}
