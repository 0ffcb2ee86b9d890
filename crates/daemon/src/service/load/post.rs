//! A version's state on its way into an instance: the zip is rebuilt from the packs while it is sent.

use std::{io, sync::Arc};

use bytes::Bytes;
use podsync_api::{Progress, Stage};
use podsync_core::manifest::Manifest;
use podsync_instance::{Identity, Instance, LoadProgress, LoadReport, LoadRequest, Merge};
use podsync_pack::Version;
use podsync_store::Blobs;
use tokio::sync::mpsc;

use crate::{
    call::Context, error::Failure, meter::Meter, packs::HeldPacks, service::load::fitting::Part,
};

/// Pieces of the rebuilt state between the packs and the connection: 16 MiB with the pieces of the
/// zip writer.
const PIECES: usize = 64;
/// A piece of this length is handed on.
const PIECE_LEN: usize = 256 << 10;

/// What goes into an instance, and how.
pub(crate) struct StateLoad<'a> {
    pub(crate) manifest: Manifest,
    pub(crate) part: Part,
    pub(crate) merge: Merge,
    /// The run of the instance that was looked at.
    pub(crate) meant: Option<&'a Identity>,
}

/// Rebuilds the zip and posts it, piece by piece.
pub(crate) async fn post(
    blobs: &Blobs,
    instance: &Instance,
    load: StateLoad<'_>,
    context: &Arc<Context>,
) -> Result<LoadReport, Failure> {
    let StateLoad {
        manifest,
        part,
        merge,
        meant,
    } = load;
    let part = Arc::new(part);
    let packs = Arc::new(HeldPacks::new(blobs.clone()));
    let manifest = Arc::new(manifest);
    let len = {
        let (manifest, packs) = (Arc::clone(&manifest), Arc::clone(&packs));
        let part = Arc::clone(&part);
        tokio::task::spawn_blocking(move || {
            Version::new(&manifest, &*packs).part_zip_len(&|name| part.holds(name))
        })
        .await??
    };
    let (pieces, queue) = mpsc::channel(PIECES);
    let rebuild = {
        let (manifest, part) = (Arc::clone(&manifest), Arc::clone(&part));
        let meter = Meter::new(
            Arc::clone(context),
            Stage::Rebuilding,
            Some(manifest.state_len),
        );
        tokio::task::spawn_blocking(move || {
            let mut out = io::BufWriter::with_capacity(PIECE_LEN, Pieces(pieces));
            let version = Version::new(&manifest, &*packs);
            let done = version.part_to_zip(&|name| part.holds(name), &mut out, &meter);
            match done {
                Ok(()) => io::Write::flush(&mut out).map_err(podsync_pack::RebuildError::Output),
                Err(error) => {
                    // The body must end in an error, or the instance would take a short one for whole.
                    let _ = out
                        .get_ref()
                        .0
                        .blocking_send(Err(io::Error::other("rebuilding failed")));
                    Err(error)
                }
            }
        })
    };
    let body = futures::stream::unfold(queue, |mut queue| async move {
        Some((queue.recv().await?, queue))
    });
    let request = LoadRequest {
        len,
        merge,
        saved_by: manifest.source.emulator.as_ref(),
        meant,
    };
    let mut sent = 0;
    let loaded = instance
        .load(body, request, |seen| match seen {
            LoadProgress::Sent(done) => {
                sent = done;
                context.report(&Progress::new(Stage::Loading, done, Some(len)));
            }
            // The zip's list names every service of the state, so an instance may tell of those
            // of which nothing was sent.
            LoadProgress::Service(event)
                if event.failure.is_none() && !part.names(event.service.as_str()) => {}
            LoadProgress::Service(event) => {
                tracing::info!(service = %event.service, failure = ?event.failure, "loaded");
                context.report(&Progress {
                    service: Some((event.service.to_string(), event.failure)),
                    ..Progress::new(Stage::Loading, sent, Some(len))
                });
            }
        })
        .await;
    let rebuilt = rebuild.await?;
    match (loaded, rebuilt) {
        // The instance broke off, so the rebuild did: its reason is the one to tell.
        (Err(error), Ok(()) | Err(podsync_pack::RebuildError::Output(_))) => Err(error.into()),
        (_, Err(error)) => Err(error.into()),
        (Ok(mut report), Ok(())) => {
            report
                .applied
                .retain(|service| part.names(service.as_str()));
            Ok(report)
        }
    }
}

/// Hands what is written on as pieces of a body.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl io::Write for Pieces {
    /// Takes no more than a piece at once: large writes pass by the buffer before this.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = bytes.get(..PIECE_LEN).unwrap_or(bytes);
        self.0
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
