//! What the hub says of a bucket that takes no writes, lists nothing, or isn't one.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use podsync_api::hub::{BatchOperation, PostOperations};
use podsync_core::{TeamId, membership::Role};
use podsync_hub::{
    Confirm, TeamSettings, Teams,
    gc::{self, decide::Retention},
    limits::Limits,
    s3::{Addressing, Credentials, S3Bucket, S3Settings},
    storage::memory::{Fault, Seen},
    testing::{Options, TestHub},
};
use reqwest::StatusCode;

use crate::kit::{Answer, Call, Feed, Team, batch, client};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

/// A hub that looks each time that it is asked, and goes by what it saw within `trial`.
fn each_time(trial: Duration) -> Options {
    let limits = Limits {
        health: Duration::ZERO,
        trial,
        ..Limits::default()
    };
    Options {
        limits,
        ..Options::default()
    }
}

async fn get(hub: &TestHub, path: &str) -> Answer {
    let asked = client().get(format!("{}{path}", hub.url()));
    Answer::of(asked.send().await.unwrap()).await
}

/// A team's state and the reason for it.
async fn state(hub: &TestHub, team: TeamId) -> (String, String) {
    let teams: serde_json::Value = get(hub, "/health/teams").await.json();
    let mut rows = teams.as_array().unwrap().iter();
    let row = rows.find(|row| row["team"] == team.to_string()).unwrap();
    let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    assert!(!word("bucket").is_empty(), "{row}");
    (word("state"), word("reason"))
}

async fn is_ready(hub: &TestHub, team: TeamId) -> bool {
    let ready = get(hub, "/health/ready").await.status;
    let (state, reason) = state(hub, team).await;
    assert_eq!(ready == StatusCode::NO_CONTENT, state == "ready");
    assert_eq!(state == "ready", reason.is_empty(), "{reason}");
    state == "ready"
}

/// Someone is let in, which the hub writes to the bucket.
async fn add(hub: &TestHub, team: &mut Team, number: u8) -> StatusCode {
    team.add(number, Role::Reader);
    let post = PostOperations {
        operations: team.operations.iter().map(Into::into).collect(),
    };
    let posted = Call::post(team.id(), "membership", &post);
    posted.send(hub).await.status
}

