//! A bucket in memory, which can fail as real ones do: for tests, of the hub and of its clients.
//!
//! Its presigned URLs are real requests, served by [`MemoryBucket::answer`], which checks what an S3 server
//! checks: key, length, SHA-256 and expiry.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use axum::{
    body::to_bytes,
    extract::{Query, Request},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use data_encoding::BASE64;
use podsync_api::hub::{Action, Sha256};
use serde::Deserialize;
use sha2::Digest as _;

use crate::abilities::{Abilities, Ability, Finding, Grade};

use super::{Listed, ObjectHead, Page, Storage, StorageError, Trouble};

/// The most keys of a page; [`MemoryBucket::with_page`] makes it smaller.
const PAGE: usize = 1000;
/// The largest object that may be put: a pack.
const MAX_OBJECT_LEN: usize = 64 << 20;
const NAME: &str = "memory";
const CHECKSUM: &str = "x-amz-checksum-sha256";

/// How a bucket fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    #[default]
    None,
    /// Every call fails.
    Unavailable,
    /// Every call takes at least this time.
    Slow(Duration),
    /// Nothing can be written.
    Full,
    /// Writes and deletions are refused, as by a policy.
    ReadOnly,
    /// Writes fail, and may succeed later.
    WritesUnavailable,
    /// Listings are refused.
    Unlisted,
    /// Every call fails but the next few.
    UnavailableAfter(u32),
    /// `If-None-Match: *` is ignored: what is put takes the place of what is there, as at Garage.
    Overwrites,
}

/// A bucket in memory. Clones are the same bucket.
#[derive(Debug, Clone)]
pub struct MemoryBucket {
    inner: Arc<Mutex<Inner>>,
    page: usize,
    /// Where the router is reached, such as `http://127.0.0.1:4000/bucket`.
    base: Arc<str>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<String, (Bytes, SystemTime)>,
    fault: Fault,
    /// Signs URLs: a number of each bucket's own.
    secret: [u8; 32],
    /// What the hub found out about its server.
    abilities: Option<Arc<Abilities>>,
    /// Added to the bucket's clock.
    ahead: Duration,
    /// Every call of the hub and every request to a URL, in order.
    seen: Vec<Seen>,
}

/// Something that was done to the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// By way of a URL, rather than by the hub.
    pub by_url: bool,
    pub what: &'static str,
    pub key: String,
    /// Bytes read or written.
    pub len: u64,
}

impl MemoryBucket {
    /// `base` is where its router will be reached.
    pub fn new(base: &str) -> Self {
        let inner = Inner {
            secret: rand::random(),
            ..Inner::default()
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            page: PAGE,
            base: base.into(),
        }
    }

    /// The same bucket with short pages.
    pub fn with_page(mut self, page: usize) -> Self {
        self.page = page;
        self
    }

    pub fn fail(&self, fault: Fault) {
        self.lock().fault = fault;
    }

    /// From now on it acts as a server that takes any bytes, whatever hash was signed, and its record says
    /// so.
    pub fn bind_nothing(&self) {
        let lack = Finding::new(Ability::BindsBytes, Grade::WorkedAround, 200, "");
        self.lock().abilities = Some(Arc::new(Abilities {
            probed_ms: 0,
            place: [0; 32],
            findings: podsync_core::bounded::Bounded::first([lack]),
        }));
    }

    /// Loses everything, like a bucket that was deleted and made anew.
    pub fn empty(&self) {
        self.lock().objects.clear();
    }

    /// Lets time pass for the objects that are there and the URLs that were given out.
    pub fn let_pass(&self, time: Duration) {
        self.lock().ahead += time;
    }

