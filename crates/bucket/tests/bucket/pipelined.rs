//! Packs that are sent while others are still being read.

use futures::{StreamExt, stream};
use podsync_bucket::{HubClientError, TransferError, Upload};
use podsync_hub::testing::{Options, TestHub};

use crate::kit::{MIB, Team, bytes, nobody, pack};

#[tokio::test]
async fn the_first_is_sent_before_the_next_is_read() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let packs = [bytes(1, MIB), bytes(2, MIB), bytes(3, 9)];
    let bucket = hub.bucket(team.id);
    let there = || bucket.seen().iter().filter(|seen| seen.by_url).count();
    let there = &there;
    let uploads = stream::iter(packs.iter().enumerate()).then(|(number, bytes)| async move {
        while there() < number {
            tokio::task::yield_now().await;
        }
        Ok::<Upload, TransferError>(pack(bytes))
    });
    let len = packs.iter().map(|pack| pack.len() as u64).sum();
    let client = team.client(&hub, 1);
    let placed = client.upload_each(uploads, len, nobody).await.unwrap();
    let mut sizes: Vec<_> = placed.iter().map(|object| object.id.size).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [9, MIB, MIB]);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_the_first_is_sent() {
    let team = Team::new();
    let options = Options {
        quota: Some(2 * MIB),
        ..Options::default()
    };
    let hub = TestHub::only(team.id, options).await.unwrap();
    let founder = team.client(&hub, 0);
    founder.post_operations(&team.post()).await.unwrap();
    let packs = [bytes(1, MIB), bytes(2, MIB), bytes(3, MIB)];
    let one_by_one = stream::iter(&packs).then(|bytes| async move {
        tokio::task::yield_now().await;
        Ok::<Upload, TransferError>(pack(bytes))
    });
    let client = team.client(&hub, 1);
    let error = client.upload_each(one_by_one, 3 * MIB, nobody).await;
    let error = error.unwrap_err();
    assert!(error.is_quota(), "{error}");
    assert!(matches!(
        error,
        TransferError::Hub(HubClientError::QuotaExceeded { .. })
    ));
    let seen = hub.bucket(team.id).seen();
    assert!(!seen.iter().any(|seen| seen.by_url));
}
