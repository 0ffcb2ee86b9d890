//! A hub that says that the team's hub is elsewhere is believed for the request that it answers.

use axum::http::StatusCode;
use podsync_api::hub::{Base64, HubError, HubErrorCode};
use podsync_bucket::HubClientError;
use podsync_core::{TeamId, moved::HubMoved};
use podsync_hub::{
    moved::Moved,
    testing::{Options, TestHub},
};

use crate::{
    fake::{Fake, answer, json},
    kit::{client, device, hasty},
};

const TO: &str = "https://new.example";

#[tokio::test]
async fn where_the_hub_is_now_is_told_with_who_signed_it() {
    let options = Options {
        witness: Some([0x77; 32]),
        moved: Moved {
            others: Some(TO.to_owned()),
            ..Moved::default()
        },
        ..Options::default()
    };
    let hub = TestHub::of_none(options).await.unwrap();
    let asking = client(&hub.url(), TeamId::of(b"team"), 1, hasty());
    let witness = podsync_core::keys::DeviceSecret::from_seed([0x77; 32]).id();
    for _ in 0..2 {
        match asking.heads(None).await {
            Err(HubClientError::Moved { to, signer, .. }) => {
                assert_eq!((&to[..], signer), (TO, witness));
            }
            other => panic!("{other:?}"),
        }
    }
    // Asked without a signature it says so to people only.
    let error = asking.team_info().await.unwrap_err();
    assert_eq!(error.refusal().unwrap().code, HubErrorCode::Moved);
    assert!(error.to_string().contains(TO), "{error}");
}

#[tokio::test]
async fn an_answer_that_was_not_made_for_this_request_is_none() {
    let fake = Fake::start().await;
    let team = TeamId::from_bytes([1; 32]);
    let signed = |team, to: &str| {
        let moved = HubMoved {
            to: to.to_owned(),
            nonce: [9; 16],
        };
        Some(Box::new(Base64(device(7).sign(team, &moved))))
    };
    for (moved, why) in [
        (None, "nobody signed"),
        (Some(Box::new(Base64(vec![1; 90]))), "nobody signed"),
        (signed(team, TO), "another request"),
        (signed(TeamId::of(b"other"), TO), "another request"),
    ] {
        let error = HubError {
            moved,
            ..HubError::new(HubErrorCode::Moved, "elsewhere")
        };
        fake.hub([answer(json(StatusCode::GONE, &error))]);
        let error = fake.client().heads(None).await.unwrap_err();
        assert!(
            matches!(&error, HubClientError::Garbled { what, .. } if what.contains(why)),
            "{error}"
        );
    }
}
