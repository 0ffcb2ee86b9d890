use std::{fs::File, io::Write, os::unix::fs::FileExt, process::Command};

use super::*;

const MIB: usize = 1 << 20;

/// Bytes that no two seeds share a part of.
fn bytes(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_keyed(&[seed; 32])
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

struct Opened {
    home: Home,
    blobs: Blobs,
}

impl Opened {
    async fn at(root: &Path) -> Self {
        let home = Home::open(root, "a test").unwrap();
        let blobs = Blobs::open(&home).await.unwrap();
        Self { home, blobs }
    }

    async fn reopen(self) -> Self {
        let root = self.home.root().to_owned();
        self.close().await;
        Self::at(&root).await
    }

    async fn close(self) {
        self.blobs.shutdown().await.unwrap();
    }

    fn packed(&self, bytes: &[u8]) -> PackFile {
        let mut writer = self.blobs.pack_writer().unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    async fn adopt(&self, bytes: &[u8]) -> Pin {
        self.blobs
            .adopt(self.packed(bytes), BlobId::of(bytes))
            .await
            .unwrap()
    }

    /// Downloads a part of `bytes` as a peer would send it.
    async fn download(&self, bytes: &[u8], ranges: ChunkRanges) {
        let peer = iroh_blobs::store::mem::MemStore::new();
        let tag = peer.add_slice(bytes).await.unwrap();
        let sent = peer
            .export_bao(tag.hash, ranges.clone())
            .bao_to_vec()
            .await
            .unwrap();
        self.blobs
            .store()
            .import_bao_bytes(tag.hash, ranges, sent)
            .await
            .unwrap();
    }

    fn is_whole(&self, id: BlobId) -> bool {
        let holding = self.blobs.held(id).unwrap();
        holding.is_some_and(|holding| holding.is_whole())
    }

    async fn read(&self, id: BlobId) -> Vec<u8> {
        let reader = self.blobs.reader(id).await.unwrap();
        let mut bytes = vec![0; reader.len() as usize];
        reader.read_at(0, &mut bytes).unwrap();
        bytes
    }

    async fn collect(&self, live: &[BlobId]) -> BTreeSet<BlobId> {
        let live = BTreeSet::from_iter(live.iter().copied());
        self.blobs
            .collect(|| async { Ok::<_, StoreError>(live) })
            .await
            .unwrap()
    }

    fn files(&self) -> usize {
        let folders = [
            &self.blobs.folders.packs,
            &self.blobs.folders.store.data_path,
        ];
        folders
            .iter()
            .map(|folder| folder.read_dir().unwrap().count())
            .sum()
    }
}

fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// Peers get the same bytes from a blob's files as from the store itself.
#[tokio::test]
async fn a_whole_blob_has_files_that_say_what_the_store_says() {
    use bao_tree::io::{outboard::PreOrderOutboard, sync::encode_ranges_validated};
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let (saved, pulled) = (bytes(1, 9 * MIB + 5), bytes(2, 9 * MIB + 5));
    let _pin = home.adopt(&saved).await;
    home.download(&pulled, ChunkRanges::all()).await;
    let pulled_id = BlobId::of(&pulled);
    let held = home.blobs.mark_held(pulled_id, pulled.len() as u64).await;
    held.unwrap();
    let ranges = ChunkRanges::bytes(MIB as u64..3 * MIB as u64);
    for blob in [BlobId::of(&saved), pulled_id] {
        let files = home.blobs.files(blob).expect("it is whole and large");
        let outboard = PreOrderOutboard {
            root: hash(blob).into(),
            tree: bao_tree::BaoTree::new(files.len, iroh_blobs::store::IROH_BLOCK_SIZE),
            data: files.tree,
        };
        let mut said = files.len.to_le_bytes().to_vec();
        encode_ranges_validated(&files.data, outboard, &ranges, &mut said).unwrap();
        let store = home.blobs.store().export_bao(hash(blob), ranges.clone());
        assert!(said == store.bao_to_vec().await.unwrap());
    }
    let part = bytes(3, 9 * MIB);
    home.download(&part, ranges).await;
    let part_id = BlobId::of(&part);
    home.blobs
        .mark_held(part_id, part.len() as u64)
        .await
        .unwrap();
    let small = home.blobs.put_bytes(Bytes::from_static(b"small")).await;
    for blob in [part_id, small.unwrap().0, BlobId::of(b"unknown")] {
        assert!(home.blobs.files(blob).is_none());
    }
    home.close().await;
}

#[tokio::test]
async fn an_adopted_pack_is_held_and_reads_back_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    // From inlined by the store to a pack of many steps.
    for (seed, len) in [
        (1, 1),
        (2, 16 << 10),
        (3, (16 << 10) + 1),
        (4, 3 * MIB + 77),
    ] {
        let data = bytes(seed, len);
        let id = home.adopt(&data).await.id();
        assert!(home.is_whole(id));
        home.blobs.verify(id).await.unwrap();
        assert_eq!(home.read(id).await, data);
    }
    let home = home.reopen().await;
    let data = bytes(4, 3 * MIB + 77);
    let reader = home.blobs.reader(BlobId::of(&data)).await.unwrap();
    let mut part = [0; 100];
    reader.read_at(2 * MIB as u64 - 50, &mut part).unwrap();
    assert_eq!(part, data[2 * MIB - 50..2 * MIB + 50]);
    for beyond in [data.len() as u64 - 99, u64::MAX] {
        assert!(reader.read_at(beyond, &mut part).is_err());
    }
    assert_eq!(home.home.tmp().read_dir().unwrap().count(), 0);
    home.close().await;
}

#[tokio::test]
async fn a_pack_that_is_not_what_it_was_said_to_be_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let claimed = BlobId::of(b"something else");
    let file = home.packed(&bytes(1, MIB));
    let error = home.blobs.adopt(file, claimed).await.unwrap_err();
    assert!(matches!(error, StoreError::WrongHash { .. }), "{error}");
    assert_eq!(home.blobs.held(claimed).unwrap(), None);
    assert_eq!(home.files(), 0);

    let mut writer = home.blobs.pack_writer().unwrap();
    let large = vec![0; podsync_core::manifest::PACK_MAX_LEN as usize];
    writer.append(&large).unwrap();
    assert!(matches!(
        writer.append(&[0]),
        Err(StoreError::TooLarge { .. })
    ));
    let writer = home.blobs.pack_writer().unwrap();
    let file = writer.file().unwrap();
    file.set_len(podsync_core::manifest::PACK_MAX_LEN + 1)
        .unwrap();
    assert!(matches!(writer.finish(), Err(StoreError::TooLarge { .. })));
    home.close().await;
}

