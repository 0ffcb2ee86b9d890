//! What the hub refuses, and with which words.

use podsync_api::hub::{
    BatchOperation, BatchResponse, FetchOperations, HubErrorCode, MAX_BODY_LEN, ObjectId,
    ObjectKind, Sha256, Stored, signature::SignatureHeaders,
};
use podsync_core::{TeamId, feed::Head, signed::verify};
use podsync_hub::{
    storage::memory::Fault,
    testing::{Options, TestHub},
};
use reqwest::{Method, StatusCode};

use crate::kit::{Call, Feed, Team, batch, client, device, object, upload};

async fn hub_and_team() -> (TestHub, Team) {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    (hub, team)
}

async fn code(call: Call, hub: &TestHub) -> HubErrorCode {
    call.send(hub).await.error().code
}

#[tokio::test]
async fn a_request_without_or_with_a_wrong_signature_is_refused() {
    let (hub, team) = hub_and_team().await;
    let call = Call::get(team.id(), "heads").by(2);
    let url = format!("{}{}", hub.url(), call.path);
    let bare = client().get(&url).send().await.unwrap();
    assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);

    // Signed by 2 in the name of 0.
    let good = call.signature(&hub);
    let [own, other] = [2, 0].map(|number| device(number).id().to_string());
    let forged = SignatureHeaders {
        signature_input: good.signature_input.replace(&own, &other),
        ..good.clone()
    };
    let error = call.send_with(&hub, &forged).await.error();
    assert_eq!(error.code, HubErrorCode::BadSignature);
    assert_eq!(call.send_with(&hub, &good).await.status, StatusCode::OK);
}

#[tokio::test]
async fn headers_of_two_requests_do_not_mix() {
    let (hub, team) = hub_and_team().await;
    let known = |known| FetchOperations { known };
    let one = Call::post(team.id(), "membership/fetch", &known(vec![]));
    let two = Call::post(
        team.id(),
        "membership/fetch",
        &known(team.membership.heads().to_vec()),
    );
    let (first, second) = (one.signature(&hub), two.signature(&hub));
    let mixed = SignatureHeaders {
        content_digest: second.content_digest.clone(),
        ..first.clone()
    };
    for (call, headers) in [
        (&one, &mixed),
        (&two, &mixed),
        (&two, &first),
        (&one, &second),
    ] {
        let error = call.send_with(&hub, headers).await.error();
        assert_eq!(error.code, HubErrorCode::BadSignature);
    }
    // A request for one path is none for another.
    let mut elsewhere = one.clone();
    elsewhere.path = elsewhere.path.replace("/fetch", "");
    let error = elsewhere.send_with(&hub, &first).await.error();
    assert_eq!(error.code, HubErrorCode::BadSignature);
}

#[tokio::test]
async fn a_replayed_request_is_refused_and_changes_nothing_elsewhere() {
    let (hub, team) = hub_and_team().await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.upload(&hub).await;
    let call = feed.committing(1);
    let headers = call.signature(&hub);
    assert_eq!(call.send_with(&hub, &headers).await.status, StatusCode::OK);
    let before = hub.bucket(team.id()).objects();
    let error = call.send_with(&hub, &headers).await.error();
    assert_eq!(error.code, HubErrorCode::Replayed);
    // What a replica that never saw the nonce does: the same again.
    let stored: Stored = feed.committing(1).send(&hub).await.json();
    assert_eq!(stored.seq, 1);
    assert_eq!(hub.bucket(team.id()).objects(), before);
}

#[tokio::test]
async fn a_clock_an_hour_off_is_told_the_time() {
    let (hub, team) = hub_and_team().await;
    for ahead in [-3600, 3600] {
        let mut call = Call::get(team.id(), "heads");
        call.ahead = ahead;
        let error = call.send(&hub).await.error();
        assert_eq!(error.code, HubErrorCode::ClockSkew);
        let off = (ahead * 1000).unsigned_abs();
        let now: podsync_api::hub::Time = client()
            .get(format!("{}/v1/time", hub.url()))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert!(error.time_ms.unwrap().abs_diff(now.time_ms) < off / 2);
    }
}

