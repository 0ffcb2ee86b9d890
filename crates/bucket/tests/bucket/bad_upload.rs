//! Uploads that are cut, refused, damaged, made twice or given up.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{body::to_bytes, extract::Request, http::StatusCode, response::IntoResponse};
use podsync_bucket::{Patience, Source, TransferError, Upload};
use podsync_hub::{storage::memory::Fault, testing::TestHub};

use crate::{
    fake::{Fake, cutter, hang, odd, status},
    kit::{MIB, Team, bytes, hasty, nobody, pack},
};

#[tokio::test]
async fn an_expired_url_is_asked_for_again_once() {
    for code in [400, 401, 403] {
        let fake = Fake::start().await;
        let bytes = bytes(1, 3 * MIB);
        fake.bucket([status(code)]);
        let placed = fake.client().upload(&[pack(&bytes)], nobody).await.unwrap();
        assert!(fake.has(&bytes) && placed[0].generation == 3);
        assert_eq!((fake.count("batch"), fake.count("PUT")), (2, 2));

        let fake = Fake::start().await;
        fake.bucket((0..9).map(|_| status(code)));
        let error = fake
            .client()
            .upload(&[pack(&bytes)], nobody)
            .await
            .unwrap_err();
        let refused =
            matches!(error, TransferError::Refused { ref said, .. } if said.status == code);
        assert!(refused && !error.may_pass(), "{error}");
        assert_eq!((fake.count("batch"), fake.count("PUT")), (2, 2));
    }
}

#[tokio::test]
async fn a_busy_bucket_is_asked_again_within_bounds() {
    let fake = Fake::start().await;
    let bytes = bytes(1, MIB);
    fake.bucket([status(503), status(500), status(429), status(409)]);
    fake.client().upload(&[pack(&bytes)], nobody).await.unwrap();
    assert!(fake.has(&bytes) && fake.count("PUT") == 5);

    let fake = Fake::start().await;
    fake.bucket((0..9).map(|_| status(503)));
    let error = fake
        .client()
        .upload(&[pack(&bytes)], nobody)
        .await
        .unwrap_err();
    assert!(
        matches!(error, TransferError::Unavailable { .. }) && error.may_pass(),
        "{error}"
    );
    assert_eq!(fake.count("PUT"), 5);
}

#[tokio::test]
async fn what_a_bucket_does_not_do_is_not_asked_for_again() {
    for code in [501, 505, 404, 405] {
        let fake = Fake::start().await;
        fake.bucket([status(code)]);
        let pack = pack(&bytes(1, MIB));
        let error = fake.client().upload(&[pack], nobody).await.unwrap_err();
        let refused =
            matches!(error, TransferError::Refused { ref said, .. } if said.status == code);
        assert!(refused && !error.may_pass(), "{error}");
        assert_eq!(fake.count("PUT"), 1);
    }
}

#[tokio::test]
async fn a_full_bucket_is_told_in_its_servers_words() {
    let fake = Fake::start().await;
    fake.bucket([odd(async move |request: Request| {
        let _ = to_bytes(request.into_body(), usize::MAX).await;
        let words = "<Error><Code>StorageFull</Code><Message>No room is left.</Message></Error>";
        (StatusCode::INSUFFICIENT_STORAGE, words).into_response()
    })]);
    let pack = pack(&bytes(1, 9));
    let error = fake.client().upload(&[pack], nobody).await.unwrap_err();
    let full = matches!(error, TransferError::Full { .. });
    assert!(full && !error.may_pass(), "{error}");
    let text = error.to_string();
    let place = format!("at http://{}/bucket/", fake.address());
    for words in ["HTTP 507, StorageFull: No room is left.", &place] {
        assert!(text.contains(words), "{text}");
    }
}

#[tokio::test]
async fn what_came_there_meanwhile_is_as_good() {
    let fake = Fake::start().await;
    fake.bucket([status(412)]);
    fake.client()
        .upload(&[pack(&bytes(1, MIB))], nobody)
        .await
        .unwrap();
    assert_eq!((fake.count("batch"), fake.count("PUT")), (1, 1));
}

