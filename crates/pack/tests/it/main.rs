//! States saved and rebuilt through the public API alone.

#![allow(clippy::unwrap_used, reason = "all of this binary is tests")]

mod arriving;
mod golden;
mod hostile;
mod round_trip;
mod secrets;
mod sharing;
mod support;
mod trees;
mod zips;