#[tokio::test]
async fn who_is_not_in_the_team_gets_nothing() {
    let (hub, team) = hub_and_team().await;
    let other = Team::founded_by(30);
    let founding = podsync_api::hub::PostOperations {
        operations: other.operations.iter().map(Into::into).collect(),
    };
    let answer = Call::post(other.id(), "membership", &founding)
        .by(30)
        .send(&hub)
        .await;
    assert_eq!(answer.status, StatusCode::OK);

    let bytes = b"pack";
    let id = object(ObjectKind::Pack, bytes);
    for stranger in [30, 31] {
        for call in [
            Call::get(team.id(), "heads"),
            Call::get(team.id(), &format!("feeds/{}", device(1).id())),
            Call::post(team.id(), "membership/fetch", &FetchOperations::default()),
            upload(team.id(), stranger, vec![id]),
            batch(team.id(), stranger, BatchOperation::Download, vec![id]),
        ] {
            assert_eq!(code(call.by(stranger), &hub).await, HubErrorCode::NotListed);
        }
        let mut feed = Feed::new(team.id(), stranger);
        feed.drop_version("x");
        assert_eq!(
            code(feed.committing(1), &hub).await,
            HubErrorCode::NotListed
        );
    }
}

#[tokio::test]
async fn a_removed_device_is_refused_as_soon_as_the_hub_hears() {
    let (hub, mut team) = hub_and_team().await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.share(&hub, 1).await;
    team.act(|author| author.remove(device(1).id(), None).unwrap());
    team.post(&hub).await;
    feed.publish("a");
    assert_eq!(
        code(feed.committing(2), &hub).await,
        HubErrorCode::NotListed
    );
    assert_eq!(
        code(Call::get(team.id(), "heads").by(1), &hub).await,
        HubErrorCode::NotListed
    );
}

#[tokio::test]
async fn a_reader_neither_uploads_nor_commits() {
    let (hub, team) = hub_and_team().await;
    let id = object(ObjectKind::Pack, b"pack");
    assert_eq!(
        code(upload(team.id(), 2, vec![id]), &hub).await,
        HubErrorCode::RoleTooLow
    );
    let mut feed = Feed::new(team.id(), 2);
    feed.drop_version("x");
    assert_eq!(
        code(feed.committing(1), &hub).await,
        HubErrorCode::RoleTooLow
    );
    let seen = hub.bucket(team.id()).seen();
    assert!(!seen.iter().any(|seen| seen.what == "presign_put"));
}

#[tokio::test]
async fn entries_that_do_not_prove_each_other_are_refused() {
    let (hub, team) = hub_and_team().await;
    let mut feed = Feed::new(team.id(), 1);
    for _ in 0..3 {
        feed.drop_version("a");
    }
    let good = feed.commit_from(1);
    let mut gap = good.clone();
    gap.entries.remove(1);
    let mut swapped = good.clone();
    swapped.entries.swap(0, 1);
    let mut short = good.clone();
    short.entries.pop();
    let mut flipped = good.clone();
    let last = flipped.entries[2].entry.0.len() - 1;
    flipped.entries[2].entry.0[last] ^= 1;
    let mut others_head = good.clone();
    others_head.head = device(0)
        .sign(team.id(), verify::<Head>(&good.head).unwrap().value())
        .into();
    let mut others_entries = Feed::new(team.id(), 0);
    others_entries.drop_version("a");
    let others_entries = others_entries.commit_from(1);
    let mut other_team = Feed::new(TeamId::of(b"other"), 1);
    other_team.drop_version("a");
    let other_team = other_team.commit_from(1);
    for commit in [
        gap,
        swapped,
        short,
        flipped,
        others_head,
        others_entries,
        other_team,
    ] {
        let call = Call::post(team.id(), "commit", &commit).by(1);
        assert_eq!(code(call, &hub).await, HubErrorCode::Untrusted);
    }
    let keys = hub.bucket(team.id()).objects();
    assert!(
        !keys
            .keys()
            .any(|key| key.starts_with("heads/") || key.starts_with("segments/"))
    );
}

#[tokio::test]
async fn a_commit_needs_a_place_for_each_blob_and_outboards() {
    let (hub, team) = hub_and_team().await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    let good = feed.commit_from(1);
    let mut fewer = good.clone();
    fewer.entries[0].objects.pop();
    let mut none = good.clone();
    none.entries[0].outboards.clear();
    let mut of_another_kind = good.clone();
    of_another_kind.entries[0].outboards[0].id.kind = ObjectKind::Pack;
    for commit in [fewer, none, of_another_kind] {
        let call = Call::post(team.id(), "commit", &commit).by(1);
        assert_eq!(code(call, &hub).await, HubErrorCode::Malformed);
    }
}

