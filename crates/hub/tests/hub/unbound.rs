//! A bucket whose server takes any bytes under a signed hash: what a commit names is hashed before.

use podsync_api::hub::{
    Actions, BatchOperation, BatchRequest, BatchResponse, BatchedId, HubErrorCode,
};
use podsync_hub::testing::TestHub;
use reqwest::StatusCode;

use crate::kit::{Call, Feed, Team, put};

/// How often the hub read an object whole to hash it.
fn hashed(hub: &TestHub, team: &Team) -> usize {
    let seen = hub.bucket(team.id()).seen();
    seen.iter().filter(|seen| seen.what == "sha256").count()
}

#[tokio::test]
async fn wrong_bytes_are_found_before_a_commit_names_them_and_may_be_uploaded_again() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let bucket = hub.bucket(team.id());
    bucket.bind_nothing();
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.upload(&hub).await;
    let (id, bytes) = feed.objects[1].clone();
    let key = format!("packs/{}.0", id.sha256);
    let mut wrong = bytes.clone();
    wrong[0] ^= 1;
    bucket.plant(&key, wrong);

    let refused = feed.committing(1).send(&hub).await.error();
    assert_eq!(refused.code, HubErrorCode::MissingObjects);
    let missing: Vec<_> = refused.missing.iter().map(|object| object.id).collect();
    assert_eq!(missing, [id]);
    // Though something of that length is there, it may be uploaded.
    let request = BatchRequest {
        operation: BatchOperation::Upload,
        objects: vec![BatchedId {
            id,
            generation: None,
        }],
        following: None,
    };
    let answer = Call::post(team.id(), "objects/batch", &request)
        .by(1)
        .send(&hub)
        .await;
    let mut response: BatchResponse = answer.json();
    let Some(Actions::Upload(action)) = response.objects.remove(0).actions else {
        panic!("no upload over what is damaged");
    };
    assert!(!action.header.contains_key("if-none-match"));
    assert_eq!(put(&action, bytes.clone()).await.status, StatusCode::OK);
    assert_eq!(feed.committing(1).send(&hub).await.status, StatusCode::OK);
    assert_eq!(bucket.objects()[&key], bytes);
}

#[tokio::test]
async fn each_object_is_hashed_once_and_again_only_where_it_was_written_over() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let bucket = hub.bucket(team.id());
    bucket.bind_nothing();
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.upload(&hub).await;
    let (pack, outboards) = (&feed.objects[1], &feed.objects[2]);
    let pack_key = format!("packs/{}.0", pack.0.sha256);
    let outboards_key = format!("outboards/{}.0", outboards.0.sha256);
    let flipped = |bytes: &[u8]| {
        let mut wrong = bytes.to_vec();
        wrong[0] ^= 1;
        wrong
    };
    bucket.plant(&outboards_key, flipped(&outboards.1));
    let refused = feed.committing(1).send(&hub).await.error();
    assert_eq!(refused.missing.len(), 1, "{refused:?}");
    let all = feed.objects.len();
    // What is damaged is looked at again, in case a drop has ended its entry meanwhile.
    assert_eq!(hashed(&hub, &team), all + 1);

    // Another replica believes the marks; only what they aren't of is read.
    let replica = hub.replica().await.unwrap();
    bucket.plant(&outboards_key, outboards.1.clone());
    bucket.plant(&pack_key, flipped(&pack.1));
    let refused = feed.committing(1).send(&replica).await.error();
    assert_eq!(refused.missing.len(), 1, "{refused:?}");
    assert_eq!(refused.missing[0].id, pack.0);
    assert_eq!(hashed(&hub, &team), all + 4);
    bucket.plant(&pack_key, pack.1.clone());
    let taken = feed.committing(1).send(&replica).await;
    assert_eq!(taken.status, StatusCode::OK);
}

#[tokio::test]
async fn where_the_server_binds_bytes_nothing_is_hashed() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.share(&hub, 1).await;
    assert_eq!(hashed(&hub, &team), 0);
}