#[tokio::test]
async fn small_blobs_are_held_too() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let mut ids = vec![];
    for (seed, len) in [(1, 1), (2, 5000), (3, MIB)] {
        let (id, _pin) = home.blobs.put_bytes(bytes(seed, len).into()).await.unwrap();
        assert_eq!(id, BlobId::of(&bytes(seed, len)));
        ids.push((id, bytes(seed, len)));
    }
    let home = home.reopen().await;
    for (id, data) in ids {
        assert!(home.is_whole(id));
        assert_eq!(home.read(id).await, data);
    }
    home.close().await;
}

#[tokio::test]
async fn a_part_of_a_blob_is_held_and_read_and_the_rest_completes_it() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let data = bytes(1, 5 * MIB + 3);
    let (id, len) = (BlobId::of(&data), data.len() as u64);
    let _pin = home.blobs.pin(id).await;
    assert!(matches!(
        home.blobs.mark_held(id, len).await,
        Err(StoreError::NotHeld { .. })
    ));
    let part = MIB as u64..3 * MIB as u64 + 5000;
    home.download(&data, ChunkRanges::bytes(part)).await;
    let middle = Units::span(1, 3);
    assert_eq!(home.blobs.arrived(id, len).await.unwrap(), middle);
    assert_eq!(home.blobs.held(id).unwrap(), None, "not synced yet");
    assert_eq!(home.blobs.mark_held(id, len).await.unwrap(), middle);
    drop(_pin);

    let home = home.reopen().await;
    let holding = Holding { len, units: middle };
    assert_eq!(home.blobs.held(id).unwrap(), Some(holding));
    home.blobs.verify(id).await.unwrap();
    let reader = home.blobs.reader(id).await.unwrap();
    let mut found = vec![0; 2 * MIB];
    reader.read_at(MIB as u64, &mut found).unwrap();
    assert_eq!(found, data[MIB..3 * MIB]);
    for beside in [MIB as u64 - 1, MIB as u64 + 1] {
        let error = reader.read_at(beside, &mut found).unwrap_err();
        assert!(matches!(error, StoreError::PartlyHeld { .. }), "{error}");
    }

    home.download(&data, ChunkRanges::all()).await;
    assert_eq!(
        home.blobs.held(id).unwrap(),
        Some(holding),
        "complete, but not yet known to be on disk"
    );
    home.blobs.note_arrival(id, len).await.unwrap();
    let home = home.reopen().await;
    assert!(home.is_whole(id));
    assert_eq!(home.read(id).await, data);
    home.close().await;
}

