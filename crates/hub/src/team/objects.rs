//! Batches of uploads and downloads: for each object a presigned request, or why there is none.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use podsync_api::hub::{
    Actions, BatchOperation, BatchRequest, BatchResponse, BatchedId, BatchedObject, HubError,
    HubErrorCode, MAX_BATCH_OBJECTS, ObjectError, ObjectId, ObjectRef,
};
use podsync_core::DeviceId;

use super::{AT_ONCE, Team};
use crate::{
    failure::malformed,
    gc::generation::{in_use, is_condemned},
    keys::ObjectKey,
    storage::StorageError,
};

const UPLOAD: Duration = Duration::from_secs(15 * 60);
const DOWNLOAD: Duration = Duration::from_secs(10 * 60);

/// An answer, and how much it gave out.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) response: BatchResponse,
    pub(crate) urls: u64,
    pub(crate) bytes: u64,
}

impl Team {
    pub(crate) async fn batch(
        &self,
        device: &DeviceId,
        request: &BatchRequest,
    ) -> Result<Granted, HubError> {
        check(request)?;
        let objects = match request.operation {
            BatchOperation::Upload => {
                self.view_for_publisher(device).await?;
                let following = request.following.map(|len| (*device, len));
                self.uploads(&request.objects, following).await?
            }
            BatchOperation::Replace => {
                self.view_for_publisher(device).await?;
                self.replacements(&request.objects).await?
            }
            BatchOperation::Download => {
                self.view_for(device).await?;
                self.downloads(&request.objects).await?
            }
        };
        let granted = objects.iter().filter(|object| object.actions.is_some());
        let (urls, bytes) = granted.fold((0, 0), |(urls, bytes), granted| {
            (urls + 1, bytes + granted.object.id.size)
        });
        Ok(Granted {
            response: BatchResponse { objects },
            urls,
            bytes,
        })
    }

