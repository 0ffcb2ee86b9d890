//! Stalled handshakes of strangers block nobody.

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{
    core::upgrade::OutboundConnectionUpgrade, identity::Keypair, multiaddr, noise,
    tcp::tokio::TcpStream,
};

use crate::kit::Peer;

/// More than any of the bounds allows at once.
const STRANGERS: usize = 500;

#[tokio::test]
async fn who_stalls_after_noise_keeps_no_member_out() {
    let (mut host, member) = (Peer::start(1).await, Peer::start(2).await);
    host.gate.add(member.device());
    let port = host
        .tcp
        .iter()
        .find_map(|part| match part {
            multiaddr::Protocol::Tcp(port) => Some(port),
            _ => None,
        })
        .unwrap();
    let mut strangers = Vec::new();
    for number in 0..STRANGERS {
        // One that was closed to make room no longer counts.
        strangers.extend(stall_after_noise(port, number).await);
    }
    assert!(!strangers.is_empty());
    member
        .net
        .dial(host.device(), vec![host.tcp.clone()])
        .await
        .unwrap();
    assert_eq!(host.connected().await, member.device());
}

/// Agrees on Noise, proves a key, and leaves it at that: no muxer is agreed on.
async fn stall_after_noise(port: u16, number: usize) -> Option<impl Sized> {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let key = Keypair::ed25519_from_bytes(seed).unwrap();
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
    let mut stream = TcpStream(stream.ok()?);
    let words = b"\x13/multistream/1.0.0\n\x07/noise\n";
    stream.write_all(words).await.ok()?;
    let mut echoed = [0; 28];
    stream.read_exact(&mut echoed).await.ok()?;
    assert_eq!(&echoed, words, "the host speaks Noise");
    let noise = noise::Config::new(&key).unwrap();
    noise.upgrade_outbound(stream, "/noise").await.ok()
}
