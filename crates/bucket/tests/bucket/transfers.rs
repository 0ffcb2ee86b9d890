//! Objects to the bucket and back, through a real hub.

use podsync_api::hub::ObjectKind;
use podsync_bucket::{Downloaded, Hub, TransferError, Upload, Want};
use podsync_core::BlobId;
use podsync_hub::testing::TestHub;

use crate::kit::{MIB, Taken, Team, bytes, location, nobody, share, want};

/// Futures of transfers run on any thread.
#[expect(dead_code, reason = "it only has to compile")]
fn transfers_can_be_spawned(hub: &'static Hub, uploads: &'static [Upload], want: &'static Want) {
    fn sendable(_: impl Send) {}
    sendable(hub.upload(uploads, nobody));
    let each = futures::stream::iter(uploads.iter().cloned().map(Ok::<_, TransferError>));
    sendable(hub.upload_each(each, 1, nobody));
    sendable(async {
        let mut sink = Taken::default();
        hub.download(want, &mut sink, |_| ()).await
    });
    sendable(hub.outboard(&[], want.location.blob, 1));
    sendable(hub.download_small(&want.location));
    sendable(hub.heads(None));
}

#[tokio::test]
async fn what_one_uploads_another_downloads() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let packs = [bytes(1, 3 * MIB + 5), bytes(2, 40), bytes(3, 20 * MIB)];
    let (placed, outboards) = share(&team.client(&hub, 1), &packs).await;
    assert_eq!(placed.len(), 3);

    let reader = team.client(&hub, 2);
    for (bytes, placed) in packs.iter().zip(&placed) {
        let mut want = Want {
            location: location(bytes, ObjectKind::Pack),
            ranges: vec![0..bytes.len() as u64],
            outboard: reader
                .outboard(&[outboards], BlobId::of(bytes), bytes.len() as u64)
                .await
                .unwrap(),
        };
        want.location.generation = Some(placed.generation);
        let mut taken = Taken::of(bytes);
        let moved = reader.download(&want, &mut taken, |_| ()).await.unwrap();
        let payload = bytes.len() as u64;
        assert_eq!(
            moved,
            Downloaded {
                payload,
                requests: 1
            }
        );
        assert_eq!(taken.ranges(), [0..payload]);
    }
    // The outboards were fetched once.
    let seen = hub.bucket(team.id).seen();
    let fetched = |key: &str| {
        let gets = seen.iter().filter(|seen| seen.by_url && seen.what == "get");
        gets.filter(|seen| seen.key.starts_with(key)).count()
    };
    assert_eq!((fetched("packs/"), fetched("outboards/")), (3, 1));
}

#[tokio::test]
async fn ranges_are_fetched_and_no_more_than_that() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let pack = bytes(1, 20 * MIB + 5);
    let len = pack.len() as u64;
    share(&team.client(&hub, 1), std::slice::from_ref(&pack)).await;
    let reader = team.client(&hub, 2);
    for (wanted, fetched) in [
        (vec![1..2], vec![0..16384]),
        (
            vec![MIB..2 * MIB, 5 * MIB..7 * MIB],
            vec![MIB..2 * MIB, 5 * MIB..7 * MIB],
        ),
        (
            vec![0..MIB, MIB + MIB / 4..2 * MIB, 20 * MIB..len],
            vec![0..2 * MIB, 20 * MIB..len],
        ),
        (vec![0..7 * MIB, 8 * MIB..16 * MIB], vec![0..len]),
    ] {
        let mut taken = Taken::of(&pack);
        let counted = std::sync::atomic::AtomicU64::new(0);
        let count = |len| {
            counted.fetch_add(len, std::sync::atomic::Ordering::Relaxed);
        };
        let moved = reader
            .download(&want(&pack, &wanted), &mut taken, count)
            .await;
        let moved = moved.unwrap();
        assert_eq!(taken.ranges(), fetched);
        assert_eq!(moved.requests, fetched.len() as u64);
        let payload: u64 = fetched.iter().map(|range| range.end - range.start).sum();
        assert_eq!((moved.payload, counted.into_inner()), (payload, payload));
    }
}
