//! Sends a version's state to an instance, to load it or to ask what a load would change. The zip is rebuilt from
//! the packs while it is sent.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::stream::BoxStream;
use podsync_api::{Progress, Stage};
use podsync_core::manifest::Manifest;
use podsync_instance::{Identity, Instance, LoadProgress, LoadReport, LoadRequest, Merge, Plan};
use podsync_pack::{EntryName, RebuildError, Sink, Version};
use podsync_store::Blobs;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    call::Context, error::Failure, meter::Meter, packs::HeldPacks, service::load::fitting::Part,
};

/// Pieces of the rebuilt state between the packs and the connection. With their buffers they take at most 8 MiB.
const PIECES: usize = 4;
/// The folder of object bodies and other files of all services.
const ASSETS: &str = "assets/";

/// What to load into an instance, and how.
pub(crate) struct StateLoad<'a> {
    pub(crate) reference: &'a str,
    pub(crate) manifest: Manifest,
    pub(crate) part: Part,
    pub(crate) merge: Merge,
    /// The run of the instance that was checked.
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
        reference,
        manifest,
        part,
        merge,
        meant,
    } = load;
    let (part, manifest) = (Arc::new(part), Arc::new(manifest));
    let held = Arc::clone(&part);
    let state = rebuild(blobs, &manifest, move |name| held.holds(name), context).await?;
    let len = state.len;
    let request = LoadRequest {
        len,
        reference,
        merge,
        saved_by: manifest.source.emulator.as_ref(),
        meant,
    };
    let mut sent = 0;
    // Before the first byte: who is interrupted tells by this whether the instance was touched.
    context.report(&Progress::new(Stage::Loading, sent, Some(len)));
    let loaded = instance
        .load(state.body, request, |seen| match seen {
            LoadProgress::Sent(done) => {
                sent = done;
                context.report(&Progress::new(Stage::Loading, done, Some(len)));
            }
            // The zip's list names every service of the state. So an instance may report services of which nothing
            // was sent.
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
    match (loaded, state.rebuilding.await?) {
        // The instance broke off, and the rebuild failed because of that. So report the instance's reason.
        (Err(error), Ok(()) | Err(RebuildError::Output(_))) => Err(error.into()),
        (_, Err(error)) => Err(error.into()),
        (Ok(mut report), Ok(())) => {
            report
                .applied
                .retain(|service| part.names(service.as_str()));
            Ok(report)
        }
    }
}

/// Asks what a load would change. Leaves out the bodies of objects, which don't affect the answer. `None` if the
/// instance can't say.
pub(crate) async fn ask(
    blobs: &Blobs,
    instance: &Instance,
    load: StateLoad<'_>,
    context: &Arc<Context>,
) -> Result<Option<Plan>, Failure> {
    let manifest = Arc::new(load.manifest);
    let services = load.part.services.clone();
    let part = load.part;
    let without_bodies =
        move |name: &EntryName| part.holds(name) && !name.as_str().starts_with(ASSETS);
    let state = rebuild(blobs, &manifest, without_bodies, context).await?;
    let request = LoadRequest {
        len: state.len,
        reference: load.reference,
        merge: load.merge,
        saved_by: manifest.source.emulator.as_ref(),
        meant: load.meant,
    };
    let plan = instance.plan(state.body, request).await;
    match (plan, state.rebuilding.await?) {
        // An instance that has no such endpoint may answer before it has read to the end.
        (plan, Ok(()) | Err(RebuildError::Output(_))) => Ok(plan?.map(|plan| plan.of(&services))),
        (_, Err(error)) => Err(error.into()),
    }
}

/// A zip that is made while it is read.
struct Rebuilt {
    len: u64,
    body: BoxStream<'static, io::Result<Bytes>>,
    rebuilding: JoinHandle<Result<(), RebuildError>>,
}

/// Rebuilds the entries for which `holds` is true.
async fn rebuild(
    blobs: &Blobs,
    manifest: &Arc<Manifest>,
    holds: impl Fn(&EntryName) -> bool + Send + Sync + 'static,
    context: &Arc<Context>,
) -> Result<Rebuilt, Failure> {
    let holds = Arc::new(holds);
    let packs = Arc::new(HeldPacks::new(blobs.clone()));
    let len = {
        let (manifest, packs) = (Arc::clone(manifest), Arc::clone(&packs));
        let holds = Arc::clone(&holds);
        tokio::task::spawn_blocking(move || Version::new(&manifest, &*packs).part_zip_len(&*holds))
            .await??
    };
    let (pieces, queue) = mpsc::channel(PIECES);
    let manifest = Arc::clone(manifest);
    let meter = Meter::new(
        Arc::clone(context),
        Stage::Rebuilding,
        Some(manifest.state_len),
    );
    let rebuilding = tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces(pieces);
        let written = Version::new(&manifest, &*packs).part_to_zip(&*holds, &mut pieces, &meter);
        if written.is_err() {
            // The body must end in an error, or the instance would take a short body for complete.
            let failed = Err(io::Error::other("rebuilding failed"));
            let _ = pieces.0.blocking_send(failed);
        }
        written
    });
    let body = futures::stream::unfold(queue, |mut queue| async move {
        Some((queue.recv().await?, queue))
    });
    Ok(Rebuilt {
        len,
        body: Box::pin(body),
        rebuilding,
    })
}

/// Sends the zip as pieces of a body.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Sink for Pieces {
    fn take(&mut self, piece: Bytes) -> io::Result<()> {
        self.0
            .blocking_send(Ok(piece))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