#[tokio::test]
async fn what_a_download_left_counts_once_it_was_checked() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let data = bytes(1, 4 * MIB);
    let (id, len) = (BlobId::of(&data), data.len() as u64);
    home.download(&data, ChunkRanges::bytes(..MIB as u64)).await;
    home.blobs.mark_held(id, len).await.unwrap();
    home.download(&data, ChunkRanges::bytes(2 * MIB as u64..4 * MIB as u64))
        .await;
    let home = home.reopen().await;
    let here = Units::span(0, 1) | Units::span(2, 4);
    assert_eq!(home.blobs.resume(id, len).await.unwrap(), here);

    // As after a power failure: noted bytes are there, later ones are not.
    flip(
        &home.blobs.folders.store.data_path(&hash(id)),
        3 * MIB as u64,
    );
    assert_eq!(home.blobs.resume(id, len).await.unwrap(), Units::NONE);
    assert_eq!(home.blobs.held(id).unwrap(), None, "given up whole");

    let saved = bytes(2, 2 * MIB);
    let (id, len) = (BlobId::of(&saved), saved.len() as u64);
    let _pin = home.adopt(&saved).await;
    home.blobs.doubt(id).await.unwrap();
    assert_eq!(home.blobs.held(id).unwrap(), None);
    assert!(home.blobs.is_doubted(id));
    let units = home.blobs.resume(id, len).await.unwrap();
    assert_eq!(units, Units::whole(len), "nothing was wrong with it");
    assert_eq!(home.blobs.mark_held(id, len).await.unwrap(), units);
    assert!(!home.blobs.is_doubted(id));
    home.blobs.doubt(id).await.unwrap();
    home.blobs.evict(id).await.unwrap();
    assert!(!home.blobs.is_doubted(id), "it is gone");
    home.close().await;
}

#[tokio::test]
async fn a_part_that_was_cut_off_is_not_read_as_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let data = bytes(1, 4 * MIB);
    let (id, len) = (BlobId::of(&data), data.len() as u64);
    home.download(&data, ChunkRanges::bytes(..2 * MIB as u64))
        .await;
    home.blobs.mark_held(id, len).await.unwrap();
    let path = home.blobs.folders.store.data_path(&hash(id));
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(2 * MIB as u64 - 1).unwrap();
    assert!(matches!(
        home.blobs.reader(id).await,
        Err(StoreError::Corrupt { .. })
    ));
    home.close().await;
}

#[tokio::test]
async fn a_flipped_byte_is_noticed_and_the_blob_can_be_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let saved = bytes(1, 5 * MIB);
    let fetched = bytes(2, 5 * MIB);
    let other = bytes(3, 5 * MIB);
    drop(home.adopt(&saved).await);
    drop(home.adopt(&other).await);
    home.download(&fetched, ChunkRanges::all()).await;
    home.blobs
        .mark_held(BlobId::of(&fetched), fetched.len() as u64)
        .await
        .unwrap();
    let home = home.reopen().await;

    let store = &home.blobs.folders.store;
    let cases = [
        (&saved, home.blobs.folders.pack(&BlobId::of(&saved))),
        (&fetched, store.data_path(&hash(BlobId::of(&fetched)))),
        (&fetched, store.outboard_path(&hash(BlobId::of(&fetched)))),
    ];
    for (data, path) in cases {
        let id = BlobId::of(data);
        home.blobs.verify(id).await.unwrap();
        flip(&path, 1000);
        let error = home.blobs.verify(id).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");

        home.blobs.evict(id).await.unwrap();
        assert_eq!(home.blobs.held(id).unwrap(), None);
        assert!(!path.exists(), "{}", path.display());
        home.download(data, ChunkRanges::all()).await;
        let units = home.blobs.mark_held(id, data.len() as u64).await.unwrap();
        assert_eq!(units, Units::whole(data.len() as u64));
        home.blobs.verify(id).await.unwrap();
    }
    assert_eq!(home.read(BlobId::of(&other)).await, other);
    home.close().await;
}

/// The store has the bytes of a small pack in its database too. Readers use the file, so both are checked.
#[tokio::test]
async fn a_damaged_small_pack_is_noticed_and_mended_only_from_a_checked_copy() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let saved = bytes(1, 9000);
    let (id, len) = (BlobId::of(&saved), saved.len() as u64);
    drop(home.adopt(&saved).await);
    let path = home.blobs.folders.pack(&id);
    let is_damaged = async || {
        let checked = home.blobs.verify(id).await;
        matches!(checked, Err(StoreError::Corrupt { .. }))
    };
    flip(&path, 5000);
    assert!(is_damaged().await);
    home.blobs.doubt(id).await.unwrap();
    let units = home.blobs.resume(id, len).await.unwrap();
    assert_eq!(units, Units::whole(len));
    assert_eq!(home.read(id).await, saved);
    home.blobs.verify(id).await.unwrap();

    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(100)
        .unwrap();
    assert!(is_damaged().await);
    assert!(home.blobs.mend(id, len).await.unwrap());
    assert_eq!(home.read(id).await, saved);
    home.close().await;
}

