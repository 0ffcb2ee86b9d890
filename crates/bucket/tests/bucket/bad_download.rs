//! Downloads from buckets that send wrong bytes, break off, lost the object, or are none.

use std::{io, time::Duration};

use axum::{http::StatusCode, response::IntoResponse};
use bao_tree::io::BaoContentItem;
use bytes::Bytes;
use podsync_api::hub::{ObjectKind, ObjectRef};
use podsync_bucket::{Condition, GROUP, OutboardsBuilder, Patience, Sink, TransferError};
use podsync_core::BlobId;

use crate::{
    fake::{Fake, Odd, answer, asked, hang, odd, part, pieces, status},
    kit::{MIB, Taken, bytes, hasty, location, object, pack, want},
};

/// A server that has a pack of this many bytes.
async fn with_pack(len: u64) -> (Fake, Bytes) {
    let fake = Fake::start().await;
    let pack = bytes(1, len);
    fake.plant(&pack, pack.clone());
    (fake, pack)
}

/// Downloads ranges. Returns the result and the bytes taken.
async fn download(
    fake: &Fake,
    pack: &Bytes,
    ranges: &[std::ops::Range<u64>],
) -> (Result<u64, TransferError>, Vec<std::ops::Range<u64>>) {
    let mut taken = Taken::of(pack);
    let hub = fake.patient(Patience {
        stalled: Duration::from_millis(200),
        ..hasty()
    });
    let moved = hub.download(&want(pack, ranges), &mut taken, |_| ()).await;
    (moved.map(|moved| moved.requests), taken.ranges())
}

fn is_a_lie(error: &TransferError) -> bool {
    matches!(error, TransferError::Liar { .. }) && !error.may_pass()
}

#[tokio::test]
async fn wrong_bytes_are_a_lie_and_what_came_before_is_kept() {
    let (fake, pack) = with_pack(MIB + 5).await;
    let len = pack.len() as u64;
    for flipped in [0, GROUP - 1, GROUP, MIB / 2 + 7, MIB + 4] {
        let mut wrong = pack.to_vec();
        wrong[flipped as usize] ^= 0x40;
        fake.plant(&pack, wrong);
        let (error, taken) = download(&fake, &pack, &[0..len]).await;
        let error = error.unwrap_err();
        assert!(is_a_lie(&error), "{error}");
        assert!(error.to_string().contains("pack sha256:"), "{error}");
        let verified = flipped / GROUP * GROUP;
        let expected: Vec<_> = (verified > 0).then_some(0..verified).into_iter().collect();
        assert_eq!(taken, expected);
    }
}

#[tokio::test]
async fn a_wrong_outboard_is_a_lie_and_is_not_kept() {
    let (fake, pack) = with_pack(MIB).await;
    let upload = crate::kit::pack(&pack);
    let mut builder = OutboardsBuilder::new();
    builder.add(&upload, BlobId::of(&pack)).await.unwrap();
    let built = builder.finish().unwrap();
    let reader = built.upload.source;
    let hub = fake.client();
    let object = ObjectRef {
        id: built.upload.id,
        generation: 0,
    };
    let whole = podsync_bucket::Upload {
        id: object.id,
        source: reader,
    };
    hub.upload(&[whole], crate::kit::nobody).await.unwrap();
    let (blob, len) = (BlobId::of(&pack), MIB);
    let outboard = hub.outboard(&[object], blob, len).await.unwrap();
    for at in [0, 70, outboard.len() - 1] {
        let mut want = want(&pack, &[0..len]);
        let mut wrong = outboard.to_vec();
        wrong[at] ^= 1;
        want.outboard = wrong.into();
        let mut taken = Taken::of(&pack);
        let error = hub.download(&want, &mut taken, |_| ()).await.unwrap_err();
        assert!(
            is_a_lie(&error) && error.to_string().contains("outboard"),
            "{error}"
        );
    }
    // It is fetched anew, though it was known before.
    let gets = fake.count("GET");
    hub.outboard(&[object], blob, len).await.unwrap();
    assert_eq!(fake.count("GET"), gets + 1);
    hub.outboard(&[object], blob, len).await.unwrap();
    assert_eq!(fake.count("GET"), gets + 1);
    let mut want = want(&pack, &[0..len]);
    want.outboard = outboard.slice(64..);
    let error = hub.download(&want, &mut Taken::of(&pack), |_| ()).await;
    assert!(matches!(error, Err(TransferError::Garbled { .. })));
}

