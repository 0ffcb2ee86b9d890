//! Writes in progress, and the actions that wait for them.
//!
//! There are two kinds of writes. A decision of this device takes effect only once it is on disk,
//! and is dropped if the write fails. Received data is valid anyway: it takes effect at once, users
//! hear of it once it is written, and a failed write is retried.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    input::{CommandId, PersistId, ResponderId},
    output::{Answer, Event, Record},
    team::Changes,
};
use crate::{
    catalog::PrivateVersion,
    feed::{Entry, Head},
    id::{OpId, TeamId, VersionId},
    membership::Operation,
    signed::Verified,
};

/// The most records that wait to be written. Beyond that, data of peers is not accepted for now.
const MAX_UNWRITTEN: usize = 16 << 10;
/// How long after a failed write it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A decision of this device, and what to do once it is on disk.
pub(super) enum OwnWrite {
    Entry {
        team: TeamId,
        by: CommandId,
        entry: Arc<Entry>,
        head: Verified<Head>,
        /// The private version that it turns into a shared one.
        replaces: Option<VersionId>,
        answer: Answer,
    },
    Operation {
        team: TeamId,
        by: Author,
        operation: Arc<Verified<Operation>>,
    },
    Founded {
        by: CommandId,
        operation: Arc<Verified<Operation>>,
        answer: Answer,
    },
    Joined {
        by: CommandId,
        team: TeamId,
        operations: Vec<Arc<Verified<Operation>>>,
    },
    Private {
        team: TeamId,
        by: CommandId,
        change: PrivateChange,
    },
}

/// The party that waits for an operation.
pub(super) enum Author {
    Command(CommandId, Answer),
    /// A newcomer waits for its join to be witnessed.
    Newcomer(ResponderId),
    /// The engine's own: a rotation that was due.
    Policy,
}

pub(super) enum PrivateChange {
    Saved(Box<PrivateVersion>),
    Forgotten(VersionId),
}

/// What waits for a write.
pub(super) enum After {
    Own(Box<OwnWrite>),
    Heard {
        records: Vec<Record>,
        events: Vec<Event>,
    },
}

/// Writes in flight.
#[derive(Default)]
pub(super) struct Writes {
    minted: u64,
    waiting: BTreeMap<PersistId, After>,
    /// Received data whose first write failed, and when to retry.
    again: Option<(Duration, Changes)>,
    unwritten: usize,
}

impl Writes {
    pub(super) fn own(&mut self, write: OwnWrite) -> PersistId {
        self.wait(After::Own(Box::new(write)))
    }

    pub(super) fn heard(&mut self, changes: &Changes) -> PersistId {
        self.unwritten += changes.records.len();
        self.wait(After::Heard {
            records: changes.records.clone(),
            events: changes.events.clone(),
        })
    }

    /// The action that waited for this write. None if no such write was started.
    pub(super) fn take(&mut self, id: PersistId) -> Option<After> {
        let after = self.waiting.remove(&id)?;
        if let After::Heard { records, .. } = &after {
            self.unwritten -= records.len();
        }
        Some(after)
    }

    /// Keeps received data for another write attempt.
    pub(super) fn retry(&mut self, records: Vec<Record>, events: Vec<Event>, now: Duration) {
        self.unwritten += records.len();
        let (_, changes) = self
            .again
            .get_or_insert_with(|| (now + RETRY_AFTER, Changes::default()));
        changes.records.extend(records);
        changes.events.extend(events);
    }

    /// The changes that are due for another attempt.
    pub(super) fn due(&mut self, now: Duration) -> Option<Changes> {
        let (_, changes) = self.again.take_if(|(due, _)| *due <= now)?;
        self.unwritten -= changes.records.len();
        Some(changes)
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.again.as_ref().map(|(due, _)| *due)
    }

    /// Whether too much waits for the disk to take in more.
    pub(super) fn is_clogged(&self) -> bool {
        self.unwritten >= MAX_UNWRITTEN
    }

    fn wait(&mut self, after: After) -> PersistId {
        self.minted += 1;
        let id = PersistId(self.minted);
        self.waiting.insert(id, after);
        id
    }
}

impl OwnWrite {
    pub(super) fn team(&self) -> TeamId {
        match self {
            Self::Entry { team, .. }
            | Self::Operation { team, .. }
            | Self::Joined { team, .. }
            | Self::Private { team, .. } => *team,
            Self::Founded { operation, .. } => {
                TeamId::from_bytes(*OpId::of(operation.bytes()).as_bytes())
            }
        }
    }

    /// The command that waits for it.
    pub(super) fn command(&self) -> Option<CommandId> {
        match self {
            Self::Entry { by, .. }
            | Self::Founded { by, .. }
            | Self::Joined { by, .. }
            | Self::Private { by, .. }
            | Self::Operation {
                by: Author::Command(by, _),
                ..
            } => Some(*by),
            Self::Operation { .. } => None,
        }
    }
}
