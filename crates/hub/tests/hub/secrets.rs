//! What never passes through the hub, never lies in the clear, and is never logged.

use std::{
    io::Write,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use podsync_api::hub::{Actions, BatchOperation, BatchResponse, FeedPage, JoinByInvite};
use podsync_core::{
    codec::Format, feed::Entry, membership::Operation, signed::verify, wire::Liveness,
};
use podsync_hub::{
    audit,
    keys::ObjectKey,
    stored::{HeadKey, StoredHead},
    testing::{Options, TestHub},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tracing_subscriber::fmt::MakeWriter;

use crate::kit::{Call, Feed, Team, batch, client, device};

/// Bytes that all who write it share.
#[derive(Clone, Default)]
pub(crate) struct Tape(Arc<Mutex<Vec<u8>>>);

impl Tape {
    fn contains(&self, what: &[u8]) -> bool {
        let bytes = self.0.lock().unwrap();
        bytes.windows(what.len()).any(|window| window == what)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Tape {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Something in front of `to` that notes every byte in both directions.
async fn wiretap(to: SocketAddr) -> (SocketAddr, Tape) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tape = Tape::default();
    let noted = tape.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(to).await.unwrap();
            let (client, server) = (client.into_split(), server.into_split());
            tokio::spawn(copy(client.0, server.1, noted.clone()));
            tokio::spawn(copy(server.0, client.1, noted.clone()));
        }
    });
    (address, tape)
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut tape: Tape,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        tape.write_all(&buffer[..count]).unwrap();
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Shares a version and reads it back; what was asked of the bucket by URL.
async fn a_whole_day(hub: &TestHub, team: &Team) -> (Feed, Vec<String>) {
    let mut feed = Feed::new(team.id(), 1);
    feed.publish("a");
    feed.publish("a");
    feed.share(hub, 1).await;
    let statement = Liveness {
        time_ms: 1,
        heads: [1; 32],
    };
    let post = podsync_api::hub::PostLiveness {
        statement: device(1).sign(team.id(), &statement).into(),
    };
    Call::post(team.id(), "liveness", &post)
        .by(1)
        .send(hub)
        .await;
    let path = format!("feeds/{}", feed.device());
    let page: FeedPage = Call::get(team.id(), &path).by(2).send(hub).await.json();
    assert_eq!(page.entries.len(), 2);
    let ids = feed.objects.iter().map(|(id, _)| *id).collect();
    let answer = batch(team.id(), 2, BatchOperation::Download, ids)
        .send(hub)
        .await;
    let response: BatchResponse = answer.json();
    let mut hrefs = Vec::new();
    for (batched, (_, bytes)) in response.objects.iter().zip(&feed.objects) {
        let Some(Actions::Download(action)) = &batched.actions else {
            panic!("no action");
        };
        let got = client().get(&action.href).send().await.unwrap();
        assert_eq!(got.bytes().await.unwrap(), bytes[..]);
        hrefs.push(action.href.clone());
    }
    // And some that fail.
    let join = JoinByInvite {
        request: vec![1, 2, 3].into(),
    };
    Call::post(team.id(), "join", &join)
        .by(9)
        .send(hub)
        .await
        .error();
    Call::get(team.id(), "heads").by(9).send(hub).await.error();
    (feed, hrefs)
}

#[tokio::test]
async fn bytes_of_states_never_pass_through_the_hub() {
    let options = Options {
        any_host: true,
        ..Options::default()
    };
    let hub = TestHub::with(options).await.unwrap();
    let (front, tape) = wiretap(hub.address()).await;
    let hub = hub.behind(front);
    let team = Team::at(&hub).await;
    let (feed, _) = a_whole_day(&hub, &team).await;
    // The test sees the traffic: the ids of shared objects did pass.
    let sha256 = feed.objects[0].0.sha256.to_string();
    assert!(tape.contains(sha256.as_bytes()));
    for (_, bytes) in &feed.objects {
        assert!(!tape.contains(&bytes[..24]));
        let base64 = data_encoding::BASE64.encode(&bytes[..24]);
        assert!(!tape.contains(base64.as_bytes()));
    }
    // Nor did the hub fetch or put any from behind.
    let seen = hub.bucket(team.id()).seen();
    let moved = |by_url| {
        let moves = seen.iter().filter(move |seen| seen.by_url == by_url);
        moves.filter(|seen| {
            ["get", "put"].contains(&seen.what) && seen.key.parse::<ObjectKey>().is_ok()
        })
    };
    assert_eq!(moved(false).count(), 0);
    assert_eq!(moved(true).count(), 12);
}

#[tokio::test]
async fn the_hub_writes_nothing_in_the_clear_but_what_the_design_allows() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let (feed, _) = a_whole_day(&hub, &team).await;
    let mut kinds = std::collections::BTreeSet::new();
    for (key, bytes) in hub.bucket(team.id()).objects() {
        if key.parse::<ObjectKey>().is_ok() {
            continue; // A member put it there, sealed.
        }
        let folder = key.split('/').next().unwrap().to_owned();
        match folder.as_str() {
            "membership" => {
                verify::<Operation>(&bytes).unwrap();
            }
            "liveness" => {
                verify::<Liveness>(&bytes).unwrap();
            }
            "heads" => {
                key.parse::<HeadKey>().unwrap();
                StoredHead::decode(&bytes).unwrap();
            }
            "segments" => {
                let segment = podsync_hub::stored::Segment::decode(&bytes).unwrap();
                for (stored, shared) in segment.entries.iter().zip(&feed.entries) {
                    assert_eq!(
                        &stored.entry[..],
                        &shared.entry[..],
                        "as its device sealed it"
                    );
                    Entry::decode(&stored.entry).unwrap();
                }
            }
            "changed" => assert!(bytes.len() == 32 && bytes.iter().all(u8::is_ascii_hexdigit)),
            _ => panic!("the hub wrote {key}"),
        }
        for secret in ["SECRET-MESSAGE", "SECRET-SERVICE", "orders", "STATE-BYTES"] {
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "{key} shows {secret}");
        }
        kinds.insert(folder);
    }
    let expected = ["changed", "heads", "liveness", "membership", "segments"];
    assert_eq!(kinds, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn no_log_has_a_url_a_key_or_a_secret_and_the_audit_log_is_a_chain() {
    let tape = Tape::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(tape.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let call = Call::get(team.id(), "heads").by(2);
    let signature = call.signature(&hub);
    call.send_with(&hub, &signature).await;
    let (_, hrefs) = a_whole_day(&hub, &team).await;
    hub.bucket(team.id())
        .fail(podsync_hub::storage::memory::Fault::Unavailable);
    Call::get(team.id(), "heads").send(&hub).await.error();

    // Our own lines: the client of these tests logs its URLs itself.
    let text = tape.text();
    let ours: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("podsync_hub") || line.contains(" audit: "))
        .collect();
    assert!(ours.iter().any(|line| line.contains("request")), "{text}");
    for line in &ours {
        for href in &hrefs {
            let (url, query) = href.split_once('?').unwrap();
            assert!(!line.contains(url) && !line.contains(query), "{line}");
        }
        for secret in [
            "http://",
            "until=",
            "signature=",
            "sig1=",
            "STATE-BYTES",
            "SECRET-",
        ] {
            assert!(!line.contains(secret), "{line}");
        }
        assert!(!line.contains(signature.signature.trim_start_matches("sig1=")));
    }
    let lines: Vec<_> = ours
        .iter()
        .filter(|line| line.contains(" audit: "))
        .collect();
    assert!(lines.len() >= 5, "{text}");
    let mut previous: Option<String> = None;
    for line in lines {
        let (_, rest) = line.split_once(" audit: ").unwrap();
        let (said, hash) = rest.rsplit_once(" hash=").unwrap();
        assert_eq!(audit::hash(said).to_hex().as_str(), hash);
        if let Some(previous) = &previous {
            assert!(said.ends_with(&format!("previous={previous}")), "{said}");
        }
        previous = Some(hash.to_owned());
    }
}
