//! One method per effect. Each spawns a task that carries the effect out and reports the result.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use podsync_core::{
    BlobId, DeviceId, TeamId,
    engine::{FetchFailed, FetchId, HubJoin, Input, Provider, RequestFailed, RequestId},
    wire,
};
use podsync_net::{
    BlobRange, DialError, FetchError, GossipId, Multiaddr, Net, RequestError, Responder, Verdict,
};
use podsync_store::{Blobs, Log, Record, StoreError};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::handle::Message;
use crate::{
    arriving::Arriving,
    hub::{download::BucketDownload, state::Hubs, sync::join::ask_to_join},
    versions::Versions,
};

/// A fetch reports progress after this many bytes, or each second if it is slow. So silence means that no bytes
/// arrive.
const PROGRESS_STEP: u64 = 1 << 20;
const PROGRESS_EVERY_MS: u64 = 1000;
/// The most blobs that are checked at once: each check reads a whole pack.
const MAX_CHECKS: usize = 2;

/// Something that an effect's task reports.
pub(super) enum Done {
    Input(Input),
    DialFailed {
        device: DeviceId,
        /// Where another device answered.
        taken: Option<Multiaddr>,
    },
    /// Received bytes, decoded and verified. `None` if they are invalid.
    Gossip {
        id: GossipId,
        team: TeamId,
        from: DeviceId,
        opened: Option<wire::GossipIn>,
    },
    Request {
        device: DeviceId,
        responder: Responder,
        opened: Option<wire::RequestIn>,
    },
    /// A blob that could not be read for a peer was checked.
    Checked {
        blob: BlobId,
        is_damaged: bool,
    },
    Nothing,
}

/// The effects in progress, and what they use.
pub(super) struct Effects {
    tasks: JoinSet<Done>,
    net: Net,
    blobs: Blobs,
    versions: Arc<Versions>,
    /// Blobs that are being checked.
    checking: BTreeSet<BlobId>,
    hubs: Arc<Hubs>,
    log: Log,
    /// For tasks that report more than once.
    progress: mpsc::Sender<Message>,
}

