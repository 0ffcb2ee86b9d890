//! The client against a whole hub in this process, and against servers that misbehave.

#![expect(
    clippy::unwrap_used,
    reason = "a test says by panicking what was not as it should be"
)]
#![expect(
    clippy::single_range_in_vec_init,
    reason = "a list of ranges may have one"
)]

mod bad_download;
mod bad_hub;
mod bad_upload;
mod calls;
mod fake;
mod kit;
mod mending;
mod moved;
mod pipelined;
mod secrets;
mod stored;
mod transfers;
