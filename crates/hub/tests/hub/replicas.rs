//! Two hubs over one bucket behave as one, and one that dies in the middle leaves all or nothing.

use std::{sync::Arc, time::Duration};

use podsync_api::hub::{FeedPage, Heads, HubErrorCode, Stored};
use podsync_core::{feed::Head, signed::verify};
use podsync_hub::{storage::memory::Fault, testing::TestHub};
use reqwest::StatusCode;

use crate::kit::{Call, Feed, Team};

async fn heads(hub: &TestHub, feed: &Feed) -> Vec<Head> {
    let heads: Heads = Call::get(feed.team, "heads").by(2).send(hub).await.json();
    let head = |bytes: &podsync_api::hub::Base64| *verify::<Head>(bytes).unwrap().value();
    heads.feeds.iter().map(head).collect()
}

#[tokio::test]
async fn what_one_stored_the_other_shows_at_once() {
    let one = TestHub::start().await.unwrap();
    let two = one.replica().await.unwrap();
    let team = Team::at(&one).await;
    let mut feed = Feed::new(team.id(), 1);
    for round in 1..6 {
        feed.publish("a");
        let (here, there) = if round % 2 == 0 {
            (&one, &two)
        } else {
            (&two, &one)
        };
        assert_eq!(feed.share(here, round).await, Stored { seq: round as u64 });
        assert_eq!(heads(there, &feed).await[0].seq, round as u64);
    }
    let asking = |hub| async move { Call::get(feed.team, "heads").send(hub).await };
    let (first, second) = (asking(&one).await, asking(&two).await);
    assert_eq!(first.headers["etag"], second.headers["etag"]);
    assert_eq!(first.body, second.body);
}

#[tokio::test]
async fn one_is_killed_in_the_middle_and_nothing_is_noticed() {
    let one = TestHub::start().await.unwrap();
    let two = one.replica().await.unwrap();
    let team = Team::at(&one).await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.share(&one, 1).await;
    feed.publish("a");
    feed.upload(&one).await;
    // The commit is under way at the one that dies.
    one.bucket(team.id())
        .fail(Fault::Slow(Duration::from_millis(30)));
    let call = feed.committing(2);
    let (signature, url) = (call.signature(&one), format!("{}{}", one.url(), call.path));
    let mut request = crate::kit::client().post(url).body(call.body.clone());
    for (name, value) in signature.iter() {
        request = request.header(name, value);
    }
    let lost = tokio::spawn(request.send());
    let bucket = one.bucket(team.id());
    let before = bucket.seen().len();
    while bucket.seen().len() < before + 3 {
        tokio::task::yield_now().await;
    }
    one.kill();
    assert!(lost.await.unwrap().is_err());
    bucket.fail(Fault::None);
    assert_eq!(feed.share(&two, 2).await, Stored { seq: 2 });
    assert_eq!(heads(&two, &feed).await.len(), 1);
    let page: FeedPage = Call::get(feed.team, &format!("feeds/{}", feed.device()))
        .send(&two)
        .await
        .json();
    assert_eq!(page.entries.len(), 2);
}

#[tokio::test]
async fn a_commit_that_breaks_off_anywhere_is_seen_whole_or_not_at_all() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let mut feed = Feed::new(team.id(), 1);
    let mut committed = 0;
    let mut broke_off = 0;
    for calls in 0..30 {
        feed.publish("a");
        feed.publish("a");
        feed.upload(&hub).await;
        let bucket = hub.bucket(team.id());
        bucket.fail(Fault::UnavailableAfter(calls));
        let answer = feed.committing(committed + 1).send(&hub).await;
        bucket.fail(Fault::None);
        let fresh = hub.replica().await.unwrap();
        let seen = heads(&fresh, &feed)
            .await
            .first()
            .map_or(0, |head| head.seq as usize);
        let all = feed.entries.len();
        assert!(
            seen == committed || seen == all,
            "{seen} of {all} after {calls} calls"
        );
        if !answer.status.is_success() {
            assert_eq!(answer.error().code, HubErrorCode::StorageUnavailable);
            broke_off += 1;
        }
        let stored: Stored = feed.committing(committed + 1).send(&hub).await.json();
        assert_eq!(stored.seq as usize, all);
        committed = all;
    }
    assert!((5..30).contains(&broke_off), "{broke_off}");
}

#[tokio::test]
async fn one_commit_at_two_replicas_at_once_is_one() {
    let one = TestHub::start().await.unwrap();
    let two = one.replica().await.unwrap();
    let team = Team::at(&one).await;
    let mut feed = Feed::new(team.id(), 1);
    for round in 0..10 {
        feed.publish("a");
        feed.publish("a");
        feed.upload(&one).await;
        one.bucket(team.id())
            .fail(Fault::Slow(Duration::from_millis(3)));
        let from = 2 * round + 1;
        let calls = (feed.committing(from), feed.committing(from));
        let (first, second) = tokio::join!(calls.0.send(&one), calls.1.send(&two));
        one.bucket(team.id()).fail(Fault::None);
        assert_eq!(first.json::<Stored>(), second.json::<Stored>());
        assert_eq!(heads(&one, &feed).await.len(), 1);
    }
}

