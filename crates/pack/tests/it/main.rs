//! States saved and rebuilt through the public API alone.

mod round_trip;
mod support;
