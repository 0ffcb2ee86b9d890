//! Round trips of folders and files, and what stays the same between two saves.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use podsync_core::manifest::Container;
use podsync_pack::{Saved, Source, Version, read_trailer};

use crate::support::{Home, SaveChoice, assert_rebuilds, noise};

#[test]
fn a_folder_comes_back_as_it_was() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path();
    fs::create_dir_all(path.join("a/deep/er")).unwrap();
    fs::create_dir(path.join("empty")).unwrap();
    fs::create_dir(path.join("ü b")).unwrap();
    fs::write(path.join("a.txt"), "sorted between a and a/").unwrap();
    fs::write(path.join("a/deep/er/big"), noise(1, 5_000_000)).unwrap();
    fs::write(path.join("a/text"), "text ".repeat(100_000)).unwrap();
    fs::write(path.join("a/none"), "").unwrap();
    fs::write(path.join("ü b/-rf \n*"), "odd").unwrap();
    for small in 0..500 {
        fs::write(
            path.join(format!("a/deep/small-{small}")),
            noise(small, small as usize * 3),
        )
        .unwrap();
    }
    symlink("../a.txt", path.join("a/link")).unwrap();
    symlink("nowhere", path.join("dangling")).unwrap();
    fs::set_permissions(path.join("a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(path.join("empty"), fs::Permissions::from_mode(0o500)).unwrap();

    let mut home = Home::new();
    let (manifest, saved) = home.save(path, &[]);
    assert_eq!(saved.container, Container::Folder);
    assert_eq!(saved.entry_count, 512);
    assert_rebuilds(&manifest, &home, path);
    let names: Vec<String> = Version::new(&manifest, &home.packs())
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().name.to_string())
        .collect();
    assert!(names.is_sorted());
}

#[test]
fn any_file_is_a_state() {
    let dir = tempfile::tempdir().unwrap();
    for len in [0, 1, 65_536, 3_000_000] {
        let path = dir.path().join("dump.sql");
        fs::write(&path, noise(1, len)).unwrap();
        let mut home = Home::new();
        let (manifest, saved) = home.save(&path, &[]);
        assert_eq!(
            (saved.container, saved.state_len),
            (Container::File, len as u64)
        );
        let mut out = Vec::new();
        Version::new(&manifest, &home.packs())
            .to_file(&mut out, &())
            .unwrap();
        assert_eq!(out, noise(1, len));
    }
}

#[test]
fn an_empty_folder_is_a_state() {
    let state = tempfile::tempdir().unwrap();
    let mut home = Home::new();
    let (manifest, saved) = home.save(state.path(), &[]);
    assert_eq!(
        (saved.state_len, saved.entry_count, saved.packs.len()),
        (0, 0, 0)
    );
    assert_rebuilds(&manifest, &home, state.path());
}

#[test]
fn what_did_not_change_is_no_version() {
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("a"), noise(1, 1_000_000)).unwrap();
    let mut home = Home::new();
    let (manifest, saved) = home.save(state.path(), &[]);

    // A changed time alone is no change.
    fs::File::open(state.path().join("a"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    let choice = SaveChoice {
        unless: Some(saved.content),
        ..SaveChoice::default()
    };
    let again = home
        .try_save(Source::open(state.path()).unwrap(), &[&manifest], choice)
        .unwrap();
    assert!(matches!(again, Saved::Unchanged(stats) if stats.chunks_new == 0));

    for change in ["content", "mode", "name"] {
        match change {
            "content" => fs::write(state.path().join("a"), noise(2, 1_000_000)).unwrap(),
            "mode" => {
                fs::set_permissions(state.path().join("a"), fs::Permissions::from_mode(0o600))
                    .unwrap()
            }
            _ => fs::rename(state.path().join("a"), state.path().join("b")).unwrap(),
        }
        let choice = SaveChoice {
            unless: Some(saved.content),
            ..SaveChoice::default()
        };
        let again = home
            .try_save(Source::open(state.path()).unwrap(), &[&manifest], choice)
            .unwrap();
        assert!(matches!(again, Saved::Version(_)), "{change}");
    }
}

#[test]
fn a_small_change_makes_few_chunks() {
    let state = tempfile::tempdir().unwrap();
    let mut bytes = noise(7, 20_000_000);
    fs::write(state.path().join("big"), &bytes).unwrap();
    fs::write(state.path().join("other"), noise(8, 3_000_000)).unwrap();
    let mut home = Home::new();
    let (first, saved) = home.save(state.path(), &[]);
    assert!(saved.stats.chunks_new > 200);

    bytes.insert(10_000_000, b'!');
    fs::write(state.path().join("big"), &bytes).unwrap();
    let (second, changed) = home.save(state.path(), &[&first]);
    assert!(changed.stats.chunks_new <= 6, "{:?}", changed.stats);
    assert!(changed.stats.sealed_new < 1_000_000, "{:?}", changed.stats);
    assert_eq!(
        changed.packs[0].id, saved.packs[0].id,
        "the parent's pack keeps its place"
    );
    assert_rebuilds(&second, &home, state.path());

    // Undone, it is the first state again.
    bytes.remove(10_000_000);
    fs::write(state.path().join("big"), &bytes).unwrap();
    let (_, back) = home.save(state.path(), &[&first, &second]);
    assert_eq!(back.content, saved.content);
    assert_eq!(
        back.stats.plain_new, back.entries.len,
        "only the entry's time is new"
    );
}

#[test]
fn a_pack_can_be_read_by_itself() {
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("a"), noise(1, 40 << 20)).unwrap();
    let mut home = Home::new();
    let (_, saved) = home.save(state.path(), &[]);
    assert_eq!(saved.packs.len(), 2);
    let packs = home.packs();
    let mut frames = 0;
    for pack in &saved.packs {
        let bytes = fs::read(home.pack_path(pack)).unwrap();
        assert_eq!(bytes.len() as u64, pack.len);
        assert_eq!(podsync_core::BlobId::of(&bytes), pack.id);
        frames += read_trailer(pack, &packs).unwrap().len() as u64;
    }
    assert_eq!(frames, saved.stats.chunks_new);
}
