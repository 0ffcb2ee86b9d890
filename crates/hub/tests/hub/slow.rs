//! Clients and buckets that take their time, and a hub that is asked to stop.

use std::time::Duration;

use podsync_api::hub::HubErrorCode;
use podsync_core::TeamId;
use podsync_hub::{
    limits::Limits,
    storage::memory::Fault,
    testing::{Options, TestHub},
};
use reqwest::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::kit::{Call, Team, client};

const SHORT: Duration = Duration::from_millis(200);
/// Nothing here takes as long as this unless it hangs.
const HANG: Duration = Duration::from_secs(20);

async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(HANG, stream.read_to_end(&mut bytes)).await;
    // A reset closes as well as an end does.
    let _ = read.expect("the hub hangs on to a slow client");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn headers_that_do_not_come_end_the_connection() {
    let options = Options {
        headers: SHORT,
        ..Options::default()
    };
    let hub = TestHub::with(options).await.unwrap();
    for sent in ["", "GET /v1/time HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let mut stream = TcpStream::connect(hub.address()).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(!answer.contains("200"), "{answer}");
    }
    let time = client().get(format!("{}/v1/time", hub.url()));
    assert_eq!(time.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let options = Options {
        limits: Limits {
            body: SHORT,
            ..Limits::default()
        },
        ..Options::default()
    };
    let hub = TestHub::with(options).await.unwrap();
    let team = Team::at(&hub).await;
    let mut call = Call::post(team.id(), "commit", &"").by(1);
    call.body = vec![b' '; 1000];
    let mut text = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: 1000\r\n",
        call.path,
        hub.address()
    );
    for (name, value) in call.signature(&hub).iter() {
        text += &format!("{name}: {value}\r\n");
    }
    let mut stream = TcpStream::connect(hub.address()).await.unwrap();
    stream
        .write_all(format!("{text}\r\n   ").as_bytes())
        .await
        .unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("took too long to arrive"), "{answer}");
}

#[tokio::test]
async fn one_device_has_so_many_requests_at_once() {
    let options = Options {
        limits: Limits {
            per_device: 2,
            ..Limits::default()
        },
        ..Options::default()
    };
    let hub = TestHub::with(options).await.unwrap();
    let team = Team::at(&hub).await;
    let hanging = [
        hang(&hub, team.id(), 1).await,
        hang(&hub, team.id(), 1).await,
    ];
    let answer = refused(&hub, team.id(), 1).await;
    assert_eq!(answer.headers["retry-after"], "1");
    let others = Call::get(team.id(), "heads").by(2).send(&hub).await;
    assert_eq!(others.status, StatusCode::OK);
    drop(hanging);
    // The places are free again as soon as the hub notices.
    while Call::get(team.id(), "heads").by(1).send(&hub).await.status != StatusCode::OK {}
}

/// A request whose body never comes.
async fn hang(hub: &TestHub, team: TeamId, by: u8) -> TcpStream {
    let mut call = Call::post(team, "join", &"").by(by);
    call.body = vec![b' '; 1000];
    let mut text = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000\r\n",
        call.path,
        hub.address()
    );
    for (name, value) in call.signature(hub).iter() {
        text += &format!("{name}: {value}\r\n");
    }
    let mut stream = TcpStream::connect(hub.address()).await.unwrap();
    stream
        .write_all(format!("{text}\r\n").as_bytes())
        .await
        .unwrap();
    stream
}

/// Asks until there is no place left.
async fn refused(hub: &TestHub, team: TeamId, by: u8) -> crate::kit::Answer {
    loop {
        let answer = Call::get(team, "heads").by(by).send(hub).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(answer.error().code, HubErrorCode::TooManyRequests);
            return answer;
        }
    }
}

