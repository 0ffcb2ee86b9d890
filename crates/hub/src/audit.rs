//! The audit log: who did what, in lines of which each names the hash of the one before.
//!
//! Lines go to the tracing target `audit` and are kept wherever the operator sends that. A line that was
//! taken out or changed breaks the chain. No line has a URL, a key or a secret.

use std::sync::{Mutex, PoisonError};

use podsync_core::{DeviceId, TeamId};

const CONTEXT: &str = "podsync 2026 hub audit line 1";

/// A chain of lines: one for each run of a hub.
#[derive(Debug)]
pub struct Audit {
    chain: Mutex<Chain>,
}

#[derive(Debug)]
struct Chain {
    run: String,
    seq: u64,
    last: blake3::Hash,
}

/// What was done.
#[derive(Debug, Clone, Copy)]
pub struct Action<'a> {
    pub team: TeamId,
    pub device: DeviceId,
    pub action: &'a str,
    /// `ok`, or the code of the error.
    pub outcome: &'a str,
    /// Counts and numbers.
    pub detail: &'a str,
}

impl Audit {
    /// `run` is random, so that the chains of two runs differ.
    pub fn new(run: [u8; 8]) -> Self {
        let run = data_encoding::HEXLOWER.encode(&run);
        let chain = Chain {
            last: blake3::hash(run.as_bytes()),
            run,
            seq: 0,
        };
        Self {
            chain: Mutex::new(chain),
        }
    }

    pub fn record(&self, now_ms: u64, done: &Action<'_>) {
        let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        let Action {
            team,
            device,
            action,
            outcome,
            detail,
        } = done;
        chain.seq += 1;
        let line = format!(
            "run={} seq={} time_ms={now_ms} team={team} device={device} action={action} outcome={outcome} {detail} previous={}",
            chain.run,
            chain.seq,
            chain.last.to_hex()
        );
        chain.last = hash(&line);
        tracing::info!(target: "audit", hash = %chain.last.to_hex(), "{line}");
    }
}

/// The hash of a line, which the next one names as `previous`.
pub fn hash(line: &str) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key(CONTEXT, line.as_bytes()))
}
