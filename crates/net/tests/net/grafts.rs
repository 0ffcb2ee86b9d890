//! A member that grafts endless topics: CVE-2026-95859 of gossipsub, fixed in its 0.50.0.
//!
//! The peer here writes the frames itself, since no honest implementation sends them.

use futures::{AsyncWriteExt, StreamExt};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, identity::Keypair, noise, tcp, yamux};
use podsync_core::{DeviceId, TeamId};
use podsync_net::NetEvent;

use crate::{MEMORY, kit::Peer};

const TEAM: TeamId = TeamId::from_bytes([9; 32]);
const GRAFTS: u32 = 100_000;
/// In one frame: gossipsub reads 16 KiB of control messages in one.
const GRAFTS_PER_FRAME: u32 = 250;
/// The memory that all of them may cost. The name of one has 40 bytes.
const MAX_GROWTH: usize = 1 << 20;

#[tokio::test]
async fn a_hundred_thousand_grafts_cost_nothing() {
    let mut host = Peer::start(1).await;
    let key = Keypair::ed25519_from_bytes([2; 32]).unwrap();
    let local = key.public().to_peer_id();
    host.gate
        .add(DeviceId::from_peer_id_bytes(&local.to_bytes()).unwrap());
    host.net.subscribe(TEAM).await.unwrap();
    let to = libp2p::PeerId::from_bytes(&host.device().to_peer_id_bytes()).unwrap();
    let mut stream = stream_to(key.clone(), to, host.tcp.clone()).await;

    // Once a later message arrives, all grafts before it were read.
    let topic = format!("/podsync/gossip/1/{TEAM}");
    stream
        .write_all(&frame(&subscription(&topic)))
        .await
        .unwrap();
    stream
        .write_all(&frame(&publication(&key, &topic, 1)))
        .await
        .unwrap();
    heard(&mut host).await;
    let before = MEMORY.allocated();
    for first in (0..GRAFTS).step_by(GRAFTS_PER_FRAME as usize) {
        let topics = (first..first + GRAFTS_PER_FRAME).map(|n| format!("{n:040}"));
        stream.write_all(&frame(&grafts(topics))).await.unwrap();
    }
    stream
        .write_all(&frame(&publication(&key, &topic, 2)))
        .await
        .unwrap();
    heard(&mut host).await;
    let grown = MEMORY.allocated().saturating_sub(before);
    println!("{GRAFTS} topics grafted: {grown} bytes more");
    assert!(grown < MAX_GROWTH, "{grown} bytes");
}

async fn heard(host: &mut Peer) {
    host.wait_for(|event| matches!(event, NetEvent::Gossip { .. }).then_some(()))
        .await;
}

/// A gossip stream to a peer, in which frames can be written by hand.
async fn stream_to(key: Keypair, to: PeerId, at: Multiaddr) -> libp2p::Stream {
    let mut swarm: Swarm<libp2p_stream::Behaviour> =
        libp2p::SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(
                tcp::Config::default(),
                noise::Config::new,
                yamux::Config::default,
            )
            .unwrap()
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .unwrap()
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(std::time::Duration::from_secs(u64::MAX))
            })
            .build();
    let mut control = swarm.behaviour().new_control();
    // The host opens a gossip stream to this peer too.
    let protocol = StreamProtocol::new("/meshsub/1.1.0");
    let mut incoming = control.accept(protocol.clone()).unwrap();
    swarm.dial(at.with_p2p(to).unwrap()).unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            tokio::select! {
                _ = swarm.select_next_some() => {}
                Some((_, stream)) = incoming.next() => kept.push(stream),
            }
        }
    });
    loop {
        if let Ok(stream) = control.open_stream(to, protocol.clone()).await {
            return stream;
        }
    }
}

/// A message after its length, as all gossipsub frames are.
fn frame(message: &[u8]) -> Vec<u8> {
    [&varint(message.len()), message].concat()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field of protobuf with bytes in it.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2], &varint(bytes.len())[..], bytes].concat()
}

fn subscription(topic: &str) -> Vec<u8> {
    field(1, &[&[0x08, 1][..], &field(2, topic.as_bytes())].concat())
}

fn grafts(topics: impl Iterator<Item = String>) -> Vec<u8> {
    let grafts = topics.map(|topic| field(3, &field(1, topic.as_bytes())));
    field(3, &grafts.collect::<Vec<_>>().concat())
}

fn publication(key: &Keypair, topic: &str, number: u64) -> Vec<u8> {
    let from = key.public().to_peer_id().to_bytes();
    let message = [
        field(1, &from),
        field(2, b"hello"),
        field(3, &number.to_be_bytes()),
        field(4, topic.as_bytes()),
    ]
    .concat();
    let signature = key
        .sign(&[&b"libp2p-pubsub:"[..], &message].concat())
        .unwrap();
    field(2, &[message, field(5, &signature)].concat())
}
