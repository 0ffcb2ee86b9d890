//! The data lane: it delivers the announced bytes, other devices get no lane, and without a lane the bytes
//! come over libp2p.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt};
use iroh_blobs::protocol::ChunkRanges;
use podsync_core::BlobId;
use podsync_net::{BlobRange, FetchError, NetEvent};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    hand::{Hand, LANE, Offered},
    kit::{Peer, noise, pair},
};

const MIB: u64 = 1 << 20;
const SECRET: [u8; 16] = [7; 16];

/// The bytes that `peer` received from its only peer: in total, and over lanes.
fn fetched(peer: &Peer) -> (u64, u64) {
    let from = peer.net.connections()[0].contact;
    (from.fetched, from.fetched_over_lane)
}

async fn honest_answer(want_len: usize) -> (BlobRange, Vec<u8>) {
    let peer = Peer::start(50).await;
    let want = peer.add_blob(6, want_len).await;
    let hash = iroh_blobs::Hash::from_bytes(*want.blob.as_bytes());
    let export = peer.store.blobs().export_bao(hash, ChunkRanges::all());
    let mut answer = vec![0];
    answer.extend(export.bao_to_vec().await.unwrap());
    (want, answer)
}

/// How far a test provider gets with a lane before it stops.
#[derive(Debug, Clone)]
enum Goes {
    /// It never answers the question for a lane.
    Nowhere,
    /// It names a port at which nobody listens.
    ToAClosedPort,
    /// It takes the connection and says nothing.
    ToTheConnection,
    /// It does the handshake and nothing more.
    ToTheHandshake,
    /// It sends these bytes for each request.
    ToTheAnswer(Vec<u8>),
}

/// A provider that offers lanes, and how often it was asked for one.
async fn provider(seed: u8, goes: Goes) -> (Hand, Arc<AtomicUsize>) {
    let hand = Hand::start(seed).await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let (mut incoming, count) = (hand.accept(LANE), Arc::clone(&asked));
    let answers = !matches!(goes, Goes::Nowhere);
    tokio::spawn(async move {
        let mut unanswered = Vec::new();
        while let Some((_, mut stream)) = incoming.next().await {
            count.fetch_add(1, Ordering::Relaxed);
            let mut family = [0];
            stream.read_exact(&mut family).await.unwrap();
            assert_eq!(family, [4]);
            if answers {
                let offer = [&[0][..], &port.to_be_bytes(), &SECRET].concat();
                stream.write_all(&offer).await.unwrap();
                stream.close().await.unwrap();
            } else {
                unanswered.push(stream);
            }
        }
    });
    if !matches!(goes, Goes::Nowhere | Goes::ToAClosedPort) {
        let acceptor = TlsAcceptor::from(hand.server());
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                kept.push(tokio::spawn(go(stream, acceptor.clone(), goes.clone())));
            }
        });
    }
    (hand, asked)
}

