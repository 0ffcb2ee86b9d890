//! Every byte to and from the bucket: the hub's client, presigned PUT and GET.
//!
//! [`docs/hub-protocol.md`](../../../docs/hub-protocol.md) is what both sides keep to. The hub and the bucket
//! are not trusted: signed things are handed on as they came, for core to open, and bytes of blobs only once
//! they were verified. A presigned URL is as good as a key: none is in an error or a log of this room.
//!
//! Whoever makes a [`Hub`] has installed a rustls provider before.

mod bucket;
mod download;
mod error;
mod examine;
mod hub;
mod outboards;
mod said;
mod upload;
mod wire;

pub use download::{Downloaded, Location, Sink, Want};
pub use error::{AddressError, HubClientError, TransferError};
pub use examine::Condition;
pub use hub::{HeadsAnswer, Hub, HubAddress, Patience};
pub use outboards::{
    Built, GROUP, IndexError, MAX_PACKS, OutboardsBuilder, OutboardsIndex, PackRead,
    object_len as outboards_object_len, pack_outboard,
};
pub use said::Said;
pub use upload::{ReadAt, Source, Upload};

/// Libraries beneath this room that log URLs and headers.
const TALKATIVE: [&str; 4] = ["h2", "hyper", "hyper_util", "reqwest"];

/// Whether logs of this target may have a presigned URL in them. A program that uses this room lets through
/// warnings of these and nothing below, whatever it is asked to log.
pub fn is_talkative(target: &str) -> bool {
    let library = target.split("::").next().unwrap_or_default();
    TALKATIVE.contains(&library)
}