#[tokio::test]
async fn damaged_records_are_damage_with_a_way_back() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    for seed in 0..40 {
        drop(home.adopt(&bytes(seed, 9000)).await);
    }
    home.close().await;
    let records = folder.path().join("blobs/blobs.db");
    let sound = std::fs::read(&records).unwrap();
    let cut = sound[..sound.len() / 2].to_vec();
    let mut flipped = sound.clone();
    for byte in flipped[4096..].iter_mut().step_by(64) {
        *byte ^= 0x55;
    }
    let examined = |home: &Home, damaged: &[u8]| {
        std::fs::write(&records, damaged).unwrap();
        let error = Blobs::examine(home).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    };
    for damaged in [flipped, Vec::new(), b"no database".to_vec(), cut] {
        let home = Home::open(folder.path(), "a test").unwrap();
        examined(&home, &damaged);
        std::fs::write(&records, &damaged).unwrap();
        let error = Blobs::open(&home).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.hint().unwrap().contains("blobs.db.damaged"));
    }
    std::fs::write(&records, &sound).unwrap();
    Opened::at(folder.path()).await.close().await;
}

#[tokio::test]
async fn a_file_cut_short_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let id = home.adopt(&bytes(1, MIB)).await.id();
    let path = home.blobs.folders.pack(&id);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(MIB as u64 - 1)
        .unwrap();
    assert!(matches!(
        home.blobs.reader(id).await,
        Err(StoreError::Corrupt { .. })
    ));
    assert!(matches!(
        home.blobs.verify(id).await,
        Err(StoreError::Corrupt { .. })
    ));
    home.close().await;
}

#[tokio::test]
async fn a_file_that_is_gone_is_noticed_and_the_pack_can_be_saved_again() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let data = bytes(1, MIB);
    let id = home.adopt(&data).await.id();
    let home = home.reopen().await;
    fs::remove_file(home.blobs.folders.pack(&id)).unwrap();
    assert!(matches!(
        home.blobs.verify(id).await,
        Err(StoreError::Corrupt { .. })
    ));
    home.blobs.evict(id).await.unwrap();
    drop(home.adopt(&data).await);
    home.blobs.verify(id).await.unwrap();
    home.close().await;
}

#[tokio::test]
async fn a_round_ends_when_the_database_under_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    home.blobs.store().shutdown().await.unwrap();
    let turn = home.blobs.sweeper.turn().await;
    let result = turn.sweep(home.blobs.store(), Default::default()).await;
    assert!(matches!(result, Err(StoreError::Closed)));
}

/// The store's own errors would say that a blob is damaged or not there, and its list would be empty.
#[tokio::test]
async fn a_store_that_has_stopped_is_told_as_that_by_every_call() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let id = home.adopt(&bytes(1, MIB)).await.id();
    home.blobs.look().await.unwrap();
    home.blobs.store().shutdown().await.unwrap();

    let nobodys = BlobId::of(b"nobody has it");
    let collected = home
        .blobs
        .collect(|| async { Ok::<_, StoreError>(BTreeSet::new()) });
    for error in [
        home.blobs.look().await.unwrap_err(),
        home.blobs.all().await.unwrap_err(),
        home.blobs.note_arrival(nobodys, 5).await.unwrap_err(),
        home.blobs.evict(id).await.unwrap_err(),
        collected.await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Stopped { .. }), "{error:?}");
        assert!(error.to_string().contains("blobs.db"), "{error}");
        assert!(error.hint().unwrap().contains("start podsync again"));
    }
    assert!(home.is_whole(id));
}

#[tokio::test]
async fn collecting_keeps_what_is_live_or_pinned_and_drops_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let live = home.adopt(&bytes(1, 5 * MIB)).await.id();
    let pinned = home.adopt(&bytes(2, 5 * MIB)).await;
    let dead = home.adopt(&bytes(3, 5 * MIB)).await.id();
    let (dead_small, pin) = home.blobs.put_bytes(bytes(4, 100).into()).await.unwrap();
    drop(pin);
    let partial = bytes(5, 5 * MIB);
    home.download(&partial, ChunkRanges::bytes(..MIB as u64))
        .await;
    let partial = BlobId::of(&partial);

    let dropped = home.collect(&[live]).await;
    assert_eq!(dropped, BTreeSet::from([dead, dead_small, partial]));
    for id in [dead, dead_small, partial] {
        assert_eq!(home.blobs.held(id).unwrap(), None);
    }
    let home = home.reopen().await;
    for (id, seed) in [(live, 1), (pinned.id(), 2)] {
        assert_eq!(home.read(id).await, bytes(seed, 5 * MIB));
    }
    // Two packs, and the tree of each.
    assert_eq!(home.files(), 4);

    // A pin belongs to an open store, so nothing is pinned here any more.
    assert_eq!(home.collect(&[live]).await, BTreeSet::from([pinned.id()]));
    assert!(home.collect(&[live]).await.is_empty());
    home.close().await;
}