    /// The calls so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// All objects.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        let objects = &self.lock().objects;
        objects
            .iter()
            .map(|(key, (bytes, _))| (key.clone(), bytes.clone()))
            .collect()
    }

    /// Puts an object there, or other bytes in its place, as somebody with the bucket's keys could.
    pub fn plant(&self, key: &str, bytes: impl Into<Bytes>) {
        self.lock().write(key, bytes.into());
    }

    pub fn remove(&self, key: &str) {
        self.lock().objects.remove(key);
    }

    /// Answers a request to one of its URLs, whose path is `/KEY`.
    pub async fn answer(&self, request: Request) -> Response {
        let presigned = Query::<Presigned>::try_from_uri(request.uri());
        let Ok(Query(presigned)) = presigned else {
            return StatusCode::FORBIDDEN.into_response();
        };
        let key = request.uri().path().trim_start_matches('/').to_owned();
        serve(self, &key, presigned, request).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if the test asked for it, or records the call.
    async fn enter(&self, what: &'static str, key: &str, write: bool) -> Result<(), StorageError> {
        let fault = {
            let mut inner = self.lock();
            if let Fault::UnavailableAfter(left) = &mut inner.fault {
                match left.checked_sub(1) {
                    Some(less) => *left = less,
                    None => inner.fault = Fault::Unavailable,
                }
            }
            inner.fault
        };
        match fault {
            Fault::Unavailable => return Err(StorageError::Unavailable("503 SlowDown".into())),
            Fault::Slow(time) => tokio::time::sleep(time).await,
            Fault::Full if write => return Err(StorageError::Full("no space left".into())),
            Fault::ReadOnly if matches!(what, "put" | "delete") => return Err(denied()),
            Fault::WritesUnavailable if what == "put" => {
                return Err(StorageError::Unavailable("503 SlowDown".into()));
            }
            Fault::Unlisted if what == "list" => return Err(denied()),
            _ => {}
        }
        self.note(false, what, key, 0);
        Ok(())
    }

    fn note(&self, by_url: bool, what: &'static str, key: &str, len: u64) {
        let key = key.to_owned();
        self.lock().seen.push(Seen {
            by_url,
            what,
            key,
            len,
        });
    }

    fn now(&self) -> u64 {
        let now = self.lock().now();
        now.duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |time| time.as_secs())
    }

    fn seal(&self, signed: &str) -> String {
        let secret = self.lock().secret;
        blake3::keyed_hash(&secret, signed.as_bytes())
            .to_hex()
            .to_string()
    }

    fn action(
        &self,
        method: &str,
        key: &str,
        expires: Duration,
        header: BTreeMap<String, String>,
    ) -> Action {
        let until = self.now() + expires.as_secs();
        let signature = self.seal(&signed_text(method, key, until, &header));
        Action {
            href: format!("{}/{key}?until={until}&signature={signature}", self.base),
            header,
            expires_in: expires.as_secs(),
        }
    }
}

impl Inner {
    fn now(&self) -> SystemTime {
        SystemTime::now() + self.ahead
    }

    fn write(&mut self, key: &str, bytes: Bytes) {
        let object = (bytes, self.now());
        self.objects.insert(key.to_owned(), object);
    }
}

#[async_trait]
impl Storage for MemoryBucket {
    fn name(&self) -> &str {
        NAME
    }

    async fn ensure(&self) -> Result<(), StorageError> {
        self.enter("ensure", "", true).await
    }

    async fn get(&self, key: &str, max_len: u64) -> Result<Option<Bytes>, StorageError> {
        self.enter("get", key, false).await?;
        let found = self.lock().objects.get(key).map(|(bytes, _)| bytes.clone());
        if found
            .as_ref()
            .is_some_and(|bytes| bytes.len() as u64 > max_len)
        {
            return Err(StorageError::Garbled(format!("{key} is too long").into()));
        }
        Ok(found)
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, StorageError> {
        self.enter("head", key, false).await?;
        let inner = self.lock();
        Ok(inner.objects.get(key).map(|(bytes, _)| ObjectHead {
            len: bytes.len() as u64,
            etag: Some(blake3::hash(bytes).to_hex().to_string()),
            sha256: None,
        }))
    }

    async fn sha256(&self, key: &str, _: u64) -> Result<Option<Sha256>, StorageError> {
        self.enter("sha256", key, false).await?;
        let inner = self.lock();
        Ok(inner.objects.get(key).map(|(bytes, _)| hash(bytes)))
    }

    fn abilities(&self) -> Option<Arc<Abilities>> {
        self.lock().abilities.clone()
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.enter("put", key, true).await?;
        self.plant(key, bytes);
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.enter("delete", key, false).await?;
        self.remove(key);
        Ok(())
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StorageError> {
        self.enter("list", prefix, false).await?;
        let inner = self.lock();
        let mut matching = inner
            .objects
            .iter()
            .filter(|(key, _)| {
                key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after)
            })
            .map(|(key, (bytes, modified))| Listed {
                key: key.clone(),
                len: bytes.len() as u64,
                modified: *modified,
            });
        let objects = matching.by_ref().take(self.page).collect();
        let more = matching.next().is_some();
        Ok(Page { objects, more })
    }

    async fn presign_put(
        &self,
        key: &str,
        sha256: &Sha256,
        len: u64,
        expires: Duration,
    ) -> Result<Action, StorageError> {
        self.enter("presign_put", key, false).await?;
        let mut bound = bound_to(sha256, len);
        bound.insert(header::IF_NONE_MATCH.as_str().to_owned(), "*".to_owned());
        Ok(self.action("PUT", key, expires, bound))
    }

    async fn presign_replace(
        &self,
        key: &str,
        sha256: &Sha256,
        len: u64,
        expires: Duration,
    ) -> Result<Action, StorageError> {
        self.enter("presign_replace", key, false).await?;
        Ok(self.action("PUT", key, expires, bound_to(sha256, len)))
    }

    async fn presign_get(&self, key: &str, expires: Duration) -> Result<Action, StorageError> {
        self.enter("presign_get", key, false).await?;
        Ok(self.action("GET", key, expires, BTreeMap::new()))
    }
}

fn denied() -> StorageError {
    StorageError::Refused(Trouble {
        bucket: NAME.to_owned(),
        code: "403 AccessDenied".to_owned(),
        words: String::new(),
    })
}

fn bound_to(sha256: &Sha256, len: u64) -> BTreeMap<String, String> {
    let header = [
        (header::CONTENT_LENGTH.as_str(), len.to_string()),
        (CHECKSUM, BASE64.encode(sha256.as_bytes())),
    ];
    header.map(|(name, value)| (name.to_owned(), value)).into()
}

fn hash(bytes: &[u8]) -> Sha256 {
    Sha256::from_bytes(sha2::Sha256::digest(bytes).into())
}

fn signed_text(method: &str, key: &str, until: u64, header: &BTreeMap<String, String>) -> String {
    format!("{method}\n{key}\n{until}\n{header:?}")
}

#[derive(Deserialize)]
struct Presigned {
    until: u64,
    signature: String,
}

async fn serve(
    bucket: &MemoryBucket,
    key: &str,
    presigned: Presigned,
    request: Request,
) -> Response {
    let faulty = bucket.lock().fault;
    if faulty == Fault::Unavailable {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if let Fault::Slow(time) = faulty {
        tokio::time::sleep(time).await;
    }
    let signed: &[&str] = if request.method() == Method::PUT {
        &["content-length", "if-none-match", CHECKSUM]
    } else {
        &[]
    };
    let sent = sent_headers(request.headers(), signed);
    let text = signed_text(request.method().as_str(), key, presigned.until, &sent);
    if bucket.seal(&text) != presigned.signature || bucket.now() > presigned.until {
        return StatusCode::FORBIDDEN.into_response();
    }
    if request.method() == Method::PUT {
        put(bucket, key, &sent, request, faulty).await
    } else {
        get(bucket, key, request.headers())
    }
}

fn sent_headers(headers: &HeaderMap, signed: &[&str]) -> BTreeMap<String, String> {
    let value = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
    signed
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), value(name)?)))
        .collect()
}

