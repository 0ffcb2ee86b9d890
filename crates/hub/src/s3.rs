//! A bucket behind S3: AWS itself, or a server that speaks its protocol.
//!
//! Every call is safe to send twice, so every call is tried again while the server is only busy. Nothing is
//! read without a bound, and no redirect is followed: a region that doesn't fit is an operator's to mend.

mod address;
mod answer;
mod call;
mod probe;
mod proxy;
mod ready;
mod send;
mod sign;
mod xml;

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::BASE64;
use http::Method;
use podsync_api::hub::{Action, Sha256};

pub(crate) use self::proxy::unusable_proxy;
use self::{
    address::Address,
    answer::Refusal,
    call::{Call, Reply},
    send::{Sender, Take},
    sign::Signer,
};
pub use self::{
    address::{Addressing, Endpoint, EndpointError},
    sign::Credentials,
};
use crate::{
    abilities::{Abilities, Ability},
    metrics::count_bucket_error,
    storage::{ObjectHead, Page, Storage, StorageError},
};

/// The most keys of a page, as the protocol has it.
const PAGE_KEYS: u32 = 1000;
/// A key of at most 1024 bytes, with what XML puts around it, a thousand times, and room.
const MAX_PAGE_LEN: u64 = 4 << 20;
const CHECKSUM: &str = "x-amz-checksum-sha256";
/// Without it a HEAD returns no checksum.
const CHECKSUM_MODE: &str = "x-amz-checksum-mode";

/// Where a team's bucket is, and who the hub is to it.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// `None` means AWS itself in this region.
    pub endpoint: Option<Endpoint>,
    /// The URL by which members reach the bucket, if it differs from the hub's.
    pub public_endpoint: Option<Endpoint>,
    pub region: String,
    pub bucket: String,
    pub addressing: Addressing,
    pub credentials: Credentials,
    /// Taken for AWS without a try: the embedded server, which is our own.
    pub known: bool,
}

impl S3Settings {
    /// Whether the bucket can be named like that, by the hub and by members.
    pub fn check(&self) -> Result<(), EndpointError> {
        self.address(self.endpoint.as_ref())?;
        self.address(self.public()).map(drop)
    }

    /// How members reach it.
    fn public(&self) -> Option<&Endpoint> {
        self.public_endpoint.as_ref().or(self.endpoint.as_ref())
    }

    fn address(&self, endpoint: Option<&Endpoint>) -> Result<Address, EndpointError> {
        Address::new(endpoint, &self.region, &self.bucket, self.addressing)
    }
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
    known: bool,
    /// None until something was seen.
    abilities: RwLock<Option<Arc<Abilities>>>,
}

impl S3Bucket {
    /// Sends nothing yet. The process must have a TLS provider installed.
    pub fn new(settings: S3Settings) -> Result<Self, StorageError> {
        let address = |endpoint: Option<&Endpoint>| {
            let address = settings.address(endpoint);
            address.map_err(|error| StorageError::Refused(error.to_string().into()))
        };
        Ok(Self {
            address: address(settings.endpoint.as_ref())?,
            public: address(settings.public())?,
            signer: Signer::new(&settings.region, &settings.credentials),
            sender: Sender::new()?,
            known: settings.known,
            abilities: RwLock::default(),
            bucket: settings.bucket,
            region: settings.region,
        })
    }

    async fn call(&self, call: Call<'_>) -> Result<Reply, StorageError> {
        let take = Take {
            max_len: call.max_len,
            hashed: call.hashed,
        };
        let signed = || self.signer.sign(call.request(&self.address));
        let mut reply = self.sender.send(signed, take).await;
        // Keys that were rotated lie where these came from.
        let refused = reply.as_ref().ok().and_then(Doubt::of);
        if let Some(doubt) = refused
            && self.signer.renew(doubt.pause())
        {
            doubt.tell();
            reply = self.sender.send(signed, take).await;
        }
        reply.map_err(|refusal| self.error(refusal))
    }

    /// The reply, if it has one of these statuses; else what it means.
    fn expect(&self, wanted: &[u16], reply: Reply) -> Result<Reply, StorageError> {
        if wanted.contains(&reply.status.as_u16()) {
            return Ok(reply);
        }
        Err(self.error(Refusal::from_reply(&reply)))
    }

    fn error(&self, refusal: Refusal) -> StorageError {
        let refusal = if self.address.is_plain() {
            refusal.told_over_http()
        } else {
            refusal
        };
        let error = refusal.into_error(&self.bucket, &self.region);
        let code: &str = match &error {
            StorageError::Garbled(trouble) if trouble.code.is_empty() => "unreadable",
            error => &error.trouble().code,
        };
        count_bucket_error(&self.bucket, code);
        error
    }

    /// Whether the server can be relied on for it.
    fn has(&self, ability: Ability) -> bool {
        let seen = self.abilities();
        seen.is_none_or(|abilities| abilities.has(ability))
    }

    /// Headers by which a PUT is of these bytes and of no others, as far as the server looks at them.
    fn bound_to(&self, sha256: &Sha256, len: u64) -> BTreeMap<String, String> {
        let mut header = BTreeMap::from([("content-length".to_owned(), len.to_string())]);
        if self.has(Ability::BindsBytes) {
            header.insert(CHECKSUM.to_owned(), BASE64.encode(sha256.as_bytes()));
        }
        header
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
        let (href, expires) = signed.map_err(|refusal| self.error(refusal))?;
        Ok(Action {
            href,
            header,
            expires_in: expires.as_secs(),
        })
    }
}

