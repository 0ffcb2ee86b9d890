//! The engine: policy without effects. What happened goes in, what to do comes out.
//!
//! It reads no clock, no disk, no socket and draws no randomness; the daemon and the simulated
//! network drive the same type.

mod error;
mod gate;
mod input;
mod output;
mod record;

pub use error::EngineError;
pub use gate::{Gate, GateChange};
pub use input::{
    Command, CommandId, FetchFailed, FetchId, GossipId, Input, InviteOptions, Now, PersistId, Publish,
    RequestFailed, RequestId, ResponderId, Robot, SavePrivate, TransferId, Want, WantedBlob,
};
pub use output::{Answer, Event, Farewell, Output, Record, Verdict};
pub use record::Restored;
