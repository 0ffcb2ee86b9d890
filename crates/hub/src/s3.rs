//! A bucket behind S3: AWS itself, or a server that speaks its protocol.
//!
//! Every call is safe to send twice, so every call is tried again while the server is only busy. Nothing is
//! read without a bound, and no redirect is followed: a region that doesn't fit is an operator's to mend.

mod address;
mod answer;
mod send;
mod sign;
mod xml;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use http::{Method, StatusCode};
use podsync_api::hub::{Action, Sha256};
use sha2::Digest as _;

use self::{address::Address, answer::Refusal, send::Sender, sign::Signer};
pub use self::{
    address::{Addressing, Endpoint, EndpointError},
    sign::Credentials,
};
use crate::storage::{Page, Storage, StorageError};

/// The most keys of a page, as the protocol has it.
const PAGE_KEYS: u32 = 1000;
/// A key of at most 1024 bytes, with what XML puts around it, a thousand times, and room.
const MAX_PAGE_LEN: u64 = 4 << 20;
/// What a server may say about public access, or about an error.
const MAX_WORDS_LEN: u64 = 64 << 10;

const CHECKSUM: &str = "x-amz-checksum-sha256";

/// Where a team's bucket is, and who the hub is to it.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// AWS itself in this region, where there is none.
    pub endpoint: Option<Endpoint>,
    /// What members reach the bucket by, where that isn't the hub's own way.
    pub public_endpoint: Option<Endpoint>,
    pub region: String,
    pub bucket: String,
    pub addressing: Addressing,
    pub credentials: Credentials,
}

/// A bucket at an S3 server.
#[derive(Debug)]
pub struct S3Bucket {
    bucket: String,
    region: String,
    address: Address,
    /// Where members are sent.
    public: Address,
    signer: Signer,
    sender: Sender,
}

impl S3Bucket {
    /// Sends nothing yet. The process must have a TLS provider installed.
    pub fn new(settings: S3Settings) -> Result<Self, StorageError> {
        let refused = |error: EndpointError| StorageError::Refused(error.to_string());
        let address = |endpoint: Option<&Endpoint>| {
            let (region, bucket) = (&settings.region, &settings.bucket);
            Address::new(endpoint, region, bucket, settings.addressing).map_err(refused)
        };
        let public = settings
            .public_endpoint
            .as_ref()
            .or(settings.endpoint.as_ref());
        Ok(Self {
            address: address(settings.endpoint.as_ref())?,
            public: address(public)?,
            signer: Signer::new(&settings.region, &settings.credentials),
            sender: Sender::new()?,
            bucket: settings.bucket,
            region: settings.region,
        })
    }

    async fn call(&self, call: Call<'_>) -> Result<Reply, StorageError> {
        self.sender
            .send(
                || self.signer.sign(call.request(&self.address)),
                call.max_len,
            )
            .await
            .map_err(|refusal| refusal.into_error(&self.bucket, &self.region))
    }

    async fn exists(&self) -> Result<bool, StorageError> {
        let reply = self.call(Call::new(Method::HEAD, "")).await?;
        match reply.status {
            StatusCode::NOT_FOUND => Ok(false),
            _ => reply.expect(&[200], self).map(|_| true),
        }
    }

    async fn create(&self) -> Result<(), StorageError> {
        let body = xml::create_bucket(&self.region);
        let reply = self.call(Call::new(Method::PUT, "").body(body)).await?;
        if reply.status == StatusCode::CONFLICT && reply.says("BucketAlreadyOwnedByYou") {
            return Ok(()); // Another replica was faster.
        }
        reply.expect(&[200], self).map(drop)
    }

    /// `Ok(false)` where the server has no such thing.
    async fn block_public_access(&self) -> Result<bool, StorageError> {
        let body = Bytes::from_static(xml::BLOCK_PUBLIC_ACCESS.as_bytes());
        let mut call = Call::new(Method::PUT, "").query("publicAccessBlock", "");
        // AWS wants a checksum of this one in a header of its own.
        call.headers
            .push((CHECKSUM, BASE64.encode(&sha2::Sha256::digest(&body))));
        let reply = self.call(call.body(body)).await?;
        if matches!(reply.status.as_u16(), 404 | 405 | 501) || reply.says("NotImplemented") {
            return Ok(false);
        }
        reply.expect(&[200, 204], self).map(|_| true)
    }

    /// Signs a request that a member will send.
    async fn presign(
        &self,
        method: Method,
        key: &str,
        header: BTreeMap<String, String>,
        expires: Duration,
    ) -> Result<Action, StorageError> {
        let mut call = Call::new(method, key);
        call.headers
            .extend(header.iter().map(|(name, value)| (&**name, value.clone())));
        let request = call.request(&self.public);
        let signed = self.signer.presign(request, expires).await;
        let (href, expires) =
            signed.map_err(|refusal| refusal.into_error(&self.bucket, &self.region))?;
        Ok(Action {
            href,
            header,
            expires_in: expires.as_secs(),
        })
    }
}

