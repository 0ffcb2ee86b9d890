//! Trying a server: what it does with the hub's own requests, and with presigned ones.
//!
//! All of it happens below a folder of its own that is taken away again. An outage is no lack: it ends the try,
//! and nothing is concluded.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use podsync_api::hub::Sha256;
use sha2::Digest as _;
use tokio::time::{Instant, sleep};

use super::{CHECKSUM, CHECKSUM_MODE, S3Bucket, call::Call, call::Reply, send::Take};
use crate::{
    abilities::{Ability, Finding, Grade, PROBES},
    storage::{Storage, StorageError, Trouble, list_all},
};

/// Long enough for all of a try.
const GOOD_FOR: Duration = Duration::from_secs(300);
/// The life of a URL that has to end, and when it is surely over.
const SHORT: Duration = Duration::from_secs(1);
const OVER: Duration = Duration::from_millis(2200);
/// How long a new object may take to appear in a listing.
const LISTED_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// After this time the hub removes what an interrupted try left.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);
const LEN: usize = 3000;
/// All that a try may write.
const WRITTEN: [&str; 9] = [
    "own", "list/a", "list/b", "list/c", "put", "length", "bound", "unbound", "new",
];

pub(super) struct Probe<'a> {
    bucket: &'a S3Bucket,
    /// With its slash.
    folder: String,
    findings: Vec<Finding>,
}

/// A presigned request before it is signed.
struct Presigned {
    method: Method,
    key: String,
    header: Vec<(&'static str, String)>,
    body: Bytes,
}

impl<'a> Probe<'a> {
    /// One finding for each ability that could be tried.
    pub(super) async fn run(bucket: &'a S3Bucket) -> Result<Vec<Finding>, StorageError> {
        let mut probe = Self {
            bucket,
            folder: format!("{PROBES}{}/", HEXLOWER.encode(&rand::random::<[u8; 8]>())),
            findings: Vec::new(),
        };
        let outcome = probe.try_all().await;
        if probe.may_delete()
            && let Err(error) = probe.clean_up().await
        {
            tracing::warn!(%error, "what was tried with stays below {PROBES}");
        }
        outcome.map(|()| probe.findings)
    }

    async fn try_all(&mut self) -> Result<(), StorageError> {
        self.objects().await?;
        self.deletion().await?;
        self.listing().await?;
        let object = bytes(1);
        if !self.presigned_put(&object).await? {
            return Ok(());
        }
        let ends = self.bucket.presigned(&self.get("put"), SHORT).await?;
        let signed = Instant::now();
        self.presigned_get(&object).await?;
        self.ranges(&object).await?;
        self.length(&object).await?;
        self.checksum().await?;
        self.only_new(&object).await?;
        self.strangers().await?;
        tokio::time::sleep_until(signed + OVER).await;
        let reply = self.bucket.send_presigned(&self.get("put"), &ends).await?;
        self.note_refusal(Ability::Expiry, &reply);
        Ok(())
    }

    async fn objects(&mut self) -> Result<(), StorageError> {
        let key = self.key("own");
        let mut works = true;
        for seed in [2, 3] {
            let body = bytes(seed);
            self.bucket.put(&key, body.clone()).await?;
            works &= self.bucket.get(&key, LEN as u64).await? == Some(body);
        }
        let grade = if works { Grade::Ok } else { Grade::Missing };
        self.note(Ability::Objects, grade, 200, "");
        Ok(())
    }

    /// A policy may allow everything else.
    async fn deletion(&mut self) -> Result<(), StorageError> {
        let key = self.key("own");
        let refused = match self.bucket.delete(&key).await {
            Ok(()) => None,
            Err(StorageError::Refused(trouble)) => Some(trouble),
            Err(error) => return Err(error),
        };
        let gone = refused.is_none() && self.bucket.len(&key).await?.is_none();
        let grade = if gone { Grade::Ok } else { Grade::Missing };
        let (status, code) = refused.as_ref().map_or((200, ""), Trouble::answer);
        self.note(Ability::Deletion, grade, status, code);
        Ok(())
    }

    /// As far as it was tried.
    fn may_delete(&self) -> bool {
        let mut found = self.findings.iter();
        found.all(|finding| finding.ability != Ability::Deletion || finding.grade == Grade::Ok)
    }