#[tokio::test]
async fn a_gap_and_a_fork_are_told_apart() {
    let (hub, team) = hub_and_team().await;
    let mut feed = Feed::new(team.id(), 1);
    for _ in 0..3 {
        feed.drop_version("a");
    }
    let error = feed.committing(2).send(&hub).await.error();
    assert_eq!(
        (error.code, error.expected_seq),
        (HubErrorCode::NotNext, Some(1))
    );
    feed.share(&hub, 1).await;

    let mut restored = Feed::new(team.id(), 1);
    restored.drop_version("a");
    restored.drop_version("b");
    let error = restored.committing(1).send(&hub).await.error();
    assert_eq!(error.code, HubErrorCode::Forked);
    let head = verify::<Head>(&error.head.unwrap()).unwrap();
    assert_eq!(head.value().entry, feed.last.as_ref().unwrap().hash());
    for _ in 0..2 {
        restored.drop_version("b");
    }
    let error = restored.committing(4).send(&hub).await.error();
    assert_eq!(error.code, HubErrorCode::Forked, "another entry before it");
    let mut ahead = Feed::new(team.id(), 1);
    for _ in 0..5 {
        ahead.drop_version("a");
    }
    let error = ahead.committing(5).send(&hub).await.error();
    assert_eq!(
        (error.code, error.expected_seq),
        (HubErrorCode::NotNext, Some(4))
    );
}

#[tokio::test]
async fn a_commit_without_its_objects_names_what_is_missing() {
    let (hub, team) = hub_and_team().await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    let error = feed.committing(1).send(&hub).await.error();
    assert_eq!(error.code, HubErrorCode::MissingObjects);
    assert_eq!(error.missing.len(), 3);
    feed.upload(&hub).await;
    // One that vanished, and one that is another length than the header says.
    let keys: Vec<_> = hub.bucket(team.id()).objects().into_keys().collect();
    let key = |folder: &str| keys.iter().find(|key| key.starts_with(folder)).unwrap();
    hub.bucket(team.id()).remove(key("outboards/"));
    hub.bucket(team.id()).plant(key("packs/"), "short");
    let error = feed.committing(1).send(&hub).await.error();
    let kinds: Vec<_> = error.missing.iter().map(|object| object.id.kind).collect();
    assert_eq!(kinds, [ObjectKind::Pack, ObjectKind::Outboards]);
}

/// Its bytes may be gone for good: were they asked for, its device could commit nothing any more.
#[tokio::test]
async fn what_somebody_else_dropped_may_come_without_its_bytes() {
    let (hub, team) = hub_and_team().await;
    let [mut admins, mut publishers] = [0, 1].map(|by| Feed::new(team.id(), by));
    for feed in [&mut admins, &mut publishers] {
        feed.publish("a");
    }
    assert_eq!(
        code(publishers.committing(1), &hub).await,
        HubErrorCode::MissingObjects,
        "nobody has dropped it yet"
    );
    admins.retire(&publishers.last.clone().unwrap());
    admins.share(&hub, 1).await;
    let stored: Stored = publishers.committing(1).send(&hub).await.json();
    assert_eq!(stored.seq, 1);
    // A publisher ends nothing of an admin's.
    admins.publish("a");
    publishers.retire(&admins.last.clone().unwrap());
    publishers.committing(2).send(&hub).await.json::<Stored>();
    assert_eq!(
        code(admins.committing(3), &hub).await,
        HubErrorCode::MissingObjects
    );
}

