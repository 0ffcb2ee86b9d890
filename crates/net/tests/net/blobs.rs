//! Ranges of blobs: the bytes that arrive are those that were announced, or the fetch fails.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bao_tree::io::outboard::PreOrderMemOutboard;
use iroh_blobs::{Hash, protocol::ChunkRanges, store::IROH_BLOCK_SIZE};
use podsync_core::BlobId;
use podsync_net::{BlobFiles, BlobRange, FetchError, NetEvent, Shelf};
use tokio::sync::Notify;

use crate::{
    kit::{Peer, noise, pair, paired},
    liar::Liar,
};

const MIB: u64 = 1024 * 1024;

fn hash(blob: BlobId) -> Hash {
    Hash::from_bytes(*blob.as_bytes())
}

/// Bytes of a blob that the store does not have, as ranges.
async fn missing(peer: &Peer, want: &BlobRange) -> Vec<BlobRange> {
    let have = peer
        .store
        .blobs()
        .observe(hash(want.blob))
        .await
        .unwrap()
        .ranges;
    let all =
        ChunkRanges::from(bao_tree::ChunkNum(0)..bao_tree::ChunkNum(want.blob_len.div_ceil(1024)));
    let missing = &all - &have;
    missing
        .boundaries()
        .chunks(2)
        .map(|range| BlobRange {
            range: range[0].0 * 1024..range[1].0 * 1024,
            ..want.clone()
        })
        .collect()
}

#[tokio::test]
async fn a_fetch_that_was_cut_goes_on_where_it_stopped() {
    let (a, mut b) = pair().await;
    let want = b.add_blob(1, 40 << 20).await;

    let (arrived, enough) = (AtomicU64::new(0), Notify::new());
    let fetching = a.fetch(b.device(), &want, |len| {
        if arrived.fetch_add(len, Ordering::Relaxed) + len >= 10 * MIB {
            enough.notify_one();
        }
    });
    tokio::select! {
        fetched = fetching => panic!("it was to be cut: {fetched:?}"),
        () = enough.notified() => {}
    }
    let sent = b
        .wait_for(|event| match event {
            NetEvent::Served {
                device,
                blob,
                bytes,
            } => Some((device, blob, bytes)),
            _ => None,
        })
        .await;
    assert_eq!((sent.0, sent.1), (a.device(), want.blob));
    assert!(
        sent.2 < want.blob_len,
        "the provider noticed: it sent {} bytes",
        sent.2
    );

    let mut again = 0;
    for range in missing(&a, &want).await {
        again += a.fetch(b.device(), &range, |_| ()).await.unwrap().payload;
    }
    assert!(again <= 31 * MIB, "{again} bytes came again");
    assert!(a.read_blob(want.blob).await == noise(1, 40 << 20));
    assert!(a.net.connections()[0].contact.fetched >= want.blob_len);
}

