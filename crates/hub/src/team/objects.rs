//! Batches of uploads and downloads: for each object a presigned request, or why there is none.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use podsync_api::hub::{
    Actions, BatchOperation, BatchRequest, BatchResponse, BatchedId, BatchedObject, HubError,
    HubErrorCode, MAX_BATCH_OBJECTS, ObjectError, ObjectRef,
};
use podsync_core::DeviceId;

use super::{AT_ONCE, Team};
use crate::{
    authenticate::malformed, gc::generation::in_use, keys::ObjectKey, storage::StorageError,
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
                self.uploads(&request.objects).await?
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

    async fn uploads(&self, objects: &[BatchedId]) -> Result<Vec<BatchedObject>, HubError> {
        let found: Vec<(BatchedObject, bool)> = stream::iter(objects.to_vec())
            .map(|batched| self.look_for(batched))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        // Room first, URLs afterwards: a batch that doesn't fit gets none.
        let wanted: Vec<(ObjectKey, u64)> = found
            .iter()
            .filter(|(_, wanted)| *wanted)
            .map(|(batched, _)| (ObjectKey::from(&batched.object), batched.object.id.size))
            .collect();
        self.promise(&wanted).await?;
        let signed = stream::iter(found)
            .map(|(mut batched, wanted)| async move {
                if wanted {
                    let ObjectRef { id, .. } = batched.object;
                    let key = ObjectKey::from(&batched.object).to_string();
                    let action = self
                        .bucket
                        .presign_put(&key, &id.sha256, id.size, UPLOAD)
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

    /// The answer but for its URL, and whether it needs one.
    async fn look_for(&self, batched: BatchedId) -> Result<(BatchedObject, bool), StorageError> {
        let id = batched.id;
        let mut answer = BatchedObject {
            object: ObjectRef { id, generation: 0 },
            actions: None,
            error: None,
        };
        if id.size == 0 || id.size > id.kind.max_len() {
            let message = format!("such an object has 1 to {} bytes", id.kind.max_len());
            answer.error = Some(ObjectError {
                code: HubErrorCode::TooLarge,
                message,
            });
            return Ok((answer, false));
        }
        answer.object.generation = in_use(self.bucket.as_ref(), id.kind, id.sha256).await?;
        let key = ObjectKey::from(&answer.object).to_string();
        let len = self.bucket.len(&key).await?;
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

fn check(request: &BatchRequest) -> Result<(), HubError> {
    if request.objects.len() > MAX_BATCH_OBJECTS {
        return Err(HubError::new(
            HubErrorCode::TooLarge,
            format!("a batch has at most {MAX_BATCH_OBJECTS} objects; ask in several"),
        ));
    }
    let mut seen = BTreeSet::new();
    let twice = |batched: &BatchedId| {
        let generation = match request.operation {
            BatchOperation::Upload => None,
            BatchOperation::Download => batched.generation,
        };
        !seen.insert((batched.id.kind, batched.id.sha256, generation))
    };
    if request.objects.iter().any(twice) {
        return Err(malformed("an object stands in the batch twice"));
    }
    Ok(())
}