async fn go(mut stream: TcpStream, acceptor: TlsAcceptor, goes: Goes) {
    let mut secret = [0; 16];
    stream.read_exact(&mut secret).await.unwrap();
    assert_eq!(secret, SECRET);
    if matches!(goes, Goes::ToTheConnection) {
        return std::future::pending().await;
    }
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let Goes::ToTheAnswer(answer) = goes else {
        return std::future::pending().await;
    };
    loop {
        let mut len = [0; 4];
        if stream.read_exact(&mut len).await.is_err() {
            return;
        }
        let mut request = vec![0; u32::from_be_bytes(len) as usize];
        stream.read_exact(&mut request).await.unwrap();
        if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

async fn connected_to(hand: &Hand) -> Peer {
    let mut peer = Peer::start(1).await;
    peer.gate.add(hand.device);
    let dialled = peer.net.dial(hand.device, vec![hand.addr.clone()]).await;
    dialled.unwrap();
    assert_eq!(peer.connected().await, hand.device);
    peer
}

#[tokio::test]
async fn blobs_of_every_size_come_over_a_lane() {
    let (a, b) = pair().await;
    let mut total = 0;
    for len in [1, 1024, 16_384, 16_385, 100_000, 1 << 20, 20 << 20] {
        let want = b.add_blob(len as u64, len).await;
        let stats = a.fetch(b.device(), &want, |_| ()).await.unwrap();
        assert_eq!(stats.payload, len as u64);
        assert!(
            a.read_blob(want.blob).await == noise(len as u64, len),
            "{len}"
        );
        total += len as u64;
    }
    assert_eq!(fetched(&a), (total, total));
    assert!(b.net.connections()[0].contact.served >= total);
}

#[tokio::test]
async fn no_is_said_on_a_lane_too_and_the_lane_goes_on() {
    let (a, b) = pair().await;
    let (shared, withheld) = (b.add_blob(1, 100_000).await, b.add_blob(2, 100_000).await);
    b.gate.withhold(withheld.blob);
    let absent = BlobRange::whole(BlobId::of(b"unknown"), 7);
    for _ in 0..2 {
        a.fetch(b.device(), &shared, |_| ()).await.unwrap();
        let error = a.fetch(b.device(), &withheld, |_| ()).await.unwrap_err();
        assert!(matches!(error, FetchError::Refused { .. }), "{error}");
        let error = a.fetch(b.device(), &absent, |_| ()).await.unwrap_err();
        assert!(matches!(error, FetchError::Absent { .. }), "{error}");
    }
    assert_eq!(fetched(&a), (200_000, 200_000));
}

#[tokio::test]
async fn a_lane_that_was_cut_in_the_middle_is_noticed_by_the_provider() {
    let (a, mut b) = pair().await;
    let want = b.add_blob(8, 60 << 20).await;
    let arrived = Notify::new();
    tokio::select! {
        fetched = a.fetch(b.device(), &want, |_| arrived.notify_one()) => {
            panic!("it was to be cut: {fetched:?}")
        }
        () = arrived.notified() => {}
    }
    let sent = b
        .wait_for(|event| match event {
            NetEvent::Served { bytes, .. } => Some(bytes),
            _ => None,
        })
        .await;
    assert!(sent < want.blob_len, "it sent {sent} bytes");
    a.fetch(b.device(), &want, |_| ()).await.unwrap();
    assert!(a.read_blob(want.blob).await == noise(8, 60 << 20));
}

#[tokio::test]
async fn wrong_bytes_are_a_lie_wherever_they_are() {
    let (want, answer) = honest_answer(3 << 20).await;
    for at in [9, 9 + 64, answer.len() / 2, answer.len() - 1] {
        let mut wrong = answer.clone();
        wrong[at] ^= 1;
        let (hand, _) = provider(60, Goes::ToTheAnswer(wrong)).await;
        let a = connected_to(&hand).await;
        let error = a.fetch(hand.device, &want, |_| ()).await.unwrap_err();
        assert!(matches!(error, FetchError::Liar { .. }), "{at}: {error}");
        let (all, over_lane) = fetched(&a);
        assert_eq!(all, over_lane);
        match at {
            9 | 73 => assert_eq!(all, 0),
            at => assert!(all > 0 && all < want.blob_len, "{at}: {all}"),
        }
    }
}

#[tokio::test]
async fn the_same_bytes_unchanged_are_taken_and_what_comes_behind_them_is_not() {
    let (want, mut answer) = honest_answer(3 << 20).await;
    answer.push(9);
    let (hand, asked) = provider(60, Goes::ToTheAnswer(answer)).await;
    let a = connected_to(&hand).await;
    for round in 1..=3 {
        a.fetch(hand.device, &want, |_| ()).await.unwrap();
        assert_eq!(
            asked.load(Ordering::Relaxed),
            round,
            "the lane is out of step"
        );
    }
}

#[tokio::test]
async fn an_answer_that_ends_early_on_a_lane_is_cut() {
    let (want, answer) = honest_answer(3 << 20).await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    drop(listener);
    for len in [1, 9, 100, answer.len() - 1] {
        let hand = Hand::start(61).await;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mut incoming, part) = (hand.accept(LANE), answer[..len].to_vec());
        let acceptor = TlsAcceptor::from(hand.server());
        tokio::spawn(async move {
            let (_, mut stream) = incoming.next().await.unwrap();
            let offer = [&[0][..], &port.to_be_bytes(), &SECRET].concat();
            stream.write_all(&offer).await.unwrap();
            stream.close().await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 16]).await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            stream.read_exact(&mut [0; 4]).await.unwrap();
            stream.write_all(&part).await.unwrap();
            stream.flush().await.unwrap();
            // Ended without a message, like a killed process.
        });
        let a = connected_to(&hand).await;
        let error = a.fetch(hand.device, &want, |_| ()).await.unwrap_err();
        assert!(matches!(error, FetchError::Cut { .. }), "{len}: {error}");
    }
}

