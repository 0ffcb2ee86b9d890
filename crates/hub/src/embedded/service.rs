//! The operations of S3 that the server knows: what podsync needs, and what `aws` and `rclone` need besides.

use std::{
    collections::BTreeSet,
    fs::{self, Metadata},
    io::SeekFrom,
    path::Path,
    sync::Arc,
    time::UNIX_EPOCH,
};

use async_trait::async_trait;
use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::{
    REGION,
    disk::{Disk, already_there, failure},
    multipart::part_path,
    upload::{Promised, discard, receive},
};

/// How many bytes to read from the disk at once. With fewer, the reads cost more than the bytes.
const BLOCK: usize = 512 << 10;
const MAX_KEYS: i32 = 1000;

pub(super) struct Service {
    disk: Arc<Disk>,
}

impl Service {
    pub(super) fn new(disk: Arc<Disk>) -> Self {
        Self { disk }
    }

    /// Runs slow disk work on a thread of its own, so that other requests don't wait for it.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> S3Result<T> + Send + 'static,
    ) -> S3Result<T> {
        let disk = self.disk.clone();
        let done = tokio::task::spawn_blocking(move || work(&disk)).await;
        done.map_err(|_| s3_error!(InternalError))?
    }
}

#[async_trait]
impl S3 for Service {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = request.input.bucket;
        self.blocking(move |disk| disk.create_bucket(&bucket))
            .await?;
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.disk.existing_bucket(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region: Some(REGION.to_owned()),
            ..HeadBucketOutput::default()
        }))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.disk.existing_bucket(&request.input.bucket)?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    /// There is no public access, so blocking it is done.
    async fn put_public_access_block(
        &self,
        request: S3Request<PutPublicAccessBlockInput>,
    ) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
        self.disk.existing_bucket(&request.input.bucket)?;
        if request.input.public_access_block_configuration != everything_blocked() {
            return Err(s3_error!(
                NotImplemented,
                "public access stays blocked here"
            ));
        }
        Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
    }

    async fn get_public_access_block(
        &self,
        request: S3Request<GetPublicAccessBlockInput>,
    ) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
        self.disk.existing_bucket(&request.input.bucket)?;
        Ok(S3Response::new(GetPublicAccessBlockOutput {
            public_access_block_configuration: Some(everything_blocked()),
        }))
    }

    async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let body = request.input.body.take();
        let path = self
            .disk
            .object(&request.input.bucket, &request.input.key)?;
        let only_new = is_only_new(request.input.if_none_match.as_ref())?;
        if request.input.if_match.is_some() {
            return Err(s3_error!(NotImplemented, "If-Match of a PUT"));
        }
        if only_new && path.is_file() {
            discard(body).await;
            return Err(already_there());
        }
        let promised = Promised::new(&request.headers, request.trailing_headers.take());
        let body = receive(&self.disk, body, promised).await?;
        let e_tag = self
            .blocking(move |disk| {
                let e_tag = e_tag(&body.as_file().metadata().map_err(failure)?);
                disk.publish(body, &path, only_new)?;
                Ok(e_tag)
            })
            .await?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(e_tag),
            ..PutObjectOutput::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let path = self
            .disk
            .object(&request.input.bucket, &request.input.key)?;
        let metadata = self.blocking(move |_| object_metadata(&path)).await?;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(signed(metadata.len())?),
            e_tag: Some(e_tag(&metadata)),
            last_modified: metadata.modified().ok().map(Timestamp::from),
            ..HeadObjectOutput::default()
        }))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let path = self.disk.object(&input.bucket, &input.key)?;
        let mut file = tokio::fs::File::open(&path).await.map_err(failure)?;
        let metadata = file.metadata().await.map_err(failure)?;
        if !metadata.is_file() {
            return Err(s3_error!(NoSuchKey));
        }
        let tag = e_tag(&metadata);
        if let Some(ETagCondition::ETag(wanted)) = &input.if_match
            && !tag.strong_cmp(wanted)
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let len = metadata.len();
        let (wanted, content_range) = match input.range {
            Some(range) => {
                let wanted = range.check(len).map_err(|_| s3_error!(InvalidRange))?;
                let last = wanted.end.saturating_sub(1);
                let told = format!("bytes {}-{last}/{len}", wanted.start);
                (wanted, Some(told))
            }
            None => (0..len, None),
        };
        file.seek(SeekFrom::Start(wanted.start))
            .await
            .map_err(failure)?;
        file.set_max_buf_size(BLOCK);
        let count = wanted.end - wanted.start;
        let blocks = ReaderStream::with_capacity(file.take(count), BLOCK);
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::wrap(blocks)),
            content_length: Some(signed(count)?),
            content_range,
            e_tag: Some(tag),
            last_modified: metadata.modified().ok().map(Timestamp::from),
            ..GetObjectOutput::default()
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let path = self
            .disk
            .object(&request.input.bucket, &request.input.key)?;
        self.blocking(move |_| match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failure(error)),
        })
        .await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        self.blocking(move |disk| list(disk, input))
            .await
            .map(S3Response::new)
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let (bucket, key) = (request.input.bucket, request.input.key);
        self.disk.object(&bucket, &key)?;
        let id = self.disk.begin_upload(&bucket, &key)?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let body = request.input.body.take();
        let input = &request.input;
        let folder = self
            .disk
            .upload(&input.upload_id, &input.bucket, &input.key)?;
        let path = part_path(&folder, input.part_number)?;
        let promised = Promised::new(&request.headers, request.trailing_headers.take());
        let body = receive(&self.disk, body, promised).await?;
        let tag = e_tag(&body.as_file().metadata().map_err(failure)?);
        body.persist(&path).map_err(|error| failure(error.error))?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(tag),
            ..UploadPartOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let path = self.disk.object(&input.bucket, &input.key)?;
        let only_new = is_only_new(input.if_none_match.as_ref())?;
        let parts = input.multipart_upload.and_then(|upload| upload.parts);
        let parts: Vec<i32> = parts
            .unwrap_or_default()
            .iter()
            .filter_map(|part| part.part_number)
            .collect();
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let tag = self
            .blocking(move |disk| {
                let folder = disk.upload(&input.upload_id, &input.bucket, &input.key)?;
                let whole = disk.join_parts(&folder, &parts)?;
                let tag = e_tag(&whole.as_file().metadata().map_err(failure)?);
                disk.publish(whole, &path, only_new)?;
                disk.end_upload(&folder)?;
                Ok(tag)
            })
            .await?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            e_tag: Some(tag),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        self.blocking(move |disk| {
            let folder = disk.upload(&input.upload_id, &input.bucket, &input.key)?;
            disk.end_upload(&folder)
        })
        .await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