async fn put(
    bucket: &MemoryBucket,
    key: &str,
    sent: &BTreeMap<String, String>,
    request: Request,
    fault: Fault,
) -> Response {
    let Ok(body) = to_bytes(request.into_body(), MAX_OBJECT_LEN).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let sum = BASE64.encode(&sha2::Sha256::digest(&body));
    let binds = bucket.lock().abilities.is_none();
    if binds && sent.get(CHECKSUM) != Some(&sum) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    if fault == Fault::Full {
        return StatusCode::INSUFFICIENT_STORAGE.into_response();
    }
    if fault == Fault::ReadOnly {
        return StatusCode::FORBIDDEN.into_response();
    }
    if fault == Fault::WritesUnavailable {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    bucket.note(true, "put", key, body.len() as u64);
    let mut inner = bucket.lock();
    let only_new = fault != Fault::Overwrites && sent.contains_key(header::IF_NONE_MATCH.as_str());
    if only_new && inner.objects.contains_key(key) {
        return StatusCode::PRECONDITION_FAILED.into_response();
    }
    inner.write(key, body);
    StatusCode::OK.into_response()
}

/// All of an object, or the one range that is asked for.
fn get(bucket: &MemoryBucket, key: &str, headers: &HeaderMap) -> Response {
    let found = bucket
        .lock()
        .objects
        .get(key)
        .map(|(bytes, _)| bytes.clone());
    let Some(bytes) = found else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Some(range) = headers.get(header::RANGE) else {
        bucket.note(true, "get", key, bytes.len() as u64);
        return bytes.into_response();
    };
    let asked = range
        .to_str()
        .ok()
        .and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
        .and_then(|(from, to)| {
            let from: usize = from.parse().ok()?;
            let to = if to.is_empty() {
                bytes.len()
            } else {
                to.parse::<usize>().ok()?.saturating_add(1)
            };
            (from < bytes.len()).then(|| from..to.min(bytes.len()).max(from))
        });
    let Some(asked) = asked else {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    };
    bucket.note(true, "get", key, asked.len() as u64);
    let content_range = format!(
        "bytes {}-{}/{}",
        asked.start,
        asked.end.saturating_sub(1),
        bytes.len()
    );
    (
        StatusCode::PARTIAL_CONTENT,
        [(header::CONTENT_RANGE, content_range)],
        bytes.slice(asked),
    )
        .into_response()
}