#[async_trait]
impl Storage for S3Bucket {
    fn name(&self) -> &str {
        &self.bucket
    }

    async fn ensure(&self) -> Result<(), StorageError> {
        self.make_ready().await
    }

    fn heard(&self) -> Option<Instant> {
        self.sender.heard()
    }

    fn abilities(&self) -> Option<Arc<Abilities>> {
        let seen = self.abilities.read();
        seen.unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn probe(&self) -> Result<Arc<Abilities>, StorageError> {
        self.try_anew().await
    }

    async fn get(&self, key: &str, max_len: u64) -> Result<Option<Bytes>, StorageError> {
        let reply = self.call(Call::new(Method::GET, key).max(max_len)).await?;
        if reply.is_no_such_key() {
            return Ok(None);
        }
        self.expect(&[200], reply).map(|reply| Some(reply.body))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, StorageError> {
        let tells = self
            .abilities()
            .is_some_and(|seen| seen.has(Ability::TellsChecksum));
        let mut call = Call::new(Method::HEAD, key);
        if tells {
            call = call.header(CHECKSUM_MODE, "ENABLED");
        }
        let reply = self.call(call).await?;
        if reply.is_no_such_key() {
            return Ok(None);
        }
        let reply = self.expect(&[200], reply)?;
        let len = reply.content_length().ok_or_else(|| {
            self.error(Refusal::garbled(
                "its answer does not have the object's length",
            ))
        })?;
        Ok(Some(ObjectHead {
            len,
            etag: reply.word("etag"),
            sha256: reply.checksum().filter(|_| tells),
        }))
    }

    async fn sha256(&self, key: &str, max_len: u64) -> Result<Option<Sha256>, StorageError> {
        let call = Call::new(Method::GET, key).max(max_len).hashed();
        let reply = self.call(call).await?;
        if reply.is_no_such_key() {
            return Ok(None);
        }
        self.expect(&[200], reply).map(|reply| reply.sha256)
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        let reply = self.call(Call::new(Method::PUT, key).body(bytes)).await?;
        self.expect(&[200], reply).map(drop)
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let reply = self.call(Call::new(Method::DELETE, key)).await?;
        if reply.is_no_such_key() {
            return Ok(());
        }
        self.expect(&[200, 204], reply).map(drop)
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
        let reply = self.expect(&[200], self.call(call).await?)?;
        xml::page(&reply.body, prefix, after).map_err(|why| self.error(Refusal::garbled(why)))
    }

    async fn presign_put(
        &self,
        key: &str,
        sha256: &Sha256,
        len: u64,
        expires: Duration,
    ) -> Result<Action, StorageError> {
        let mut header = self.bound_to(sha256, len);
        if self.has(Ability::OnlyNew) {
            header.insert("if-none-match".to_owned(), "*".to_owned());
        }
        self.presign(Method::PUT, key, header, expires).await
    }

    async fn presign_replace(
        &self,
        key: &str,
        sha256: &Sha256,
        len: u64,
        expires: Duration,
    ) -> Result<Action, StorageError> {
        let header = self.bound_to(sha256, len);
        self.presign(Method::PUT, key, header, expires).await
    }

    async fn presign_get(&self, key: &str, expires: Duration) -> Result<Action, StorageError> {
        self.presign(Method::GET, key, BTreeMap::new(), expires)
            .await
    }
}

/// Whether a server refuses the credentials, and not the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// It says so, or says nothing at all, as to a HEAD.
    Likely,
    /// Garage says of a key that it doesn't know what others say of a policy.
    Possible,
}

impl Doubt {
    const CODES: [&str; 6] = [
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "TokenRefreshRequired",
        "InvalidSecurity",
    ];

    fn of(reply: &Reply) -> Option<Self> {
        let status = reply.status.as_u16();
        let may = matches!(status, 400 | 401 | 403);
        if may && (reply.body.is_empty() || Self::CODES.iter().any(|code| reply.says(code))) {
            return Some(Self::Likely);
        }
        matches!(status, 401 | 403).then_some(Self::Possible)
    }

    fn tell(self) {
        match self {
            Self::Likely => {
                tracing::warn!("the server refuses the hub's credentials: reading them again");
            }
            Self::Possible => tracing::debug!(
                "the server refuses the hub: reading the credentials again, in case others lie there"
            ),
        }
    }

    /// Credentials that are refused are looked for again no more often than this.
    fn pause(self) -> Duration {
        Duration::from_secs(match self {
            Self::Likely => 5,
            Self::Possible => 60,
        })
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn credentials_that_may_be_refused_are_read_again_less_often() {
        let doubt = |status: u16, code: &str| {
            let body = match code {
                "" => String::new(),
                code => format!("<Error><Code>{code}</Code><Message>no</Message></Error>"),
            };
            Doubt::of(&Reply {
                status: StatusCode::from_u16(status).unwrap(),
                headers: http::HeaderMap::new(),
                body: Bytes::from(body),
                sha256: None,
            })
        };
        for (status, code) in [
            (403, "InvalidAccessKeyId"),
            (403, "SignatureDoesNotMatch"),
            (400, "ExpiredToken"),
            (403, ""),
        ] {
            assert_eq!(doubt(status, code), Some(Doubt::Likely), "{status} {code}");
        }
        assert_eq!(doubt(403, "AccessDenied"), Some(Doubt::Possible));
        for (status, code) in [(200, ""), (404, "NoSuchKey"), (400, "InvalidRequest")] {
            assert_eq!(doubt(status, code), None, "{status} {code}");
        }
        assert!(Doubt::Likely.pause() < Doubt::Possible.pause());
    }
}
