//! Uploads: the hub tells which objects the bucket lacks, and each is put in one request.
//!
//! After a failure, the next upload skips the objects that are there. A cut object is sent again from its
//! start, since a `PUT` is all or nothing.

mod body;
mod source;

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, future::BoxFuture, stream};
use podsync_api::hub::{
    BatchOperation, BatchRequest, BatchedId, MAX_BATCH_OBJECTS, ObjectId, ObjectKind, ObjectRef,
    Sha256,
};
use reqwest::header;
use sha2::Digest;
use tokio::time::sleep;

use self::body::Meter;
pub use self::source::{ReadAt, Source};
use crate::{
    Hub, TransferError,
    bucket::{Grant, Presigned, Tries, Verdict, garbled, refused},
    said::Said,
};

/// Uploads at once: each holds a piece of 256 KiB or two.
const AT_ONCE: usize = 8;

/// An object and where its bytes are.
#[derive(Debug, Clone)]
pub struct Upload {
    pub id: ObjectId,
    pub source: Source,
}

impl Upload {
    /// An upload of bytes in memory.
    pub fn of_bytes(kind: ObjectKind, bytes: Bytes) -> Self {
        let id = ObjectId {
            kind,
            sha256: Sha256::from_bytes(sha2::Sha256::digest(&bytes).into()),
            size: bytes.len() as u64,
        };
        Self {
            id,
            source: Source::bytes(bytes),
        }
    }
}

impl Hub {
    /// Uploads objects, and returns the location of each, in the given order. `progress` gets the
    /// bytes sent of an object so far: all of them if it was there. The number falls when an upload
    /// restarts. A batch beyond the quota is refused before a byte is sent.
    ///
    /// `progress` hears how many bytes of an object are sent so far: all of them where it was there. The
    /// number falls back where an upload was cut and begins again. A batch that doesn't fit the quota is
    /// refused before a byte is sent.
    pub async fn upload(
        &self,
        uploads: &[Upload],
        progress: impl Fn(&ObjectId, u64) + Send + Sync,
    ) -> Result<Vec<ObjectRef>, TransferError> {
        // A batch may name an object only once.
        let mut unique: HashMap<ObjectId, &Upload> = HashMap::new();
        let mut order = Vec::new();
        for upload in uploads {
            if unique.insert(upload.id, upload).is_none() {
                order.push(upload);
            }
        }
        let mut placed = HashMap::new();
        for batch in order.chunks(MAX_BATCH_OBJECTS) {
            let ids = batch.iter().map(|upload| upload.id).collect();
            let grants = self.grants(uploading(ids, None)).await?;
            let progress = &progress;
            let jobs: Vec<_> = batch
                .iter()
                .zip(grants)
                .map(|(upload, grant)| self.put(upload, Asked::upload(upload.id), grant, progress))
                .collect();
            let done: Vec<ObjectRef> = stream::iter(jobs)
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await?;
            placed.extend(done.into_iter().map(|object| (object.id, object)));
        }
        let found = uploads.iter().filter_map(|upload| placed.get(&upload.id));
        Ok(found.copied().collect())
    }

    /// Brings objects into the bucket as they come, and returns where each lies now: the first is sent while
    /// the next are still being read. No object comes twice.
    ///
    /// `len` is the sum of their lengths. The hub keeps room for all of them, or refuses the first batch.
    pub async fn upload_each<E: From<TransferError> + Send>(
        &self,
        uploads: impl Stream<Item = Result<Upload, E>> + Send,
        len: u64,
        progress: impl Fn(&ObjectId, u64) + Send + Sync,
    ) -> Result<Vec<ObjectRef>, E> {
        let (mut following, progress) = (len, &progress);
        let granted = uploads
            .try_ready_chunks(MAX_BATCH_OBJECTS)
            .map_err(|error| error.1);
        let granted = granted.and_then(|batch| {
            let ids: Vec<_> = batch.iter().map(|upload| upload.id).collect();
            let asked = ids.iter().map(|id| id.size).sum();
            following = following.saturating_sub(asked);
            let request = uploading(ids, Some(following));
            async move {
                let grants = self.grants(request).await?;
                Ok::<_, E>(stream::iter(batch.into_iter().zip(grants).map(Ok::<_, E>)))
            }
        });
        let jobs = granted.try_flatten().map_ok(|(upload, grant)| async move {
            let asked = Asked::upload(upload.id);
            let placed = self.put(&upload, asked, grant, progress).await;
            placed.map_err(E::from)
        });
        // Boxed: that it may run on any thread is seen here, and not where it is spawned.
        let placed: BoxFuture<'_, Result<Vec<ObjectRef>, E>> =
            jobs.try_buffer_unordered(AT_ONCE).try_collect().boxed();
        placed.await
    }

