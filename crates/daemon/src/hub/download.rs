//! Downloads a range of a blob from the bucket into the store. Bytes are verified as they arrive.

use std::{io, sync::Arc};

use bao_tree::io::BaoContentItem;
use podsync_bucket::{Location, TransferError, Want};
use podsync_core::{TeamId, engine::FetchFailed};
use podsync_net::{BlobRange, Traffic};
use podsync_store::Blobs;

use super::state::{
    Hubs, TeamHub,
    placements::{Placed, Placements},
};
use crate::arriving::Arriving;

/// What a download from the bucket needs.
#[derive(Clone)]
pub(crate) struct BucketDownload {
    pub(crate) hub: Arc<TeamHub>,
    pub(crate) places: Placements,
    pub(crate) blobs: Blobs,
    pub(crate) team: TeamId,
    pub(crate) traffic: Traffic,
}

impl BucketDownload {
    /// Returns what a download from a team's bucket needs. `None` before its hub was looked up.
    pub(crate) fn of(hubs: &Hubs, team: TeamId, blobs: &Blobs, traffic: &Traffic) -> Option<Self> {
        let hub = Arc::clone(hubs.lock().get(&team)?);
        Some(Self {
            hub,
            places: hubs.places.clone(),
            blobs: blobs.clone(),
            team,
            traffic: traffic.clone(),
        })
    }

    /// When this returns, the bytes are in the store. The caller has to sync them.
    pub(crate) async fn run(
        &self,
        want: &BlobRange,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<(), FetchFailed> {
        let (places, team, blob) = (self.places.clone(), self.team, want.blob);
        let placed = tokio::task::spawn_blocking(move || places.get(team, blob)).await;
        let placed = match placed {
            Ok(Ok(Some(placed))) => placed,
            Ok(Ok(None)) => return Err(FetchFailed::Refused),
            Ok(Err(_)) | Err(_) => return Err(FetchFailed::Local),
        };
        self.download(want, &placed, progress)
            .await
            .map_err(|error| {
                tracing::info!(%error, "a range didn't come");
                let why = why(&error);
                if why == FetchFailed::Cut {
                    self.hub.note_not_sent(&error);
                }
                why
            })
    }

    async fn download(
        &self,
        want: &BlobRange,
        placed: &Placed,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<(), TransferError> {
        let object = placed.object();
        let local = |error: &dyn std::fmt::Display| TransferError::Local {
            object: object.id,
            reason: error.to_string(),
        };
        let location = Location {
            kind: object.id.kind,
            sha256: object.id.sha256,
            generation: Some(object.generation),
            blob: want.blob,
            len: want.blob_len,
        };
        let client = self.hub.client();
        if object.id.kind == podsync_api::hub::ObjectKind::Manifest {
            let bytes = client.download_small(&location).await?;
            progress(bytes.len() as u64);
            let stored = self.blobs.put_bytes(bytes).await;
            return stored.map(drop).map_err(|error| local(&error));
        }
        let outboard = client
            .outboard(&placed.outboards(), want.blob, want.blob_len)
            .await?;
        let arriving = Arriving::begin(&self.blobs, want.blob, want.blob_len).await;
        let mut slowed = Slowed {
            arriving: arriving.map_err(|error| local(&error))?,
            traffic: &self.traffic,
        };
        let want = Want {
            location,
            ranges: vec![want.range.clone()],
            outboard,
        };
        let came = client.download(&want, &mut slowed, progress).await;
        let stored = slowed.arriving.finish().await;
        came?;
        stored.map_err(|error| local(&error))
    }
}

/// Limits the reading to this device's download rate.
struct Slowed<'a> {
    arriving: Arriving,
    traffic: &'a Traffic,
}

impl podsync_bucket::Sink for Slowed<'_> {
    async fn take(&mut self, item: BaoContentItem) -> io::Result<()> {
        if let BaoContentItem::Leaf(leaf) = &item {
            self.traffic.received(leaf.data.len()).await?;
        }
        podsync_bucket::Sink::take(&mut self.arriving, item).await
    }
}

fn why(error: &TransferError) -> FetchFailed {
    match error {
        TransferError::Liar { .. } => FetchFailed::Liar,
        TransferError::NotFound { .. } | TransferError::Declined { .. } => FetchFailed::Refused,
        TransferError::Source { .. }
        | TransferError::Full { .. }
        | TransferError::Damaged { .. }
        | TransferError::Local { .. } => FetchFailed::Local,
        TransferError::Hub(_)
        | TransferError::Unavailable { .. }
        | TransferError::Refused { .. }
        | TransferError::Garbled { .. } => FetchFailed::Cut,
    }
}
