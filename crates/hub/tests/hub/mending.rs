//! Putting objects right that are gone from the bucket or have other bytes.

use podsync_api::hub::{
    Action, Actions, BatchOperation, BatchRequest, BatchResponse, BatchedId, BatchedObject,
    HubErrorCode, ObjectId, ObjectKind, Sha256,
};
use podsync_core::{TeamId, membership::Role};
use podsync_hub::testing::{Options, TestHub};
use reqwest::StatusCode;

use crate::kit::{Call, Feed, Team, put};

fn replace(team: TeamId, by: u8, id: ObjectId, generation: Option<u32>) -> Call {
    let request = BatchRequest {
        operation: BatchOperation::Replace,
        objects: vec![BatchedId { id, generation }],
        following: None,
    };
    Call::post(team, "objects/batch", &request).by(by)
}

async fn granted(hub: &TestHub, call: &Call) -> BatchedObject {
    let mut response: BatchResponse = call.send(hub).await.json();
    response.objects.remove(0)
}

fn action(object: BatchedObject) -> Action {
    match object.actions {
        Some(Actions::Upload(action)) => action,
        other => panic!("{other:?}, {:?}", object.error),
    }
}

#[tokio::test]
async fn a_claim_of_damage_puts_the_right_bytes_there_and_does_nothing_else() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.share(&hub, 1).await;
    let (id, bytes) = feed.objects[1].clone();
    let key = format!("packs/{}.0", id.sha256);
    let bucket = hub.bucket(team.id());
    let before = bucket.objects();
    let holds = |wanted: &[u8]| bucket.objects()[&key] == wanted;

    // Nothing is wrong with it, and nothing changes.
    let claimed = action(granted(&hub, &replace(team.id(), 1, id, Some(0))).await);
    assert!(holds(&bytes));
    let mut wrong = bytes.clone();
    wrong[0] ^= 1;
    let status = put(&claimed, wrong.clone()).await.status;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(holds(&bytes));
    assert_eq!(put(&claimed, bytes.clone()).await.status, StatusCode::OK);
    assert_eq!(bucket.objects(), before);

    // Other bytes, half of them, and none at all.
    for damage in [Some(wrong), Some(bytes[1..].to_vec()), None] {
        match damage {
            Some(damage) => bucket.plant(&key, damage),
            None => bucket.remove(&key),
        }
        let mend = action(granted(&hub, &replace(team.id(), 1, id, Some(0))).await);
        assert_eq!(put(&mend, bytes.clone()).await.status, StatusCode::OK);
        assert_eq!(bucket.objects(), before);
    }
}

#[tokio::test]
async fn who_may_not_upload_may_not_replace_and_a_marker_ends_it() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.share(&hub, 1).await;
    let id = feed.objects[1].0;
    let error = replace(team.id(), 2, id, Some(0)).send(&hub).await.error();
    assert_eq!(error.code, HubErrorCode::RoleTooLow);
    let error = replace(team.id(), 1, id, None).send(&hub).await.error();
    assert_eq!(error.code, HubErrorCode::Malformed);
    let marker = format!("gc/condemned/packs/{}.0", id.sha256);
    hub.bucket(team.id()).plant(&marker, "");
    let refused = granted(&hub, &replace(team.id(), 1, id, Some(0))).await;
    assert!(refused.actions.is_none(), "{refused:?}");
    assert_eq!(refused.error.unwrap().code, HubErrorCode::NotFound);
    // The next generation is another object.
    let next = granted(&hub, &replace(team.id(), 1, id, Some(1))).await;
    assert_eq!(next.object.generation, 1);
    assert!(next.actions.is_some());
}

#[tokio::test]
async fn what_is_put_back_fits_the_quota_and_what_is_there_is_counted_once() {
    let mut team = Team::new();
    team.add(1, Role::Publisher);
    let options = Options {
        quota: Some(2500),
        ..Options::default()
    };
    let hub = TestHub::only(team.id(), options).await.unwrap();
    team.post(&hub).await;
    let id = |number: u8, size| ObjectId {
        kind: ObjectKind::Pack,
        sha256: Sha256::from_bytes([number; 32]),
        size,
    };
    let there = id(1, 2000);
    let key = format!("packs/{}.0", there.sha256);
    hub.bucket(team.id()).plant(&key, vec![0; 2000]);
    let granted = granted(&hub, &replace(team.id(), 1, there, Some(0))).await;
    assert!(granted.actions.is_some(), "{granted:?}");
    let gone = replace(team.id(), 1, id(2, 600), Some(0)).send(&hub).await;
    assert_eq!(gone.error().code, HubErrorCode::QuotaExceeded);
}