    async fn uploads(
        &self,
        objects: &[BatchedId],
        following: Option<(DeviceId, u64)>,
    ) -> Result<Vec<BatchedObject>, HubError> {
        let found: Vec<(BatchedObject, bool)> = stream::iter(objects.to_vec())
            .map(|batched| self.look_for(batched))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let wanted = found.iter().filter(|(_, wanted)| *wanted);
        let wanted = sizes(wanted.map(|(batched, _)| batched));
        self.promise(&wanted, following).await?;
        let signed = stream::iter(found)
            .map(|(mut batched, wanted)| async move {
                if wanted {
                    let ObjectRef { id, .. } = batched.object;
                    let key = ObjectKey::from(&batched.object);
                    let damaged = self.doubts.has(&key);
                    let (key, bucket) = (key.to_string(), &self.bucket);
                    let action = if damaged {
                        bucket.presign_replace(&key, &id.sha256, id.size, UPLOAD)
                    } else {
                        bucket.presign_put(&key, &id.sha256, id.size, UPLOAD)
                    };
                    batched.actions = Some(Actions::Upload(action.await?));
                }
                Ok::<_, StorageError>(batched)
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(signed)
    }

    /// URLs by which objects are put right, whatever is there now. Whoever asks for one without need makes the
    /// bucket take the same bytes once more, and no harm is done.
    async fn replacements(&self, objects: &[BatchedId]) -> Result<Vec<BatchedObject>, HubError> {
        let found: Vec<(BatchedObject, bool)> = stream::iter(objects.to_vec())
            .map(|batched| self.look_at_damaged(batched))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let gone = found.iter().filter(|(_, gone)| *gone);
        self.promise(&sizes(gone.map(|(batched, _)| batched)), None)
            .await?;
        let signed = stream::iter(found)
            .map(|(mut batched, _)| async move {
                if batched.error.is_none() {
                    let ObjectRef { id, .. } = batched.object;
                    let key = ObjectKey::from(&batched.object).to_string();
                    let action = self
                        .bucket
                        .presign_replace(&key, &id.sha256, id.size, UPLOAD)
                        .await?;
                    batched.actions = Some(Actions::Upload(action));
                }
                Ok::<_, StorageError>(batched)
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(signed)
    }

    /// The answer but for its URL, and whether nothing is there.
    async fn look_at_damaged(
        &self,
        batched: BatchedId,
    ) -> Result<(BatchedObject, bool), StorageError> {
        let object = ObjectRef {
            id: batched.id,
            generation: batched.generation.unwrap_or_default(),
        };
        let mut answer = BatchedObject {
            object,
            actions: None,
            error: impossible(&batched.id),
        };
        if answer.error.is_some() {
            return Ok((answer, false));
        }
        let key = ObjectKey::from(&object);
        // The collector's first rule: nothing is written where a marker is.
        if is_condemned(self.bucket.as_ref(), &key).await? {
            answer.error = Some(ObjectError {
                code: HubErrorCode::NotFound,
                message:
                    "it is condemned, and nothing is put there any more; share the version again"
                        .to_owned(),
            });
            return Ok((answer, false));
        }
        let len = self.bucket.len(&key.to_string()).await?;
        Ok((answer, len.is_none()))
    }

    /// The answer but for its URL, and whether it needs one.
    async fn look_for(&self, batched: BatchedId) -> Result<(BatchedObject, bool), StorageError> {
        let id = batched.id;
        let mut answer = BatchedObject {
            object: ObjectRef { id, generation: 0 },
            actions: None,
            error: impossible(&id),
        };
        if answer.error.is_some() {
            return Ok((answer, false));
        }
        answer.object.generation = in_use(self.bucket.as_ref(), id.kind, id.sha256).await?;
        let key = ObjectKey::from(&answer.object);
        if self.doubts.has(&key) {
            return Ok((answer, true));
        }
        let len = self.bucket.len(&key.to_string()).await?;
        if let Some(len) = len.filter(|len| *len != id.size) {
            let message = format!("those bytes are {len}, not {}", id.size);
            answer.error = Some(ObjectError {
                code: HubErrorCode::Untrusted,
                message,
            });
        }
        Ok((answer, len.is_none()))
    }

    async fn downloads(&self, objects: &[BatchedId]) -> Result<Vec<BatchedObject>, HubError> {
        let found = stream::iter(objects.to_vec())
            .map(|batched| self.download(batched))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(found)
    }

    async fn download(&self, batched: BatchedId) -> Result<BatchedObject, StorageError> {
        let id = batched.id;
        let generation = match batched.generation {
            Some(generation) => generation,
            None => in_use(self.bucket.as_ref(), id.kind, id.sha256).await?,
        };
        let object = ObjectRef { id, generation };
        let key = ObjectKey::from(&object).to_string();
        let len = self.bucket.len(&key).await?;
        let mut answer = BatchedObject {
            object,
            actions: None,
            error: None,
        };
        if len == Some(id.size) {
            let action = self.bucket.presign_get(&key, DOWNLOAD).await?;
            answer.actions = Some(Actions::Download(action));
        } else {
            answer.error = Some(ObjectError {
                code: HubErrorCode::NotFound,
                message: match len {
                    None => "the bucket doesn't have it; ask a peer".to_owned(),
                    Some(len) => format!("the bucket has one of {len} bytes under that name"),
                },
            });
        }
        Ok(answer)
    }
}

/// Why no object can be this one.
fn impossible(id: &ObjectId) -> Option<ObjectError> {
    let max = id.kind.max_len();
    (id.size == 0 || id.size > max).then(|| ObjectError {
        code: HubErrorCode::TooLarge,
        message: format!("such an object has 1 to {max} bytes"),
    })
}

/// The uploads that need room in the quota. This is checked before any URL: a batch that doesn't fit gets
/// none.
fn sizes<'a>(wanted: impl Iterator<Item = &'a BatchedObject>) -> Vec<(ObjectKey, u64)> {
    wanted
        .map(|batched| (ObjectKey::from(&batched.object), batched.object.id.size))
        .collect()
}

fn check(request: &BatchRequest) -> Result<(), HubError> {
    if request.objects.len() > MAX_BATCH_OBJECTS {
        return Err(HubError::new(
            HubErrorCode::TooLarge,
            format!("a batch has at most {MAX_BATCH_OBJECTS} objects; ask in several"),
        ));
    }
    let unnamed = |batched: &BatchedId| batched.generation.is_none();
    if request.operation == BatchOperation::Replace && request.objects.iter().any(unnamed) {
        return Err(malformed("a replacement names its generation"));
    }
    let mut seen = BTreeSet::new();
    let twice = |batched: &BatchedId| {
        let generation = match request.operation {
            BatchOperation::Upload => None,
            BatchOperation::Download | BatchOperation::Replace => batched.generation,
        };
        !seen.insert((batched.id.kind, batched.id.sha256, generation))
    };
    if request.objects.iter().any(twice) {
        return Err(malformed("the batch has an object twice"));
    }
    Ok(())
}
