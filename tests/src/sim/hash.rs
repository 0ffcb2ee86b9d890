//! How operations, entries and heads are named.

use podsync_core::OpId;

/// The one hash that names operations, entries and heads alike.
pub(super) fn hash(bytes: &[u8]) -> [u8; 32] {
    *OpId::of(bytes).as_bytes()
}
