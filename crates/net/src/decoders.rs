//! What peers' bytes are decoded with before anything else is known of them, for whoever tries to break it.
//! Everything else in them is [`podsync_core::wire`]'s, or verified by a hash.

use crate::{blobs::provide, lane::offer};

/// A peer's answer to the question for a lane.
pub fn lane_answer(bytes: &[u8]) -> bool {
    offer::parse_answer(bytes).is_ok()
}

/// A peer's request for a range of a blob.
pub fn blob_request(bytes: &[u8]) -> bool {
    provide::parse(bytes).is_some()
}