impl Effects {
    pub(super) fn new(
        net: Net,
        blobs: Blobs,
        versions: Arc<Versions>,
        hubs: Arc<Hubs>,
        log: Log,
        progress: mpsc::Sender<Message>,
    ) -> Self {
        Self {
            tasks: JoinSet::new(),
            net,
            blobs,
            versions,
            checking: BTreeSet::new(),
            hubs,
            log,
            progress,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Waits for the next report of a task. `None` if no task runs.
    pub(super) async fn next(&mut self) -> Option<Done> {
        let done = self.tasks.join_next().await?;
        Some(done.unwrap_or(Done::Nothing))
    }

    pub(super) fn abort_all(&mut self) {
        self.tasks.abort_all();
    }

    pub(super) fn is_connected(&self, device: DeviceId) -> bool {
        self.net.is_connected(device)
    }

    /// Decodes and verifies on the blocking pool: checking signatures takes long.
    pub(super) fn open(&mut self, work: impl FnOnce() -> Done + Send + 'static) {
        self.tasks.spawn_blocking(work);
    }

    pub(super) fn gossip(&mut self, team: TeamId, bytes: Vec<u8>) {
        let net = self.net.clone();
        self.tasks.spawn(async move {
            if let Err(error) = net.publish(team, bytes).await {
                tracing::warn!(team = %team.short(), %error, "gossip could not announce it; devices exchange heads instead");
            }
            Done::Nothing
        });
    }

    pub(super) fn report(&mut self, id: GossipId, verdict: Verdict) {
        let net = self.net.clone();
        self.tasks.spawn(async move {
            let _ = net.report(id, verdict).await;
            Done::Nothing
        });
    }

    pub(super) fn dial(&mut self, device: DeviceId, addresses: Vec<Multiaddr>) {
        let net = self.net.clone();
        self.tasks.spawn(async move {
            match net.dial(device, addresses).await {
                // A successful connection is reported as a network event.
                Ok(()) => Done::Nothing,
                Err(error) => {
                    tracing::debug!(peer = %device.short(), %error, "not reached");
                    let taken = match error {
                        DialError::Taken { address, .. } => Some(address),
                        DialError::Unreachable { .. } | DialError::Gone(_) => None,
                    };
                    Done::DialFailed { device, taken }
                }
            }
        });
    }

    pub(super) fn disconnect(&mut self, device: DeviceId) {
        let net = self.net.clone();
        self.tasks.spawn(async move {
            let _ = net.disconnect(device).await;
            Done::Nothing
        });
    }

    pub(super) fn membership_changed(&mut self, team: TeamId) {
        let net = self.net.clone();
        self.tasks.spawn(async move {
            let _ = net.subscribe(team).await;
            let _ = net.membership_changed().await;
            Done::Nothing
        });
    }

    pub(super) fn join_at_hub(&mut self, team: TeamId, urls: Vec<String>, request: HubJoin) {
        let hubs = Arc::clone(&self.hubs);
        self.tasks.spawn(async move {
            let news = ask_to_join(&hubs, team, urls, request).await;
            Done::Input(Input::Hub { team, news })
        });
    }

    /// Writes down where a device was reached. A failure is ignored: the address will be found again.
    pub(super) fn remember(&mut self, record: Record) {
        let log = self.log.clone();
        self.tasks.spawn_blocking(move || {
            if let Err(error) = log.commit(&[record]) {
                tracing::warn!(%error, "podsync could not keep where it reached a device");
            }
            Done::Nothing
        });
    }

    pub(super) fn request(
        &mut self,
        id: RequestId,
        device: DeviceId,
        protocol: wire::Protocol,
        bytes: Vec<u8>,
    ) {
        let net = self.net.clone();
        self.tasks.spawn(async move {
            let answer = net.request(device, protocol, bytes).await;
            let result = match answer {
                Ok(bytes) => {
                    let opened = tokio::task::spawn_blocking(move || wire::open_response(protocol, &bytes)).await;
                    match opened {
                        Ok(Ok(response)) => Ok(response),
                        Ok(Err(error)) => {
                            tracing::warn!(peer = %device.short(), %error, "a peer's answer is invalid");
                            Err(RequestFailed::Garbage)
                        }
                        Err(_) => Err(RequestFailed::Garbage),
                    }
                }
                Err(RequestError::NotConnected { .. }) => Err(RequestFailed::NotConnected),
                Err(RequestError::Refused { .. }) => Err(RequestFailed::Refused),
                Err(error @ RequestError::Malformed { .. }) => {
                    tracing::warn!(peer = %device.short(), %error, "a peer's answer can't be read");
                    Err(RequestFailed::Garbage)
                }
                Err(error) => {
                    tracing::debug!(peer = %device.short(), %error, "no answer");
                    Err(RequestFailed::TimedOut)
                }
            };
            Done::Input(Input::Response { id, result })
        });
    }

    /// Checks a blob that could not be read for a peer. A damaged one counts as not held any more. What is dropped
    /// here is reported again at the next request.
    pub(super) fn check(&mut self, blob: BlobId) {
        if self.checking.len() >= MAX_CHECKS || !self.checking.insert(blob) {
            return;
        }
        let (blobs, versions) = (self.blobs.clone(), Arc::clone(&self.versions));
        self.tasks.spawn(async move {
            let doubted = match blobs.verify(blob).await {
                Err(StoreError::Corrupt { .. }) => {
                    tracing::error!(pack = %blob.short(), "this disk has bytes damaged that a peer asked for; `podsync verify --repair` fetches them again");
                    blobs.doubt(blob).await.map(|()| true)
                }
                // It asked for bytes that are not here.
                Ok(()) | Err(StoreError::NotHeld { .. }) => Ok(false),
                Err(error) => Err(error),
            };
            let is_damaged = doubted.unwrap_or_else(|error| {
                tracing::error!(pack = %blob.short(), %error, "podsync can't check what a peer asked for");
                false
            });
            if is_damaged {
                versions.note_held(blob, false);
            }
            Done::Checked { blob, is_damaged }
        });
    }

    pub(super) fn checked(&mut self, blob: BlobId) {
        self.checking.remove(&blob);
    }

    /// Where a range is fetched from.
    pub(super) fn source(&self, provider: Provider, team: TeamId) -> Source {
        match provider {
            Provider::Peer(device) => Source::Peer {
                team,
                device,
                net: self.net.clone(),
                blobs: self.blobs.clone(),
            },
            Provider::Bucket => Source::Bucket(BucketDownload::of(
                &self.hubs,
                team,
                &self.blobs,
                self.net.traffic(),
            )),
        }
    }

    pub(super) fn fetch(
        &mut self,
        fetch: FetchId,
        source: Source,
        want: BlobRange,
        cancel: CancellationToken,
    ) {
        let inbox = self.progress.clone();
        let blobs = self.blobs.clone();
        let (arrived, begun, told_ms) = (AtomicU64::new(0), Instant::now(), AtomicU64::new(0));
        self.tasks.spawn(async move {
            let progress = |len: u64| {
                let before = arrived.fetch_add(len, Ordering::Relaxed);
                let bytes = before + len;
                let passed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                let silent_ms = passed_ms.saturating_sub(told_ms.load(Ordering::Relaxed));
                if before / PROGRESS_STEP != bytes / PROGRESS_STEP || silent_ms >= PROGRESS_EVERY_MS {
                    told_ms.store(passed_ms, Ordering::Relaxed);
                    // A report is lost if the inbox is full. The next one replaces it.
                    let _ = inbox.try_send(Message::Input(Box::new(Input::FetchProgress { fetch, bytes })));
                }
            };
            let outcome = tokio::select! {
                outcome = source.fetch(&want, progress) => outcome,
                () = cancel.cancelled() => return Done::Nothing,
            };
            Done::Input(match outcome {
                Ok(_) => match blobs.note_arrival(want.blob, want.blob_len).await {
                    Ok(()) => Input::FetchDone { fetch },
                    Err(error) => {
                        tracing::error!(pack = %want.blob.short(), %error, "podsync can't sync what arrived");
                        Input::FetchFailed { fetch, why: FetchFailed::Local }
                    }
                },
                Err(why) => Input::FetchFailed { fetch, why },
            })
        });
    }
}

/// Where a range is fetched from.
pub(super) enum Source {
    Peer {
        team: TeamId,
        device: DeviceId,
        net: Net,
        blobs: Blobs,
    },
    /// `None` if the team's hub is not known, or not any more.
    Bucket(Option<BucketDownload>),
}

impl Source {
    async fn fetch(
        &self,
        want: &BlobRange,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<(), FetchFailed> {
        match self {
            Self::Peer {
                team,
                device,
                net,
                blobs,
            } => {
                let span = tracing::info_span!("fetch", team = %team.short(), peer = %device.short(), pack = %want.blob.short());
                let local = |error: StoreError| {
                    span.in_scope(|| tracing::error!(%error, "podsync can't store what arrives"));
                    FetchFailed::Local
                };
                let arriving = Arriving::begin(blobs, want.blob, want.blob_len).await;
                let mut arriving = arriving.map_err(local)?;
                let fetched = net
                    .fetch(*device, want, &mut arriving, progress)
                    .instrument(span.clone())
                    .await;
                let stored = arriving.finish().await;
                // A peer's wrong bytes are reported even if the disk fails too.
                fetched.map_err(|error| {
                    span.in_scope(|| tracing::info!(%error, "a range didn't arrive"));
                    why(&error)
                })?;
                stored.map_err(local)
            }
            Self::Bucket(Some(bucket)) => {
                let span = tracing::info_span!("fetch", team = %bucket.team.short(), peer = "bucket", pack = %want.blob.short());
                bucket.run(want, progress).instrument(span).await
            }
            Self::Bucket(None) => Err(FetchFailed::Refused),
        }
    }
}

fn why(error: &FetchError) -> FetchFailed {
    match error {
        FetchError::NotConnected { .. } => FetchFailed::NotConnected,
        FetchError::Refused { .. } | FetchError::Absent { .. } => FetchFailed::Refused,
        FetchError::Busy { .. } | FetchError::Stalled { .. } => FetchFailed::Stalled,
        FetchError::Cut { .. } => FetchFailed::Cut,
        FetchError::Damaged { .. } => FetchFailed::Damaged,
        FetchError::Liar { .. } => FetchFailed::Liar,
        FetchError::Local { .. } => FetchFailed::Local,
    }
}