#[tokio::test]
async fn a_bucket_that_is_down_is_told_with_a_time_to_come_back() {
    let (hub, team) = hub_and_team().await;
    let bucket = hub.bucket(team.id());
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.upload(&hub).await;
    bucket.fail(Fault::Unavailable);
    let id = object(ObjectKind::Pack, b"pack");
    for call in [
        feed.committing(1),
        Call::get(team.id(), "heads"),
        upload(team.id(), 1, vec![id]),
    ] {
        let answer = call.send(&hub).await;
        assert_eq!(answer.error().code, HubErrorCode::StorageUnavailable);
        assert_eq!(answer.headers["retry-after"], "5");
        assert!(!answer.text().contains("SlowDown"));
    }
    let ready = client().get(format!("{}/health/ready", hub.url()));
    assert_eq!(
        ready.send().await.unwrap().status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    let live = client().get(format!("{}/health/live", hub.url()));
    assert_eq!(live.send().await.unwrap().status(), StatusCode::NO_CONTENT);

    bucket.fail(Fault::Full);
    let error = feed.committing(1).send(&hub).await.error();
    assert_eq!(error.code, HubErrorCode::QuotaExceeded);
    bucket.fail(Fault::None);
    assert_eq!(feed.committing(1).send(&hub).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_bucket_that_refuses_the_hub_is_told_as_one_that_goes_on_refusing() {
    let (hub, team) = hub_and_team().await;
    let bucket = hub.bucket(team.id());
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.upload(&hub).await;
    for (fault, lasts) in [(Fault::Unavailable, false), (Fault::ReadOnly, true)] {
        bucket.fail(fault);
        let answer = feed.committing(1).send(&hub).await;
        let error = answer.error();
        assert_eq!(
            (error.code, error.lasts),
            (HubErrorCode::StorageUnavailable, lasts),
            "{error}"
        );
        assert_eq!(answer.headers.contains_key("retry-after"), !lasts);
    }
}

#[tokio::test]
async fn a_quota_refuses_the_whole_batch_before_a_byte_is_sent() {
    let mut team = Team::new();
    team.add(1, podsync_core::membership::Role::Publisher);
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
    let answer = upload(team.id(), 1, vec![id(1, 1000), id(2, 2000)])
        .send(&hub)
        .await;
    let refused = answer.error();
    assert_eq!(refused.code, HubErrorCode::QuotaExceeded);
    assert!(
        refused
            .message
            .contains("bucket (memory) holds 0 of 2500 bytes"),
        "{refused:?}"
    );
    let seen = hub.bucket(team.id()).seen();
    assert!(!seen.iter().any(|seen| seen.what == "presign_put"));
    // What was promised counts, and once.
    for _ in 0..2 {
        let answer = upload(team.id(), 1, vec![id(1, 1000), id(3, 1000)])
            .send(&hub)
            .await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    let answer = upload(team.id(), 1, vec![id(4, 600)]).send(&hub).await;
    assert_eq!(answer.error().code, HubErrorCode::QuotaExceeded);
    let answer = upload(team.id(), 1, vec![id(5, 500)]).send(&hub).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let (hub, team) = hub_and_team().await;
    let mut call = Call::post(team.id(), "commit", &"").by(1);
    call.body = vec![b' '; MAX_BODY_LEN + 1];
    assert_eq!(code(call, &hub).await, HubErrorCode::TooLarge);
    let many: Vec<_> = (0..1001u32)
        .map(|number| object(ObjectKind::Pack, &number.to_le_bytes()))
        .collect();
    assert_eq!(
        code(upload(team.id(), 1, many), &hub).await,
        HubErrorCode::TooLarge
    );
    let mut feed = Feed::new(team.id(), 1);
    for _ in 0..65 {
        feed.drop_version("a");
    }
    assert_eq!(code(feed.committing(1), &hub).await, HubErrorCode::TooLarge);
    let mut long = object(ObjectKind::Pack, b"pack");
    long.size = ObjectKind::Pack.max_len() + 1;
    let fine = object(ObjectKind::Pack, b"fine");
    let response: BatchResponse = upload(team.id(), 1, vec![long, fine])
        .send(&hub)
        .await
        .json();
    let error = response.objects[0].error.as_ref().unwrap();
    assert_eq!(error.code, HubErrorCode::TooLarge);
    assert!(response.objects[1].actions.is_some());
}

#[tokio::test]
async fn unknown_teams_paths_and_garbage_are_refused() {
    let team = Team::new();
    let hub = TestHub::only(team.id(), Options::default()).await.unwrap();
    let other = TeamId::of(b"other");
    assert_eq!(
        code(Call::get(other, "heads"), &hub).await,
        HubErrorCode::UnknownTeam
    );
    // Nobody brought its operations yet.
    assert_eq!(
        code(Call::get(team.id(), "heads"), &hub).await,
        HubErrorCode::UnknownTeam
    );
    let mut call = Call::get(team.id(), "heads");
    call.path = "/v1/teams/nonsense/heads".to_owned();
    assert_eq!(code(call, &hub).await, HubErrorCode::UnknownTeam);
    assert_eq!(
        code(Call::get(team.id(), "nonsense"), &hub).await,
        HubErrorCode::NotFound
    );
    for path in ["commit", "objects/batch", "membership", "join", "liveness"] {
        for garbage in [
            &b"{"[..],
            b"null",
            b"\xff\xfe",
            b"[[[[[[[[",
            b"{\"objects\":7}",
        ] {
            let mut call = Call::get(team.id(), path);
            call.method = Method::POST;
            call.body = garbage.to_vec();
            assert_eq!(code(call, &hub).await, HubErrorCode::Malformed);
        }
    }
    let info = client().get(format!("{}/v1/teams/{other}", hub.url()));
    assert_eq!(info.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let twice = vec![object(ObjectKind::Pack, b"x"); 2];
    assert_eq!(
        code(upload(team.id(), 0, twice), &hub).await,
        HubErrorCode::Malformed
    );
}

#[tokio::test]
async fn what_is_not_there_is_answered_object_by_object() {
    let (hub, team) = hub_and_team().await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.upload(&hub).await;
    let gone = object(ObjectKind::Pack, b"never there");
    let ids = vec![gone, feed.objects[0].0];
    let answer = batch(team.id(), 2, BatchOperation::Download, ids)
        .send(&hub)
        .await;
    let response: BatchResponse = answer.json();
    assert_eq!(
        response.objects[0].error.as_ref().unwrap().code,
        HubErrorCode::NotFound
    );
    assert!(response.objects[1].actions.is_some());
}
