//! Teams that this hub serves no more are sent to where they are.

use podsync_api::hub::HubErrorCode;
use podsync_core::{TeamId, keys::DeviceSecret, moved::HubMoved, signed::verify};
use podsync_hub::{
    moved::Moved,
    testing::{Options, TestHub},
};
use reqwest::StatusCode;

use crate::kit::{Answer, Call, client};

const TO: &str = "https://new.example";
const WITNESS: [u8; 32] = [0x77; 32];

async fn left() -> TestHub {
    let options = Options {
        moved: Moved {
            others: Some(TO.to_owned()),
            ..Moved::default()
        },
        ..Options::default()
    };
    TestHub::only(TeamId::of(b"one that stayed"), options)
        .await
        .unwrap()
}

#[tokio::test]
async fn whoever_asks_is_told_where_the_team_is_signed_for_that_request() {
    let hub = left().await;
    let team = TeamId::of(b"one that left");
    let call = Call::get(team, "heads").by(1);
    let error = call.send(&hub).await.error();
    assert_eq!(error.code, HubErrorCode::Moved);
    let said = verify::<HubMoved>(&error.moved.unwrap()).unwrap();
    assert_eq!(said.signer(), DeviceSecret::from_seed(WITNESS).id());
    assert_eq!(said.team(), team);
    assert_eq!(said.value().to, TO);
    assert_eq!(said.value().nonce, call.nonce);
    // One that nobody signed for is told nothing that is signed.
    let url = format!("{}/v1/teams/{team}", hub.url());
    let error = Answer::of(client().get(url).send().await.unwrap())
        .await
        .error();
    assert!(error.code == HubErrorCode::Moved && error.moved.is_none());
    let forged = Call::get(team, "heads").signature_for("other.example");
    let error = call.send_with(&hub, &forged).await.error();
    assert_eq!(error.code, HubErrorCode::BadSignature);
    assert!(error.moved.is_none());
}

#[tokio::test]
async fn the_team_that_stayed_is_served_and_a_hub_without_teams_is_ready() {
    let hub = left().await;
    let stayed = TeamId::of(b"one that stayed");
    let info = client().get(format!("{}/v1/teams/{stayed}", hub.url()));
    assert_eq!(info.send().await.unwrap().status(), StatusCode::OK);
    let options = Options {
        moved: Moved {
            others: Some(TO.to_owned()),
            ..Moved::default()
        },
        ..Options::default()
    };
    let empty = TestHub::of_none(options).await.unwrap();
    let ready = client().get(format!("{}/health/ready", empty.url()));
    assert_eq!(ready.send().await.unwrap().status(), StatusCode::NO_CONTENT);
}
