//! A peer that speaks every protocol by hand: it does what a test tells it, right or wrong.

use std::{sync::Arc, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, Stream, StreamProtocol, Swarm,
    identity::Keypair,
    noise, ping,
    swarm::{NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use libp2p_stream::{Control, IncomingStreams};
use podsync_core::DeviceId;
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::{TlsConnector, client, rustls};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::hand_tls;

pub(crate) const BLOBS: StreamProtocol = StreamProtocol::new("/podsync/blobs/1");
pub(crate) const LANE: StreamProtocol = StreamProtocol::new("/podsync/lane/2");
/// Often enough that the host doesn't see silence.
const PING_EVERY: Duration = Duration::from_secs(1);
const ALPN: &[u8] = b"podsync-lane/2";

pub(crate) struct Hand {
    pub(crate) device: DeviceId,
    pub(crate) addr: Multiaddr,
    key: Keypair,
    control: Control,
    dials: mpsc::Sender<DialOpts>,
    _running: DropGuard,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    streams: libp2p_stream::Behaviour,
    ping: ping::Behaviour,
}

/// The address and secret of an offered lane.
pub(crate) struct Offered {
    pub(crate) port: u16,
    pub(crate) secret: [u8; 16],
}

impl Hand {
    pub(crate) async fn start(seed: u8) -> Self {
        podsync_net::install_crypto();
        let key = Keypair::ed25519_from_bytes([seed; 32]).unwrap();
        let mut swarm = swarm(key.clone());
        let anywhere = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
        swarm.listen_on(anywhere).unwrap();
        let addr = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let device = DeviceId::from_peer_id_bytes(&swarm.local_peer_id().to_bytes()).unwrap();
        let control = swarm.behaviour().streams.new_control();
        let (dials, mut wanted) = mpsc::channel::<DialOpts>(1);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = swarm.select_next_some() => {}
                    Some(dial) = wanted.recv() => swarm.dial(dial).unwrap(),
                    () = stopped.cancelled() => break,
                }
            }
        });
        Self {
            device,
            addr,
            key,
            control,
            dials,
            _running: stop.drop_guard(),
        }
    }

    pub(crate) async fn dial(&self, addr: &Multiaddr) {
        let dial = DialOpts::unknown_peer_id().address(addr.clone()).build();
        self.dials.send(dial).await.unwrap();
    }

    pub(crate) fn accept(&self, protocol: StreamProtocol) -> IncomingStreams {
        self.control.clone().accept(protocol).unwrap()
    }

    /// Answers every request for a blob with these bytes.
    pub(crate) fn answer_blobs(&self, answer: Vec<u8>) {
        let mut incoming = self.accept(BLOBS);
        tokio::spawn(async move {
            while let Some((_, mut stream)) = incoming.next().await {
                take_request(&mut stream).await;
                let _ = stream.write_all(&answer).await;
                let _ = stream.close().await;
            }
        });
    }

    /// Asks a connected device for a lane by IPv4, and returns its whole answer.
    pub(crate) async fn ask_for_lane(&self, device: DeviceId) -> Vec<u8> {
        let peer = libp2p::PeerId::from_bytes(&device.to_peer_id_bytes()).unwrap();
        let mut stream = self.control.clone().open_stream(peer, LANE).await.unwrap();
        stream.write_all(&[4]).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    }

    pub(crate) async fn offered(&self, device: DeviceId) -> Offered {
        let answer = self.ask_for_lane(device).await;
        assert_eq!((answer.len(), answer[0]), (19, 0), "{answer:?}");
        Offered {
            port: u16::from_be_bytes([answer[1], answer[2]]),
            secret: answer[3..].try_into().unwrap(),
        }
    }

    /// Opens an offered lane to the device at its address.
    pub(crate) async fn open(
        &self,
        offered: &Offered,
    ) -> std::io::Result<client::TlsStream<TcpStream>> {
        use tokio::io::AsyncWriteExt;
        let mut stream = TcpStream::connect(("127.0.0.1", offered.port)).await?;
        stream.write_all(&offered.secret).await?;
        let config = hand_tls::client(&self.key, ALPN);
        let name = std::net::Ipv4Addr::LOCALHOST.into();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// For lanes that others open to it.
    pub(crate) fn server(&self) -> Arc<rustls::ServerConfig> {
        Arc::new(hand_tls::server(&self.key, ALPN))
    }
}

fn swarm(key: Keypair) -> Swarm<Behaviour> {
    libp2p::SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            noise::Config::new,
            yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(|_| Behaviour {
            streams: libp2p_stream::Behaviour::new(),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_EVERY)),
        })
        .unwrap()
        .with_swarm_config(|config| {
            config.with_idle_connection_timeout(Duration::from_secs(u64::MAX))
        })
        .build()
}

/// Reads a request for a blob to its end.
pub(crate) async fn take_request(stream: &mut Stream) {
    let mut len = [0; 4];
    stream.read_exact(&mut len).await.unwrap();
    let mut request = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut request).await.unwrap();
}