#[tokio::test]
async fn outboards_that_are_others_or_none_are_told() {
    let fake = Fake::start().await;
    let hub = fake.client();
    let junk = bytes(9, 500);
    let object = ObjectRef {
        id: object(ObjectKind::Outboards, &junk),
        generation: 0,
    };
    let look = || {
        hub.outboard(
            std::slice::from_ref(&object),
            BlobId::from_bytes([1; 32]),
            MIB,
        )
    };
    let error = look().await.unwrap_err();
    assert!(matches!(error, TransferError::NotFound { .. }), "{error}");
    fake.plant(&junk, junk.clone());
    let error = look().await.unwrap_err();
    assert!(matches!(error, TransferError::Garbled { .. }), "{error}");
    fake.plant(&junk, bytes(8, 500));
    let error = look().await.unwrap_err();
    assert!(is_a_lie(&error), "{error}");
    let mut builder = OutboardsBuilder::new();
    let other = bytes(1, MIB);
    builder
        .add(&pack(&other), BlobId::of(&other))
        .await
        .unwrap();
    let built = builder.finish().unwrap();
    let placed = hub
        .upload(&[built.upload], crate::kit::nobody)
        .await
        .unwrap();
    let error = hub
        .outboard(&placed, BlobId::from_bytes([1; 32]), MIB)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no outboards object of its entry covers"),
        "{error}"
    );
    let error = hub
        .outboard(&[], BlobId::from_bytes([1; 32]), MIB)
        .await
        .unwrap_err();
    assert!(matches!(error, TransferError::NotFound { .. }), "{error}");
    // The first object may fail if another has the outboard.
    let both = [object, placed[0]];
    hub.outboard(&both, BlobId::of(&other), MIB).await.unwrap();
}

#[tokio::test]
async fn a_large_outboards_object_is_read_in_parts() {
    // The outboards of 1.1 GiB, without a pack of that size: rows and trees are made by hand.
    let fake = Fake::start().await;
    let packs = 1700_u64;
    let pack = bytes(1, 40 * GROUP);
    let (blob, tree) = podsync_bucket::pack_outboard(&pack[..], pack.len() as u64).unwrap();
    let mut object_bytes = vec![1];
    object_bytes.extend_from_slice(&(packs as u32).to_le_bytes());
    for number in 0..packs {
        let id = if number == 1650 {
            *blob.as_bytes()
        } else {
            [number as u8; 32]
        };
        object_bytes.extend_from_slice(&id);
        object_bytes.extend_from_slice(&(pack.len() as u64).to_le_bytes());
    }
    for number in 0..packs {
        let filler = vec![number as u8; tree.len()];
        object_bytes.extend_from_slice(if number == 1650 { &tree } else { &filler });
    }
    let object_bytes = Bytes::from(object_bytes);
    fake.plant(&object_bytes, object_bytes.clone());
    let object = ObjectRef {
        id: object(ObjectKind::Outboards, &object_bytes),
        generation: 0,
    };
    assert!(object.id.size > 4 * MIB);
    let found = fake
        .client()
        .outboard(&[object], blob, pack.len() as u64)
        .await
        .unwrap();
    assert_eq!(found, tree);
    let fetched: usize = fake
        .headers("GET")
        .iter()
        .map(|headers| asked(headers).unwrap().len())
        .sum();
    assert!(fetched < 100_000, "{fetched}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_taken_up_where_it_stopped() {
    let (fake, pack) = with_pack(3 * MIB).await;
    let len = pack.len();
    let cut = |after: usize, hangs: bool| -> Odd {
        let pack = pack.clone();
        odd(async move |request| {
            let range = asked(request.headers()).unwrap_or(0..len);
            let piece = pack.slice(range.start..(range.start + after).min(range.end));
            part(range, pieces(vec![piece], hangs), len)
        })
    };
    fake.bucket([
        cut(0, false),
        cut(100_000, false),
        cut(MIB as usize, true),
        cut(5, false),
    ]);
    let (requests, taken) = download(&fake, &pack, &[0..len as u64]).await;
    assert_eq!(requests.unwrap(), 5);
    assert_eq!(taken, [0..len as u64]);
    // Verified bytes are not requested again.
    let starts: Vec<_> = fake
        .headers("GET")
        .iter()
        .map(|headers| asked(headers).map_or(0, |range| range.start as u64))
        .collect();
    let group = 100_000 / GROUP * GROUP;
    assert_eq!(starts, [0, 0, group, group + MIB, group + MIB]);

    // A server that always does is given up.
    fake.bucket((0..9).map(|_| cut(5, false)));
    let (error, _) = download(&fake, &pack, &[0..len as u64]).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, TransferError::Unavailable { .. }) && error.may_pass(),
        "{error}"
    );
}