    /// Repairs an object whose bytes in the bucket are missing or wrong: overwrites exactly this
    /// generation. That risks no other data, since the bucket accepts only the bytes of this hash.
    pub async fn replace(
        &self,
        upload: &Upload,
        generation: u32,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<(), TransferError> {
        let asked = Asked {
            operation: BatchOperation::Replace,
            object: BatchedId {
                id: upload.id,
                generation: Some(generation),
            },
        };
        let grant = self.grant(asked.operation, asked.object).await?;
        let progress = |_: &ObjectId, sent| progress(sent);
        self.put(upload, asked, grant, &progress).await.map(drop)
    }

    async fn put(
        &self,
        upload: &Upload,
        asked: Asked,
        mut grant: Grant,
        progress: &(impl Fn(&ObjectId, u64) + Send + Sync),
    ) -> Result<ObjectRef, TransferError> {
        let id = &upload.id;
        let mut tries = Tries::new(self.0.line.patience());
        loop {
            let mut presigned = match grant {
                Grant::There(object) => {
                    progress(id, id.size);
                    return Ok(object);
                }
                Grant::Send(presigned) => presigned,
            };
            if presigned.is_stale() {
                presigned = match self.grant(asked.operation, asked.object).await? {
                    Grant::There(object) => {
                        progress(id, id.size);
                        return Ok(object);
                    }
                    Grant::Send(presigned) => presigned,
                };
            }
            let object = presigned.object;
            match self.put_once(upload, presigned, progress).await? {
                Verdict::Fine | Verdict::There => {
                    progress(id, id.size);
                    return Ok(object);
                }
                Verdict::Declined(said) => {
                    check(upload).await?;
                    if !tries.may_renew() {
                        return Err(refused(*id, said));
                    }
                }
                Verdict::Refused(said) if said.status == FULL => {
                    return Err(TransferError::Full {
                        object: *id,
                        said: Box::new(said),
                    });
                }
                Verdict::NotFound(said) | Verdict::Refused(said) => return Err(refused(*id, said)),
                Verdict::Later(reason, after) => {
                    self.0.line.not_taken.note(&reason);
                    tries.pause(id, reason, after).await?;
                }
            }
            // If the answer to an upload was lost, the object is there now.
            grant = self.grant(asked.operation, asked.object).await?;
        }
    }

    async fn put_once(
        &self,
        upload: &Upload,
        presigned: Box<Presigned>,
        progress: &(impl Fn(&ObjectId, u64) + Send + Sync),
    ) -> Result<Verdict, TransferError> {
        let id = upload.id;
        let mut headers = presigned.headers;
        let len = headers.insert(header::CONTENT_LENGTH, id.size.into());
        if len.is_some_and(|len| len.as_bytes() != id.size.to_string().as_bytes()) {
            return Err(garbled(id, "it is signed for another length"));
        }
        let reader = open(upload).await?;
        let meter = Meter::new(id);
        let url = presigned.url;
        let request = self
            .0
            .line
            .http()
            .put(url.clone())
            .headers(headers)
            .body(body::stream(reader, meter.clone()))
            .send();
        let stalled = self.0.line.patience().stalled;
        let answer = watched(request, stalled, &meter, |sent| progress(&id, sent)).await;
        if let Some(failure) = meter.failure() {
            return Err(failure);
        }
        Ok(match answer {
            Some(Ok(response)) => {
                let (status, headers) = (response.status(), response.headers().clone());
                let said = match status.is_success() {
                    true => Said::bare(status, &url),
                    false => Said::read(response, &url, stalled).await,
                };
                Verdict::of(said, status, &headers)
            }
            Some(Err(error)) => Verdict::Later(self.0.line.why(error), None),
            None => Verdict::Later(
                format!("the bucket took no byte in {} s", stalled.as_secs()),
                None,
            ),
        })
    }
}

async fn open(upload: &Upload) -> Result<Arc<dyn ReadAt>, TransferError> {
    let opened = upload.source.open().await;
    opened.map_err(|error| TransferError::Source {
        object: upload.id,
        reason: error.to_string(),
    })
}

/// The bucket declined the bytes: perhaps they are not the ones any more that the URL was signed for.
async fn check(upload: &Upload) -> Result<(), TransferError> {
    let (reader, id) = (open(upload).await?, upload.id);
    let checked = tokio::task::spawn_blocking(move || body::check(reader, &id)).await;
    checked.map_err(|error| TransferError::Source {
        object: id,
        reason: error.to_string(),
    })?
}

/// 507: no room is left.
const FULL: u16 = 507;
/// How often the sent bytes are checked.
const LOOK: Duration = Duration::from_millis(100);

/// The answer. None if no bytes move any more.
async fn watched(
    request: impl Future<Output = reqwest::Result<reqwest::Response>>,
    stalled: Duration,
    meter: &Meter,
    on_sent: impl Fn(u64),
) -> Option<reqwest::Result<reqwest::Response>> {
    let mut request = std::pin::pin!(request);
    let (mut before, mut moved) = (0, tokio::time::Instant::now());
    loop {
        tokio::select! {
            answer = &mut request => return Some(answer),
            () = sleep(LOOK.min(stalled)) => {}
        }
        let sent = meter.sent();
        if sent != before {
            on_sent(sent);
            (before, moved) = (sent, tokio::time::Instant::now());
        } else if moved.elapsed() >= stalled {
            return None;
        }
    }
}

fn uploading(ids: Vec<ObjectId>, following: Option<u64>) -> BatchRequest {
    let objects = ids.into_iter().map(|id| BatchedId {
        id,
        generation: None,
    });
    BatchRequest {
        operation: BatchOperation::Upload,
        objects: objects.collect(),
        following,
    }
}

/// The request to the hub, first and repeated.
#[derive(Clone, Copy)]
struct Asked {
    operation: BatchOperation,
    object: BatchedId,
}

impl Asked {
    fn upload(id: ObjectId) -> Self {
        Self {
            operation: BatchOperation::Upload,
            object: BatchedId {
                id,
                generation: None,
            },
        }
    }
}