/// The bytes arrive wherever a provider stops, and it is not asked for a lane again at once.
#[tokio::test]
async fn who_stalls_before_a_lane_stands_sends_over_libp2p() {
    let (want, answer) = honest_answer(3 << 20).await;
    for goes in [Goes::Nowhere, Goes::ToAClosedPort, Goes::ToTheConnection] {
        let (hand, asked) = provider(62, goes.clone()).await;
        hand.answer_blobs(answer.clone());
        let a = connected_to(&hand).await;
        for _ in 0..2 {
            a.fetch(hand.device, &want, |_| ()).await.unwrap();
        }
        assert_eq!(fetched(&a), (2 * 3 * MIB, 0), "{goes:?}");
        assert_eq!(asked.load(Ordering::Relaxed), 1, "{goes:?}");
    }
}

/// The caller gives up before the lane does; the next attempt uses libp2p.
#[tokio::test]
async fn a_lane_over_which_nothing_comes_is_not_tried_again_at_once() {
    let (want, answer) = honest_answer(3 << 20).await;
    let (hand, asked) = provider(63, Goes::ToTheHandshake).await;
    hand.answer_blobs(answer);
    let a = connected_to(&hand).await;
    let patience = Duration::from_secs(4);
    let fetching = a.fetch(hand.device, &want, |_| ());
    assert!(tokio::time::timeout(patience, fetching).await.is_err());
    a.fetch(hand.device, &want, |_| ()).await.unwrap();
    assert_eq!(fetched(&a), (3 * MIB, 0));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_peer_without_lanes_is_fetched_from_as_ever() {
    let (want, answer) = honest_answer(3 << 20).await;
    let hand = Hand::start(64).await;
    hand.answer_blobs(answer);
    let a = connected_to(&hand).await;
    a.fetch(hand.device, &want, |_| ()).await.unwrap();
    assert_eq!(fetched(&a), (3 * MIB, 0));
}

/// The port of a host's lanes, from what it offers to a member that asks by hand.
async fn member_by_hand(host: &mut Peer, seed: u8) -> Hand {
    let hand = Hand::start(seed).await;
    host.gate.add(hand.device);
    hand.dial(&host.tcp).await;
    assert_eq!(host.connected().await, hand.device);
    hand
}

/// Whether the host ends a connection on which `first` was said, without a byte of its own.
async fn is_hung_up_on(port: u16, first: &[u8]) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(first).await.unwrap();
    let mut said = Vec::new();
    // Unread bytes turn the end of a connection into a reset.
    let _ = stream.read_to_end(&mut said).await;
    said.is_empty()
}

#[tokio::test]
async fn strangers_at_the_port_get_nothing_and_keep_no_member_out() {
    let (a, mut b) = pair().await;
    let hand = member_by_hand(&mut b, 65).await;
    let port = hand.offered(b.device()).await.port;
    assert!(is_hung_up_on(port, &[0; 16]).await);
    assert!(is_hung_up_on(port, &[9; 4000]).await);
    let mut stalled = Vec::new();
    for said in 0..300 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _ = stream.write_all(&vec![1; said % 16]).await;
        stalled.push(stream);
    }
    let want = b.add_blob(3, 3 << 20).await;
    a.fetch(b.device(), &want, |_| ()).await.unwrap();
    assert_eq!(fetched(&a), (3 * MIB, 3 * MIB));
}

