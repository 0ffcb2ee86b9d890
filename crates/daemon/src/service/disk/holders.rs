//! Asks the other devices of a team what they hold of some blobs. Earlier answers don't count.
//!
//! A device that doesn't answer is unknown, which is not the same as holding nothing. Robots aren't asked: what
//! they hold goes when their run ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, stream};
use podsync_core::{
    BlobId, DeviceId, TeamId,
    bounded::Bounded,
    codec::Format,
    feed::BlobRef,
    units::Units,
    wire::{self, HaveRequest, MAX_HAVE_BLOBS, Protocol, ResponseIn},
};
use podsync_net::Net;
use tokio::time::timeout;

use crate::{error::Failure, node::handle::Node};

/// Most devices asked at once, which is also the limit of connections.
const AT_ONCE: usize = 24;

/// What a device has of the blobs that it was asked about.
pub(crate) type Held = BTreeMap<BlobId, Units>;

/// The answers of the devices.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// What each device that answered holds.
    pub(crate) said: BTreeMap<DeviceId, Held>,
    /// Devices that aren't connected or didn't answer.
    pub(crate) silent: BTreeSet<DeviceId>,
}

/// Asks teammates' devices what they hold.
#[derive(Clone)]
pub(crate) struct Holders {
    pub(crate) device: DeviceId,
    pub(crate) node: Node,
    pub(crate) net: Net,
}

impl Holders {
    /// Asks every connected device of the team.
    pub(crate) async fn ask(
        &self,
        team: TeamId,
        blobs: &[BlobRef],
        patience: Duration,
    ) -> Result<Answers, Failure> {
        let me = self.device;
        let (mut silent, connected) = self
            .node
            .read(move |engine| {
                let roster = engine.roster(&team);
                let is_asked =
                    |device: &DeviceId| !roster.is_some_and(|roster| roster.is_robot(device));
                let devices = roster.into_iter().flat_map(|roster| roster.devices());
                let others = devices
                    .map(|record| record.device)
                    .filter(|device| *device != me && is_asked(device));
                let others: BTreeSet<DeviceId> = others.collect();
                let mut connected = engine.connected(&team);
                connected.retain(is_asked);
                (others, connected)
            })
            .await?;
        let answers: Vec<_> = stream::iter(connected)
            .map(|device| async move {
                let answer = timeout(patience, self.held_at(team, device, blobs)).await;
                (device, answer.unwrap_or(Ok(None)))
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut said = BTreeMap::new();
        for (device, answer) in answers {
            if let Some(held) = answer? {
                silent.remove(&device);
                said.insert(device, held);
            }
        }
        Ok(Answers { said, silent })
    }

    /// What a device says that it has. `None` if it doesn't answer.
    async fn held_at(
        &self,
        team: TeamId,
        device: DeviceId,
        blobs: &[BlobRef],
    ) -> Result<Option<Held>, Failure> {
        let mut held = Held::new();
        for asked in blobs.chunks(MAX_HAVE_BLOBS) {
            let request = HaveRequest::Ask {
                team,
                blobs: Bounded::first(asked.iter().map(|blob| blob.id)),
            };
            let answer = self
                .net
                .request(device, Protocol::Have, request.encode())
                .await;
            let bytes = match answer {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::info!(peer = %device.short(), %error, "it doesn't say what it has");
                    return Ok(None);
                }
            };
            let opened =
                tokio::task::spawn_blocking(move || wire::open_response(Protocol::Have, &bytes));
            let Ok(ResponseIn::Haves(haves)) = opened.await? else {
                return Ok(None);
            };
            if haves.len() != asked.len() {
                return Ok(None);
            }
            let units = |(blob, have): (&BlobRef, wire::Have)| (blob.id, have.units(blob.len));
            held.extend(asked.iter().zip(haves).map(units));
        }
        Ok(Some(held))
    }
}
