//! The decoders of untrusted peer bytes, exposed for fuzzing. All other bytes of peers go through
//! [`podsync_core::wire`], or are verified by a hash.

use crate::{blobs::provide, lane::offer};

/// A peer's answer to the question for a lane.
pub fn lane_answer(bytes: &[u8]) -> bool {
    offer::parse_answer(bytes).is_ok()
}

/// A peer's request for a range of a blob.
pub fn blob_request(bytes: &[u8]) -> bool {
    provide::parse(bytes).is_some()
}
