//! Every format of core through its public API: its bytes, its round trip, and invalid bytes.
//!
//! Operations have their vectors in `src/membership/tests/golden.rs`, since only an author that holds
//! a membership can make them.

#![expect(clippy::unwrap_used, reason = "the samples are valid by construction")]

mod arbitrary;
mod golden;
mod round_trip;
mod samples;