#[tokio::test]
async fn a_refused_write_makes_a_bucket_read_only_and_the_next_one_ready() {
    let hub = TestHub::with(each_time(LONG)).await.unwrap();
    let mut team = Team::at(&hub).await;
    assert!(is_ready(&hub, team.id()).await);
    let bucket = hub.bucket(team.id());
    bucket.fail(Fault::ReadOnly);
    assert_eq!(
        add(&hub, &mut team, 10).await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert!(!is_ready(&hub, team.id()).await);
    let (state, reason) = state(&hub, team.id()).await;
    assert_eq!(state, "read_only");
    assert!(reason.contains("memory: 403 AccessDenied"), "{reason}");
    bucket.fail(Fault::None);
    assert_eq!(add(&hub, &mut team, 11).await, StatusCode::OK);
    assert!(is_ready(&hub, team.id()).await);
}

#[tokio::test]
async fn a_bucket_that_nobody_writes_to_is_tried() {
    let hub = TestHub::with(each_time(Duration::ZERO)).await.unwrap();
    let team = Team::at(&hub).await;
    let bucket = hub.bucket(team.id());
    for (fault, wanted) in [
        (Fault::None, "ready"),
        (Fault::ReadOnly, "read_only"),
        (Fault::None, "ready"),
        (Fault::Full, "read_only"),
        (Fault::WritesUnavailable, "read_only"),
        (Fault::Unlisted, "down"),
        (Fault::Unavailable, "down"),
        (Fault::None, "ready"),
    ] {
        bucket.fail(fault);
        let (state, reason) = state(&hub, team.id()).await;
        assert_eq!(state, wanted, "{fault:?}: {reason}");
    }
}

#[tokio::test]
async fn a_bucket_that_takes_no_writes_is_told_with_its_code_of_now() {
    let hub = TestHub::with(each_time(LONG)).await.unwrap();
    let mut team = Team::at(&hub).await;
    let bucket = hub.bucket(team.id());
    bucket.fail(Fault::ReadOnly);
    add(&hub, &mut team, 10).await;
    for (fault, wanted, code) in [
        (Fault::ReadOnly, "read_only", "403 AccessDenied"),
        (Fault::WritesUnavailable, "read_only", "503 SlowDown"),
        (Fault::None, "ready", ""),
    ] {
        bucket.fail(fault);
        let (state, reason) = state(&hub, team.id()).await;
        assert_eq!(state, wanted, "{fault:?}: {reason}");
        assert!(reason.contains(code), "{fault:?}: {reason}");
    }
}

/// What a scrape says of a team.
async fn shows(hub: &TestHub, team: TeamId, metric: &str, value: u64) -> bool {
    let text = get(hub, "/metrics").await.text();
    let line = format!(r#"podsync_hub_{metric}{{team="{team}"}} {value}"#);
    text.lines().any(|shown| shown == line)
}

#[tokio::test]
async fn counters_begin_with_0() {
    let team = Team::new().id();
    let hub = TestHub::only(team, each_time(LONG)).await.unwrap();
    for counter in ["sweep_failures", "condemned_objects", "deleted_objects"] {
        let counter = format!("{counter}_total");
        assert!(shows(&hub, team, &counter, 0).await, "{counter}");
    }
}

#[tokio::test]
async fn bytes_that_urls_were_given_out_for_are_counted_up_and_down() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.share(&hub, 1).await;
    let ids: Vec<_> = feed.objects.iter().map(|(id, _)| *id).collect();
    let bytes: u64 = ids.iter().map(|id| id.size).sum();
    for _ in 0..2 {
        let download = batch(team.id(), 2, BatchOperation::Download, ids.clone());
        assert_eq!(download.send(&hub).await.status, StatusCode::OK);
    }
    let shown = get(&hub, "/metrics").await.text();
    for (operation, bytes) in [("upload", bytes), ("download", 2 * bytes)] {
        let line = format!(
            r#"podsync_hub_presigned_bytes_total{{team="{}",operation="{operation}"}} {bytes}"#,
            team.id()
        );
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
}

#[tokio::test]
async fn the_used_part_of_a_quota_is_shown_from_the_start_and_after_each_commit() {
    let mut team = Team::new();
    team.add(1, Role::Publisher);
    let id = team.id();
    let options = || Options {
        quota: Some(1 << 20),
        ..each_time(LONG)
    };
    let hub = TestHub::only(id, options()).await.unwrap();
    team.post(&hub).await;
    let mut feed = Feed::new(id, 1);
    for number in 1..3 {
        feed.publish("a");
        feed.share(&hub, number).await;
        let stored = feed.objects.iter().map(|(id, _)| id.size).sum();
        assert!(shows(&hub, id, "stored_bytes", stored).await);
    }
    let stored = feed.objects.iter().map(|(id, _)| id.size).sum();
    let settings = |quota| TeamSettings {
        team: id,
        bucket: Arc::new(hub.bucket(id)),
        quota,
        retention: Retention::default(),
        confirm: Confirm::default(),
    };
    let listings = || {
        let seen = hub.bucket(id).seen();
        let listed = |seen: &&Seen| seen.what == "list" && seen.key == "packs/";
        seen.iter().filter(listed).count()
    };

    // The settings bring the team to a hub that runs, as at its start. Nobody uploads.
    let other = TestHub::of_none(options()).await.unwrap();
    let before = listings();
    let come = async {
        other.hub().teams().put(settings(Some(1 << 20)));
        while !shows(&other, id, "stored_bytes", stored).await {}
    };
    let come = tokio::time::timeout(LONG, come);
    tokio::select! {
        () = other.hub().greet() => {}
        shown = come => shown.unwrap(),
    }
    other.hub().greet_all().await;
    assert_eq!(listings(), before + 1);

    // The sweep lists anyway, also for a team without a quota.
    let sweeping = TestHub::of_none(options()).await.unwrap();
    sweeping.hub().teams().put(settings(None));
    for swept in gc::once(sweeping.hub(), false).await {
        swept.unwrap();
    }
    assert!(shows(&sweeping, id, "stored_bytes", stored).await);
}

#[tokio::test]
async fn who_asks_often_costs_one_listing_and_one_write() {
    let team = Team::new().id();
    let hub = TestHub::only(team, each_time(LONG)).await.unwrap();
    for _ in 0..10 {
        assert!(is_ready(&hub, team).await);
    }
    let seen = hub.bucket(team).seen();
    for what in ["list", "put"] {
        let calls = seen.iter().filter(|seen| seen.what == what).count();
        assert_eq!(calls, 1, "{what}: {seen:?}");
    }
}

#[tokio::test]
async fn a_scrape_looks_at_the_buckets() {
    let hub = TestHub::with(each_time(Duration::ZERO)).await.unwrap();
    let team = Team::at(&hub).await;
    for (fault, ready) in [(Fault::None, 1), (Fault::ReadOnly, 0), (Fault::None, 1)] {
        hub.bucket(team.id()).fail(fault);
        let text = get(&hub, "/metrics").await.text();
        let id = team.id();
        let line = format!(r#"podsync_hub_team_ready{{team="{id}"}} {ready}"#);
        assert!(text.contains(&line), "{line}: {text}");
    }
}

#[tokio::test]
async fn nothing_is_shown_of_a_team_or_a_quota_that_is_no_more() {
    let team = Team::new().id();
    let options = Options {
        quota: Some(5),
        ..each_time(Duration::ZERO)
    };
    let hub = TestHub::only(team, options).await.unwrap();
    let shown = async |metric: &str| {
        let text = get(&hub, "/metrics").await.text();
        text.contains(&format!(r#"podsync_hub_{metric}{{team="{team}"}}"#))
    };
    assert!(shown("team_ready").await && shown("quota_bytes").await);
    hub.hub().teams().put(TeamSettings {
        team,
        bucket: Arc::new(hub.bucket(team)),
        quota: None,
        retention: Retention::default(),
        confirm: Confirm::default(),
    });
    assert!(shown("team_ready").await && !shown("quota_bytes").await);
    hub.hub().forget(team);
    assert!(!shown("team_ready").await);
}

/// A hub that reaches a portal where its team's bucket should be.
async fn hub_at_a_portal(team: TeamId, known: bool) -> TestHub {
    client(); // Installs a TLS provider.
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listener = listener.await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let portal = axum::Router::new().fallback(async || "<html>Sign in</html>");
    let _serving = tokio::spawn(async move { axum::serve(listener, portal).await });
    let bucket = S3Bucket::new(S3Settings {
        endpoint: Some(endpoint.parse().unwrap()),
        public_endpoint: None,
        region: "eu-central-1".to_owned(),
        bucket: "payments".to_owned(),
        addressing: Addressing::Path,
        credentials: Credentials::Static {
            access_key: "key".to_owned(),
            secret_key: "secret".to_owned(),
        },
        known,
    });
    let hub = TestHub::of(Teams::only([TeamSettings {
        team,
        bucket: Arc::new(bucket.unwrap()),
        quota: None,
        retention: Retention::default(),
        confirm: Confirm::default(),
    }]));
    hub.await.unwrap()
}

#[tokio::test]
async fn a_portal_that_says_200_to_everything_is_no_bucket() {
    let team = Team::new().id();
    let hub = hub_at_a_portal(team, true).await;
    assert!(!is_ready(&hub, team).await);
    let (state, reason) = state(&hub, team).await;
    assert_eq!(state, "down");
    assert!(reason.contains("bucket payments: "), "{reason}");
}

#[tokio::test]
async fn a_server_that_answers_and_is_still_tried_is_not_called_silent() {
    let team = Team::new().id();
    let hub = hub_at_a_portal(team, false).await;
    let (state, reason) = state(&hub, team).await;
    assert_eq!(state, "down");
    assert!(
        reason.contains("bucket payments: it answers") && reason.contains("still tries"),
        "{reason}"
    );
}