    async fn listing(&mut self) -> Result<(), StorageError> {
        let keys = ["list/a", "list/b", "list/c"].map(|name| self.key(name));
        for key in &keys {
            self.bucket.put(key, Bytes::from_static(b"x")).await?;
        }
        let begun = Instant::now();
        loop {
            match self.lists(&keys).await {
                Ok(true) => {
                    self.note(Ability::Listing, Grade::Ok, 200, "");
                    return Ok(());
                }
                Ok(false) | Err(StorageError::Garbled(_)) if begun.elapsed() < LISTED_WITHIN => {
                    sleep(LOOK_AGAIN).await;
                }
                Ok(false) => {
                    self.note(Ability::Listing, Grade::Missing, 200, "");
                    return Ok(());
                }
                Err(StorageError::Garbled(trouble) | StorageError::Refused(trouble)) => {
                    let (status, code) = trouble.answer();
                    self.note(Ability::Listing, Grade::Missing, status, code);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn lists(&self, keys: &[String; 3]) -> Result<bool, StorageError> {
        let prefix = self.key("list/");
        for (after, wanted) in [
            (None, &keys[..]),
            (Some(&keys[0]), &keys[1..]),
            (Some(&keys[2]), &[]),
        ] {
            let after = after.map(String::as_str);
            let page = self.bucket.list(&prefix, after).await?;
            let listed = page.objects.iter().map(|object| &object.key);
            if !listed.eq(wanted) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn presigned_put(&mut self, object: &Bytes) -> Result<bool, StorageError> {
        let key = self.key("put");
        let reply = self.send(&put(&key, object, &[])).await?;
        let works = reply.status.is_success() && self.holds("put", object).await?;
        let grade = if works { Grade::Ok } else { Grade::Missing };
        self.note_reply(Ability::PresignedPut, grade, &reply);
        Ok(works)
    }

    async fn presigned_get(&mut self, object: &Bytes) -> Result<(), StorageError> {
        let reply = self.send(&self.get("put")).await?;
        let works = reply.status == StatusCode::OK && reply.body == *object;
        let grade = if works { Grade::Ok } else { Grade::Missing };
        self.note_reply(Ability::PresignedGet, grade, &reply);
        Ok(())
    }

    async fn ranges(&mut self, object: &Bytes) -> Result<(), StorageError> {
        let (first, last) = (100, 1099);
        let mut get = self.get("put");
        get.header.push(("range", format!("bytes={first}-{last}")));
        let signed = self.bucket.presigned(&self.get("put"), GOOD_FOR).await?;
        let reply = self.bucket.send_presigned(&get, &signed).await?;
        let part = reply.body == object[first..=last];
        let told = reply.word("content-range");
        let told = told.as_deref() == Some(&format!("bytes {first}-{last}/{LEN}"));
        let grade = match reply.status {
            StatusCode::PARTIAL_CONTENT if part && told => Grade::Ok,
            StatusCode::OK if part && told => Grade::WorkedAround,
            _ => Grade::Missing,
        };
        self.note_reply(Ability::Ranges, grade, &reply);
        Ok(())
    }

    /// One byte more than was signed for.
    async fn length(&mut self, object: &Bytes) -> Result<(), StorageError> {
        let key = self.key("length");
        let bucket = self.bucket;
        let signed = put(&key, object, &[]);
        let signed = bucket.presigned(&signed, GOOD_FOR).await?;
        let longer = Bytes::from([&object[..], b"x"].concat());
        let longer = put(&key, &longer, &[]);
        let reply = bucket.send_presigned(&longer, &signed).await?;
        let refused = !reply.status.is_success() && !self.is_there("length").await?;
        let grade = if refused {
            Grade::Ok
        } else {
            Grade::WorkedAround
        };
        self.note_reply(Ability::BindsLength, grade, &reply);
        Ok(())
    }

    /// The right bytes under their hash have to be taken, and others refused.
    async fn checksum(&mut self) -> Result<(), StorageError> {
        let (right, wrong) = (bytes(4), bytes(5));
        let bound = [(CHECKSUM, BASE64.encode(&sha2::Sha256::digest(&right)))];
        let key = self.key("bound");
        let taken = self.send(&put(&key, &right, &bound)).await?;
        if !taken.status.is_success() || !self.holds("bound", &right).await? {
            self.note_reply(Ability::BindsBytes, Grade::WorkedAround, &taken);
            return Ok(());
        }
        let key = self.key("unbound");
        let reply = self.send(&put(&key, &wrong, &bound)).await?;
        let refused = !reply.status.is_success() && !self.is_there("unbound").await?;
        let grade = if refused {
            Grade::Ok
        } else {
            Grade::WorkedAround
        };
        self.note_reply(Ability::BindsBytes, grade, &reply);
        self.told_checksum("bound", &right, refused.then_some("unbound"), &wrong)
            .await
    }

    /// Whether a HEAD gives the hash of the stored bytes. A server that only repeats the claimed hash is of
    /// no use.
    async fn told_checksum(
        &mut self,
        right: &str,
        right_bytes: &Bytes,
        refused: Option<&str>,
        wrong_bytes: &Bytes,
    ) -> Result<(), StorageError> {
        let reply = self.head(right).await?;
        let mut tells = reply.checksum() == Some(hash(right_bytes));
        if tells && refused.is_none() {
            tells = self.head("unbound").await?.checksum() == Some(hash(wrong_bytes));
        }
        let grade = if tells {
            Grade::Ok
        } else {
            Grade::WorkedAround
        };
        self.note_reply(Ability::TellsChecksum, grade, &reply);
        Ok(())
    }

    /// A new object is taken, and one that is there stays.
    async fn only_new(&mut self, object: &Bytes) -> Result<(), StorageError> {
        let condition = [("if-none-match", "*".to_owned())];
        let key = self.key("new");
        let reply = self.send(&put(&key, object, &condition)).await?;
        if !reply.status.is_success() || !self.holds("new", object).await? {
            self.note_reply(Ability::OnlyNew, Grade::WorkedAround, &reply);
            return Ok(());
        }
        let reply = self.send(&put(&key, &bytes(6), &condition)).await?;
        let stays = !reply.status.is_success() && self.holds("new", object).await?;
        let grade = if stays {
            Grade::Ok
        } else {
            Grade::WorkedAround
        };
        self.note_reply(Ability::OnlyNew, grade, &reply);
        Ok(())
    }

    /// A URL for another key, and no signature at all.
    async fn strangers(&mut self) -> Result<(), StorageError> {
        let get = self.get("put");
        let signed = self.bucket.presigned(&get, GOOD_FOR).await?;
        let other = self.key("list/a");
        let moved = signed.replacen(&self.key("put"), &other, 1);
        let reply = self.bucket.send_presigned(&get, &moved).await?;
        self.note_refusal(Ability::BindsKey, &reply);
        let bare = self.bucket.address.uri(&self.key("put"), &[]);
        let reply = self.bucket.send_presigned(&get, &bare).await?;
        self.note_refusal(Ability::Private, &reply);
        Ok(())
    }

    async fn clean_up(&self) -> Result<(), StorageError> {
        // By name: a listing may be late.
        for name in WRITTEN {
            self.bucket.delete(&self.key(name)).await?;
        }
        for left in list_all(self.bucket, PROBES).await? {
            if left.modified.elapsed().unwrap_or_default() > LEFT_BEHIND {
                self.bucket.delete(&left.key).await?;
            }
        }
        Ok(())
    }

    async fn send(&self, presigned: &Presigned) -> Result<Reply, StorageError> {
        let signed = self.bucket.presigned(presigned, GOOD_FOR).await?;
        self.bucket.send_presigned(presigned, &signed).await
    }

    async fn head(&self, name: &str) -> Result<Reply, StorageError> {
        let key = self.key(name);
        let call = Call::new(Method::HEAD, &key).header(CHECKSUM_MODE, "ENABLED");
        self.bucket.call(call).await
    }

    async fn holds(&self, name: &str, body: &Bytes) -> Result<bool, StorageError> {
        let held = self.bucket.get(&self.key(name), LEN as u64 + 1).await?;
        Ok(held.as_ref() == Some(body))
    }

    async fn is_there(&self, name: &str) -> Result<bool, StorageError> {
        Ok(self.bucket.len(&self.key(name)).await?.is_some())
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    fn get(&self, name: &str) -> Presigned {
        Presigned {
            method: Method::GET,
            key: self.key(name),
            header: Vec::new(),
            body: Bytes::new(),
        }
    }

    fn note(&mut self, ability: Ability, grade: Grade, status: u16, code: &str) {
        self.findings
            .push(Finding::new(ability, grade, status, code));
    }

    fn note_reply(&mut self, ability: Ability, grade: Grade, reply: &Reply) {
        self.note(ability, grade, reply.status.as_u16(), &reply.own_code());
    }

    /// What has to be refused.
    fn note_refusal(&mut self, ability: Ability, reply: &Reply) {
        let grade = if reply.status.is_success() {
            Grade::Missing
        } else {
            Grade::Ok
        };
        self.note_reply(ability, grade, reply);
    }
}

impl S3Bucket {
    /// The URL of a request, by the hub's own way to the bucket.
    async fn presigned(
        &self,
        presigned: &Presigned,
        expires: Duration,
    ) -> Result<String, StorageError> {
        let mut call = Call::new(presigned.method.clone(), &presigned.key);
        for (name, value) in &presigned.header {
            call = call.header(name, value.clone());
        }
        let signed = self.signer.presign(call.request(&self.address), expires);
        let signed = signed.await.map_err(|refusal| self.error(refusal));
        signed.map(|(href, _)| href)
    }

    async fn send_presigned(
        &self,
        presigned: &Presigned,
        href: &str,
    ) -> Result<Reply, StorageError> {
        let request = || async {
            let mut request = http::Request::builder()
                .method(&presigned.method)
                .uri(href)
                .body(presigned.body.clone())
                .map_err(super::Refusal::garbled)?;
            for (name, value) in &presigned.header {
                let value = HeaderValue::try_from(value).map_err(super::Refusal::garbled)?;
                request
                    .headers_mut()
                    .insert(HeaderName::from_static(name), value);
            }
            Ok(request)
        };
        let take = Take {
            max_len: 2 * LEN as u64,
            hashed: false,
        };
        let reply = self.sender.send(request, take).await;
        reply.map_err(|refusal| self.error(refusal))
    }
}

fn put(key: &str, body: &Bytes, more: &[(&'static str, String)]) -> Presigned {
    let mut header = vec![("content-length", body.len().to_string())];
    header.extend_from_slice(more);
    Presigned {
        method: Method::PUT,
        key: key.to_owned(),
        header,
        body: body.clone(),
    }
}

fn hash(bytes: &Bytes) -> Sha256 {
    Sha256::from_bytes(sha2::Sha256::digest(bytes).into())
}

/// Bytes that no other seed gives.
fn bytes(seed: u8) -> Bytes {
    let mut bytes = vec![0; LEN];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes.into()
}
