//! The hub's endpoints, each once and in its way.

use podsync_api::hub::{HubErrorCode, PostLiveness};
use podsync_bucket::{HeadsAnswer, HubClientError};
use podsync_core::{keys::DeviceSecret, wire::Liveness};
use podsync_hub::testing::TestHub;

use crate::kit::{Team, device};

#[tokio::test]
async fn a_device_learns_what_others_brought() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let (publisher, reader) = (team.client(&hub, 1), team.client(&hub, 2));

    let info = reader.team_info().await.unwrap();
    assert_eq!(info.witness, Some(DeviceSecret::from_seed([0x77; 32]).id()));
    assert!(reader.time().await.unwrap().time_ms > 0);
    let all = reader.fetch_operations(Vec::new()).await.unwrap();
    assert_eq!(all.operations.len(), team.operations.len());

    let HeadsAnswer::Changed { heads, etag } = reader.heads(None).await.unwrap() else {
        panic!("nothing is new at first");
    };
    assert!(heads.liveness.is_empty() && etag.is_some());
    let again = reader.heads(etag.as_deref()).await.unwrap();
    assert_eq!(again, HeadsAnswer::NotModified);

    let statement = Liveness {
        time_ms: 1,
        heads: [1; 32],
    };
    let statement = device(1).sign(team.id, &statement);
    let post = PostLiveness {
        statement: statement.clone().into(),
    };
    publisher.post_liveness(&post).await.unwrap();
    let HeadsAnswer::Changed { heads, .. } = reader.heads(etag.as_deref()).await.unwrap() else {
        panic!("nothing is new");
    };
    assert_eq!(heads.liveness, [statement.into()]);
    let error = reader.feed_page(device(1).id(), 1, None).await.unwrap_err();
    let code = error.refusal().map(|error| error.code);
    assert_eq!(code, Some(HubErrorCode::NotFound));
}

#[tokio::test]
async fn a_refusal_says_whose_it_is() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let error = team.client(&hub, 7).heads(None).await.unwrap_err();
    assert!(matches!(error, HubClientError::NotListed { .. }), "{error}");
    let other = crate::kit::client(
        &hub.url(),
        podsync_core::TeamId::from_bytes([9; 32]),
        1,
        crate::kit::hasty(),
    );
    let error = other.heads(None).await.unwrap_err();
    assert_eq!(
        error.refusal().map(|error| error.code),
        Some(HubErrorCode::UnknownTeam)
    );
    assert!(!error.may_pass());
}
