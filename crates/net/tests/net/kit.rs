//! Peers with a gate that tests control, and ways to wait for their events.

use std::{
    collections::BTreeSet,
    io,
    num::NonZeroU64,
    sync::{Arc, Mutex},
};

use bao_tree::io::BaoContentItem;
use iroh_blobs::{api::blobs::ImportBaoHandle, store::mem::MemStore};
use podsync_core::{BlobId, DeviceId};
use podsync_net::{
    BlobRange, FetchError, FetchStats, Gate, Multiaddr, Net, NetConfig, NetEvent, Shelf, Sink,
    Source,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A gate with the members that a test adds. Withheld blobs are not served.
#[derive(Default)]
pub(crate) struct TestGate {
    members: Mutex<BTreeSet<DeviceId>>,
    withheld: Mutex<BTreeSet<BlobId>>,
}

impl TestGate {
    pub(crate) fn add(&self, device: DeviceId) {
        self.members.lock().unwrap().insert(device);
    }

    pub(crate) fn remove(&self, device: DeviceId) {
        self.members.lock().unwrap().remove(&device);
    }

    pub(crate) fn withhold(&self, blob: BlobId) {
        self.withheld.lock().unwrap().insert(blob);
    }
}

impl Gate for TestGate {
    fn is_member(&self, peer: DeviceId) -> bool {
        self.members.lock().unwrap().contains(&peer)
    }

    fn may_fetch(&self, peer: DeviceId, blob: BlobId) -> bool {
        self.is_member(peer) && !self.withheld.lock().unwrap().contains(&blob)
    }
}

pub(crate) struct Peer {
    pub(crate) net: Net,
    pub(crate) events: mpsc::Receiver<NetEvent>,
    pub(crate) gate: Arc<TestGate>,
    pub(crate) store: MemStore,
    pub(crate) cancel: CancellationToken,
    pub(crate) tcp: Multiaddr,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Peer {
    pub(crate) async fn start(seed: u8) -> Self {
        Self::start_on(seed, None).await
    }

    /// Starts one that serves from this shelf what it finds there.
    pub(crate) async fn start_on(seed: u8, shelf: Option<Arc<dyn Shelf>>) -> Self {
        podsync_net::install_crypto();
        let gate = Arc::new(TestGate::default());
        let store = MemStore::new();
        let cancel = CancellationToken::new();
        let shared: Arc<dyn Gate> = gate.clone();
        let source = Source {
            store: (*store).clone(),
            shelf,
        };
        let config = NetConfig::loopback();
        let (net, mut events) =
            Net::spawn(&config, [seed; 32], source, shared, cancel.clone()).unwrap();
        let tcp = match events.recv().await.unwrap() {
            NetEvent::Listening { addr } => addr,
            other => panic!("before listening: {other:?}"),
        };
        Self {
            net,
            events,
            gate,
            store,
            cancel,
            tcp,
        }
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.net.device()
    }

    /// The first event that `pick` takes; those before it are dropped.
    pub(crate) async fn wait_for<T>(&mut self, mut pick: impl FnMut(NetEvent) -> Option<T>) -> T {
        loop {
            let event = self.events.recv().await.expect("the network runs");
            if let Some(picked) = pick(event) {
                return picked;
            }
        }
    }

    pub(crate) async fn connected(&mut self) -> DeviceId {
        self.wait_for(|event| match event {
            NetEvent::Connected { device, .. } => Some(device),
            _ => None,
        })
        .await
    }

    pub(crate) async fn disconnected(&mut self) -> DeviceId {
        self.wait_for(|event| match event {
            NetEvent::Disconnected { device } => Some(device),
            _ => None,
        })
        .await
    }

    /// Puts `len` bytes that depend on `seed` into the store.
    pub(crate) async fn add_blob(&self, seed: u64, len: usize) -> BlobRange {
        let tag = self
            .store
            .blobs()
            .add_bytes(noise(seed, len))
            .await
            .unwrap();
        BlobRange::whole(BlobId::from_bytes(*tag.hash.as_bytes()), len as u64)
    }

    /// Fetches into the store, as a daemon does.
    pub(crate) async fn fetch(
        &self,
        from: DeviceId,
        want: &BlobRange,
        progress: impl Fn(u64),
    ) -> Result<FetchStats, FetchError> {
        let hash = iroh_blobs::Hash::from_bytes(*want.blob.as_bytes());
        // An empty blob has no bytes to take.
        let len = NonZeroU64::new(want.blob_len).unwrap_or(NonZeroU64::MIN);
        let handle = self.store.blobs().import_bao(hash, len, 32).await.unwrap();
        let mut sink = StoreSink(handle);
        let fetched = self.net.fetch(from, want, &mut sink, progress).await;
        let ImportBaoHandle { tx, rx } = sink.0;
        drop(tx);
        rx.await.unwrap().unwrap();
        fetched
    }

    pub(crate) async fn read_blob(&self, blob: BlobId) -> Vec<u8> {
        let hash = iroh_blobs::Hash::from_bytes(*blob.as_bytes());
        self.store.blobs().get_bytes(hash).await.unwrap().to_vec()
    }
}

struct StoreSink(ImportBaoHandle);

impl Sink for StoreSink {
    async fn take(&mut self, item: BaoContentItem) -> io::Result<()> {
        self.0.tx.send(item).await.map_err(io::Error::other)
    }
}

/// Two members of one team, connected.
pub(crate) async fn pair() -> (Peer, Peer) {
    paired(Peer::start(1).await, Peer::start(2).await).await
}

pub(crate) async fn paired(mut a: Peer, mut b: Peer) -> (Peer, Peer) {
    a.gate.add(b.device());
    b.gate.add(a.device());
    a.net.dial(b.device(), vec![b.tcp.clone()]).await.unwrap();
    assert_eq!(a.connected().await, b.device());
    assert_eq!(b.connected().await, a.device());
    (a, b)
}

pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
