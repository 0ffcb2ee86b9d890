//! Opens records of the log, with the same checks as for peers' data, on any thread.
//!
//! A disk may return wrong bytes: a record that doesn't open is reported, not used.

use std::sync::Arc;

use super::output::Record;
use crate::{
    catalog::PrivateVersion,
    feed::{Entry, Head},
    id::TeamId,
    membership::Operation,
    seal::SecretKey,
    signed::{Verified, verify},
    wire::Rejected,
};

/// A record that was opened.
#[derive(Debug, Clone)]
pub enum Restored {
    Operation(TeamId, Arc<Verified<Operation>>),
    Entry(TeamId, Arc<Entry>),
    Head(TeamId, Verified<Head>),
    Fork(TeamId, Verified<Head>),
    Private(TeamId, Box<PrivateVersion>),
    InviteKey(TeamId, SecretKey),
}

impl Record {
    /// Opens a record of the log. None if the record is a deletion.
    pub fn open(self) -> Result<Option<Restored>, Rejected> {
        Ok(Some(match self {
            Self::Operation { team, bytes, .. } => {
                Restored::Operation(team, Arc::new(verify(&bytes)?))
            }
            Self::Entry { team, bytes, .. } => {
                Restored::Entry(team, Arc::new(Entry::decode(&bytes)?))
            }
            Self::Head { team, bytes, .. } => Restored::Head(team, verify(&bytes)?),
            Self::Fork { team, bytes, .. } => Restored::Fork(team, verify(&bytes)?),
            Self::Private { team, version } => Restored::Private(team, version),
            Self::InviteKey { team, seed } => Restored::InviteKey(team, seed),
            Self::PrivateGone { .. } => return Ok(None),
        }))
    }
}