#[tokio::test]
async fn what_goes_from_a_pin_to_the_catalog_while_collecting_stays() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let moving = home.adopt(&bytes(1, MIB)).await;
    let id = moving.id();
    // The catalog is read before it names the blob, and the pin is dropped right after it does.
    let live = || async {
        let read = BTreeSet::new();
        drop(moving);
        Ok::<_, StoreError>(read)
    };
    assert!(home.blobs.collect(live).await.unwrap().is_empty());
    assert!(home.is_whole(id));

    let failed = home
        .blobs
        .collect(|| async { Err(StoreError::Closed) })
        .await;
    assert!(matches!(failed, Err(StoreError::Closed)));
    assert!(home.is_whole(id));
    home.close().await;
}

#[tokio::test]
async fn packs_are_found_again_when_the_home_was_renamed_or_their_record_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (folder.path().join("before"), folder.path().join("after"));
    let home = Opened::at(&before).await;
    let data = bytes(1, 2 * MIB);
    let id = home.adopt(&data).await.id();
    home.close().await;

    fs::rename(&before, &after).unwrap();
    let home = Opened::at(&after).await;
    home.blobs.verify(id).await.unwrap();
    assert_eq!(home.read(id).await, data);
    home.close().await;

    fs::remove_file(after.join("blobs/blobs.db")).unwrap();
    let home = Opened::at(&after).await;
    assert!(home.is_whole(id));
    home.blobs.verify(id).await.unwrap();
    home.close().await;

    // Damaged while its record was lost: not held, so not served.
    fs::remove_file(after.join("blobs/blobs.db")).unwrap();
    flip(&after.join(format!("packs/{id}.pack")), 5);
    let home = Opened::at(&after).await;
    assert_eq!(home.blobs.held(id).unwrap(), None);
    let len = data.len() as u64;
    assert_eq!(home.blobs.resume(id, len).await.unwrap(), Units::NONE);
    home.download(&data, ChunkRanges::all()).await;
    home.blobs.mark_held(id, len).await.unwrap();
    assert_eq!(home.read(id).await, data);
    home.close().await;
}

#[tokio::test]
async fn what_a_crash_left_of_a_download_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let data = home
        .blobs
        .folders
        .store
        .data_path(&hash(BlobId::of(b"lost")));
    let temp = home.blobs.folders.store.temp_path.join("half.temp");
    fs::write(&data, b"half").unwrap();
    fs::write(&temp, b"half").unwrap();
    let home = home.reopen().await;
    assert!(!data.exists() && !temp.exists());
    home.close().await;
}

#[tokio::test]
async fn calls_after_shutdown_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let blobs = home.blobs.clone();
    home.close().await;
    assert!(blobs.put_bytes(bytes(1, 100).into()).await.is_err());
    let collected = blobs
        .collect(|| async { Ok::<_, StoreError>(BTreeSet::new()) })
        .await;
    assert!(collected.is_err());
}

/// A filesystem of a few MiB; it needs root, elsewhere the test says that it did not run.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64m,mode=700", "podsync-test"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            Ok(output) => {
                eprintln!(
                    "not run: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
                None
            }
            Err(error) => {
                eprintln!("not run: mount: {error}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_nothing_half_written_counts() {
    use crate::{Key, Log, Namespace, Record};

    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let home = Opened::at(disk.0.path()).await;
    let log = Log::open(&home.home).unwrap();
    let key = Key::Setting {
        namespace: Namespace::new("test"),
        key: vec![1],
    };
    log.commit(&[Record::put(key.clone(), vec![1; 1000])])
        .unwrap();
    let kept = home.adopt(&bytes(1, MIB)).await.id();
    home.home.ensure_room(20 * MIB as u64).unwrap();
    let error = home.home.ensure_room(64 * MIB as u64).unwrap_err();
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");

    let chunk = bytes(2, 64 << 10);
    let mut writer = home.blobs.pack_writer().unwrap();
    let written = (0..1024).try_for_each(|_| writer.append(&chunk));
    let written = written.and_then(|()| writer.finish().map(drop));
    assert!(
        matches!(written, Err(StoreError::DiskFull { .. })),
        "{written:?}"
    );
    assert_eq!(home.home.tmp().read_dir().unwrap().count(), 0);

    // Filled to the last page: not even the log can grow.
    let filler = home.home.tmp().join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write(&chunk).is_ok_and(|len| len > 0) {}
    let large = Record::put(key.clone(), vec![2; 3 * MIB]);
    let error = log.commit(std::slice::from_ref(&large)).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::DiskFull {
                needed: 3_145_728,
                ..
            }
        ),
        "{error:?}"
    );
    let refused = home.blobs.put_bytes(bytes(3, 100).into()).await.map(drop);
    assert!(
        matches!(refused, Err(StoreError::DiskFull { .. })),
        "{refused:?}"
    );
    let refused = home.blobs.pack_writer().map(drop);
    assert!(
        matches!(refused, Err(StoreError::DiskFull { .. })),
        "{refused:?}"
    );

    drop(file);
    fs::remove_file(&filler).unwrap();
    assert_eq!(log.get(&key).unwrap(), Some(vec![1; 1000]));
    log.commit(&[large]).unwrap();
    assert_eq!(
        log.get(&key).unwrap().map(|value| value.len()),
        Some(3 * MIB)
    );
    let (id, _pin) = home.blobs.put_bytes(bytes(3, 100).into()).await.unwrap();
    home.blobs.verify(id).await.unwrap();
    home.blobs.verify(kept).await.unwrap();
    home.close().await;
}

