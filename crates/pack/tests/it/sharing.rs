//! Ranges to fetch, and versions rewritten out of private packs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use podsync_core::{
    BlobId,
    manifest::{Manifest, PackRef},
    units::{Units, byte_range},
};
use podsync_pack::{NeededUnits, SaveOptions, Version, rewrite, table_units};

use crate::support::{Home, assert_rebuilds, manifest, noise};

/// Copies units of packs that `to` lacks, as a pull does; what travelled and what is held then.
fn fetch(
    from: &Home,
    to: &Home,
    manifest: &Manifest,
    needed: &NeededUnits,
    held: &mut BTreeMap<BlobId, Units>,
) -> u64 {
    let mut bytes = 0;
    for (pack, needed) in manifest.packs.iter().zip(needed) {
        let held = held.entry(pack.id).or_insert(Units::NONE);
        let missing = needed.without(*held);
        *held |= missing;
        if missing.is_empty() {
            continue;
        }
        let source = fs::read(from.pack_path(pack)).unwrap();
        let mut copy = fs::read(to.pack_path(pack)).unwrap_or_else(|_| vec![0; source.len()]);
        for run in missing.runs() {
            let range = byte_range(&run, pack.len);
            let range = range.start as usize..range.end as usize;
            copy[range.clone()].copy_from_slice(&source[range]);
        }
        bytes += missing.byte_len(pack.len);
        fs::write(to.pack_path(pack), copy).unwrap();
    }
    bytes
}

/// Tables first, then chunks.
fn pull(from: &Home, to: &Home, manifest: &Manifest, held: &mut BTreeMap<BlobId, Units>) -> u64 {
    let tables = fetch(from, to, manifest, &table_units(manifest).unwrap(), held);
    let packs = to.packs();
    let needed = Version::new(manifest, &packs).needed_units().unwrap();
    tables + fetch(from, to, manifest, &needed, held)
}

fn total(packs: &[PackRef]) -> u64 {
    packs.iter().map(|pack| pack.len).sum()
}

#[test]
fn a_pull_fetches_what_is_missing_and_no_more() {
    let state = tempfile::tempdir().unwrap();
    let mut bytes = noise(1, 50_000_000);
    fs::write(state.path().join("big"), &bytes).unwrap();
    let mut home = Home::new();
    let (first, _) = home.save(state.path(), &[]);

    let other = Home::new();
    let mut held = BTreeMap::new();
    let moved = pull(&home, &other, &first, &mut held);
    assert!(moved <= total(&first.packs), "nothing travels twice");
    assert_rebuilds(&first, &other, state.path());

    bytes[25_000_000..28_500_000].copy_from_slice(&noise(2, 3_500_000));
    fs::write(state.path().join("big"), &bytes).unwrap();
    let (second, saved) = home.save(state.path(), &[&first]);
    let moved = pull(&home, &other, &second, &mut held);
    assert!(moved <= saved.stats.sealed_new, "{moved}");
    assert_rebuilds(&second, &other, state.path());

    // A device with nothing fetches no more than the state, though the packs hold both versions.
    let fresh = Home::new();
    let moved = pull(&home, &fresh, &second, &mut BTreeMap::new());
    let packs = total(&second.packs);
    assert!(moved < packs - (1 << 20), "{moved} of {packs}");
    assert_rebuilds(&second, &fresh, state.path());
}

#[test]
fn a_rewritten_version_leaves_its_private_packs() {
    let state = tempfile::tempdir().unwrap();
    let mut bytes = noise(1, 40_000_000);
    fs::write(state.path().join("big"), &bytes).unwrap();
    let mut home = Home::new();
    let (shared, first) = home.save(state.path(), &[]);
    bytes[20_000_000..21_000_000].fill(7);
    fs::write(state.path().join("big"), &bytes).unwrap();
    let (private, second) = home.save(state.path(), &[&shared]);
    let private_packs: BTreeSet<_> = second.written.iter().copied().collect();
    assert!(!private_packs.is_empty());

    let packs = home.packs();
    let mut key = 200;
    let mut entropy = || {
        key += 1;
        [key; 32]
    };
    let options = SaveOptions {
        spool: home.dir.path(),
        unless: None,
        allow_secrets: false,
    };
    let version = Version::new(&private, &packs);
    let copy = rewrite(
        version,
        &private_packs,
        &mut home.packs(),
        &options,
        &mut entropy,
        &(),
    )
    .unwrap();
    assert!(
        copy.packs
            .iter()
            .all(|pack| !private_packs.contains(&pack.id))
    );
    assert_eq!(copy.content, second.content);
    assert_eq!(
        copy.packs[0].id, first.packs[0].id,
        "shared packs stay where they are"
    );
    assert!(
        copy.stats.sealed_new < total(&second.packs) / 10,
        "{:?}",
        copy.stats
    );
    assert!(copy.stats.sealed_moved > 0);
    for pack in &private.packs {
        if private_packs.contains(&pack.id) {
            fs::remove_file(home.pack_path(pack)).unwrap();
        }
    }
    assert_rebuilds(&manifest(&copy), &home, state.path());
}

#[test]
fn a_version_draws_on_few_packs_whatever_its_history() {
    let state = tempfile::tempdir().unwrap();
    let mut bytes = noise(1, 24_000_000);
    fs::write(state.path().join("big"), &bytes).unwrap();
    let mut home = Home::new();
    let (mut last, _) = home.save(state.path(), &[]);
    for round in 0..60_u64 {
        let at = (round as usize * 390_000) % 23_000_000;
        bytes[at..at + 1000].copy_from_slice(&noise(round + 100, 1000));
        fs::write(state.path().join("big"), &bytes).unwrap();
        let (next, saved) = home.save(state.path(), &[&last]);
        assert!(
            saved.packs.len() <= 34,
            "round {round}: {} packs",
            saved.packs.len()
        );
        last = next;
    }
    assert_rebuilds(&last, &home, state.path());
}
