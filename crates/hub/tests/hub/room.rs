//! Room that a device says it is going to need is kept for it, and a quota holds all the same.

use podsync_api::hub::{
    BatchOperation, BatchRequest, BatchedId, HubErrorCode, ObjectId, ObjectKind, Sha256,
};
use podsync_core::membership::Role;
use podsync_hub::testing::{Options, TestHub};
use reqwest::StatusCode;

use crate::kit::{Call, Team};

/// An upload of a pack of 1000 bytes, with what the device says will follow.
fn asking(team: &Team, by: u8, number: u8, following: Option<u64>) -> Call {
    let id = ObjectId {
        kind: ObjectKind::Pack,
        sha256: Sha256::from_bytes([number; 32]),
        size: 1000,
    };
    let request = BatchRequest {
        operation: BatchOperation::Upload,
        objects: vec![BatchedId {
            id,
            generation: None,
        }],
        following,
    };
    Call::post(team.id(), "objects/batch", &request).by(by)
}

#[tokio::test]
async fn room_is_kept_for_what_follows_and_nothing_is_signed_that_would_not_fit() {
    let mut team = Team::new();
    team.add(1, Role::Publisher);
    let options = Options {
        quota: Some(3500),
        ..Options::default()
    };
    let hub = TestHub::only(team.id(), options).await.unwrap();
    team.post(&hub).await;
    let refused = |call: Call| {
        let hub = &hub;
        async move { call.send(hub).await.error().code == HubErrorCode::QuotaExceeded }
    };
    let fits = |call: Call| {
        let hub = &hub;
        async move { call.send(hub).await.status == StatusCode::OK }
    };
    // All of it has to fit before any of it is signed.
    assert!(refused(asking(&team, 1, 1, Some(3000))).await);
    assert!(refused(asking(&team, 1, 1, Some(u64::MAX))).await);
    let seen = hub.bucket(team.id()).seen();
    assert!(!seen.iter().any(|seen| seen.what == "presign_put"));
    assert!(fits(asking(&team, 1, 1, Some(2000))).await);
    // Nobody else gets what is kept, and asking again for one thing gives nothing up.
    assert!(refused(asking(&team, 0, 9, None)).await);
    assert!(fits(asking(&team, 1, 1, None)).await);
    assert!(refused(asking(&team, 0, 9, None)).await);
    assert!(fits(asking(&team, 1, 2, Some(1000))).await);
    // It needs less after all: the rest is anybody's.
    assert!(refused(asking(&team, 0, 9, None)).await);
    assert!(fits(asking(&team, 1, 2, Some(0))).await);
    assert!(fits(asking(&team, 0, 9, None)).await);
    assert!(refused(asking(&team, 1, 3, None)).await);
}