/// The repair that the message suggests: once moved away, the records are rebuilt from the disk.
#[tokio::test]
async fn lost_holdings_are_found_again_by_reading() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let (saved, damaged, pulled) = (bytes(1, 2 * MIB), bytes(2, MIB), bytes(3, 2 * MIB + 5));
    let saved_id = home.adopt(&saved).await.id();
    let damaged_id = home.adopt(&damaged).await.id();
    let (small_id, pin) = home.blobs.put_bytes(bytes(4, 100).into()).await.unwrap();
    let pulled_id = BlobId::of(&pulled);
    let pulled_pin = home.blobs.pin(pulled_id).await;
    home.download(&pulled, ChunkRanges::all()).await;
    home.blobs
        .mark_held(pulled_id, pulled.len() as u64)
        .await
        .unwrap();
    let part = bytes(5, 4 * MIB);
    let part_pin = home.blobs.pin(BlobId::of(&part)).await;
    home.download(&part, ChunkRanges::bytes(0..2 * MIB as u64))
        .await;
    home.blobs
        .note_arrival(BlobId::of(&part), part.len() as u64)
        .await
        .unwrap();
    flip(&home.blobs.folders.pack(&damaged_id), 77);
    home.close().await;
    drop((pin, pulled_pin, part_pin));

    let notes = folder.path().join("held.redb");
    for bad in [&b""[..], b"garbage"] {
        fs::write(&notes, bad).unwrap();
        let home = Home::open(folder.path(), "a test").unwrap();
        let error = Blobs::open(&home).await.unwrap_err();
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("held.redb.damaged"), "{error}; {hint}");
        assert!(Blobs::examine(&home).is_err());
    }
    fs::rename(&notes, folder.path().join("held.redb.damaged")).unwrap();

    let home = Opened::at(folder.path()).await;
    for (id, expected) in [(saved_id, &saved), (pulled_id, &pulled)] {
        assert!(home.is_whole(id));
        assert_eq!(home.read(id).await, *expected);
    }
    assert!(home.is_whole(small_id));
    assert!(
        !home.is_whole(damaged_id),
        "it was read, and is not what it was"
    );
    assert_eq!(home.blobs.held(BlobId::of(&part)).unwrap(), None);
    let resumed = home
        .blobs
        .resume(BlobId::of(&part), part.len() as u64)
        .await
        .unwrap();
    assert_eq!(resumed.byte_len(part.len() as u64), 2 * MIB as u64);
    assert!(!folder.path().join("held.unfinished").exists());
    home.close().await;
    Blobs::examine(&Home::open(folder.path(), "a test").unwrap()).unwrap();
}

#[tokio::test]
async fn lost_records_of_blobs_are_damage_and_have_a_way_back() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let (saved, small) = (bytes(1, 2 * MIB), bytes(2, 300));
    let (pulled, part) = (bytes(3, 2 * MIB + 5), bytes(4, 4 * MIB));
    let id = home.adopt(&saved).await.id();
    let (small_id, small_pin) = home.blobs.put_bytes(small.clone().into()).await.unwrap();
    let pulled_id = BlobId::of(&pulled);
    home.download(&pulled, ChunkRanges::all()).await;
    home.blobs
        .mark_held(pulled_id, pulled.len() as u64)
        .await
        .unwrap();
    home.download(&part, ChunkRanges::bytes(0..2 * MIB as u64))
        .await;
    home.blobs
        .mark_held(BlobId::of(&part), part.len() as u64)
        .await
        .unwrap();
    home.close().await;
    drop(small_pin);
    let records = folder.path().join("blobs/blobs.db");
    for bad in [&b""[..], b"redbish garbage"] {
        fs::write(&records, bad).unwrap();
        let home = Home::open(folder.path(), "a test").unwrap();
        let error = Blobs::open(&home).await.unwrap_err();
        assert!(
            matches!(
                &error,
                StoreError::Damaged {
                    remedy: crate::Remedy::Blobs,
                    ..
                }
            ),
            "{error}"
        );
    }
    // As the hint says.
    fs::rename(&records, folder.path().join("blobs/blobs.db.damaged")).unwrap();
    let found = Blobs::examine(&Home::open(folder.path(), "a test").unwrap());
    let error = found.unwrap_err();
    assert!(error.to_string().contains("it is gone"), "{error}");
    let home = Opened::at(folder.path()).await;
    for (id, expected) in [(id, &saved), (small_id, &small), (pulled_id, &pulled)] {
        assert!(home.is_whole(id));
        home.blobs.verify(id).await.unwrap();
        assert_eq!(home.read(id).await, *expected);
    }
    assert_eq!(home.blobs.held(BlobId::of(&part)).unwrap(), None);
    assert!(!folder.path().join("held.unfinished").exists());
    home.close().await;
    Blobs::examine(&Home::open(folder.path(), "a test").unwrap()).unwrap();
}

