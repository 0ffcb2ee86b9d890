//! The last things that happened, and the report of a broken rule that ends with them.

use std::{collections::VecDeque, fmt, time::Duration};

use super::id::NodeId;

/// How many of the last events a report shows.
const SHOWN: usize = 30;

/// One thing that happened at a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Note {
    pub(super) at: Duration,
    pub(super) step: u64,
    pub(super) node: NodeId,
    pub(super) what: &'static str,
    pub(super) other: Option<NodeId>,
    pub(super) number: u64,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>12.3} s  step {:<8} {:?} {}",
            self.at.as_secs_f64(),
            self.step,
            self.node,
            self.what
        )?;
        if self.number > 0 {
            write!(f, " {}", self.number)?;
        }
        match self.other {
            Some(other) => write!(f, " ({other:?})"),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct History {
    last: VecDeque<Note>,
}

impl History {
    pub(super) fn note(&mut self, note: Note) {
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(note);
    }

    pub(super) fn notes(&self) -> Vec<Note> {
        self.last.iter().copied().collect()
    }
}

/// A rule that doesn't hold, as the invariant puts it.
#[derive(Debug)]
pub(super) struct Broken(pub(super) String);

/// A broken rule, and all that is needed to see it again.
#[derive(Debug)]
pub struct Violation {
    pub(super) seed: u64,
    pub(super) step: u64,
    pub(super) at: Duration,
    pub(super) node: Option<NodeId>,
    pub(super) what: String,
    pub(super) notes: Vec<Note>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}, step {}, {:.3} s: {}",
            self.seed,
            self.step,
            self.at.as_secs_f64(),
            self.what
        )?;
        if let Some(node) = self.node {
            writeln!(f, "at {node:?}")?;
        }
        writeln!(f, "the last {} events:", self.notes.len())?;
        self.notes
            .iter()
            .try_for_each(|note| writeln!(f, "  {note}"))
    }
}

impl std::error::Error for Violation {}
