//! Taking in a body: written aside while its checksums are worked out, and compared before it is anything.
//!
//! The network's side never waits for a lock, so a client that stalls holds up nobody.

use std::{io::Write, sync::Arc};

use bytes::Bytes;
use data_encoding::BASE64;
use futures::TryStreamExt;
use http::HeaderMap;
use s3s::{
    S3Error, S3Result, TrailingHeaders,
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Md5},
    dto::StreamingBlob,
    s3_error,
};
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use super::disk::{Disk, failure};

/// Pieces of a body that wait for the disk: 4 MiB at the most that hyper reads at once.
const WAITING_PIECES: usize = 16;
const CHECKSUMS: [&str; 5] = [
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
];

/// What a request's headers say about its body.
pub(super) struct Promised {
    headers: HeaderMap,
    /// Those that come after the body.
    trailers: Option<TrailingHeaders>,
}

impl Promised {
    pub(super) fn new(headers: &HeaderMap, trailers: Option<TrailingHeaders>) -> Self {
        Self {
            headers: headers.clone(),
            trailers,
        }
    }

    /// Works out each checksum that is promised, now or for after the body.
    fn hashers(&self) -> Hashers {
        let trailer = self.headers.get_all("x-amz-trailer");
        let announced: Vec<_> = trailer
            .iter()
            .filter_map(|names| names.to_str().ok())
            .flat_map(|names| names.split(','))
            .map(str::trim)
            .collect();
        let wants = |name| self.headers.contains_key(name) || announced.contains(&name);
        let [crc32, crc32c, crc64nvme, sha1, sha256] = CHECKSUMS.map(wants);
        Hashers {
            several: ChecksumHasher {
                crc32: crc32.then(Default::default),
                crc32c: crc32c.then(Default::default),
                crc64nvme: crc64nvme.then(Default::default),
                sha1: sha1.then(Default::default),
                sha256: sha256.then(Default::default),
            },
            md5: self.headers.contains_key("content-md5").then(Md5::new),
        }
    }

    fn value(&self, name: &str) -> Option<String> {
        let text = |headers: &HeaderMap| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let trailing = || self.trailers.as_ref()?.read(text)?;
        text(&self.headers).or_else(trailing)
    }
}

struct Hashers {
    several: ChecksumHasher,
    md5: Option<Md5>,
}

impl Hashers {
    fn update(&mut self, piece: &[u8]) {
        self.several.update(piece);
        if let Some(md5) = &mut self.md5 {
            md5.update(piece);
        }
    }

    /// Every checksum that was promised is the body's.
    fn fit(self, promised: &Promised) -> bool {
        let sums = self.several.finalize();
        let md5 = self.md5.map(|md5| BASE64.encode(md5.finalize().as_ref()));
        let [crc32, crc32c, crc64nvme, sha1, sha256] = CHECKSUMS;
        [
            (crc32, sums.checksum_crc32),
            (crc32c, sums.checksum_crc32c),
            (crc64nvme, sums.checksum_crc64nvme),
            (sha1, sums.checksum_sha1),
            (sha256, sums.checksum_sha256),
            ("content-md5", md5),
        ]
        .into_iter()
        .all(|(name, sum)| {
            promised
                .value(name)
                .is_none_or(|wanted| sum == Some(wanted))
        })
    }
}

/// Writes a body aside and checks it. It isn't synced yet.
pub(super) async fn receive(
    disk: &Arc<Disk>,
    body: Option<StreamingBlob>,
    promised: Promised,
) -> S3Result<NamedTempFile> {
    let mut body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
    let (pieces, mut to_write) = mpsc::channel::<Bytes>(WAITING_PIECES);
    let disk = disk.clone();
    let mut hashers = promised.hashers();
    let write = tokio::task::spawn_blocking(move || {
        let mut file = disk.unfinished()?;
        while let Some(piece) = to_write.blocking_recv() {
            hashers.update(&piece);
            file.write_all(&piece).map_err(failure)?;
        }
        Ok::<_, S3Error>((file, hashers))
    });
    let read = async {
        while let Some(piece) = body
            .try_next()
            .await
            .map_err(|_| s3_error!(IncompleteBody))?
        {
            if pieces.send(piece).await.is_err() {
                break; // The writer says why.
            }
        }
        drop(pieces);
        Ok::<_, S3Error>(())
    };
    let (read, written) = tokio::join!(read, write);
    let (file, hashers) = written.map_err(|_| s3_error!(InternalError))??;
    read?;
    if !hashers.fit(&promised) {
        return Err(s3_error!(
            BadDigest,
            "the body is not what its checksum says"
        ));
    }
    Ok(file)
}

/// Reads a body to its end, so that its sender can read the answer.
pub(super) async fn discard(body: Option<StreamingBlob>) {
    let Some(mut body) = body else { return };
    while let Ok(Some(_)) = body.try_next().await {}
}
