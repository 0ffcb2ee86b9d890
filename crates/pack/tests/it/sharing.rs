//! What travels: ranges to fetch, and versions rewritten out of private packs.

use std::{collections::BTreeSet, fs};

use podsync_core::manifest::{Manifest, PackRef};
use podsync_pack::{PackRanges, SaveOptions, Version, rewrite, table_ranges};

use crate::support::{Home, assert_rebuilds, manifest, noise};

/// Copies ranges of packs to another home, as a pull does.
fn fetch(from: &Home, to: &Home, manifest: &Manifest, wanted: &[PackRanges]) -> u64 {
    let mut bytes = 0;
    for PackRanges { pack, ranges } in wanted {
        let pack = &manifest.packs[*pack as usize];
        let source = fs::read(from.pack_path(pack)).unwrap();
        let mut copy = fs::read(to.pack_path(pack)).unwrap_or_else(|_| vec![0; source.len()]);
        for range in ranges {
            let range = range.start as usize..range.end as usize;
            bytes += range.len() as u64;
            copy[range.clone()].copy_from_slice(&source[range]);
        }
        fs::write(to.pack_path(pack), copy).unwrap();
    }
    bytes
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
    let packs = other.packs();
    let tables = table_ranges(&first, &mut |_, _| false).unwrap();
    fetch(&home, &other, &first, &tables);
    let wanted = Version::new(&first, &packs)
        .chunk_ranges(&mut |_, _| false)
        .unwrap();
    fetch(&home, &other, &first, &wanted);
    assert_rebuilds(&first, &other, state.path());
    assert_eq!(
        wanted.iter().map(|pack| pack.ranges.len()).max(),
        Some(1),
        "whole packs are one range"
    );

    bytes[25_000_000..25_500_000].fill(7);
    fs::write(state.path().join("big"), &bytes).unwrap();
    let (second, saved) = home.save(state.path(), &[&first]);
    let held: BTreeSet<_> = first.packs.iter().map(|pack| pack.id).collect();
    let tables = table_ranges(&second, &mut |pack, _| held.contains(&pack.id)).unwrap();
    let moved = fetch(&home, &other, &second, &tables);
    let wanted = Version::new(&second, &packs)
        .chunk_ranges(&mut |pack, _| held.contains(&pack.id))
        .unwrap();
    let moved = moved + fetch(&home, &other, &second, &wanted);
    assert!(
        moved <= 2 * saved.stats.sealed_new && moved < 2_000_000,
        "{moved}"
    );
    assert_rebuilds(&second, &other, state.path());
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
