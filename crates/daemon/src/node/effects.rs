//! One method per effect: a task that does it and reports.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use podsync_core::{
    DeviceId, TeamId,
    engine::{Event, FetchFailed, GateChange, Input, Output, Provider, RequestFailed},
    wire,
};
use podsync_net::{BlobRange, FetchError, Manners, Multiaddr, Net, RequestError, Verdict};
use podsync_store::{Blobs, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    Actor, Done,
    handle::{Message, TransferProgress, Transferred},
    records,
};
use crate::{
    arriving::Arriving,
    hub::{BucketFetch, ask_to_join},
};

/// Progress of a fetch is reported in steps of this many bytes, and of a slow one each second: silence
/// means that nothing comes.
const PROGRESS_STEP: u64 = 1 << 20;
const PROGRESS_EVERY_MS: u64 = 1000;

impl Actor {
    pub(super) fn carry_out(&mut self, output: Output) {
        match output {
            Output::Persist { id, records } => self.writes.push_back((id, records)),
            Output::Gossip { team, bytes } => {
                let net = self.ground.net.clone();
                self.effects.spawn(async move {
                    if let Err(error) = net.publish(team, bytes).await {
                        tracing::warn!(team = %team.short(), %error, "not announced by gossip; heads are exchanged instead");
                    }
                    Done::Nothing
                });
            }
            Output::Validate { id, verdict } => {
                if let Some(theirs) = self.gossip.remove(&id) {
                    self.report(theirs, records::net_verdict(verdict));
                }
            }
            Output::Request {
                id,
                device,
                protocol,
                bytes,
            } => self.request(id, device, protocol, bytes),
            Output::Respond { id, bytes } => {
                if let Some(responder) = self.responders.remove(&id)
                    && let Err(error) = responder.respond(bytes)
                {
                    tracing::error!(%error, "an answer was not sent");
                }
            }
            Output::Fetch {
                fetch,
                team,
                provider,
                blob,
                range,
                total_len,
            } => {
                let want = BlobRange {
                    blob,
                    blob_len: total_len,
                    range,
                };
                let from = match provider {
                    Provider::Peer(device) => From::Peer {
                        device,
                        net: self.ground.net.clone(),
                        blobs: self.ground.blobs.clone(),
                    },
                    Provider::Bucket => From::Bucket(self.bucket(team)),
                };
                self.fetch(fetch, from, want);
            }
            Output::CancelFetch { fetch } => {
                if let Some(cancel) = self.fetches.remove(&fetch) {
                    cancel.cancel();
                }
            }
            Output::Disconnect { device, why } => {
                tracing::info!(peer = %device.short(), ?why, "closing");
                let net = self.ground.net.clone();
                self.effects.spawn(async move {
                    let _ = net.disconnect(device).await;
                    Done::Nothing
                });
            }
            Output::JoinAtHub {
                team,
                urls,
                request,
            } => {
                let hubs = Arc::clone(&self.ground.hubs);
                self.effects.spawn(async move {
                    let news = ask_to_join(&hubs, team, urls, request).await;
                    Done::Input(Input::Hub { team, news })
                });
            }
            Output::GateChanged(change) => self.change_gate(change),
            Output::Reply { command, result } => {
                self.joining.remove(&command);
                if let Some(reply) = self.replies.remove(&command) {
                    // Whoever asked may have gone; it is done all the same.
                    let _ = reply.send(result);
                }
            }
            Output::Event(event) => self.tell(event),
        }
    }

    pub(super) fn report(&mut self, id: podsync_net::GossipId, verdict: Verdict) {
        let net = self.ground.net.clone();
        self.effects.spawn(async move {
            let _ = net.report(id, verdict).await;
            Done::Nothing
        });
    }

    pub(super) fn dial(&mut self, device: DeviceId, addrs: Vec<Multiaddr>, manners: Manners) {
        let net = self.ground.net.clone();
        self.effects.spawn(async move {
            let _ = net.dial(device, addrs, manners).await;
            Done::Nothing
        });
    }

