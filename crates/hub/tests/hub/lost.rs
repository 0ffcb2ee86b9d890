//! A bucket that is emptied, or made anew, while the hub runs: the hub counts only what is really there.

use podsync_api::hub::{HubErrorCode, ObjectKind};
use podsync_hub::testing::TestHub;
use reqwest::StatusCode;

use crate::kit::{Call, Feed, Team};

#[tokio::test]
async fn a_bucket_that_was_emptied_is_filled_again_without_a_restart() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.share(&hub, 1).await;
    let before = hub.bucket(team.id()).objects();
    hub.bucket(team.id()).empty();
    let heads = || Call::get(team.id(), "heads").by(1);
    assert_eq!(
        heads().send(&hub).await.error().code,
        HubErrorCode::UnknownTeam
    );
    team.post(&hub).await;
    assert_eq!(heads().send(&hub).await.status, StatusCode::OK);
    let members = |objects: &std::collections::BTreeMap<String, bytes::Bytes>| {
        let keys = objects.keys().filter(|key| key.starts_with("membership/"));
        keys.cloned().collect::<Vec<_>>()
    };
    let now = hub.bucket(team.id()).objects();
    assert_eq!(members(&now), members(&before));
    // The feed begins anew, with what it names.
    let missing = feed.committing(1).send(&hub).await.error();
    assert_eq!(missing.code, HubErrorCode::MissingObjects);
    let lacks_pack = missing
        .missing
        .iter()
        .any(|object| object.id.kind == ObjectKind::Pack);
    assert!(lacks_pack, "{missing:?}");
    feed.share(&hub, 1).await;
}

#[tokio::test]
async fn an_operation_that_was_lost_is_one_that_is_not_there() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    assert_eq!(
        Call::get(team.id(), "heads").by(2).send(&hub).await.status,
        StatusCode::OK
    );
    let bucket = hub.bucket(team.id());
    let founding = format!("membership/{}", team.id());
    let others = bucket.objects().into_keys();
    for key in others.filter(|key| key.starts_with("membership/") && *key != founding) {
        bucket.remove(&key);
    }
    bucket.remove("changed");
    let refused = Call::get(team.id(), "heads").by(2).send(&hub).await.error();
    assert_eq!(refused.code, HubErrorCode::NotListed);
    team.post(&hub).await;
    assert_eq!(
        Call::get(team.id(), "heads").by(2).send(&hub).await.status,
        StatusCode::OK
    );
}
