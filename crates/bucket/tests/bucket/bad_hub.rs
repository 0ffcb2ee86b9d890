//! Hubs that are down, slow or have a wrong clock, and servers that are no hub.

use std::time::{Duration, Instant, SystemTime};

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::IntoResponse,
};
use bytes::Bytes;
use futures::StreamExt;
use podsync_api::hub::{
    BatchResponse, HubError, HubErrorCode, MAX_BODY_LEN, ObjectKind, Time,
    signature::{SignatureHeaders, SignedRequest, Target, verify},
};
use podsync_bucket::{HubClientError, Patience, TransferError, Upload};
use podsync_hub::testing::{Options, TestHub};

use crate::{
    fake::{Fake, answer, hang, json, odd, status},
    kit::{MIB, Team, bytes, hasty, nobody, pack},
};

fn busy() -> HubError {
    HubError::new(HubErrorCode::StorageUnavailable, "the bucket is down")
}

#[tokio::test]
async fn a_hub_that_is_down_is_told() {
    let fake = Fake::start().await;
    let hub = fake.client();
    let address = fake.address();
    drop(fake);
    // The port is free once the server is gone.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let error = hub.heads(None).await.unwrap_err();
    let was_not_asked = matches!(error, HubClientError::Unreachable { asked: false, .. });
    assert!(was_not_asked && error.may_pass(), "{error:?}");
    let text = format!("{error}; {}", error.hint().unwrap());
    assert!(
        text.contains(&address.to_string()) && text.contains("check the network"),
        "{text}"
    );
}

#[tokio::test]
async fn a_hub_that_hangs_is_given_up() {
    let fake = Fake::start().await;
    fake.hub((0..9).map(|_| hang()));
    let hub = fake.patient(Patience {
        one_try: Duration::from_millis(20),
        ..hasty()
    });
    let error = hub.heads(None).await.unwrap_err();
    assert!(
        matches!(error, HubClientError::Unreachable { asked: true, .. }),
        "{error}"
    );
    assert_eq!(fake.count("heads"), 5);
    // In all no longer than a call may take.
    let hub = fake.patient(Patience {
        call: Duration::from_millis(20),
        ..hasty()
    });
    let error = hub.heads(None).await.unwrap_err();
    assert!(
        matches!(error, HubClientError::Unreachable { .. }),
        "{error}"
    );
    assert_eq!(fake.count("heads"), 6);
}

#[tokio::test]
async fn a_hub_that_fails_is_asked_again_within_bounds() {
    let fake = Fake::start().await;
    let hub = fake.client();
    let time = json(StatusCode::OK, &Time { time_ms: 5 });
    fake.hub([
        status(500),
        answer(json(StatusCode::SERVICE_UNAVAILABLE, &busy())),
    ]);
    fake.hub([status(429), answer(time)]);
    assert_eq!(hub.time().await.unwrap().time_ms, 5);
    assert_eq!(fake.count("time"), 4);

    fake.hub((0..5).map(|_| answer(json(StatusCode::SERVICE_UNAVAILABLE, &busy()))));
    let error = hub.time().await.unwrap_err();
    assert!(
        matches!(error, HubClientError::Busy { .. }) && error.may_pass(),
        "{error}"
    );
    assert_eq!(fake.count("time"), 4 + 5);
}

