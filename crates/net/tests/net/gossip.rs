//! Gossip reaches members, and nobody else.

use std::time::Duration;

use podsync_core::TeamId;
use podsync_net::{MAX_GOSSIP_LEN, Net, NetEvent, Protocol, PublishError, Verdict};

use crate::kit::{Peer, pair};

const TEAM: TeamId = TeamId::from_bytes([9; 32]);

/// Gossips until cancelled, since receivers subscribe at different times.
async fn keep_saying(net: &Net, what: &[u8]) -> ! {
    for n in 0_u64.. {
        let message = [what, &n.to_le_bytes()].concat();
        net.publish(TEAM, message).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    unreachable!()
}

async fn hear(peer: &mut Peer) -> (podsync_core::DeviceId, Vec<u8>) {
    let (team, from, bytes, id) = peer
        .wait_for(|event| match event {
            NetEvent::Gossip {
                team,
                from,
                bytes,
                id,
            } => Some((team, from, bytes, id)),
            _ => None,
        })
        .await;
    assert_eq!(team, TEAM);
    peer.net.report(id, Verdict::Accept).await.unwrap();
    (from, bytes)
}

#[tokio::test]
async fn gossip_goes_on_from_member_to_member() {
    let (a, mut b) = pair().await;
    let mut c = Peer::start(3).await;
    b.gate.add(c.device());
    c.gate.add(b.device());
    c.net.dial(b.device(), vec![b.tcp.clone()]).await.unwrap();
    for peer in [&a, &b, &c] {
        peer.net.subscribe(TEAM).await.unwrap();
    }
    let heard = async {
        loop {
            tokio::select! {
                // It must forward the message, or the third never gets it.
                _ = hear(&mut b) => {}
                heard = hear(&mut c) => break heard,
            }
        }
    };
    let a_net = a.net.clone();
    let (from, bytes) = tokio::select! {
        heard = heard => heard,
        never = keep_saying(&a_net, b"orders:3") => never,
    };
    assert!(bytes.starts_with(b"orders:3"));
    assert_eq!(from, b.device(), "it came by way of the one in the middle");
}

/// One of the two connections is closed, and messages on it are lost, subscriptions included.
#[tokio::test]
async fn who_dial_each_other_at_once_hear_each_other() {
    for seed in (10..30).step_by(2) {
        let (mut a, mut b) = (Peer::start(seed).await, Peer::start(seed + 1).await);
        for (one, other) in [(&a, &b), (&b, &a)] {
            one.gate.add(other.device());
            one.net.subscribe(TEAM).await.unwrap();
        }
        let (to_b, to_a) = tokio::join!(
            a.net.dial(b.device(), vec![b.tcp.clone()]),
            b.net.dial(a.device(), vec![a.tcp.clone()]),
        );
        to_b.unwrap();
        to_a.unwrap();
        let (a_net, b_net) = (a.net.clone(), b.net.clone());
        tokio::select! {
            _ = hear(&mut b) => {}
            never = keep_saying(&a_net, b"from a") => never,
        }
        tokio::select! {
            _ = hear(&mut a) => {}
            never = keep_saying(&b_net, b"from b") => never,
        }
    }
}

#[tokio::test]
async fn a_stranger_neither_hears_nor_is_heard_until_it_is_a_member() {
    let (mut host, mut newcomer) = (Peer::start(1).await, Peer::start(2).await);
    newcomer.gate.add(host.device());
    host.net.subscribe(TEAM).await.unwrap();
    newcomer.net.subscribe(TEAM).await.unwrap();
    newcomer
        .net
        .dial(host.device(), vec![host.tcp.clone()])
        .await
        .unwrap();
    let (host_net, newcomer_net) = (host.net.clone(), newcomer.net.clone());

    let joining = async {
        let request = newcomer_net.request(host_net.device(), Protocol::Membership, vec![]);
        tokio::select! {
            never = keep_saying(&newcomer_net, b"early") => never,
            () = newcomer.wait_for(|event| match event {
                NetEvent::Gossip { .. } => panic!("a stranger heard"),
                _ => None,
            }) => {}
            answer = request => assert_eq!(answer.unwrap(), b"welcome"),
        }
    };
    let witness = async {
        let (device, responder) = host
            .wait_for(|event| match event {
                NetEvent::Request {
                    device, responder, ..
                } => Some((device, responder)),
                _ => None,
            })
            .await;
        // Long enough for either to have heard the other many times over.
        tokio::select! {
            never = keep_saying(&host_net, b"secret") => never,
            () = host.wait_for(|event| match event {
                NetEvent::Gossip { .. } => panic!("a stranger was heard"),
                _ => None,
            }) => {}
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
        host.gate.add(device);
        host.net.membership_changed().await.unwrap();
        responder.respond(b"welcome".to_vec()).unwrap();
    };
    tokio::join!(joining, witness);

    let (from, bytes) = tokio::select! {
        heard = async {
            loop {
                let heard = hear(&mut host).await;
                if heard.1.starts_with(b"late") {
                    break heard;
                }
            }
        } => heard,
        never = keep_saying(&newcomer_net, b"late") => never,
    };
    assert_eq!(from, newcomer.device());
    assert!(bytes.starts_with(b"late"));
}

#[tokio::test]
async fn a_message_has_a_limit_and_needs_no_hearer() {
    let a = Peer::start(1).await;
    a.net.publish(TEAM, vec![0; MAX_GOSSIP_LEN]).await.unwrap();
    let error = a
        .net
        .publish(TEAM, vec![0; MAX_GOSSIP_LEN + 1])
        .await
        .unwrap_err();
    assert_eq!(
        error,
        PublishError::TooLarge {
            len: MAX_GOSSIP_LEN + 1
        }
    );
}

#[tokio::test]
async fn the_longest_message_arrives() {
    let (a, mut b) = pair().await;
    a.net.subscribe(TEAM).await.unwrap();
    b.net.subscribe(TEAM).await.unwrap();
    let longest = vec![7; MAX_GOSSIP_LEN - 8];
    let (_, bytes) = tokio::select! {
        heard = hear(&mut b) => heard,
        never = keep_saying(&a.net, &longest) => never,
    };
    assert_eq!(bytes.len(), MAX_GOSSIP_LEN);
}
