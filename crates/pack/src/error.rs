//! Why a state could not be saved, and what to do about it.

use std::io;

use podsync_core::manifest::MAX_CHUNKS;

use crate::{ordered::Stopped, read::ReadError, source::SourceError};

/// A state that could not be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// A problem of the state itself.
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(
        "the state has more than {MAX_CHUNKS} chunks (about 256 GiB), more than a version may have"
    )]
    TooLarge,
    /// A problem of the disk, mostly lack of space.
    #[error("a pack cannot be written: {0}")]
    Sink(io::Error),
    #[error("a temporary file for the tables cannot be used: {0}")]
    Spool(io::Error),
    #[error("the chunks held already cannot be looked up: {0}")]
    Known(io::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("cancelled; nothing was saved")]
    Cancelled,
    /// Replaced by the other side's reason.
    #[error("the save stopped")]
    #[doc(hidden)]
    Stopped,
}

impl SaveError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Source(error) => return error.hint(),
            Self::TooLarge => "save fewer services or a part of it",
            Self::Sink(..) => "free some space and save again",
            Self::Spool(..) => "free some space and save again",
            Self::Known(..) => "look into the disk and the daemon's log, and save again",
            Self::Read(error) => return error.hint(),
            Self::Cancelled | Self::Stopped => return None,
        })
    }
}

impl From<Stopped> for SaveError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<io::Error> for SaveError {
    fn from(error: io::Error) -> Self {
        Self::Spool(error)
    }
}