#[async_trait]
impl Storage for S3Bucket {
    async fn ensure(&self) -> Result<(), StorageError> {
        let was_there = self.exists().await?;
        if !was_there {
            self.create().await?;
        }
        match self.block_public_access().await {
            Ok(true) => Ok(()),
            Ok(false) => {
                tracing::debug!(bucket = self.bucket, "the server knows no public access");
                Ok(())
            }
            // A bucket that an operator made may be out of the hub's hands in this.
            Err(StorageError::Refused(why)) if was_there => {
                tracing::warn!(bucket = self.bucket, why, "cannot block public access");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn get(&self, key: &str, max_len: u64) -> Result<Option<Bytes>, StorageError> {
        let reply = self.call(Call::new(Method::GET, key).max(max_len)).await?;
        if reply.is_no_such_key() {
            return Ok(None);
        }
        reply.expect(&[200], self).map(|reply| Some(reply.body))
    }

    async fn len(&self, key: &str) -> Result<Option<u64>, StorageError> {
        let reply = self.call(Call::new(Method::HEAD, key)).await?;
        if reply.is_no_such_key() {
            return Ok(None);
        }
        let reply = reply.expect(&[200], self)?;
        let len = reply.content_length.ok_or_else(|| {
            StorageError::Garbled("it told an object's length in no way".to_owned())
        })?;
        Ok(Some(len))
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        let reply = self.call(Call::new(Method::PUT, key).body(bytes)).await?;
        reply.expect(&[200], self).map(drop)
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let reply = self.call(Call::new(Method::DELETE, key)).await?;
        if reply.is_no_such_key() {
            return Ok(());
        }
        reply.expect(&[200, 204], self).map(drop)
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StorageError> {
        let mut call = Call::new(Method::GET, "")
            .query("list-type", "2")
            .query("max-keys", PAGE_KEYS.to_string())
            .query("prefix", prefix)
            .max(MAX_PAGE_LEN);
        if let Some(after) = after {
            call = call.query("start-after", after);
        }
        let reply = self.call(call).await?.expect(&[200], self)?;
        xml::page(&reply.body, prefix, after).map_err(StorageError::Garbled)
    }

    async fn presign_put(
        &self,
        key: &str,
        sha256: &Sha256,
        len: u64,
        expires: Duration,
    ) -> Result<Action, StorageError> {
        let mut header = bound_to(sha256, len);
        header.insert("if-none-match".to_owned(), "*".to_owned());
        self.presign(Method::PUT, key, header, expires).await
    }

    async fn presign_replace(
        &self,
        key: &str,
        sha256: &Sha256,
        len: u64,
        expires: Duration,
    ) -> Result<Action, StorageError> {
        self.presign(Method::PUT, key, bound_to(sha256, len), expires)
            .await
    }

    async fn presign_get(&self, key: &str, expires: Duration) -> Result<Action, StorageError> {
        self.presign(Method::GET, key, BTreeMap::new(), expires)
            .await
    }
}

/// Headers by which a PUT is of these bytes and of no others.
fn bound_to(sha256: &Sha256, len: u64) -> BTreeMap<String, String> {
    let header = [
        ("content-length", len.to_string()),
        (CHECKSUM, BASE64.encode(sha256.as_bytes())),
    ];
    header.map(|(name, value)| (name.to_owned(), value)).into()
}

/// A request of the hub itself.
struct Call<'a> {
    method: Method,
    key: &'a str,
    query: Vec<(&'a str, String)>,
    headers: Vec<(&'a str, String)>,
    body: Bytes,
    max_len: u64,
}

impl<'a> Call<'a> {
    fn new(method: Method, key: &'a str) -> Self {
        Self {
            method,
            key,
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            max_len: MAX_WORDS_LEN,
        }
    }

    fn query(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Also binds its hash to the signature.
    fn body(mut self, body: Bytes) -> Self {
        let hash = HEXLOWER.encode(&sha2::Sha256::digest(&body));
        self.headers.push(("x-amz-content-sha256", hash));
        self.headers
            .push(("content-length", body.len().to_string()));
        self.body = body;
        self
    }

    fn max(mut self, max_len: u64) -> Self {
        self.max_len = max_len;
        self
    }

    fn request(&self, address: &Address) -> Result<http::Request<Bytes>, http::Error> {
        let mut request = http::Request::builder()
            .method(&self.method)
            .uri(address.uri(self.key, &self.query));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(self.body.clone())
    }
}

/// What came back, whatever it says.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    /// As the header says: of a HEAD that of the object.
    content_length: Option<u64>,
    /// Where the bucket really is, if the server says so.
    region: Option<String>,
    body: Bytes,
}

impl Reply {
    /// The reply, if it is one of these; else what it means.
    fn expect(self, wanted: &[u16], bucket: &S3Bucket) -> Result<Self, StorageError> {
        if wanted.contains(&self.status.as_u16()) {
            return Ok(self);
        }
        Err(Refusal::from_reply(&self).into_error(&bucket.bucket, &bucket.region))
    }

    fn says(&self, code: &str) -> bool {
        xml::error(&self.body).is_some_and(|error| error.code == code)
    }

    /// A HEAD has no words, so there a missing bucket looks the same.
    fn is_no_such_key(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && !self.says("NoSuchBucket")
    }
}
