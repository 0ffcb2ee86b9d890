//! A peer that speaks the blob protocol by hand: it accepts a stream, and answers with bytes that
//! a test chose.

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, StreamProtocol, Swarm, identity::Keypair, noise, swarm::SwarmEvent, tcp, yamux,
};
use podsync_core::DeviceId;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) struct Liar {
    pub(crate) device: DeviceId,
    pub(crate) addr: Multiaddr,
    _running: DropGuard,
}

impl Liar {
    /// Answers every request with `answer`, and then ends the stream or resets it.
    pub(crate) async fn start(seed: u8, answer: Vec<u8>, ends_cleanly: bool) -> Self {
        let key = Keypair::ed25519_from_bytes([seed; 32]).unwrap();
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
        swarm
            .listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap())
            .unwrap();
        let addr = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let device = DeviceId::from_peer_id_bytes(&swarm.local_peer_id().to_bytes()).unwrap();
        let protocol = StreamProtocol::new("/podsync/blobs/1");
        let mut incoming = swarm.behaviour().new_control().accept(protocol).unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            let lie = async {
                while let Some((_, mut stream)) = incoming.next().await {
                    let mut len = [0; 4];
                    stream.read_exact(&mut len).await.unwrap();
                    let mut request = vec![0; u32::from_be_bytes(len) as usize];
                    stream.read_exact(&mut request).await.unwrap();
                    // The asker may stop listening in the middle of it.
                    let _ = stream.write_all(&answer).await;
                    if ends_cleanly {
                        let _ = stream.close().await;
                    }
                }
            };
            let run = async {
                loop {
                    swarm.select_next_some().await;
                }
            };
            tokio::select! {
                () = lie => {}
                () = run => {}
                () = stopped.cancelled() => {}
            }
        });
        Self {
            device,
            addr,
            _running: stop.drop_guard(),
        }
    }
}
