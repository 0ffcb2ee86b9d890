//! Uploads, commits, and reading back.

use podsync_api::hub::{
    Actions, BatchOperation, BatchResponse, FeedPage, Heads, HubErrorCode, ObjectKind,
    PostLiveness, Stored,
};
use podsync_core::{TeamId, feed::Head, signed::verify, wire::Liveness};
use podsync_hub::{
    storage::memory::Fault,
    testing::{Options, TestHub},
};
use reqwest::StatusCode;

use crate::kit::{Call, Feed, Team, batch, client, device, object, put, state, upload};

#[tokio::test]
async fn what_is_shared_comes_back() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.publish("a");
    assert_eq!(feed.share(&hub, 1).await, Stored { seq: 2 });

    let heads: Heads = Call::get(team.id(), "heads").by(2).send(&hub).await.json();
    assert_eq!(heads.membership, team.membership.heads());
    assert_eq!(heads.feeds.len(), 1);
    let head = verify::<Head>(&heads.feeds[0]).unwrap();
    assert_eq!(head.value().entry, feed.last.as_ref().unwrap().hash());

    let page = page(&hub, &feed, None).await;
    assert_eq!(page.entries[0], feed.entries[1]);
    assert_eq!(page.entries[1], feed.entries[0]);
    assert!(!page.more && page.entries.len() == 2);

    let ids: Vec<_> = feed.objects.iter().map(|(id, _)| *id).collect();
    let answer = batch(team.id(), 2, BatchOperation::Download, ids)
        .send(&hub)
        .await;
    let response: BatchResponse = answer.json();
    for (batched, (_, bytes)) in response.objects.iter().zip(&feed.objects) {
        let Some(Actions::Download(action)) = &batched.actions else {
            panic!("{batched:?}");
        };
        let got = client()
            .get(&action.href)
            .send()
            .await
            .unwrap()
            .bytes()
            .await;
        assert_eq!(&got.unwrap()[..], &bytes[..]);
        let range = client().get(&action.href).header("range", "bytes=3-9");
        let range = range.send().await.unwrap();
        assert_eq!(range.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(range.bytes().await.unwrap(), bytes[3..10]);
    }
}

async fn page(hub: &TestHub, feed: &Feed, query: Option<&str>) -> FeedPage {
    let mut call = Call::get(feed.team, &format!("feeds/{}", feed.device())).by(2);
    call.query = query.map(str::to_owned);
    call.send(hub).await.json()
}

#[tokio::test]
async fn what_is_there_needs_no_second_upload() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let bytes = state("pack", 1);
    let id = object(ObjectKind::Pack, &bytes);
    let first: BatchResponse = upload(team.id(), 1, vec![id]).send(&hub).await.json();
    let Some(Actions::Upload(action)) = &first.objects[0].actions else {
        panic!("no action");
    };
    assert_eq!(put(action, bytes.clone()).await.status, StatusCode::OK);
    // Two devices had the same pack: the second learns that it is there.
    assert_eq!(
        put(action, bytes).await.status,
        StatusCode::PRECONDITION_FAILED
    );
    let again: BatchResponse = upload(team.id(), 0, vec![id]).send(&hub).await.json();
    assert!(again.objects[0].actions.is_none() && again.objects[0].error.is_none());
}

#[tokio::test]
async fn a_condemned_object_is_uploaded_again_under_the_next_generation() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.upload(&hub).await;
    let pack = feed.objects[1].0;
    let marker = format!("gc/condemned/packs/{}.0", pack.sha256);
    hub.bucket(team.id()).plant(&marker, "");
    let error = feed.committing(1).send(&hub).await.error();
    assert_eq!(error.code, HubErrorCode::MissingObjects);
    assert_eq!(error.missing.len(), 1);
    assert_eq!(error.missing[0].id, pack);

    feed.upload(&hub).await;
    feed.entries[0].objects[1].generation = 1;
    assert_eq!(feed.share(&hub, 1).await, Stored { seq: 1 });
}

#[tokio::test]
async fn presigned_urls_take_only_what_was_said() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let bytes = state("pack", 1);
    let id = object(ObjectKind::Pack, &bytes);
    let response: BatchResponse = upload(team.id(), 1, vec![id]).send(&hub).await.json();
    let Some(Actions::Upload(action)) = response.objects[0].actions.clone() else {
        panic!("no action");
    };
    let mut wrong = bytes.clone();
    wrong[0] ^= 1;
    assert_eq!(put(&action, wrong).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        put(&action, bytes[1..].to_vec()).await.status,
        StatusCode::FORBIDDEN
    );
    let mut elsewhere = action.clone();
    elsewhere.href = elsewhere.href.replace("packs/", "manifests/");
    assert_eq!(
        put(&elsewhere, bytes.clone()).await.status,
        StatusCode::FORBIDDEN
    );
    hub.bucket(team.id())
        .let_pass(std::time::Duration::from_secs(16 * 60));
    assert_eq!(put(&action, bytes).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_bucket_that_ignores_if_none_match_loses_nothing() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let bucket = hub.bucket(team.id());
    bucket.fail(Fault::Overwrites);
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    let ids: Vec<_> = feed.objects.iter().map(|(id, _)| *id).collect();
    // Two devices hold URLs for the same bytes before either has put them.
    let mut actions = Vec::new();
    for by in [0, 1] {
        let response: BatchResponse = upload(team.id(), by, ids.clone()).send(&hub).await.json();
        for (batched, (_, bytes)) in response.objects.into_iter().zip(&feed.objects) {
            let Some(Actions::Upload(action)) = batched.actions else {
                panic!("{:?} needs no upload", batched.object);
            };
            actions.push((action, bytes));
        }
    }
    for (action, bytes) in &actions {
        assert_eq!(put(action, bytes.to_vec()).await.status, StatusCode::OK);
    }
    let mut before = bucket.objects();
    before.retain(|_, bytes| actions.iter().any(|(_, sent)| sent[..] == bytes[..]));
    assert_eq!(before.len(), 3);
    assert_eq!(feed.share(&hub, 1).await, Stored { seq: 1 });
    // A URL that is used once more, with its own bytes and with others.
    for (action, bytes) in &actions {
        assert_eq!(put(action, bytes.to_vec()).await.status, StatusCode::OK);
        let mut wrong = bytes.to_vec();
        wrong[0] ^= 1;
        assert_eq!(put(action, wrong).await.status, StatusCode::BAD_REQUEST);
    }
    let after = bucket.objects();
    for (key, bytes) in before {
        assert_eq!(after.get(&key), Some(&bytes), "{key}");
    }
    feed.is_whole(&hub).await;
}