#[tokio::test]
async fn redirects_of_a_bucket_are_not_followed() {
    for code in [302, 307, 308] {
        let fake = Fake::start().await;
        fake.bucket([status(code)]);
        let error = fake
            .client()
            .upload(&[pack(&bytes(1, 9))], nobody)
            .await
            .unwrap_err();
        assert!(matches!(error, TransferError::Refused { .. }), "{error}");
        assert_eq!(fake.count("PUT"), 1);
    }
}

#[tokio::test]
async fn an_upload_that_is_cut_at_any_byte_is_sent_again() {
    let bytes = bytes(1, 2 * MIB + 5);
    let len = bytes.len();
    for cut in [0, 1, 100, 300, 1000, 70_000, len / 2, len - 1, len] {
        let fake = Fake::start().await;
        fake.bucket_at(cutter(fake.address(), vec![cut]).await);
        fake.client().upload(&[pack(&bytes)], nobody).await.unwrap();
        assert!(fake.has(&bytes), "cut after {cut}");
    }
}

/// Bytes of a disk that fails after some of them, for the first so many times.
fn failing(bytes: &bytes::Bytes, after: u64, times: usize) -> (Upload, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let (counted, whole) = (opened.clone(), bytes.clone());
    let source = Source::opened_by(move || {
        let fails = counted.fetch_add(1, Ordering::Relaxed) < times;
        let whole = whole.clone();
        let read = move |offset: u64, buffer: &mut [u8]| {
            let end = offset as usize + buffer.len();
            if fails && end as u64 > after {
                return Err(io::Error::other("a bad sector"));
            }
            buffer.copy_from_slice(&whole[offset as usize..end]);
            Ok(())
        };
        std::future::ready(Ok(read))
    });
    let id = pack(bytes).id;
    (Upload { id, source }, opened)
}

#[tokio::test]
async fn an_upload_goes_on_where_the_last_one_stopped() {
    let fake = Fake::start().await;
    let packs: Vec<_> = (1..=5).map(|seed| bytes(seed, MIB)).collect();
    let (mut uploads, mut opened): (Vec<_>, Vec<_>) =
        packs[..4].iter().map(|pack| failing(pack, MIB, 0)).unzip();
    let hub = fake.client();
    hub.upload(&uploads, nobody).await.unwrap();
    let (broken, last) = failing(&packs[4], MIB / 2, 1);
    uploads.push(broken);
    opened.push(last);
    let error = hub.upload(&uploads, nobody).await.unwrap_err();
    assert!(matches!(error, TransferError::Source { .. }), "{error}");
    assert!(error.to_string().contains("a bad sector") && !fake.has(&packs[4]));
    hub.upload(&uploads, nobody).await.unwrap();
    assert!(packs.iter().all(|pack| fake.has(pack)));
    let opened: Vec<_> = opened
        .iter()
        .map(|opened| opened.load(Ordering::Relaxed))
        .collect();
    assert_eq!(opened, [1, 1, 1, 1, 2]);
}