#[tokio::test]
async fn a_proxy_that_answers_for_the_hub_is_told_apart_from_it() {
    let fake = Fake::start().await;
    let hub = fake.client();
    let page = |code: StatusCode| {
        let headers = [(header::RETRY_AFTER, "3600")];
        answer((code, headers, "<html>Bad Gateway</html>").into_response())
    };
    for code in [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ] {
        fake.hub([page(code)]);
        let error = hub.time().await.unwrap_err();
        let told =
            matches!(error, HubClientError::NotTheHub { status, .. } if status == code.as_u16());
        assert!(told && error.may_pass(), "{error:?}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
        let text = error.to_string();
        let words = format!("and not the hub: status {}", code.as_u16());
        assert!(text.contains(&words), "{text}");
    }
    // An error of a hub with the status of another one isn't the hub's.
    let odd = json(StatusCode::BAD_GATEWAY, &busy());
    fake.hub([answer(odd)]);
    fake.hub((0..4).map(|_| status(502)));
    let error = hub.time().await.unwrap_err();
    let told = matches!(error, HubClientError::NotTheHub { status: 502, .. });
    assert!(told, "{error:?}");
    assert_eq!(fake.count("time"), 4 + 5);
}

#[tokio::test]
async fn a_hub_whose_bucket_goes_on_refusing_it_is_not_asked_again() {
    let fake = Fake::start().await;
    let refused = HubError {
        lasts: true,
        ..HubError::new(
            HubErrorCode::StorageUnavailable,
            "the team's bucket (501 NotImplemented) refuses the hub",
        )
    };
    fake.hub([answer(json(StatusCode::SERVICE_UNAVAILABLE, &refused))]);
    let error = fake.client().heads(None).await.unwrap_err();
    let refuses = matches!(error, HubClientError::BucketRefuses { .. });
    assert!(refuses && !error.may_pass(), "{error}");
    assert!(error.to_string().contains("501 NotImplemented"), "{error}");
    assert_eq!(fake.count("heads"), 1);
}

#[tokio::test]
async fn what_is_said_of_who_does_not_answer_is_true() {
    let fake = Fake::start().await;
    let hub = fake.client();
    let begun = Instant::now();
    // Nobody has asked it yet.
    assert!(!hub.is_silent_for(Duration::ZERO));
    fake.hub([hang()]);
    let taken = async {
        while fake.count("heads") == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = hub.heads(None) => panic!("it can't answer"),
        () = taken => {}
    }
    assert!(hub.is_silent_for(Duration::ZERO));
    // A refusal is an answer.
    let error = hub.heads(None).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().code, HubErrorCode::NotFound);
    assert!(!hub.is_silent_for(Duration::ZERO));
    // So is one of the bucket, which is told apart from the hub.
    assert_eq!(hub.not_taken(begun), None);
    fake.bucket((0..9).map(|_| status(503)));
    hub.upload(&[pack(&bytes(1, 9))], nobody).await.unwrap_err();
    let said = hub.not_taken(begun).unwrap();
    assert!(said.contains("HTTP 503"), "{said}");
    assert_eq!(hub.not_served(begun), None);
    assert_eq!(hub.not_taken(Instant::now()), None);
}

#[tokio::test]
async fn a_hub_is_asked_again_when_it_says_and_not_before() {
    let fake = Fake::start().await;
    let refused = |after: &'static str| {
        let body = serde_json::to_vec(&busy()).unwrap();
        let headers = [(header::RETRY_AFTER, after)];
        answer((StatusCode::SERVICE_UNAVAILABLE, headers, body).into_response())
    };
    fake.hub([
        refused("1"),
        answer(json(StatusCode::OK, &Time { time_ms: 5 })),
    ]);
    let hub = fake.patient(Patience {
        longest_pause: Duration::from_secs(2),
        ..hasty()
    });
    let begun = Instant::now();
    hub.time().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    // Longer than anybody waits: that is the caller's to do.
    fake.hub([refused("3600")]);
    let error = hub.time().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert_eq!(fake.count("time"), 3);
}

#[tokio::test]
async fn redirects_of_a_hub_are_not_followed() {
    let (fake, other) = (Fake::start().await, Fake::start().await);
    let location = format!("http://{}/v1/time", other.address());
    for code in [301, 302, 307, 308] {
        let status = StatusCode::from_u16(code).unwrap();
        let headers = [(header::LOCATION, location.clone())];
        fake.hub([answer((status, headers).into_response())]);
        let error = fake.client().time().await.unwrap_err();
        assert!(matches!(error, HubClientError::Garbled { .. }), "{error}");
    }
    assert_eq!((fake.count("time"), other.count("time")), (4, 0));
}