/// A home of an earlier podsync, which kept small blobs in the store's database alone.
#[tokio::test]
async fn small_blobs_of_an_earlier_podsync_get_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let small = bytes(1, 300);
    let (id, _pin) = home.blobs.put_bytes(small.clone().into()).await.unwrap();
    let path = home.blobs.folders.pack(&id);
    fs::remove_file(&path).unwrap();
    let home = home.reopen().await;
    assert_eq!(fs::read(&path).unwrap(), small);
    assert_eq!(home.read(id).await, small);
    home.close().await;
}

/// It may be the only copy.
#[tokio::test]
async fn a_repair_deletes_no_file_until_the_blob_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let saved = bytes(1, 5 * MIB);
    let (id, len) = (BlobId::of(&saved), saved.len() as u64);
    drop(home.adopt(&saved).await);
    let home = home.reopen().await;
    let pack = home.blobs.folders.pack(&id);
    let tree = home.blobs.folders.store.outboard_path(&hash(id));

    // The pack is right, and what the store has noted of it is not.
    flip(&tree, 1000);
    let error = home.blobs.verify(id).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    home.blobs.doubt(id).await.unwrap();
    let units = home.blobs.resume(id, len).await.unwrap();
    assert_eq!(units, Units::whole(len));
    assert!(home.is_whole(id));
    let home = home.reopen().await;
    home.blobs.verify(id).await.unwrap();

    flip(&pack, 1000);
    let error = home.blobs.verify(id).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    home.blobs.doubt(id).await.unwrap();
    assert_eq!(home.blobs.resume(id, len).await.unwrap(), Units::NONE);
    let aside = folder.path().join(format!("packs/damaged-{id}"));
    assert!(aside.exists() && !pack.exists());
    assert!(home.blobs.all().await.unwrap().contains(&id));
    home.download(&saved, ChunkRanges::all()).await;
    home.blobs.mark_held(id, len).await.unwrap();
    assert!(!aside.exists());
    assert_eq!(home.read(id).await, saved);
    home.close().await;
}

#[tokio::test]
async fn a_pack_whose_file_is_gone_is_not_there_and_comes_back_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let saved = bytes(1, MIB);
    let id = home.adopt(&saved).await.id();
    let packs = folder.path().join("packs");
    let elsewhere = folder.path().join("elsewhere");
    home.close().await;
    fs::rename(&packs, &elsewhere).unwrap();
    let home = Opened::at(folder.path()).await;
    let holding = home.blobs.held(id).unwrap().unwrap();
    assert!(!home.blobs.is_there(id, holding));
    home.close().await;
    fs::remove_dir(&packs).unwrap();
    fs::rename(&elsewhere, &packs).unwrap();
    let home = Opened::at(folder.path()).await;
    assert!(home.blobs.is_there(id, holding));
    assert_eq!(home.read(id).await, saved);
    home.close().await;
}

