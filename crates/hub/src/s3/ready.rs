//! Making a bucket ready for use: it is there, closed to the public, and what its server can do is known.
//!
//! A server may close more than it was asked to: Ceph's RGW 16 takes every write for a public one once public ACLs
//! are blocked. So nothing is blocked that a write right after it doesn't survive.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use data_encoding::BASE64;
use http::{Method, StatusCode};
use podsync_core::{bounded::Bounded, codec::Format};
use sha2::Digest as _;
use tokio::time::{Instant, sleep};

use super::{
    CHECKSUM, S3Bucket,
    call::{Call, Reply},
    probe::Probe,
    xml::{self, AccessBlock},
};
use crate::{
    abilities::{Abilities, Ability, Finding, Grade, MAX_RECORD_LEN, PROBES, RECORD, meaning},
    hub::now_ms,
    storage::{Storage, StorageError},
};

/// How long a bucket that was just made may refuse its first requests.
const SETTLING: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl S3Bucket {
    pub(super) async fn make_ready(&self) -> Result<(), StorageError> {
        self.make().await?;
        if self.known {
            return Ok(());
        }
        let seen = match self.recorded().await? {
            // What nobody could share through may have been mended.
            Some(seen) if seen.hold(&self.place(), now_ms()) && seen.suffice() => Arc::new(seen),
            before => {
                let learnt = self.learn(before.as_ref()).await;
                match (learnt, before) {
                    // Maybe only writes meet the outage: members still read by what was known.
                    (Err(StorageError::Unavailable(_)), Some(before)) if before.suffice() => {
                        Arc::new(before)
                    }
                    (learnt, _) => learnt?,
                }
            }
        };
        self.tell(&seen);
        Ok(())
    }

    /// Tries everything, whatever the record says. The log says nothing of what the server lacks: who asked for
    /// this does.
    pub(super) async fn try_anew(&self) -> Result<Arc<Abilities>, StorageError> {
        self.make().await?;
        let before = self.recorded().await?;
        let seen = self.learn(before.as_ref()).await?;
        self.take(&seen);
        Ok(seen)
    }

    async fn make(&self) -> Result<(), StorageError> {
        if !self.exists().await? {
            tracing::info!("the bucket does not exist yet: the hub makes it");
            self.create().await?;
        }
        Ok(())
    }

    async fn learn(&self, before: Option<&Abilities>) -> Result<Arc<Abilities>, StorageError> {
        let mut findings = match self.harden(before).await? {
            Hardening::Done(hardened) => {
                let mut findings = Probe::run(self).await?;
                findings.push(hardened);
                findings
            }
            Hardening::ReadOnly(why) => vec![why],
        };
        findings.sort_by_key(|finding| finding.ability);
        let seen = Arc::new(Abilities {
            probed_ms: now_ms(),
            place: self.place(),
            findings: Bounded::first(findings),
        });
        if seen.has(Ability::Objects) {
            self.put(RECORD, seen.encode().into()).await?;
        }
        Ok(seen)
    }

    /// The record of this server. An unreadable one counts as none: the hub tries everything anew.
    async fn recorded(&self) -> Result<Option<Abilities>, StorageError> {
        let bytes = match self.get(RECORD, MAX_RECORD_LEN as u64).await {
            Ok(bytes) => bytes,
            Err(StorageError::Garbled(_)) => None,
            Err(error) => return Err(error),
        };
        let seen = bytes.and_then(|bytes| Abilities::decode(&bytes).ok());
        Ok(seen.filter(|seen| seen.place == self.place()))
    }

    /// Goes by this from now on. The log tells each lack once.
    fn tell(&self, seen: &Arc<Abilities>) {
        let before = self.take(seen);
        let told = |finding: &Finding| {
            let before = before.as_ref();
            before.and_then(|before| before.of(finding.ability)) == Some(finding)
        };
        for finding in seen.lacking().filter(|finding| !told(finding)) {
            let (ability, means) = (finding.ability, meaning(finding));
            tracing::warn!(?ability, "the bucket's server: {means}");
        }
    }

    /// Goes by this from now on; what it went by before.
    fn take(&self, seen: &Arc<Abilities>) -> Option<Arc<Abilities>> {
        let abilities = self.abilities.write();
        let mut abilities = abilities.unwrap_or_else(PoisonError::into_inner);
        abilities.replace(seen.clone())
    }

    /// Where this bucket is.
    fn place(&self) -> [u8; 32] {
        let text = format!("{}\n{}", self.address.uri("", &[]), self.region);
        *blake3::hash(text.as_bytes()).as_bytes()
    }

    async fn exists(&self) -> Result<bool, StorageError> {
        let reply = self.call(Call::new(Method::HEAD, "")).await?;
        match reply.status {
            StatusCode::NOT_FOUND => Ok(false),
            _ => self.expect(&[200, 204], reply).map(|_| true),
        }
    }

    /// Until it answers as a bucket does: the first requests to a new one may meet a 400, 404 or 409.
    async fn create(&self) -> Result<(), StorageError> {
        let body = xml::create_bucket(&self.region);
        let reply = self.call(Call::new(Method::PUT, "").body(body)).await?;
        // Another replica may have been faster.
        if reply.status != StatusCode::CONFLICT || !reply.says("BucketAlreadyOwnedByYou") {
            self.expect(&[200, 201], reply)?;
        }
        let begun = Instant::now();
        loop {
            match self.list(PROBES, None).await {
                Err(
                    StorageError::Refused(_) | StorageError::Gone(_) | StorageError::Unavailable(_),
                ) if begun.elapsed() < SETTLING => {
                    sleep(LOOK_AGAIN).await;
                }
                settled => return settled.map(drop),
            }
        }
    }

    /// Blocks what of public access the server can block and still be written to.
    async fn harden(&self, before: Option<&Abilities>) -> Result<Hardening, StorageError> {
        if let Some(refused) = self.refuses_writes().await? {
            return self.open_again(refused).await;
        }
        let known = before.and_then(|before| before.of(Ability::Hardened));
        if let Some(known) = known.filter(|known| known.grade == Grade::WorkedAround) {
            // To try it again would stop every upload that is under way.
            return Ok(Hardening::Done(known.clone()));
        }
        let reply = self.block(AccessBlock::ALL).await?;
        let in_force = reply.status.is_success() && self.blocked().await? == Some(AccessBlock::ALL);
        if !in_force {
            return Ok(Hardening::Done(found(Grade::Missing, &reply)));
        }
        match self.refuses_writes().await? {
            None => Ok(Hardening::Done(found(Grade::Ok, &reply))),
            Some(refused) => self.open_again(refused).await,
        }
    }

    /// A write was refused. Where a block is in force that may be why: an older podsync's, or the one just set.
    async fn open_again(&self, refused: Finding) -> Result<Hardening, StorageError> {
        let Some(blocked) = self.blocked().await?.filter(|block| block.acls) else {
            return Ok(Hardening::ReadOnly(refused));
        };
        for (weaker, grade) in [
            (AccessBlock::ALL_BUT_ACLS, Grade::WorkedAround),
            (AccessBlock::NONE, Grade::Missing),
        ] {
            self.block(weaker).await?;
            if self.refuses_writes().await?.is_none() {
                tracing::warn!(
                    "blocking public access made the server refuse every write, so the hub took the block back; see that nobody makes this bucket or its objects public"
                );
                let hardened = refused.told_of(Ability::Hardened, grade);
                return Ok(Hardening::Done(hardened));
            }
        }
        // It wasn't the block: that is put back as it was.
        self.block(blocked).await?;
        Ok(Hardening::ReadOnly(refused))
    }

    /// How the server refuses a write by the hub; `None` if it accepts it.
    async fn refuses_writes(&self) -> Result<Option<Finding>, StorageError> {
        let key = format!("{PROBES}write");
        let call = Call::new(Method::PUT, &key).body(Bytes::from_static(b"podsync"));
        let reply = self.call(call).await?;
        if reply.status.is_success() {
            return match self.delete(&key).await {
                // Whether the hub may delete is tried for itself.
                Ok(()) | Err(StorageError::Refused(_)) => Ok(None),
                Err(error) => Err(error),
            };
        }
        let (status, code) = (reply.status.as_u16(), reply.own_code());
        match self.expect(&[200], reply) {
            Err(StorageError::Refused(_)) => Ok(Some(Finding::new(
                Ability::Objects,
                Grade::Missing,
                status,
                &code,
            ))),
            other => other.map(|_| None),
        }
    }

    /// Never by a DELETE: a server that knows no such thing may take that for one of the bucket.
    async fn block(&self, block: AccessBlock) -> Result<Reply, StorageError> {
        let body = block.xml();
        // AWS wants a checksum of this one in a header of its own.
        let checksum = BASE64.encode(&sha2::Sha256::digest(&body));
        let call = Call::new(Method::PUT, "")
            .query("publicAccessBlock", "")
            .header(CHECKSUM, checksum);
        self.call(call.body(body)).await
    }

    async fn blocked(&self) -> Result<Option<AccessBlock>, StorageError> {
        let call = Call::new(Method::GET, "").query("publicAccessBlock", "");
        Ok(AccessBlock::read(&self.call(call).await?.body))
    }
}

/// The result of blocking public access.
enum Hardening {
    Done(Finding),
    /// The hub may not write, block or no block.
    ReadOnly(Finding),
}

fn found(grade: Grade, reply: &Reply) -> Finding {
    Finding::new(
        Ability::Hardened,
        grade,
        reply.status.as_u16(),
        &reply.own_code(),
    )
}