#[tokio::test]
async fn huge_answers_and_headers_are_bounded() {
    let fake = Fake::start().await;
    let hub = fake.client();
    let endless = || {
        let piece = Bytes::from(vec![b' '; 1 << 20]);
        Body::from_stream(futures::stream::repeat(piece).map(Ok::<_, std::io::Error>))
    };
    fake.hub([
        answer(vec![b' '; MAX_BODY_LEN + 1].into_response()),
        answer(endless().into_response()),
        answer((StatusCode::FORBIDDEN, endless()).into_response()),
    ]);
    for _ in 0..3 {
        let error = hub.time().await.unwrap_err();
        assert!(error.to_string().contains("has more than"), "{error}");
    }
    let huge = || {
        let value = "a".repeat(1 << 20);
        answer(([("x-huge", value)], "{}").into_response())
    };
    fake.hub((0..5).map(|_| huge()));
    let error = hub.time().await.unwrap_err();
    assert!(
        matches!(error, HubClientError::Unreachable { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_no_hub_is_told_so() {
    let fake = Fake::start().await;
    let hub = fake.client();
    fake.hub([
        answer("<html>".into_response()),
        answer((StatusCode::NOT_FOUND, "nginx").into_response()),
        answer(r#"{"time_ms":"https://bucket/?signature=SECRET"}"#.into_response()),
        // A hub error with an unexpected status.
        answer(json(StatusCode::FORBIDDEN, &busy())),
    ]);
    for _ in 0..4 {
        let error = hub.time().await.unwrap_err();
        assert!(matches!(error, HubClientError::Garbled { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("SECRET"));
    }
    let none = BatchResponse {
        objects: Vec::new(),
    };
    fake.hub([answer(json(StatusCode::OK, &none))]);
    let error = hub.upload(&[pack(&bytes(1, 9))], nobody).await.unwrap_err();
    assert!(error.to_string().contains("other objects"), "{error}");
    fake.hub([answer(StatusCode::NOT_MODIFIED.into_response())]);
    let error = hub.heads(None).await.unwrap_err();
    assert!(error.to_string().contains("without an ETag"), "{error}");
}

/// What the hub's check says about a request at a time.
fn checked(headers: &axum::http::HeaderMap, authority: &str, now: u64) -> Option<SignedRequest> {
    let value = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let headers = SignatureHeaders {
        content_digest: value("content-digest")?,
        signature_input: value("signature-input")?,
        signature: value("signature")?,
    };
    let team = podsync_core::TeamId::from_bytes([1; 32]);
    let target = Target {
        method: "GET",
        authority,
        path: &format!("/v1/teams/{team}/heads"),
        query: None,
    };
    verify(&target, &[authority], &headers, now).ok()
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs()
}

#[tokio::test]
async fn a_clock_an_hour_off_is_no_hindrance() {
    for ahead in [3600_i64, -3600] {
        let fake = Fake::start().await;
        let hub = fake.client();
        let there = now().saturating_add_signed(ahead);
        let mut skewed = HubError::new(HubErrorCode::ClockSkew, "another time");
        skewed.time_ms = Some(there * 1000);
        let heads = || answer(json(StatusCode::OK, &podsync_api::hub::Heads::default()));
        fake.hub([
            answer(json(StatusCode::UNAUTHORIZED, &skewed)),
            heads(),
            heads(),
        ]);
        hub.heads(None).await.unwrap();
        hub.heads(None).await.unwrap();
        let authority = fake.address().to_string();
        let good: Vec<_> = fake
            .headers("heads")
            .iter()
            .map(|headers| checked(headers, &authority, there).is_some())
            .collect();
        // What was learnt is kept for the next call.
        assert_eq!(good, [false, true, true]);
    }
    // A hub that always rejects the time is not called for ever.
    let fake = Fake::start().await;
    let mut skewed = HubError::new(HubErrorCode::ClockSkew, "another time");
    skewed.time_ms = Some(0);
    fake.hub((0..9).map(|_| answer(json(StatusCode::UNAUTHORIZED, &skewed))));
    let error = fake.client().heads(None).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().code, HubErrorCode::ClockSkew);
    assert_eq!(fake.count("heads"), 2);
}

#[tokio::test]
async fn every_try_is_signed_anew() {
    let fake = Fake::start().await;
    let replayed = HubError::new(HubErrorCode::Replayed, "it was there already");
    fake.hub([
        status(500),
        answer(json(StatusCode::UNAUTHORIZED, &replayed)),
        answer(json(StatusCode::OK, &podsync_api::hub::Heads::default())),
    ]);
    fake.client().heads(None).await.unwrap();
    let authority = fake.address().to_string();
    let nonces: Vec<_> = fake
        .headers("heads")
        .iter()
        .map(|headers| checked(headers, &authority, now()).unwrap().nonce)
        .collect();
    assert_eq!(nonces.len(), 3);
    assert!(nonces[0] != nonces[1] && nonces[1] != nonces[2] && nonces[0] != nonces[2]);
}

#[tokio::test]
async fn a_role_and_a_quota_are_told_before_a_byte_is_sent() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let reader = team.client(&hub, 2);
    let error = reader.upload(&[pack(&bytes(1, 9))], nobody).await;
    let error = error.unwrap_err();
    let role = TransferError::Hub(HubClientError::RoleTooLow {
        hub: String::new(),
        message: String::new(),
    });
    assert_eq!(
        std::mem::discriminant(&error),
        std::mem::discriminant(&role)
    );
    assert!(
        matches!(error, TransferError::Hub(HubClientError::RoleTooLow { .. })),
        "{error}"
    );

    let team = Team::new();
    let options = Options {
        quota: Some(2 * MIB),
        ..Options::default()
    };
    let hub = TestHub::only(team.id, options).await.unwrap();
    team.client(&hub, 0)
        .post_operations(&team.post())
        .await
        .unwrap();
    let packs = [bytes(1, MIB), bytes(2, MIB), bytes(3, MIB)];
    let uploads: Vec<_> = packs.iter().map(pack).collect();
    let error = team
        .client(&hub, 1)
        .upload(&uploads, nobody)
        .await
        .unwrap_err();
    let quota = matches!(
        error,
        TransferError::Hub(HubClientError::QuotaExceeded { .. })
    );
    assert!(quota && !error.may_pass(), "{error}");
    let seen = hub.bucket(team.id).seen();
    assert!(!seen.iter().any(|seen| seen.by_url));
}

#[tokio::test]
async fn what_a_hub_may_not_ask_for_is_refused() {
    let pack = bytes(1, 9);
    let upload = Upload::of_bytes(ObjectKind::Pack, pack.clone());
    let href = "http://127.0.0.1:1/bucket/a?signature=SECRET-SIGNATURE";
    for (href, header) in [
        (href, ("transfer-encoding", "chunked")),
        (href, ("Host", "elsewhere")),
        (href, ("content-length", "8")),
        (href, ("a b", "c")),
        (href, ("x", "a\r\nb: SECRET-SIGNATURE")),
        ("file:///etc/passwd?SECRET-SIGNATURE", ("x", "y")),
        ("//SECRET-SIGNATURE", ("x", "y")),
        ("http://SECRET-SIGNATURE:a@127.0.0.1", ("x", "y")),
    ] {
        let fake = Fake::start().await;
        let id = upload.id;
        let body = serde_json::json!({ "objects": [{
            "kind": id.kind, "sha256": id.sha256, "size": id.size, "generation": 0,
            "actions": { "upload": {
                "href": href, "header": { header.0: header.1 }, "expires_in": 60,
            } },
        }] });
        fake.hub([odd(async move |_| json(StatusCode::OK, &body))]);
        let error = fake
            .client()
            .upload(std::slice::from_ref(&upload), nobody)
            .await;
        let error = error.unwrap_err();
        assert!(matches!(error, TransferError::Garbled { .. }), "{error}");
        assert!(
            !format!("{error} {error:?}").contains("SECRET"),
            "{error:?}"
        );
    }
}