#[tokio::test]
async fn who_reads_nothing_takes_only_its_own_places() {
    let (a, b) = pair().await;
    let want = b.add_blob(7, 8 << 20).await;
    let mut stalled = Vec::new();
    let busy = loop {
        let started = Arc::new(Notify::new());
        let (a, device, want, starts) = (&a, b.device(), &want, started.clone());
        let mut fetching =
            Box::pin(async move { a.fetch(device, want, |_| starts.notify_one()).await });
        tokio::select! {
            biased;
            () = started.notified() => stalled.push(fetching),
            ended = &mut fetching => break ended.unwrap_err(),
        }
    };
    assert!(matches!(busy, FetchError::Busy { .. }), "{busy}");
    assert_eq!(stalled.len(), 16);

    let c = Peer::start(3).await;
    b.gate.add(c.device());
    c.net.dial(b.device(), vec![b.tcp.clone()]).await.unwrap();
    c.fetch(b.device(), &want, |_| ()).await.unwrap();

    drop(stalled);
    while let Err(error) = a.fetch(b.device(), &want, |_| ()).await {
        assert!(matches!(error, FetchError::Busy { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_range_brings_its_groups_and_no_more() {
    let (a, b) = pair().await;
    let want = BlobRange {
        range: 5 * MIB + 1..7 * MIB,
        ..b.add_blob(2, 10 << 20).await
    };
    let progress = AtomicU64::new(0);
    let stats = a
        .fetch(b.device(), &want, |len| {
            progress.fetch_add(len, Ordering::Relaxed);
        })
        .await
        .unwrap();
    assert_eq!(stats.payload, 2 * MIB);
    assert_eq!(progress.into_inner(), 2 * MIB);
    let left = missing(&a, &want).await;
    assert_eq!(
        left.iter().map(|gap| gap.range.clone()).collect::<Vec<_>>(),
        [0..5 * MIB, 7 * MIB..10 * MIB]
    );
}

#[tokio::test]
async fn blobs_of_every_size_arrive() {
    let (a, b) = pair().await;
    for len in [1, 1023, 1024, 16_384, 16_385, 100_000, 1 << 20] {
        let want = b.add_blob(len as u64, len).await;
        let stats = a.fetch(b.device(), &want, |_| ()).await.unwrap();
        assert_eq!(stats.payload, len as u64);
        assert!(
            a.read_blob(want.blob).await == noise(len as u64, len),
            "{len}"
        );
    }
    let empty = BlobRange::whole(BlobId::of(b""), 0);
    assert_eq!(
        a.fetch(b.device(), &empty, |_| ()).await.unwrap().payload,
        0
    );
}

#[tokio::test]
async fn only_members_and_only_what_is_shared() {
    let (mut a, b) = pair().await;
    let want = b.add_blob(3, 100_000).await;
    b.gate.withhold(want.blob);
    let error = a.fetch(b.device(), &want, |_| ()).await.unwrap_err();
    assert!(matches!(error, FetchError::Refused { .. }), "{error}");

    let unknown = BlobRange::whole(BlobId::of(b"unknown"), 7);
    let error = a.fetch(b.device(), &unknown, |_| ()).await.unwrap_err();
    assert!(matches!(error, FetchError::Absent { .. }), "{error}");

    let stranger = Peer::start(3).await;
    let shared = b.add_blob(4, 100_000).await;
    stranger
        .net
        .dial(b.device(), vec![b.tcp.clone()])
        .await
        .unwrap();
    let error = stranger
        .fetch(b.device(), &shared, |_| ())
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::Refused { .. }), "{error}");

    a.net.disconnect(b.device()).await.unwrap();
    a.disconnected().await;
    let error = a.fetch(b.device(), &shared, |_| ()).await.unwrap_err();
    assert!(matches!(error, FetchError::NotConnected { .. }), "{error}");
}

#[tokio::test]
async fn a_second_provider_of_a_part_serves_that_part() {
    let (mut a, b) = pair().await;
    let want = b.add_blob(5, 4 << 20).await;
    let half = BlobRange {
        range: 0..2 * MIB,
        ..want.clone()
    };
    a.fetch(b.device(), &half, |_| ()).await.unwrap();

    let c = Peer::start(3).await;
    a.gate.add(c.device());
    c.net.dial(a.device(), vec![a.tcp.clone()]).await.unwrap();
    assert_eq!(
        c.fetch(a.device(), &half, |_| ()).await.unwrap().payload,
        2 * MIB
    );
    let error = c.fetch(a.device(), &want, |_| ()).await.unwrap_err();
    assert!(matches!(error, FetchError::Cut { .. }), "{error}");
    assert_eq!(unreadable(&mut a).await, want.blob);
}

/// The blob that a peer could not read.
async fn unreadable(peer: &mut Peer) -> BlobId {
    peer.wait_for(|event| match event {
        NetEvent::Unreadable { blob } => Some(blob),
        _ => None,
    })
    .await
}

const BAD_LEN: usize = 3 << 20;

/// A disk that flipped a bit in the middle of a blob.
#[derive(Default)]
struct BadDisk {
    is_known: AtomicBool,
}

impl Shelf for BadDisk {
    fn open(&self, blob: BlobId) -> Option<BlobFiles> {
        let mut bytes = noise(9, BAD_LEN);
        assert_eq!(blob, BlobId::of(&bytes));
        let tree = PreOrderMemOutboard::create(&bytes, IROH_BLOCK_SIZE).data;
        bytes[BAD_LEN / 2] ^= 1;
        let mut data = tempfile::tempfile().unwrap();
        data.write_all(&bytes).unwrap();
        Some(BlobFiles {
            data,
            len: BAD_LEN as u64,
            tree,
        })
    }

    fn is_damaged(&self, _: BlobId) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn damage_is_reported_to_the_provider_and_then_told_to_who_asks() {
    let disk = Arc::new(BadDisk::default());
    let b = Peer::start_on(2, Some(disk.clone())).await;
    let (a, mut b) = paired(Peer::start(1).await, b).await;
    let want = b.add_blob(9, BAD_LEN).await;
    let error = a.fetch(b.device(), &want, |_| ()).await.unwrap_err();
    assert!(matches!(error, FetchError::Cut { .. }), "{error}");
    assert_eq!(unreadable(&mut b).await, want.blob);

    disk.is_known.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        let error = a.fetch(b.device(), &want, |_| ()).await.unwrap_err();
        assert!(matches!(error, FetchError::Damaged { .. }), "{error}");
    }
}

/// An honest provider's bytes for a whole blob: the status, then the iroh-blobs answer.
async fn honest_answer(seed: u64, len: usize) -> (BlobRange, Vec<u8>) {
    honest_answer_of(seed, len, ChunkRanges::all()).await
}

async fn honest_answer_of(seed: u64, len: usize, chunks: ChunkRanges) -> (BlobRange, Vec<u8>) {
    let peer = Peer::start(50).await;
    let want = peer.add_blob(seed, len).await;
    let export = peer.store.blobs().export_bao(hash(want.blob), chunks);
    let mut answer = vec![0];
    answer.extend(export.bao_to_vec().await.unwrap());
    (want, answer)
}

async fn fetch_from_liar(
    want: &BlobRange,
    answer: Vec<u8>,
    ends_cleanly: bool,
) -> (Peer, FetchError) {
    let liar = Liar::start(60, answer, ends_cleanly).await;
    let a = Peer::start(1).await;
    a.net
        .dial(liar.device, vec![liar.addr.clone()])
        .await
        .unwrap();
    let error = a.fetch(liar.device, want, |_| ()).await.unwrap_err();
    (a, error)
}

#[tokio::test]
async fn the_liar_can_tell_the_truth() {
    let (want, answer) = honest_answer(6, 3 << 20).await;
    let liar = Liar::start(60, answer, true).await;
    let a = Peer::start(1).await;
    a.net
        .dial(liar.device, vec![liar.addr.clone()])
        .await
        .unwrap();
    assert_eq!(
        a.fetch(liar.device, &want, |_| ()).await.unwrap().payload,
        3 * MIB
    );
}

#[tokio::test]
async fn flipped_bytes_are_a_lie_and_what_came_before_is_kept() {
    let (want, answer) = honest_answer(6, 3 << 20).await;
    let (a, error) = {
        let mut answer = answer.clone();
        let at = answer.len() / 2;
        answer[at] ^= 1;
        fetch_from_liar(&want, answer, true).await
    };
    assert!(matches!(error, FetchError::Liar { .. }), "{error}");
    let left: u64 = missing(&a, &want)
        .await
        .iter()
        .map(|gap| gap.range.end - gap.range.start)
        .sum();
    assert!((MIB..2 * MIB).contains(&left), "{left} bytes are missing");
}

#[tokio::test]
async fn a_false_length_is_a_lie_and_nothing_is_written() {
    // Only of the beginning: the end would reveal the wrong length, which is off by little.
    let first = ChunkRanges::from(bao_tree::ChunkNum(0)..bao_tree::ChunkNum(1024));
    let (want, answer) = honest_answer_of(6, 3 << 20, first).await;
    let want = BlobRange {
        range: 0..MIB,
        ..want
    };
    for claimed in [0, 1, want.blob_len - 1, want.blob_len + 1, u64::MAX] {
        let mut answer = answer.clone();
        answer[1..9].copy_from_slice(&claimed.to_le_bytes());
        let (a, error) = fetch_from_liar(&want, answer, true).await;
        assert!(
            matches!(error, FetchError::Liar { .. }),
            "{claimed}: {error}"
        );
        assert_eq!(
            missing(&a, &want).await.len(),
            1,
            "{claimed}: something was written"
        );
    }
}

#[tokio::test]
async fn an_answer_that_ends_early_is_cut() {
    let (want, answer) = honest_answer(6, 3 << 20).await;
    for len in [0, 1, 5, 9, 10, 100, answer.len() / 2, answer.len() - 1] {
        for ends_cleanly in [true, false] {
            let (_, error) = fetch_from_liar(&want, answer[..len].to_vec(), ends_cleanly).await;
            assert!(
                matches!(error, FetchError::Cut { .. }),
                "{len} {ends_cleanly}: {error}"
            );
        }
    }
}
