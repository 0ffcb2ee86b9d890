//! Any tree of files comes back as it was, from a folder and through a zip.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use podsync_pack::{Saved, Source, Version, folder_len};
use proptest::prelude::*;

use crate::support::{Home, SaveChoice, assert_rebuilds, manifest, noise};

/// Sizes around each threshold: empty, small, the limit for own chunks, several chunks.
fn content() -> impl Strategy<Value = (u64, usize)> {
    let len = prop_oneof![
        Just(0),
        1..100_usize,
        65_530..65_540_usize,
        200_000..600_000_usize
    ];
    (0..4_u64, len)
}

/// Names of few letters, so that files, folders and their prefixes collide often.
fn tree() -> impl Strategy<Value = BTreeMap<String, (u64, usize)>> {
    let name = "[aA][a.é \u{1}*]{0,2}(/[ab -][ab.]?){0,3}";
    proptest::collection::btree_map(name, content(), 0..12)
}

fn write_tree(root: &Path, tree: &BTreeMap<String, (u64, usize)>) {
    for (name, (seed, len)) in tree {
        let path = root.join(name);
        // A name that is taken, or lies below a file, is left out.
        if fs::create_dir_all(path.parent().unwrap()).is_err() || path.exists() {
            continue;
        }
        if *seed == 0 {
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        } else {
            fs::write(&path, noise(*seed, *len)).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back(tree in tree()) {
        let state = tempfile::tempdir().unwrap();
        write_tree(state.path(), &tree);
        let mut home = Home::new();
        let (folder, saved) = home.save(state.path(), &[]);
        prop_assert_eq!(folder_len(state.path(), || false), Some(folder.state_len));
        prop_assert_eq!(folder_len(state.path(), || true), None);
        assert_rebuilds(&folder, &home, state.path());

        // And through a zip: what is rebuilt from that is the same zip.
        let packs = home.packs();
        let mut zip = tempfile::tempfile().unwrap();
        let version = Version::new(&folder, &packs);
        version.to_zip(&mut zip, &()).unwrap();
        prop_assert_eq!(version.zip_len().unwrap(), zip.metadata().unwrap().len());
        let source = Source::from_instance(zip.try_clone().unwrap()).unwrap();
        let Saved::Version(again) = home.try_save(source, &[&folder], SaveChoice::default()).unwrap() else {
            panic!("a zip is no folder")
        };
        prop_assert_eq!(again.entry_count, saved.entry_count);
        prop_assert_eq!(again.stats.plain_new, again.entries.len, "only times are coarser");
        let mut rebuilt = Vec::new();
        Version::new(&manifest(&again), &packs).to_zip(&mut rebuilt, &()).unwrap();
        use std::os::unix::fs::FileExt;
        let mut first = vec![0; rebuilt.len()];
        zip.read_exact_at(&mut first, 0).unwrap();
        prop_assert!(first == rebuilt);
    }
}
