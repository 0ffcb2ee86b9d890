//! Every byte to and from the bucket: the hub's client, presigned PUT and GET.
//!
//! [`docs/hub-protocol.md`](../../../docs/hub-protocol.md) is the protocol of both sides. Neither hub nor
//! bucket is trusted: signed data is passed on unopened for core to verify, and blob bytes only once
//! verified. A presigned URL is a credential: this crate never puts one into an error or a log. The creator
//! of a [`Hub`] must have installed a rustls provider.
//!
//! Install a rustls provider before making a [`Hub`].

mod bucket;
mod download;
mod error;
mod examine;
mod hub;
mod outboards;
mod proxy;
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
pub use proxy::unusable_proxies;
pub use said::Said;
pub use upload::{ReadAt, Source, Upload};

/// Libraries below this crate that log URLs and headers.
const TALKATIVE: [&str; 4] = ["h2", "hyper", "hyper_util", "reqwest"];

/// Whether logs of this target may contain a presigned URL. A program with this crate must let only
/// warnings of these targets through, whatever its log settings.
pub fn is_talkative(target: &str) -> bool {
    let library = target.split("::").next().unwrap_or_default();
    TALKATIVE.contains(&library)
}