#[tokio::test]
async fn a_file_that_is_damaged_is_not_uploaded() {
    let fake = Fake::start().await;
    let whole = bytes(1, MIB);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pack");
    let mut damaged = whole.to_vec();
    damaged[5] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let upload = Upload {
        id: pack(&whole).id,
        source: Source::file(path.clone()),
    };
    let hub = fake.client();
    let error = hub
        .upload(std::slice::from_ref(&upload), nobody)
        .await
        .unwrap_err();
    assert!(matches!(error, TransferError::Damaged { .. }), "{error}");
    // One that is too short, and none at all.
    std::fs::write(&path, &whole[1..]).unwrap();
    let error = hub
        .upload(std::slice::from_ref(&upload), nobody)
        .await
        .unwrap_err();
    assert!(matches!(error, TransferError::Source { .. }), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = hub
        .upload(std::slice::from_ref(&upload), nobody)
        .await
        .unwrap_err();
    assert!(matches!(error, TransferError::Source { .. }), "{error}");
    std::fs::write(&path, &whole).unwrap();
    hub.upload(&[upload], nobody).await.unwrap();
    assert!(fake.has(&whole));
}

#[tokio::test]
async fn two_devices_upload_the_same_pack_at_once() {
    the_same_pack_at_once(Fault::None).await;
}

#[tokio::test]
async fn two_devices_upload_the_same_pack_at_once_where_if_none_match_is_ignored() {
    the_same_pack_at_once(Fault::Overwrites).await;
}

async fn the_same_pack_at_once(fault: Fault) {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    hub.bucket(team.id).fail(fault);
    let uploads = [pack(&bytes(1, 5 * MIB)), pack(&bytes(2, MIB))];
    let (one, other) = (team.client(&hub, 0), team.client(&hub, 1));
    let (one, other) = tokio::join!(one.upload(&uploads, nobody), other.upload(&uploads, nobody));
    let placed = one.unwrap();
    assert_eq!(placed, other.unwrap());
    let ids: Vec<_> = placed.iter().map(|object| object.id).collect();
    assert_eq!(ids, uploads.each_ref().map(|upload| upload.id));
    let objects = hub.bucket(team.id).objects();
    assert_eq!(
        objects
            .keys()
            .filter(|key| key.starts_with("packs/"))
            .count(),
        2
    );
    // The same pack twice in one upload is sent once.
    let third = pack(&bytes(3, MIB));
    let twice = [third.clone(), third];
    let placed = team.client(&hub, 1).upload(&twice, nobody).await.unwrap();
    assert_eq!(placed[0], placed[1]);
}

#[tokio::test]
async fn a_bucket_that_takes_no_bytes_is_given_up() {
    let fake = Fake::start().await;
    fake.bucket((0..9).map(|_| hang()));
    let hub = fake.patient(Patience {
        stalled: Duration::from_millis(30),
        ..hasty()
    });
    let error = hub
        .upload(&[pack(&bytes(1, 30 * MIB))], nobody)
        .await
        .unwrap_err();
    assert!(
        matches!(error, TransferError::Unavailable { .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("the bucket took no byte"),
        "{error}"
    );
}

#[tokio::test]
async fn an_upload_that_is_dropped_lets_go_of_its_file() {
    let fake = Fake::start().await;
    let (asked, seen) = tokio::sync::oneshot::channel();
    fake.bucket([crate::fake::odd(async move |request| {
        asked.send(()).unwrap();
        let _held = request;
        std::future::pending().await
    })]);
    let whole = bytes(1, 30 * MIB);
    let held = Arc::new(());
    let keep = held.clone();
    let source = Source::opened_by(move || {
        let (keep, whole) = (keep.clone(), whole.clone());
        std::future::ready(Ok(move |offset: u64, buffer: &mut [u8]| {
            let _keep = &keep;
            buffer.copy_from_slice(&whole[offset as usize..][..buffer.len()]);
            Ok(())
        }))
    });
    let id = pack(&bytes(1, 30 * MIB)).id;
    let uploads = [Upload { id, source }];
    let hub = fake.client();
    tokio::select! {
        _ = hub.upload(&uploads, nobody) => panic!("it can't end"),
        _ = seen => {}
    }
    // This one, the source's own, and none of a reader.
    while Arc::strong_count(&held) > 2 {
        tokio::task::yield_now().await;
    }
    hub.upload(&uploads, nobody).await.unwrap();
}

#[tokio::test]
async fn progress_ends_with_all_bytes() {
    let fake = Fake::start().await;
    let bytes = bytes(1, MIB);
    let hub = fake.client();
    for _ in 0..2 {
        let last = std::sync::atomic::AtomicU64::new(0);
        let told = |_: &podsync_api::hub::ObjectId, sent| last.store(sent, Ordering::Relaxed);
        hub.upload(&[pack(&bytes)], told).await.unwrap();
        assert_eq!(last.into_inner(), MIB);
    }
    assert_eq!(fake.count("PUT"), 1);
}