#[tokio::test]
async fn a_long_feed_is_read_in_pages_from_few_segments() {
    let options = Options {
        page: 7,
        ..Options::default()
    };
    let hub = TestHub::with(options).await.unwrap();
    let team = Team::at(&hub).await;
    let mut feed = Feed::new(team.id(), 1);
    for number in 0..40 {
        feed.drop_version(&format!("version {number}"));
        let stored: Stored = feed.committing(feed.entries.len()).send(&hub).await.json();
        assert_eq!(stored.seq, feed.entries.len() as u64);
    }
    let whole = page(&hub, &feed, None).await;
    let newest_first: Vec<_> = feed.entries.iter().rev().cloned().collect();
    assert_eq!(whole.entries, newest_first);
    let part = page(&hub, &feed, Some("from=5&to=7")).await;
    assert_eq!(part.entries, newest_first[33..36]);
    // Those that the newest head names: 32 and 8 entries.
    let objects = hub.bucket(team.id()).objects();
    let newest = objects
        .keys()
        .rfind(|key| key.starts_with("heads/"))
        .unwrap();
    let stored =
        <podsync_hub::stored::StoredHead as podsync_core::codec::Format>::decode(&objects[newest]);
    let lengths: Vec<_> = stored
        .unwrap()
        .segments
        .iter()
        .map(|segment| segment.entries())
        .collect();
    assert_eq!(lengths, [32, 8]);
}

#[tokio::test]
async fn a_page_is_bounded_and_the_next_goes_on_below_it() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let mut feed = Feed::new(team.id(), 1);
    for round in 1..8 {
        feed.publish_packs("a", 8000);
        feed.share(&hub, round).await;
    }
    let mut entries = Vec::new();
    let mut pages = 0;
    let mut query = None;
    loop {
        let page = page(&hub, &feed, query.as_deref()).await;
        pages += 1;
        entries.extend(page.entries);
        if !page.more {
            break;
        }
        query = Some(format!("to={}", feed.entries.len() - entries.len()));
    }
    assert!(pages > 1, "{pages}");
    let newest_first: Vec<_> = feed.entries.iter().rev().cloned().collect();
    assert!(entries == newest_first);
    let none = page(&hub, &feed, Some("from=9")).await;
    assert!(none.entries.is_empty() && !none.more);
}

#[tokio::test]
async fn a_commit_can_be_sent_again_and_overlap() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.share(&hub, 1).await;
    feed.publish("a");
    feed.publish("a");
    assert_eq!(feed.share(&hub, 1).await, Stored { seq: 3 });
    assert_eq!(feed.share(&hub, 1).await, Stored { seq: 3 });
    assert_eq!(feed.share(&hub, 3).await, Stored { seq: 3 });
}

#[tokio::test]
async fn heads_have_a_tag_that_names_them() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let first = Call::get(team.id(), "heads").send(&hub).await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    let asking = || Call::get(team.id(), "heads").header("if-none-match", &tag);
    assert_eq!(asking().send(&hub).await.status, StatusCode::NOT_MODIFIED);
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.share(&hub, 1).await;
    let after = asking().send(&hub).await;
    assert_eq!(after.status, StatusCode::OK);
    assert_ne!(after.headers["etag"], tag.as_str());
}

#[tokio::test]
async fn the_newest_statement_of_a_device_is_kept() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let statement = |by: u8, of: TeamId, time_ms: u64| {
        let statement = Liveness {
            time_ms,
            heads: [1; 32],
        };
        PostLiveness {
            statement: device(by).sign(of, &statement).into(),
        }
    };
    // A clock that was set back is not bound to what it showed before.
    let future = u64::MAX;
    for (time_ms, kept) in [(5, 5), (9, 9), (7, 9), (future, future), (8, 8)] {
        let post = statement(2, team.id(), time_ms);
        let answer = Call::post(team.id(), "liveness", &post)
            .by(2)
            .send(&hub)
            .await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        let heads: Heads = Call::get(team.id(), "heads").send(&hub).await.json();
        let statement = verify::<Liveness>(&heads.liveness[0]).unwrap();
        assert_eq!(statement.value().time_ms, kept);
    }
    for post in [
        statement(1, team.id(), 10),
        statement(2, TeamId::of(b"x"), 10),
    ] {
        let answer = Call::post(team.id(), "liveness", &post)
            .by(2)
            .send(&hub)
            .await;
        assert_eq!(answer.error().code, HubErrorCode::Untrusted);
    }
}

#[tokio::test]
async fn a_feed_that_nobody_has_is_not_found() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let call = Call::get(team.id(), &format!("feeds/{}", device(1).id()));
    assert_eq!(call.send(&hub).await.error().code, HubErrorCode::NotFound);
}