    fn request(
        &mut self,
        id: podsync_core::engine::RequestId,
        device: DeviceId,
        protocol: wire::Protocol,
        bytes: Vec<u8>,
    ) {
        let net = self.ground.net.clone();
        self.effects.spawn(async move {
            let answer = net.request(device, protocol, bytes).await;
            let result = match answer {
                Ok(bytes) => {
                    let opened = tokio::task::spawn_blocking(move || wire::open_response(protocol, &bytes)).await;
                    match opened {
                        Ok(Ok(response)) => Ok(response),
                        Ok(Err(error)) => {
                            tracing::warn!(peer = %device.short(), %error, "its answer can't be believed");
                            Err(RequestFailed::Garbage)
                        }
                        Err(_) => Err(RequestFailed::Garbage),
                    }
                }
                Err(RequestError::NotConnected { .. }) => Err(RequestFailed::NotConnected),
                Err(RequestError::Refused { .. }) => Err(RequestFailed::Refused),
                Err(error @ RequestError::Malformed { .. }) => {
                    tracing::warn!(peer = %device.short(), %error, "its answer can't be read");
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

    fn bucket(&self, team: TeamId) -> Option<BucketFetch> {
        self.ground.hubs.bucket(team, &self.ground.blobs)
    }

    fn fetch(&mut self, fetch: podsync_core::engine::FetchId, from: From, want: BlobRange) {
        let cancel = CancellationToken::new();
        self.fetches.insert(fetch, cancel.clone());
        let inbox = self.progress.clone();
        let blobs = self.ground.blobs.clone();
        let (arrived, begun, told_ms) = (AtomicU64::new(0), Instant::now(), AtomicU64::new(0));
        self.effects.spawn(async move {
            let progress = |len: u64| {
                let before = arrived.fetch_add(len, Ordering::Relaxed);
                let bytes = before + len;
                let passed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                let silent_ms = passed_ms.saturating_sub(told_ms.load(Ordering::Relaxed));
                if before / PROGRESS_STEP != bytes / PROGRESS_STEP || silent_ms >= PROGRESS_EVERY_MS {
                    told_ms.store(passed_ms, Ordering::Relaxed);
                    // A full inbox loses a report; the next one says more.
                    let _ = inbox.try_send(Message::Input(Box::new(Input::FetchProgress { fetch, bytes })));
                }
            };
            let outcome = tokio::select! {
                outcome = from.fetch(&want, progress) => outcome,
                () = cancel.cancelled() => return Done::Nothing,
            };
            Done::Input(match outcome {
                Ok(_) => match blobs.note_arrival(want.blob, want.blob_len).await {
                    Ok(()) => Input::FetchDone { fetch },
                    Err(error) => {
                        tracing::error!(pack = %want.blob.short(), %error, "what arrived can't be synced");
                        Input::FetchFailed { fetch, why: FetchFailed::Local }
                    }
                },
                Err(why) => Input::FetchFailed { fetch, why },
            })
        });
    }

    fn change_gate(&mut self, change: GateChange) {
        let members = match &change {
            GateChange::Members { team, .. } => Some(*team),
            GateChange::Robots { .. } | GateChange::Share { .. } | GateChange::Withdraw { .. } => {
                None
            }
        };
        self.ground.gate.apply(change);
        let Some(team) = members else { return };
        let net = self.ground.net.clone();
        self.effects.spawn(async move {
            let _ = net.subscribe(team).await;
            let _ = net.membership_changed().await;
            Done::Nothing
        });
    }

    fn tell(&mut self, event: Event) {
        match &event {
            Event::TransferProgress {
                transfer,
                bytes,
                providers,
                ..
            } => {
                if let Some(pending) = self.transfers.get(transfer) {
                    pending.progress.send_replace(TransferProgress {
                        bytes: *bytes,
                        providers: *providers,
                    });
                }
            }
            Event::TransferDone { transfer, from } => self.end_transfer(*transfer, Ok(()), from),
            Event::TransferFailed {
                transfer,
                why,
                from,
            } => self.end_transfer(*transfer, Err(why.clone()), from),
            Event::AddressesHeard { device, addresses } => {
                tracing::debug!(peer = %device.short(), ?addresses, "says where it is");
                self.addresses_heard(*device, addresses);
            }
            Event::LiarFound { provider, blob } => match provider {
                Provider::Peer(device) => {
                    tracing::error!(peer = %device.short(), pack = %blob.short(), "it sent bytes that are not what they should be");
                }
                Provider::Bucket => {
                    tracing::error!(pack = %blob.short(), "the bucket's object is not what it should be");
                }
            },
            Event::ForkProof { team, device, seq } => {
                tracing::error!(team = %team.short(), peer = %device.short(), seq, "a feed contradicts itself and is quarantined");
            }
            Event::CaughtUp { team } => tracing::debug!(team = %team.short(), "caught up"),
            other => tracing::info!(event = ?other),
        }
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    fn end_transfer(
        &mut self,
        transfer: podsync_core::engine::TransferId,
        result: Result<(), podsync_core::engine::EngineError>,
        from: &[(Provider, u64)],
    ) {
        if let Some(pending) = self.transfers.remove(&transfer) {
            let _ = pending.end.send(Transferred {
                result,
                from: from.to_vec(),
            });
        }
    }
}

/// Where a range is fetched from.
enum From {
    Peer {
        device: DeviceId,
        net: Net,
        blobs: Blobs,
    },
    /// None where the team's hub is not known, or not any more.
    Bucket(Option<BucketFetch>),
}

impl From {
    async fn fetch(
        &self,
        want: &BlobRange,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<(), FetchFailed> {
        match self {
            Self::Peer { device, net, blobs } => {
                let span =
                    tracing::info_span!("fetch", peer = %device.short(), pack = %want.blob.short());
                let local = |error: StoreError| {
                    span.in_scope(|| tracing::error!(%error, "what arrives can't be stored"));
                    FetchFailed::Local
                };
                let arriving = Arriving::begin(blobs, want.blob, want.blob_len).await;
                let mut arriving = arriving.map_err(local)?;
                let fetched = net
                    .fetch(*device, want, &mut arriving, progress)
                    .instrument(span.clone())
                    .await;
                let stored = arriving.finish().await;
                // That a peer lied is told even where the disk fails too.
                fetched.map_err(|error| {
                    span.in_scope(|| tracing::info!(%error, "a range didn't arrive"));
                    why(&error)
                })?;
                stored.map_err(local)
            }
            Self::Bucket(Some(bucket)) => {
                let span = tracing::info_span!("fetch", peer = "bucket", pack = %want.blob.short());
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
        FetchError::Liar { .. } => FetchFailed::Liar,
        FetchError::Local { .. } => FetchFailed::Local,
    }
}