/// A home was copied: both devices commit at once, each at another replica.
#[tokio::test]
async fn a_fork_in_a_race_is_kept_and_shown_by_both() {
    let one = TestHub::start().await.unwrap();
    let two = one.replica().await.unwrap();
    let team = Team::at(&one).await;
    let mut feed = Feed::new(team.id(), 1);
    feed.drop_version("a");
    feed.share(&one, 1).await;
    let mut copy = Feed::new(team.id(), 1);
    copy.drop_version("a");
    feed.drop_version("b");
    copy.drop_version("c");
    one.bucket(team.id())
        .fail(Fault::Slow(Duration::from_millis(30)));
    let calls = (feed.committing(2), copy.committing(2));
    let (first, second) = tokio::join!(calls.0.send(&one), calls.1.send(&two));
    one.bucket(team.id()).fail(Fault::None);
    assert_eq!(
        (first.status, second.status),
        (StatusCode::OK, StatusCode::OK)
    );
    for hub in [&one, &two] {
        let shown: Vec<_> = heads(hub, &feed)
            .await
            .iter()
            .map(|head| head.entry)
            .collect();
        let mut both = [&feed, &copy].map(|feed| feed.last.as_ref().unwrap().hash());
        both.sort_unstable();
        assert_eq!(shown, both);
        let page: FeedPage = Call::get(feed.team, &format!("feeds/{}", feed.device()))
            .send(hub)
            .await
            .json();
        assert_eq!(page.entries.len(), 3, "both branches and what they share");
    }
    for feed in [&mut feed, &mut copy] {
        feed.drop_version("d");
        let error = feed.committing(3).send(&one).await.error();
        assert_eq!(error.code, HubErrorCode::Forked);
    }
}

#[tokio::test]
async fn operations_posted_at_two_replicas_at_once_are_all_kept() {
    let one = TestHub::start().await.unwrap();
    let two = one.replica().await.unwrap();
    let team = Team::at(&one).await;
    let bucket = Arc::new(one.bucket(team.id()));
    bucket.fail(Fault::Slow(Duration::from_millis(5)));
    let (mut left, mut right) = (Team::new(), Team::new());
    for team in [&mut left, &mut right] {
        team.add(1, podsync_core::membership::Role::Publisher);
        team.add(2, podsync_core::membership::Role::Reader);
    }
    left.add(3, podsync_core::membership::Role::Reader);
    right.add(4, podsync_core::membership::Role::Reader);
    tokio::join!(left.post(&one), right.post(&two));
    bucket.fail(Fault::None);
    for hub in [&one, &two] {
        for number in [3, 4] {
            let answer = Call::get(team.id(), "heads").by(number).send(hub).await;
            assert_eq!(answer.json::<Heads>().membership.len(), 2);
        }
    }
}

/// Who asks for what is new and is content with what was there some seconds ago.
async fn recent(hub: &TestHub, feed: &Feed, by: u8) -> Heads {
    let asking = Call::get(feed.team, "heads").by(by);
    let asking = asking.header("cache-control", "max-age=30");
    asking.send(hub).await.json()
}

#[tokio::test]
async fn many_who_need_not_know_at_once_cost_the_bucket_nothing() {
    let one = TestHub::start().await.unwrap();
    let two = one.replica().await.unwrap();
    let mut team = Team::at(&one).await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.share(&one, 1).await;
    assert_eq!(heads(&one, &feed).await[0].seq, 1);
    let before = one.bucket(team.id()).seen().len();
    for _ in 0..20 {
        assert_eq!(recent(&one, &feed, 2).await.feeds.len(), 1);
    }
    assert_eq!(one.bucket(team.id()).seen().len(), before);
    // What was stored elsewhere is shown to who needs to know.
    feed.publish("b");
    feed.share(&two, 2).await;
    let old = recent(&one, &feed, 2).await;
    assert_eq!(heads(&one, &feed).await[0].seq, 2);
    assert_ne!(recent(&one, &feed, 2).await, old);
    // What was stored here is shown to all.
    let old = recent(&one, &feed, 2).await;
    feed.publish("c");
    feed.share(&one, 3).await;
    assert_ne!(recent(&one, &feed, 2).await, old);
    // A new member is no stranger, wherever it was let in.
    team.add(3, podsync_core::membership::Role::Reader);
    team.post(&two).await;
    recent(&one, &feed, 3).await;
}