#[tokio::test]
async fn a_bucket_that_cuts_every_request_after_a_piece_ends_somewhere() {
    let (fake, pack) = with_pack(8 * MIB).await;
    let len = pack.len();
    fake.bucket((0..600).map(|_| {
        let pack = pack.clone();
        odd(async move |request| {
            let range = asked(request.headers()).unwrap_or(0..len);
            let piece = pack.slice(range.start..range.start + GROUP as usize);
            part(range, pieces(vec![piece], false), len)
        })
    }));
    let (error, _) = download(&fake, &pack, &[0..len as u64]).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, TransferError::Unavailable { .. }),
        "{error}"
    );
    assert_eq!(fake.count("GET"), 256);
}

#[tokio::test]
async fn other_lengths_and_other_parts_are_refused() {
    let (fake, pack) = with_pack(2 * MIB).await;
    let len = pack.len();
    let longer = [&pack[..], b"more"].concat();
    let (first, rest) = (pack.slice(..len / 2), pack.slice(len / 2..));
    let too_long = pieces(vec![first, rest, Bytes::from_static(b"more")], false);
    let lies = [
        answer(longer.clone().into_response()),
        answer(pack.slice(1..).into_response()),
        answer(part(0..len, pack.clone(), len + 1)),
        answer(part(0..len, longer, len)),
        status(416),
    ];
    for lie in lies {
        fake.bucket([lie]);
        let (error, taken) = download(&fake, &pack, &[0..len as u64]).await;
        assert!(is_a_lie(error.as_ref().unwrap_err()), "{error:?}");
        assert!(taken.is_empty());
    }
    // Nobody reads beyond what was announced.
    fake.bucket([answer(too_long.into_response())]);
    let (fine, taken) = download(&fake, &pack, &[0..len as u64]).await;
    assert!(fine.is_ok() || is_a_lie(&fine.unwrap_err()));
    assert_eq!(
        taken.last().map(|range| range.end.min(len as u64)),
        Some(len as u64)
    );

    let garbled = [
        answer(part(GROUP as usize..len, pack.slice(GROUP as usize..), len)),
        answer(part(0..5, pack.slice(..5), len)),
        answer((StatusCode::PARTIAL_CONTENT, pack.clone()).into_response()),
        answer(StatusCode::NO_CONTENT.into_response()),
    ];
    for odd in garbled {
        fake.bucket([odd]);
        let (error, taken) = download(&fake, &pack, &[0..MIB]).await;
        let error = error.unwrap_err();
        assert!(matches!(error, TransferError::Garbled { .. }), "{error}");
        assert!(taken.is_empty());
    }
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_read_once() {
    let (fake, pack) = with_pack(8 * MIB).await;
    fake.bucket([answer(pack.clone().into_response())]);
    let wanted = [MIB..2 * MIB, 4 * MIB..5 * MIB, 7 * MIB..8 * MIB];
    let (requests, taken) = download(&fake, &pack, &wanted).await;
    assert_eq!(requests.unwrap(), 1);
    assert_eq!(taken, wanted);
}

/// `rclone serve s3` does that: the status of a whole object, and the headers of a part.
fn part_as_200() -> Odd {
    let pack = bytes(1, 4 * MIB);
    odd(async move |request| {
        let range = asked(request.headers()).unwrap();
        let mut part = part(range.clone(), pack.slice(range), pack.len());
        *part.status_mut() = StatusCode::OK;
        part
    })
}

#[tokio::test]
async fn a_part_that_comes_as_200_is_read_from_where_it_begins() {
    let (fake, pack) = with_pack(4 * MIB).await;
    fake.bucket([part_as_200(), part_as_200()]);
    let wanted = [MIB..MIB + GROUP, 3 * MIB..3 * MIB + GROUP];
    let (moved, taken) = download(&fake, &pack, &wanted).await;
    assert_eq!(moved.unwrap(), 2);
    assert_eq!(taken, wanted);
    // The check before a repair sees the same.
    fake.bucket([part_as_200(), part_as_200()]);
    let examined = ObjectRef {
        id: object(ObjectKind::Pack, &pack),
        generation: 3,
    };
    let condition = fake.client().examine(&examined, |_| ()).await.unwrap();
    assert_eq!(condition, Condition::Sound);
    assert_eq!(fake.count("GET"), 4);
}

#[tokio::test]
async fn less_than_was_asked_for_is_taken_and_the_rest_asked_for() {
    let (fake, pack) = with_pack(4 * MIB).await;
    let len = pack.len();
    let half = (MIB / 2) as usize;
    fake.bucket([answer(part(0..half, pack.slice(..half), len))]);
    let (requests, taken) = download(&fake, &pack, &[0..2 * MIB]).await;
    assert_eq!(requests.unwrap(), 2);
    assert_eq!(taken, [0..2 * MIB]);
}

#[tokio::test]
async fn an_expired_url_of_a_download_is_asked_for_again_once() {
    for code in [400, 401, 403] {
        let (fake, pack) = with_pack(MIB).await;
        fake.bucket([status(code)]);
        let (moved, _) = download(&fake, &pack, &[0..MIB]).await;
        assert_eq!(moved.unwrap(), 2);
        assert_eq!(fake.count("batch"), 2);
        fake.bucket((0..9).map(|_| status(code)));
        let (error, _) = download(&fake, &pack, &[0..MIB]).await;
        let error = error.unwrap_err();
        assert!(
            matches!(error, TransferError::Refused { ref said, .. } if said.status == code),
            "{error}"
        );
        assert_eq!(fake.count("batch"), 4);
    }
}

#[tokio::test]
async fn a_bucket_that_is_down_or_busy_is_asked_again_within_bounds() {
    let (fake, pack) = with_pack(MIB).await;
    fake.bucket([status(503), status(500), hang(), status(429)]);
    let (moved, taken) = download(&fake, &pack, &[0..MIB]).await;
    assert_eq!((moved.unwrap(), taken), (5, vec![0..MIB]));
    fake.bucket((0..9).map(|_| status(503)));
    let (error, _) = download(&fake, &pack, &[0..MIB]).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, TransferError::Unavailable { .. }) && error.may_pass(),
        "{error}"
    );
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    fake.bucket_at(nobody.local_addr().unwrap());
    drop(nobody);
    let fresh = Fake::start().await;
    fresh.plant(&pack, pack.clone());
    fresh.bucket_at("127.0.0.1:1".parse().unwrap());
    let (error, _) = download(&fresh, &pack, &[0..MIB]).await;
    assert!(
        matches!(error, Err(TransferError::Unavailable { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_pack_that_vanished_is_told() {
    let (fake, pack) = with_pack(MIB).await;
    fake.bucket([status(404)]);
    let (error, _) = download(&fake, &pack, &[0..MIB]).await;
    assert!(
        matches!(error, Err(TransferError::NotFound { .. })),
        "{error:?}"
    );
    let never = bytes(7, MIB);
    let (error, _) = download(&fake, &never, &[0..MIB]).await;
    assert!(
        matches!(error, Err(TransferError::NotFound { .. })),
        "{error:?}"
    );
    fake.bucket([status(302)]);
    let (error, _) = download(&fake, &pack, &[0..MIB]).await;
    assert!(
        matches!(&error, Err(TransferError::Refused { said, .. }) if said.status == 302),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_small_object_is_fetched_whole_and_hashed() {
    let fake = Fake::start().await;
    let manifest = bytes(1, 100_000);
    fake.plant(&manifest, manifest.clone());
    let hub = fake.client();
    let place = location(&manifest, ObjectKind::Manifest);
    assert_eq!(hub.download_small(&place).await.unwrap(), manifest);
    let mut wrong = manifest.to_vec();
    wrong[99_999] ^= 1;
    fake.plant(&manifest, wrong);
    let error = hub.download_small(&place).await.unwrap_err();
    assert!(is_a_lie(&error), "{error}");
    let huge = podsync_bucket::Location {
        len: 2 << 30,
        ..place
    };
    let error = hub.download_small(&huge).await.unwrap_err();
    assert!(matches!(error, TransferError::Garbled { .. }), "{error}");
}

/// Has no room after some bytes.
struct Full(u64);

impl Sink for Full {
    async fn take(&mut self, item: BaoContentItem) -> io::Result<()> {
        if let BaoContentItem::Leaf(leaf) = item {
            self.0 = self
                .0
                .checked_sub(leaf.data.len() as u64)
                .ok_or(io::ErrorKind::StorageFull)?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_store_that_takes_no_more_ends_a_download() {
    let (fake, pack) = with_pack(MIB).await;
    let want = want(&pack, &[0..MIB]);
    let error = fake
        .client()
        .download(&want, &mut Full(MIB / 2), |_| ())
        .await;
    let error = error.unwrap_err();
    assert!(matches!(error, TransferError::Local { .. }), "{error}");
}

#[tokio::test]
async fn a_download_that_is_dropped_keeps_what_it_had() {
    let (fake, pack) = with_pack(2 * MIB).await;
    let len = pack.len();
    let half = pack.slice(..len / 2);
    fake.bucket([answer(part(0..len, pieces(vec![half], true), len))]);
    let want = want(&pack, &[0..len as u64]);
    let hub = fake.client();
    let mut taken = Taken::of(&pack);
    let (moved, mut seen) = tokio::sync::watch::channel(0);
    let progress = |len| moved.send_modify(|sum| *sum += len);
    tokio::select! {
        _ = hub.download(&want, &mut taken, progress) => panic!("it can't end"),
        _ = seen.wait_for(|sum| *sum == MIB) => {}
    }
    assert_eq!(taken.ranges(), [0..MIB]);
    let mut taken = Taken::of(&pack);
    hub.download(&want, &mut taken, |_| ()).await.unwrap();
}