#[tokio::test]
async fn a_stranger_is_offered_none() {
    let mut b = Peer::start(2).await;
    let hand = Hand::start(66).await;
    hand.dial(&b.tcp).await;
    assert_eq!(b.connected().await, hand.device);
    assert_eq!(hand.ask_for_lane(b.device()).await, [1]);
}

#[tokio::test]
async fn a_secret_is_good_once_and_for_one_device() {
    let mut b = Peer::start(2).await;
    let alice = member_by_hand(&mut b, 67).await;
    let carol = member_by_hand(&mut b, 68).await;
    let stolen = alice.offered(b.device()).await;
    assert!(
        is_open(carol.open(&stolen).await).await.is_none(),
        "it is Alice's"
    );
    assert!(
        is_open(alice.open(&stolen).await).await.is_none(),
        "it was used"
    );
    let hers = alice.offered(b.device()).await;
    let lane = is_open(alice.open(&hers).await).await;
    assert!(lane.is_some());
    assert!(is_hung_up_on(hers.port, &hers.secret).await);
}

type Tls = tokio_rustls::client::TlsStream<TcpStream>;

/// The lane, if it answers a request for an unknown blob.
async fn is_open(lane: std::io::Result<Tls>) -> Option<Tls> {
    let mut lane = lane.ok()?;
    lane.write_all(&[0, 0, 0, 1, 9]).await.ok()?;
    let mut status = [0];
    lane.read_exact(&mut status).await.ok()?;
    assert_eq!(status, [1], "what is no request is refused");
    Some(lane)
}

/// Places are counted per peer: one that takes all of its own blocks nobody else.
#[tokio::test]
async fn who_opens_lanes_without_end_takes_only_its_own_places() {
    let (a, mut b) = pair().await;
    let hand = member_by_hand(&mut b, 69).await;
    let mut lanes = Vec::new();
    let busy = loop {
        let answer = hand.ask_for_lane(b.device()).await;
        if answer[0] != 0 {
            break answer;
        }
        let offered = Offered {
            port: u16::from_be_bytes([answer[1], answer[2]]),
            secret: answer[3..].try_into().unwrap(),
        };
        lanes.push(hand.open(&offered).await.unwrap());
    };
    assert_eq!((busy, lanes.len()), (vec![2], 16));
    let want = b.add_blob(3, 3 << 20).await;
    a.fetch(b.device(), &want, |_| ()).await.unwrap();
    assert_eq!(fetched(&a), (3 * MIB, 3 * MIB));
}

#[tokio::test]
async fn a_removed_members_lanes_are_cut() {
    let mut b = Peer::start(2).await;
    let hand = member_by_hand(&mut b, 70).await;
    let offered = hand.offered(b.device()).await;
    let mut waiting = is_open(hand.open(&offered).await).await.unwrap();
    let left_over = hand.offered(b.device()).await;
    b.gate.remove(hand.device);
    b.net.membership_changed().await.unwrap();
    let mut byte = [0];
    assert!(!matches!(waiting.read(&mut byte).await, Ok(1..)));
    assert!(is_hung_up_on(left_over.port, &left_over.secret).await);
}

/// Also in the middle of an answer, on both ends.
#[tokio::test]
async fn a_lane_ends_with_its_connection() {
    let (mut a, b) = pair().await;
    let want = b.add_blob(8, 60 << 20).await;
    let (net, device) = (a.net.clone(), b.device());
    let disconnect = async {
        net.disconnect(device).await.unwrap();
    };
    let arrived = Notify::new();
    let cut = async {
        arrived.notified().await;
        disconnect.await;
    };
    let (fetched, ()) = tokio::join!(a.fetch(device, &want, |_| arrived.notify_one()), cut);
    let error = fetched.unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Cut { .. } | FetchError::NotConnected { .. }
        ),
        "{error}"
    );
    assert_eq!(a.disconnected().await, device);
}