/// Also those that libraries make.
#[tokio::test]
async fn only_the_owner_may_read_what_is_in_a_used_home() {
    use std::os::unix::fs::PermissionsExt;

    fn walk(folder: &Path, found: &mut Vec<String>) {
        for entry in folder.read_dir().unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            let is_dir = entry.file_type().unwrap().is_dir();
            if mode != if is_dir { 0o700 } else { 0o600 } {
                found.push(format!("{} {mode:o}", entry.path().display()));
            }
            if is_dir {
                walk(&entry.path(), found);
            }
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    let home = Opened::at(&root).await;
    drop(crate::Log::open(&home.home).unwrap());
    home.home
        .create_identity(&podsync_core::seal::SecretKey::from_bytes([7; 32]))
        .unwrap();
    let _pin = home.adopt(&bytes(1, MIB)).await;
    let pulled = bytes(2, 3 * MIB);
    let pin = home.blobs.pin(BlobId::of(&pulled)).await;
    home.download(&pulled, ChunkRanges::bytes(0..MIB as u64))
        .await;
    home.blobs
        .note_arrival(pin.id(), pulled.len() as u64)
        .await
        .unwrap();
    home.download(&pulled, ChunkRanges::all()).await;
    home.blobs
        .mark_held(pin.id(), pulled.len() as u64)
        .await
        .unwrap();
    let (_, small) = home.blobs.put_bytes(bytes(3, 100).into()).await.unwrap();
    let part = bytes(4, 3 * MIB);
    let part_pin = home.blobs.pin(BlobId::of(&part)).await;
    home.download(&part, ChunkRanges::bytes(0..MIB as u64))
        .await;
    home.blobs
        .note_arrival(part_pin.id(), part.len() as u64)
        .await
        .unwrap();
    drop(part_pin);
    let home = home.reopen().await;
    let mut open = Vec::new();
    walk(folder.path(), &mut open);
    home.close().await;
    walk(folder.path(), &mut open);
    drop((pin, small));
    assert_eq!(open, Vec::<String>::new());
}

#[tokio::test]
async fn the_tree_of_a_pack_is_its_owners_alone_from_the_beginning() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let pin = home.adopt(&bytes(1, 5 * MIB)).await;
    let tree = home.blobs.folders.store.outboard_path(&hash(pin.id()));
    let mode = tree.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "{mode:o}");
    home.close().await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn every_failpoint_that_is_listed_is_passed() {
    use std::sync::{Arc, Mutex};

    use crate::{Key, Log, Namespace, Record};

    let passed = Arc::new(Mutex::new(BTreeSet::new()));
    for name in crate::FAILPOINTS {
        let passed = passed.clone();
        let note = move || {
            passed.lock().unwrap().insert(name);
        };
        fail::cfg_callback(name, note).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let home = Opened::at(folder.path()).await;
    let key = podsync_core::seal::SecretKey::from_bytes([1; 32]);
    // A home with a key and blobs, whose log is gone, would be damaged.
    let log = Log::open(&home.home).unwrap();
    home.home.create_identity(&key).unwrap();
    let namespace = Namespace::new("test");
    let record = Record::put(
        Key::Setting {
            namespace,
            key: vec![],
        },
        b"value",
    );
    log.commit(&[record]).unwrap();
    let _pin = home.adopt(&bytes(1, MIB)).await;
    assert_eq!(*passed.lock().unwrap(), BTreeSet::from(crate::FAILPOINTS));
    home.close().await;
}

/// Verified items of `bytes` in the order that a decoder gives them.
fn items(bytes: &[u8], ranges: &ChunkRanges) -> Vec<bao_tree::io::BaoContentItem> {
    use bao_tree::{
        io::{Leaf, Parent, outboard::PreOrderMemOutboard, sync::Outboard},
        iter::{BaoChunk, ResponseIterRef},
    };
    let tree = PreOrderMemOutboard::create(bytes, iroh_blobs::store::IROH_BLOCK_SIZE);
    ResponseIterRef::new(tree.tree, ranges)
        .map(|chunk| match chunk {
            BaoChunk::Parent { node, .. } => {
                let pair = tree.load(node).unwrap().unwrap();
                Parent { node, pair }.into()
            }
            BaoChunk::Leaf {
                start_chunk, size, ..
            } => {
                let offset = start_chunk.to_bytes();
                let data = &bytes[offset as usize..][..size];
                let data = Bytes::copy_from_slice(data);
                Leaf { offset, data }.into()
            }
        })
        .collect()
}

#[tokio::test]
async fn what_the_bucket_brings_is_held_like_what_a_peer_brings() {
    let dir = tempfile::tempdir().unwrap();
    let opened = Opened::at(dir.path()).await;
    let bytes = bytes(4, 3 * MIB + 5);
    let (id, len) = (BlobId::of(&bytes), bytes.len() as u64);
    let _pin = opened.blobs.pin(id).await;
    let bring = async |ranges: ChunkRanges| {
        let mut import = opened.blobs.import(id, len).await.unwrap();
        for item in items(&bytes, &ranges) {
            import.take(item).await.unwrap();
        }
        import.finish().await.unwrap();
        opened.blobs.note_arrival(id, len).await.unwrap();
    };
    bring(ChunkRanges::bytes(MIB as u64..2 * MIB as u64)).await;
    let units = opened.blobs.mark_held(id, len).await.unwrap();
    assert_eq!(units, Units::span(1, 2));
    opened.blobs.verify(id).await.unwrap();
    bring(ChunkRanges::all()).await;
    let held = opened.blobs.held(id).unwrap().unwrap();
    assert!(held.is_whole());
    opened.blobs.verify(id).await.unwrap();
    let nothing = opened.blobs.import(id, 0).await.unwrap_err();
    assert!(matches!(nothing, StoreError::Corrupt { .. }));
    opened.close().await;
}
