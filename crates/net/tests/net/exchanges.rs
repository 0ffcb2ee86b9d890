//! One question, one answer, and who may ask.

use podsync_net::{NetEvent, Protocol, RequestError};

use crate::kit::{Peer, pair};

#[tokio::test]
async fn a_request_is_answered_on_each_protocol() {
    let (a, mut b) = pair().await;
    for protocol in Protocol::ALL {
        let longest = vec![7; protocol.max_len()];
        let asking = a.net.request(b.device(), protocol, longest.clone());
        let answering = async {
            let (asked, bytes, responder) = b
                .wait_for(|event| match event {
                    NetEvent::Request {
                        protocol,
                        bytes,
                        responder,
                        ..
                    } => Some((protocol, bytes, responder)),
                    _ => None,
                })
                .await;
            assert_eq!(asked, protocol);
            assert!(
                bytes == longest,
                "{protocol:?}: {} bytes arrived",
                bytes.len()
            );
            responder
                .respond(bytes.into_iter().map(|byte| byte + 1).collect())
                .unwrap();
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert!(
            answer.unwrap() == vec![8; protocol.max_len()],
            "{protocol:?}"
        );
    }
}

#[tokio::test]
async fn what_is_too_long_is_refused_before_it_is_sent() {
    let (a, mut b) = pair().await;
    let len = Protocol::Heads.max_len() + 1;
    let error = a
        .net
        .request(b.device(), Protocol::Heads, vec![0; len])
        .await
        .unwrap_err();
    assert!(matches!(error, RequestError::TooLarge { .. }), "{error}");

    let asking = a.net.request(b.device(), Protocol::Heads, vec![]);
    let answering = async {
        let responder = b
            .wait_for(|event| match event {
                NetEvent::Request { responder, .. } => Some(responder),
                _ => None,
            })
            .await;
        assert_eq!(responder.respond(vec![0; len]).unwrap_err().len, len);
    };
    let (answer, ()) = tokio::join!(asking, answering);
    let error = answer.unwrap_err();
    assert!(matches!(error, RequestError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn a_stranger_has_one_exchange_and_is_closed() {
    let (mut host, mut stranger) = (Peer::start(1).await, Peer::start(2).await);
    let host_id = host.device();
    stranger
        .net
        .dial(host_id, vec![host.tcp.clone()])
        .await
        .unwrap();
    stranger.connected().await;
    for protocol in [Protocol::Heads, Protocol::Entries, Protocol::Have] {
        // More than a stream buffers: the refusal must not wait for the rest.
        let long = vec![0; protocol.max_len()];
        let error = stranger
            .net
            .request(host_id, protocol, long)
            .await
            .unwrap_err();
        assert!(
            matches!(error, RequestError::Refused { .. }),
            "{protocol:?}: {error}"
        );
    }
    let asking = stranger
        .net
        .request(host_id, Protocol::Membership, b"let me in".to_vec());
    let answering = async {
        let (bytes, responder) = host
            .wait_for(|event| match event {
                NetEvent::Request {
                    protocol,
                    bytes,
                    responder,
                    ..
                } => {
                    assert_eq!(
                        protocol,
                        Protocol::Membership,
                        "nothing else reaches the daemon"
                    );
                    Some((bytes, responder))
                }
                _ => None,
            })
            .await;
        assert_eq!(bytes, b"let me in");
        responder.respond(b"no".to_vec()).unwrap();
    };
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(answer.unwrap(), b"no");
    assert_eq!(stranger.disconnected().await, host_id);
    assert_eq!(host.disconnected().await, stranger.device());
}

#[tokio::test]
async fn who_becomes_a_member_in_its_exchange_stays() {
    let (mut host, mut newcomer) = (Peer::start(1).await, Peer::start(2).await);
    newcomer.gate.add(host.device());
    newcomer
        .net
        .dial(host.device(), vec![host.tcp.clone()])
        .await
        .unwrap();
    newcomer.connected().await;
    let joining = newcomer
        .net
        .request(host.device(), Protocol::Membership, b"join".to_vec());
    let witness = async {
        let (device, responder) = host
            .wait_for(|event| match event {
                NetEvent::Request {
                    device, responder, ..
                } => Some((device, responder)),
                _ => None,
            })
            .await;
        host.gate.add(device);
        host.net.membership_changed().await.unwrap();
        responder.respond(b"welcome".to_vec()).unwrap();
    };
    let (answer, ()) = tokio::join!(joining, witness);
    assert_eq!(answer.unwrap(), b"welcome");

    let asking = newcomer.net.request(host.device(), Protocol::Heads, vec![]);
    let answering = host.wait_for(|event| match event {
        NetEvent::Request {
            protocol: Protocol::Heads,
            responder,
            ..
        } => {
            responder.respond(vec![1]).unwrap();
            Some(())
        }
        NetEvent::Disconnected { .. } => panic!("a member was closed"),
        _ => None,
    });
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(answer.unwrap(), [1]);
}

#[tokio::test]
async fn who_is_removed_is_closed() {
    let (mut a, mut b) = pair().await;
    a.gate.remove(b.device());
    a.net.membership_changed().await.unwrap();
    assert_eq!(a.disconnected().await, b.device());
    assert_eq!(b.disconnected().await, a.device());
    let error = b
        .net
        .request(a.device(), Protocol::Heads, vec![])
        .await
        .unwrap_err();
    assert!(
        matches!(error, RequestError::NotConnected { .. }),
        "{error}"
    );
}