fn everything_blocked() -> PublicAccessBlockConfiguration {
    PublicAccessBlockConfiguration {
        block_public_acls: Some(true),
        block_public_policy: Some(true),
        ignore_public_acls: Some(true),
        restrict_public_buckets: Some(true),
    }
}

fn is_only_new(condition: Option<&IfNoneMatch>) -> S3Result<bool> {
    match condition {
        None => Ok(false),
        Some(condition) if condition.is_any() => Ok(true),
        Some(_) => Err(s3_error!(NotImplemented, "If-None-Match with an ETag")),
    }
}

fn object_metadata(path: &Path) -> S3Result<Metadata> {
    let metadata = fs::metadata(path).map_err(failure)?;
    if metadata.is_file() {
        Ok(metadata)
    } else {
        Err(s3_error!(NoSuchKey))
    }
}

/// Each write of an object gives it another one. It is no hash of the bytes.
fn e_tag(metadata: &Metadata) -> ETag {
    let modified = metadata.modified().ok();
    let since = modified.and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
    let nanos = since.unwrap_or_default().as_nanos();
    ETag::Strong(format!("{:x}-{nanos:x}", metadata.len()))
}

fn signed(len: u64) -> S3Result<i64> {
    i64::try_from(len).map_err(|_| s3_error!(InternalError))
}

/// A listing of the folder that the prefix leads to, and of what lies in it.
fn list(disk: &Disk, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
    let root = disk.existing_bucket(&input.bucket)?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let max_keys = input.max_keys.unwrap_or(MAX_KEYS).clamp(0, MAX_KEYS);
    let after = input
        .continuation_token
        .clone()
        .max(input.start_after.clone());
    let after = after.unwrap_or_default();
    let mut keys = BTreeSet::new();
    let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
    if !folder.split('/').any(|part| matches!(part, "." | "..")) {
        collect(&root.join(folder), folder, &prefix, &mut keys)?;
    }
    // With a delimiter, what lies below it is one line.
    let shown = |key: String| -> (String, bool) {
        let rest = key.get(prefix.len()..).unwrap_or_default();
        let cut = input
            .delimiter
            .as_ref()
            .and_then(|delimiter| Some(rest.find(&**delimiter)? + delimiter.len()));
        match cut {
            Some(cut) => (key[..prefix.len() + cut].to_owned(), true),
            None => (key, false),
        }
    };
    let lines: BTreeSet<(String, bool)> = keys
        .into_iter()
        .map(shown)
        .filter(|(line, _)| *line > after)
        .collect();
    let wanted = usize::try_from(max_keys).unwrap_or_default();
    let (mut contents, mut common_prefixes, mut last) = (Vec::new(), Vec::new(), None);
    for (line, is_prefix) in lines.iter().take(wanted) {
        last = Some(line.clone());
        if *is_prefix {
            let prefix = Some(line.clone());
            common_prefixes.push(CommonPrefix { prefix });
        } else if let Ok(metadata) = object_metadata(&root.join(line)) {
            contents.push(object(line, &metadata)?);
        }
    }
    let is_truncated = lines.len() > wanted && wanted > 0;
    Ok(ListObjectsV2Output {
        key_count: i32::try_from(contents.len() + common_prefixes.len()).ok(),
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        continuation_token: input.continuation_token,
        delimiter: input.delimiter,
        is_truncated: Some(is_truncated),
        max_keys: Some(max_keys),
        name: Some(input.bucket),
        next_continuation_token: last.filter(|_| is_truncated),
        prefix: input.prefix,
        start_after: input.start_after,
        ..ListObjectsV2Output::default()
    })
}

fn object(key: &str, metadata: &Metadata) -> S3Result<Object> {
    Ok(Object {
        e_tag: Some(e_tag(metadata)),
        key: Some(key.to_owned()),
        last_modified: metadata.modified().ok().map(Timestamp::from),
        size: Some(signed(metadata.len())?),
        ..Object::default()
    })
}

/// The keys at and below a folder that begin with the prefix.
fn collect(path: &Path, key: &str, prefix: &str, keys: &mut BTreeSet<String>) -> S3Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(_) if !path.is_dir() => return Ok(()),
        Err(error) => return Err(failure(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failure)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue; // Not written by this server.
        };
        let key = if key.is_empty() {
            name
        } else {
            format!("{key}/{name}")
        };
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && (key.starts_with(prefix) || prefix.starts_with(&format!("{key}/"))) {
            collect(&entry.path(), &key, prefix, keys)?;
        } else if !is_folder && key.starts_with(prefix) {
            keys.insert(key);
        }
    }
    Ok(())
}