#[tokio::test]
async fn strangers_do_not_take_the_places_of_members() {
    let options = Options {
        limits: Limits {
            strangers: 2,
            ..Limits::default()
        },
        ..Options::default()
    };
    let hub = TestHub::with(options).await.unwrap();
    let team = Team::at(&hub).await;
    // Of as many keys as one likes.
    let _hanging = [
        hang(&hub, team.id(), 100).await,
        hang(&hub, team.id(), 101).await,
    ];
    refused(&hub, team.id(), 103).await;
    assert_eq!(
        Call::get(team.id(), "heads").by(1).send(&hub).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_bucket_that_hangs_is_given_up() {
    let options = Options {
        limits: Limits {
            whole: SHORT,
            ..Limits::default()
        },
        ..Options::default()
    };
    let hub = TestHub::with(options).await.unwrap();
    let team = Team::at(&hub).await;
    hub.bucket(team.id()).fail(Fault::Slow(HANG));
    let answer = Call::get(team.id(), "heads").send(&hub).await;
    assert_eq!(answer.error().code, HubErrorCode::StorageUnavailable);
    hub.bucket(team.id()).fail(Fault::None);
    assert_eq!(
        Call::get(team.id(), "heads").send(&hub).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_stop_lets_what_is_under_way_finish() {
    let options = Options {
        limits: Limits {
            health: HANG,
            ..Limits::default()
        },
        ..Options::default()
    };
    let hub = TestHub::with(options).await.unwrap();
    let team = Team::at(&hub).await;
    // From now on a look at the metrics costs the bucket nothing.
    let ready = client().get(format!("{}/health/ready", hub.url()));
    ready.send().await.unwrap();
    hub.bucket(team.id()).fail(Fault::Slow(SHORT));
    let call = Call::get(team.id(), "heads");
    let (signature, url) = (call.signature(&hub), format!("{}{}", hub.url(), call.path));
    let mut request = client().get(&url);
    for (name, value) in signature.iter() {
        request = request.header(name, value);
    }
    let under_way = tokio::spawn(request.send());
    let metrics = format!("{}/metrics", hub.url());
    while !client()
        .get(&metrics)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap()
        .contains("in_flight 2")
    {}
    tokio::time::timeout(HANG, hub.stop())
        .await
        .expect("it stops");
    assert_eq!(under_way.await.unwrap().unwrap().status(), StatusCode::OK);
    assert!(client().get(&url).send().await.is_err());
}

#[tokio::test]
async fn those_who_ask_at_once_share_a_look_at_the_bucket() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let heads = || async { Call::get(team.id(), "heads").send(&hub).await.status };
    assert_eq!(heads().await, StatusCode::OK);
    let bucket = hub.bucket(team.id());
    bucket.fail(Fault::Slow(SHORT));
    let before = bucket.seen().len();
    let asked = futures::future::join_all((0..12).map(|_| heads()));
    assert_eq!(asked.await, [StatusCode::OK; 12]);
    let looks = bucket.seen().len() - before;
    // Each asks twice: whether it is of a member, and for the heads. Those who wait share the next look.
    assert!((1..=8).contains(&looks), "{looks} looks for 12 requests");
}

#[tokio::test]
async fn what_operators_read_is_there() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    Call::get(team.id(), "heads").send(&hub).await;
    let get = async |path: &str| {
        let answer = client()
            .get(format!("{}{path}", hub.url()))
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{path}");
        answer.text().await.unwrap()
    };
    let metrics = get("/metrics").await;
    let line = format!(
        r#"podsync_hub_requests_total{{endpoint="/v1/teams/{{team}}/heads",team="{}",status="200"}} 1"#,
        team.id()
    );
    assert!(metrics.contains(&line), "{metrics}");
    // Strangers' guesses make no labels.
    Call::get(Team::founded_by(7).id(), "heads")
        .send(&hub)
        .await;
    let guessed = Team::founded_by(9).id();
    let bare = client().get(format!("{}/v1/teams/{guessed}/nothing", hub.url()));
    bare.send().await.unwrap();
    assert!(!get("/metrics").await.contains(&guessed.to_string()));
    assert!(
        get("/openapi.json")
            .await
            .contains("\"/v1/teams/{team}/commit\"")
    );
    get("/health/live").await;
    get("/health/ready").await;
    let teams: serde_json::Value = serde_json::from_str(&get("/health/teams").await).unwrap();
    let own = team.id().to_string();
    let found = teams
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["team"] == own);
    assert_eq!(found.unwrap()["state"], "ready", "{teams}");
    let metrics = get("/metrics").await;
    let line = format!(r#"podsync_hub_team_ready{{team="{own}"}} 1"#);
    assert!(metrics.contains(&line), "{metrics}");
}
