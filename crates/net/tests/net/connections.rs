//! Finding, keeping and losing peers.

use std::time::Duration;

use podsync_net::{DialError, Multiaddr, Net, NetConfig, NetEvent, SpawnError};

use crate::kit::{Peer, TestGate, pair};

/// Of a ticket's addresses one now belongs to another device, one has no listener, and one is right.
#[tokio::test]
async fn who_answers_a_knock_is_named() {
    let (mut a, b) = (Peer::start(1).await, Peer::start(2).await);
    let nobody = {
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        format!("/ip4/127.0.0.1/tcp/{port}").parse::<Multiaddr>()
    };
    let nobody = nobody.unwrap();
    let deaf = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let deaf = format!("/ip4/127.0.0.1/tcp/{}", deaf.local_addr().unwrap().port());
    let addrs = vec![
        nobody.clone(),
        deaf.parse().unwrap(),
        a.tcp.clone(),
        b.tcp.clone(),
    ];
    assert_eq!(a.net.probe(addrs).await, Ok(Some(b.device())));
    assert_eq!(a.connected().await, b.device());
    assert_eq!(a.net.probe(vec![nobody]).await, Ok(None));
    assert_eq!(a.net.probe(Vec::new()).await, Ok(None));
}

#[tokio::test]
async fn who_dial_each_other_at_once_stay_connected() {
    for seed in (10..30).step_by(2) {
        let (mut a, mut b) = (Peer::start(seed).await, Peer::start(seed + 1).await);
        a.gate.add(b.device());
        b.gate.add(a.device());
        let (to_b, to_a) = tokio::join!(
            a.net.dial(b.device(), vec![b.tcp.clone()]),
            b.net.dial(a.device(), vec![a.tcp.clone()]),
        );
        to_b.unwrap();
        to_a.unwrap();
        assert_eq!(a.connected().await, b.device());
        assert_eq!(b.connected().await, a.device());
        let b_device = b.device();
        // A stream may have been opened on the connection that is closed: a second request must
        // work.
        let answering = b.wait_for(|event| match event {
            NetEvent::Request { responder, .. } => responder.respond(vec![1]).ok(),
            NetEvent::Disconnected { .. } => panic!("both connections were closed"),
            _ => None,
        });
        let asking = async {
            loop {
                let answer = a
                    .net
                    .request(b_device, podsync_net::Protocol::Heads, vec![]);
                match answer.await {
                    Ok(answer) => break answer,
                    Err(podsync_net::RequestError::Cut { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!(answer, [1]);
    }
}

#[tokio::test]
async fn a_stranger_that_says_nothing_is_closed_in_the_end() {
    let (mut host, mut stranger) = (Peer::start(1).await, Peer::start(2).await);
    stranger.gate.add(host.device());
    stranger
        .net
        .dial(host.device(), vec![host.tcp.clone()])
        .await
        .unwrap();
    assert_eq!(stranger.disconnected().await, host.device());
    assert_eq!(host.disconnected().await, stranger.device());
}

#[tokio::test]
async fn nobody_there_is_an_error_with_a_reason() {
    let (a, b) = (Peer::start(1).await, Peer::start(2).await);
    let nowhere: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let error = a
        .net
        .dial(b.device(), vec![nowhere.clone()])
        .await
        .unwrap_err();
    assert!(matches!(error, DialError::Unreachable { .. }), "{error}");
    let error = a.net.dial(b.device(), vec![]).await.unwrap_err();
    assert!(matches!(error, DialError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn an_address_of_someone_else_is_not_believed() {
    let (a, b, c) = (
        Peer::start(1).await,
        Peer::start(2).await,
        Peer::start(3).await,
    );
    let error = a
        .net
        .dial(b.device(), vec![c.tcp.clone()])
        .await
        .unwrap_err();
    let taken = DialError::Taken {
        device: b.device(),
        address: c.tcp.clone(),
    };
    assert_eq!(error, taken);
    assert!(!a.net.is_connected(b.device()) && !a.net.is_connected(c.device()));
}

/// The peer looks for a device that is gone, whose address this one has now.
#[tokio::test]
async fn who_looks_for_another_device_here_stays_connected() {
    let (mut a, mut b) = pair().await;
    let gone = Peer::start(3).await.device();
    for (from, here) in [(&a, &b), (&b, &a)] {
        let error = from.net.dial(gone, vec![here.tcp.clone()]).await;
        assert!(matches!(error, Err(DialError::Taken { .. })), "{error:?}");
    }
    answers(&a, &mut b).await;
    answers(&b, &mut a).await;
}

async fn answers(asker: &Peer, peer: &mut Peer) {
    let asking = asker
        .net
        .request(peer.device(), podsync_net::Protocol::Heads, vec![]);
    let answering = peer.wait_for(|event| match event {
        NetEvent::Request { responder, .. } => responder.respond(vec![1]).ok(),
        NetEvent::Disconnected { .. } => panic!("their connection was closed"),
        _ => None,
    });
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(answer.unwrap(), [1]);
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let a = Peer::start(1).await;
    let port = a
        .tcp
        .to_string()
        .split('/')
        .nth(4)
        .unwrap()
        .parse()
        .unwrap();
    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let config = NetConfig {
        listen: vec![addr],
        ..NetConfig::loopback()
    };
    let store = (*a.store).clone().into();
    let gate = std::sync::Arc::new(TestGate::default());
    match Net::spawn(&config, [2; 32], store, gate, a.cancel.clone()).map(|_| ()) {
        Err(SpawnError::Listen { addr: named, .. }) => assert_eq!(named, addr),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_stops_while_bytes_are_on_their_way() {
    let (a, mut b) = pair().await;
    let want = b.add_blob(1, 64 << 20).await;
    let (moving, moved) = tokio::sync::oneshot::channel();
    let moving = std::sync::Mutex::new(Some(moving));
    let fetching = a.fetch(b.device(), &want, |_| {
        if let Some(moving) = moving.lock().unwrap().take() {
            moving.send(()).unwrap();
        }
    });
    let stopping = async {
        moved.await.unwrap();
        b.cancel.cancel();
        tokio::time::timeout(Duration::from_secs(5), b.net.stopped()).await
    };
    let (fetched, stopped) = tokio::join!(fetching, stopping);
    stopped.expect("it stops within the time a daemon has for it");
    assert!(
        matches!(fetched, Err(podsync_net::FetchError::Cut { .. })),
        "{fetched:?}"
    );
    while b.events.recv().await.is_some() {}
    let error = b.net.dial(a.device(), vec![]).await.unwrap_err();
    assert!(matches!(error, DialError::Gone(_)), "{error}");
}
