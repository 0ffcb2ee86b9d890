//! Damage, false tables and strange folders: each gives a clear error and leaves nothing behind.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
};

use podsync_core::{
    BlobId, ChunkId,
    manifest::{ChunkLocation, Manifest, PackRef, Table},
};
use podsync_pack::{
    ReadError, RebuildError, SaveError, Saved, Source, SourceError, Version, read_trailer,
};

use crate::support::{Home, SaveChoice, noise};

fn refused(path: &Path) -> SourceError {
    match Home::new().try_save(Source::open(path).unwrap(), &[], SaveChoice::default()) {
        Err(SaveError::Source(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn symlinks_that_leave_the_folder_are_refused() {
    for target in ["/etc/passwd", "../x", "inside/../../x", ".."] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("inside")).unwrap();
        symlink(target, dir.path().join("link")).unwrap();
        let error = refused(dir.path());
        assert!(matches!(error, SourceError::Name(_)), "{target}: {error:?}");
        assert!(
            error.to_string().contains("link") && error.to_string().contains(target),
            "{error}"
        );
    }
}

#[test]
fn special_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(dir.path().join("docker.sock")).unwrap();
    let error = refused(dir.path());
    assert!(
        matches!(&error, SourceError::Refused { path, .. } if path.ends_with("docker.sock")),
        "{error}"
    );
    assert!(Source::open(&dir.path().join("docker.sock")).is_err());
    assert!(Source::open(&dir.path().join("missing")).is_err());
}

#[test]
fn a_flipped_byte_anywhere_in_a_pack_is_found() {
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("a"), noise(1, 100_000)).unwrap();
    fs::write(state.path().join("b"), "text ".repeat(1000)).unwrap();
    let mut home = Home::new();
    let (manifest, saved) = home.save(state.path(), &[]);
    let [pack] = &saved.packs[..] else {
        panic!("one pack")
    };
    let path = home.pack_path(pack);
    let good = fs::read(&path).unwrap();
    let packs = home.packs();
    let version = Version::new(&manifest, &packs);
    version.verify(&()).unwrap();
    let trailer_len: usize = read_trailer(pack, &packs).unwrap().len() * 40 + 16 + 20;
    let places = (0..good.len())
        .step_by(997)
        .chain(good.len() - trailer_len..good.len());
    for at in places {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        if at < good.len() - trailer_len {
            let error = version.verify(&()).unwrap_err();
            assert!(
                matches!(error, RebuildError::Read(ReadError::Damaged { .. })),
                "byte {at}: {error}"
            );
        } else {
            assert!(read_trailer(pack, &packs).is_err(), "byte {at}");
        }
    }
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert!(version.verify(&()).is_err());
    fs::remove_file(&path).unwrap();
    assert!(matches!(
        version.verify(&()),
        Err(RebuildError::Read(ReadError::Pack { .. }))
    ));
}

/// A version whose tables a hostile teammate wrote.
fn lie(manifest: &Manifest, change: impl Fn(&mut Manifest)) -> Manifest {
    let mut lie = manifest.clone();
    change(&mut lie);
    lie
}

#[test]
fn a_manifest_that_lies_is_caught_before_anything_is_written() {
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("a"), noise(1, 200_000)).unwrap();
    let mut home = Home::new();
    let (manifest, _) = home.save(state.path(), &[]);
    let packs = home.packs();
    let out = tempfile::tempdir().unwrap();
    let target = out.path().join("rebuilt");
    let first = |table: &mut Table, change: fn(&mut ChunkLocation)| change(&mut table.chunks[0]);
    for (what, lie) in [
        (
            "more entries",
            lie(&manifest, |manifest| manifest.entry_count += 1),
        ),
        (
            "no entries",
            lie(&manifest, |manifest| manifest.entry_count = 0),
        ),
        (
            "longer state",
            lie(&manifest, |manifest| manifest.state_len += 1),
        ),
        (
            "shorter state",
            lie(&manifest, |manifest| manifest.state_len -= 1),
        ),
        (
            "another chunk",
            lie(&manifest, |manifest| {
                first(&mut manifest.entries, |c| c.id = ChunkId::of(b""))
            }),
        ),
        (
            "no such pack",
            lie(&manifest, |manifest| {
                first(&mut manifest.chunks, |c| c.pack = 7)
            }),
        ),
        (
            "beyond the pack",
            lie(&manifest, |manifest| {
                first(&mut manifest.chunks, |c| c.offset = u32::MAX)
            }),
        ),
        (
            "a huge chunk",
            lie(&manifest, |manifest| {
                first(&mut manifest.chunks, |c| c.plain_len = u32::MAX)
            }),
        ),
        (
            "swapped tables",
            lie(&manifest, |manifest| {
                std::mem::swap(&mut manifest.entries, &mut manifest.chunks)
            }),
        ),
        (
            "no chunks",
            lie(&manifest, |manifest| {
                manifest.chunks = Table {
                    len: 0,
                    chunks: Vec::new(),
                }
            }),
        ),
    ] {
        let result = Version::new(&lie, &packs).to_folder(&target, &());
        assert!(
            matches!(result, Err(RebuildError::Read(_))),
            "{what}: {result:?}"
        );
        assert_eq!(
            fs::read_dir(out.path()).unwrap().count(),
            0,
            "{what}: nothing is left behind"
        );
    }
}

#[test]
fn a_folder_that_is_there_is_not_overwritten() {
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("a"), "a").unwrap();
    let mut home = Home::new();
    let (manifest, _) = home.save(state.path(), &[]);
    let packs = home.packs();
    let version = Version::new(&manifest, &packs);
    let result = version.to_folder(state.path(), &());
    assert!(
        matches!(result, Err(RebuildError::Exists { .. })),
        "{result:?}"
    );
    let empty = tempfile::tempdir().unwrap();
    version.to_folder(empty.path(), &()).unwrap();
    assert_eq!(fs::read_to_string(empty.path().join("a")).unwrap(), "a");
}

#[test]
fn a_known_chunk_whose_pack_is_gone_fails_the_read_and_not_the_save() {
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("a"), noise(1, 200_000)).unwrap();
    let mut home = Home::new();
    let (manifest, saved) = home.save(state.path(), &[]);
    let gone = PackRef {
        id: BlobId::of(b"gone"),
        ..saved.packs[0].clone()
    };
    let lie = lie(&manifest, |manifest| manifest.packs[0] = gone.clone());
    let result = home.try_save(
        Source::open(state.path()).unwrap(),
        &[&lie],
        SaveChoice::default(),
    );
    assert!(
        matches!(result, Err(SaveError::Read(ReadError::Pack { pack, .. })) if pack == gone.id)
    );
}

#[test]
fn a_disk_that_is_full_fails_the_save() {
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("a"), noise(1, 120 << 20)).unwrap();
    let mut home = Home::new();
    // With much still to come, and near the end.
    for packs in [0, 1, 3] {
        home.fail_finish_after = Some(packs);
        let source = Source::open(state.path()).unwrap();
        let result = home.try_save(source, &[], SaveChoice::default());
        assert!(matches!(result, Err(SaveError::Sink(_))), "{result:?}");
    }
    home.fail_finish_after = None;
    let again = home.try_save(
        Source::open(state.path()).unwrap(),
        &[],
        SaveChoice::default(),
    );
    assert!(matches!(again, Ok(Saved::Version(_))));
}
