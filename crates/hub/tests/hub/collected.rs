//! Uploads that meet the garbage collector on their way: what is committed stays, whenever a sweep comes.
//! That a sweep comes in the middle of a commit is what the collector's model is for.

use std::time::Duration;

use podsync_api::hub::{Actions, BatchResponse, FeedPage, HubErrorCode, Stored};
use podsync_hub::{gc, storage::memory::Fault, testing::TestHub};
use reqwest::StatusCode;

use crate::kit::{Call, Feed, Team, put, upload};

/// After this time the collector condemns objects that no version names.
const TWO_DAYS: Duration = Duration::from_secs(49 * 3600);
/// After this time the collector deletes condemned objects.
const A_DAY: Duration = Duration::from_secs(25 * 3600);

/// What happens between two requests of an upload.
#[derive(Debug, Clone, Copy)]
enum Meanwhile {
    Nothing,
    /// The collector comes at once.
    Sweep,
    /// The machine sleeps for so long, and then the collector comes.
    SweepAfter(Duration),
}

const MEANWHILE: [Meanwhile; 4] = [
    Meanwhile::Nothing,
    Meanwhile::Sweep,
    Meanwhile::SweepAfter(A_DAY),
    Meanwhile::SweepAfter(TWO_DAYS),
];

async fn sweep(hub: &TestHub) {
    for swept in gc::once(hub.hub(), false).await {
        swept.unwrap();
    }
}

/// A version whose bytes lie in the bucket for two days, unnamed: a share that was given up.
async fn abandoned(hub: &TestHub) -> Feed {
    let team = Team::at(hub).await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.upload(hub).await;
    hub.bucket(team.id()).let_pass(TWO_DAYS);
    feed
}

/// Uploads and commits as a client does, which begins again where the hub names what is missing or a URL has
/// ended. `between` is what happens, once each, before the batch, after it, and after the puts.
async fn share(hub: &TestHub, feed: &mut Feed, between: [Meanwhile; 3]) {
    let mut between = between.map(Some);
    for _ in 0..4 {
        meanwhile(hub, feed, between[0].take()).await;
        let ids = feed.objects.iter().map(|(id, _)| *id).collect();
        let answer = upload(feed.team, feed.by, ids).send(hub).await;
        let response: BatchResponse = answer.json();
        meanwhile(hub, feed, between[1].take()).await;
        let mut ended = false;
        for (batched, (_, bytes)) in response.objects.iter().zip(&feed.objects) {
            assert!(batched.error.is_none(), "{batched:?}");
            if let Some(Actions::Upload(action)) = &batched.actions {
                let status = put(action, bytes.clone()).await.status;
                assert!(matches!(status, StatusCode::OK | StatusCode::FORBIDDEN));
                ended |= status == StatusCode::FORBIDDEN;
            }
        }
        meanwhile(hub, feed, between[2].take()).await;
        feed.place(&response);
        if ended {
            continue;
        }
        let may_be_named = may_be_named(hub, feed);
        let answer = feed.committing(1).send(hub).await;
        assert_eq!(answer.status == StatusCode::OK, may_be_named);
        if answer.status == StatusCode::OK {
            assert_eq!(answer.json::<Stored>(), Stored { seq: 1 });
            return;
        }
        assert_eq!(answer.error().code, HubErrorCode::MissingObjects);
    }
    panic!("an upload never comes to its end");
}

/// Whether all that the entry names is there, and nothing of it condemned.
fn may_be_named(hub: &TestHub, feed: &Feed) -> bool {
    let objects = hub.bucket(feed.team).objects();
    feed.places().iter().all(|key| {
        objects.contains_key(key) && !objects.contains_key(&format!("gc/condemned/{key}"))
    })
}

async fn meanwhile(hub: &TestHub, feed: &Feed, what: Option<Meanwhile>) {
    match what {
        None | Some(Meanwhile::Nothing) => return,
        Some(Meanwhile::Sweep) => {}
        Some(Meanwhile::SweepAfter(time)) => hub.bucket(feed.team).let_pass(time),
    }
    sweep(hub).await;
}

/// Under any sweeps the version stays, and objects that no version names are deleted.
async fn stays(hub: &TestHub, feed: &Feed) {
    for _ in 0..3 {
        hub.bucket(feed.team).let_pass(TWO_DAYS);
        sweep(hub).await;
    }
    let page = Call::get(feed.team, &format!("feeds/{}", feed.device()));
    let page: FeedPage = page.by(2).send(hub).await.json();
    assert_eq!(page.entries, [feed.entries[0].clone()]);
    feed.is_whole(hub).await;
    let objects = hub.bucket(feed.team).objects();
    for folder in ["packs/", "manifests/", "outboards/"] {
        let there = objects.keys().filter(|key| key.starts_with(folder));
        assert_eq!(there.count(), 1, "of {folder} only the named one is there");
    }
}

#[tokio::test]
async fn a_sweep_between_any_two_requests_of_an_upload_costs_no_byte() {
    for begun_before in [false, true] {
        for first in MEANWHILE {
            for second in MEANWHILE {
                for third in MEANWHILE {
                    let hub = TestHub::start().await.unwrap();
                    let mut feed = abandoned(&hub).await;
                    if !begun_before {
                        feed = Feed::new(feed.team, 1);
                        feed.publish("b");
                    }
                    println!("begun before: {begun_before}, {first:?}, {second:?}, {third:?}");
                    share(&hub, &mut feed, [first, second, third]).await;
                    stays(&hub, &feed).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_names_the_team() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.share(&hub, 1).await;
    let bucket = hub.bucket(team.id());
    let before = (bucket.objects(), bucket.seen().len());
    let lines = gc::once(hub.hub(), true).await;
    let [Ok(line)] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert!(line.contains("3 objects, 3 named"), "{line}");
    assert_eq!(bucket.objects(), before.0);
    let writes = ["ensure", "put", "delete"];
    let calls = bucket.seen().split_off(before.1);
    assert!(
        calls.iter().all(|seen| !writes.contains(&seen.what)),
        "{calls:?}"
    );
    bucket.fail(Fault::Unavailable);
    for dry in [true, false] {
        let lines = gc::once(hub.hub(), dry).await;
        let [Err(line)] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert!(line.contains(&team.id().to_string()), "{line}");
    }
}

#[tokio::test]
async fn a_sweep_leaves_its_time_in_the_bucket() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let bucket = hub.bucket(team.id());
    assert_eq!(gc::last_sweep(&bucket).await.unwrap(), None);
    sweep(&hub).await;
    let first = gc::last_sweep(&bucket).await.unwrap().unwrap();
    bucket.let_pass(A_DAY);
    sweep(&hub).await;
    let second = gc::last_sweep(&bucket).await.unwrap().unwrap();
    assert!(second.duration_since(first).unwrap() >= A_DAY);
}
