//! From the bucket into a home's store: downloads are held like data from a peer.

use std::io;

use bao_tree::io::BaoContentItem;
use podsync_bucket::Sink;
use podsync_core::{BlobId, units::Units};
use podsync_hub::testing::TestHub;
use podsync_store::{Blobs, Home, Import};

use crate::kit::{MIB, Team, bytes, share, want};

struct IntoStore(Import);

impl Sink for IntoStore {
    async fn take(&mut self, item: BaoContentItem) -> io::Result<()> {
        self.0.take(item).await.map_err(io::Error::other)
    }
}

#[tokio::test]
async fn a_pack_from_the_bucket_is_held_and_can_be_handed_on() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let pack = bytes(1, 10 * MIB + 5);
    let (id, len) = (BlobId::of(&pack), pack.len() as u64);
    share(&team.client(&hub, 1), std::slice::from_ref(&pack)).await;
    let reader = team.client(&hub, 2);

    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), "a test").unwrap();
    let blobs = Blobs::open(&home).await.unwrap();
    let _pin = blobs.pin(id).await;
    let bring = async |ranges: &[std::ops::Range<u64>]| {
        let mut sink = IntoStore(blobs.import(id, len).await.unwrap());
        let moved = reader
            .download(&want(&pack, ranges), &mut sink, |_| ())
            .await;
        sink.0.finish().await.unwrap();
        blobs.note_arrival(id, len).await.unwrap();
        moved
    };
    bring(&[2 * MIB..4 * MIB, 6 * MIB..7 * MIB]).await.unwrap();
    let units = blobs.mark_held(id, len).await.unwrap();
    assert_eq!(units, Units::span(2, 4) | Units::span(6, 7));
    blobs.verify(id).await.unwrap();

    // After wrong bytes midway, the valid ones stay and no more.
    let key = {
        let objects = hub.bucket(team.id).objects();
        let mut keys = objects.into_keys();
        keys.find(|key| key.starts_with("packs/")).unwrap()
    };
    let mut wrong = pack.to_vec();
    wrong[5 * MIB as usize + 3] ^= 1;
    hub.bucket(team.id).plant(&key, wrong);
    bring(&[0..len]).await.unwrap_err();
    let units = blobs.mark_held(id, len).await.unwrap();
    assert_eq!(units, Units::span(0, 5) | Units::span(6, 7));
    blobs.verify(id).await.unwrap();

    hub.bucket(team.id).plant(&key, pack.clone());
    bring(&[5 * MIB..6 * MIB, 7 * MIB..len]).await.unwrap();
    assert!(blobs.held(id).unwrap().unwrap().is_whole());
    blobs.verify(id).await.unwrap();
    let held = blobs.reader(id).await.unwrap();
    let mut whole = vec![0; pack.len()];
    held.read_at(0, &mut whole).unwrap();
    assert_eq!(whole, pack);
    blobs.shutdown().await.unwrap();
}
