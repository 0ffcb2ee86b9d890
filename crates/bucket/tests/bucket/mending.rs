//! Looking for damage in the bucket, and putting it right.

use axum::http::StatusCode;
use podsync_api::hub::{ObjectKind, ObjectRef};
use podsync_bucket::{Condition, TransferError};
use podsync_hub::testing::TestHub;

use crate::{
    fake::{Fake, status},
    kit::{MIB, Team, bytes, object, pack, share},
};

#[tokio::test]
async fn what_is_sound_gone_or_damaged_is_told_apart() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let bytes = bytes(1, 3 * MIB + 5);
    let publisher = team.client(&hub, 1);
    let (placed, _) = share(&publisher, std::slice::from_ref(&bytes)).await;
    let placed = placed[0];
    let key = format!("packs/{}.{}", placed.id.sha256, placed.generation);
    let bucket = hub.bucket(team.id);
    let mut last = bytes.to_vec();
    *last.last_mut().unwrap() ^= 1;
    let longer = [&bytes[..], b"more"].concat();
    let reader = team.client(&hub, 2);
    let read = std::sync::atomic::AtomicU64::new(0);
    let count = |len| {
        read.fetch_add(len, std::sync::atomic::Ordering::Relaxed);
    };
    let sound = reader.examine(&placed, count).await.unwrap();
    assert_eq!(sound, Condition::Sound);
    assert_eq!(read.into_inner(), placed.id.size);
    for (planted, expected) in [
        (Some(last), Condition::Damaged),
        // A hub gives out no URL for another length.
        (Some(longer), Condition::Missing),
        (Some(bytes[..100].to_vec()), Condition::Missing),
        (None, Condition::Missing),
    ] {
        match planted {
            Some(planted) => bucket.plant(&key, planted),
            None => bucket.remove(&key),
        }
        let found = reader.examine(&placed, |_| ()).await.unwrap();
        assert_eq!(found, expected);
        publisher
            .replace(&pack(&bytes), placed.generation, |_| ())
            .await
            .unwrap();
        let mended = reader.examine(&placed, |_| ()).await.unwrap();
        assert_eq!(mended, Condition::Sound);
    }
    let refused = reader.replace(&pack(&bytes), 0, |_| ()).await.unwrap_err();
    assert!(matches!(refused, TransferError::Hub(_)), "{refused}");
}

#[tokio::test]
async fn a_bucket_that_fails_is_not_taken_for_damage() {
    let fake = Fake::start().await;
    let bytes = bytes(1, 100_000);
    fake.plant(&bytes, bytes.clone());
    let object = ObjectRef {
        id: object(ObjectKind::Pack, &bytes),
        generation: 3,
    };
    fake.bucket([status(503), status(500)]);
    let found = fake.client().examine(&object, |_| ()).await.unwrap();
    assert_eq!(found, Condition::Sound);
    fake.bucket((0..20).map(|_| status(StatusCode::SERVICE_UNAVAILABLE.as_u16())));
    let error = fake.client().examine(&object, |_| ()).await.unwrap_err();
    assert!(error.may_pass(), "{error}");
}

#[tokio::test]
async fn a_replacement_whose_answer_is_lost_is_sent_again() {
    let fake = Fake::start().await;
    let (right, wrong) = (bytes(1, 100_000), bytes(2, 100_000));
    fake.plant(&right, wrong);
    fake.bucket([status(503)]);
    let hub = fake.client();
    hub.replace(&pack(&right), 3, |_| ()).await.unwrap();
    assert_eq!(fake.count("PUT"), 2);
    let object = ObjectRef {
        id: object(ObjectKind::Pack, &right),
        generation: 3,
    };
    let found = hub.examine(&object, |_| ()).await.unwrap();
    assert_eq!(found, Condition::Sound);
}
