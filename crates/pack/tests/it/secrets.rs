//! Content that never enters a version: homes, and secrets unless allowed.

use std::{fs, io::Write, path::Path};

use podsync_core::{
    OpId, TeamId,
    ticket::{RecoveryKey, Ticket, TicketKind, TicketSecret},
};
use podsync_pack::{SaveError, Source, SourceError};

use crate::support::{Home, SaveChoice};

fn ticket() -> String {
    let secret = TicketSecret::from_seed(&[7; 32]);
    let (team, op) = (TeamId::of(b"team"), OpId::of(b"op"));
    let ticket = Ticket::new(TicketKind::Invite, secret, team, &op, None, &[]);
    ticket.expose_text().to_string()
}

fn save(path: &Path, allow_secrets: bool) -> Result<(), SaveError> {
    let choice = SaveChoice {
        allow_secrets,
        ..SaveChoice::default()
    };
    let source = Source::open(path).map_err(SaveError::Source)?;
    Home::new().try_save(source, &[], choice).map(drop)
}

fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members {
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn a_secret_is_refused_by_name_and_saved_where_it_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let recovery = RecoveryKey::from_seed([7; 32]).expose_text().to_string();
    // Across the chunker's buffers too: it lies behind two MiB less a few bytes.
    let mut deep = vec![b'x'; (2 << 20) - 20];
    deep.extend_from_slice(format!(" {recovery}\n").as_bytes());
    let (folder, zip, file) = (
        dir.path().join("state"),
        dir.path().join("a.zip"),
        dir.path().join("note"),
    );
    fs::create_dir_all(folder.join("inner")).unwrap();
    fs::write(folder.join("inner/notes.txt"), &deep).unwrap();
    fs::write(
        &zip,
        zipped(&[("a", b"x"), ("b.json", ticket().as_bytes())]),
    )
    .unwrap();
    fs::write(&file, format!("TICKET={}", ticket())).unwrap();
    for (path, named, kind) in [
        (&folder, "inner/notes.txt", "a recovery key"),
        (&zip, "b.json", "a ticket"),
        (&file, "note", "a ticket"),
    ] {
        match save(path, false) {
            Err(SaveError::Source(SourceError::Secret { name, what })) => {
                assert_eq!((name.as_str(), what), (named, kind));
            }
            other => panic!("{other:?}"),
        }
        save(path, true).unwrap();
    }
    fs::write(&file, "podsync2-is how a ticket begins").unwrap();
    save(&file, false).unwrap();
}

/// A zip that can't be opened is kept as a file, and looked into all the same.
#[test]
fn an_odd_zip_hides_neither_a_secret_nor_a_home() {
    fn with(members: &[(&str, &[u8])], more: [&str; 2]) -> Vec<u8> {
        let more = more.map(|name| (name, &b"x"[..]));
        zipped(&[members, &more[..]].concat())
    }

    fn renamed(mut zip: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
        for at in 0..=zip.len() - from.len() {
            if zip[at..].starts_with(from) {
                zip[at..][..to.len()].copy_from_slice(to);
            }
        }
        zip
    }

    /// Two members of one name, one below a file, and bytes before the first.
    fn odd(members: &[(&str, &[u8])]) -> [Vec<u8>; 3] {
        let doubled = with(members, ["doubled-1", "doubled-2"]);
        let below = with(members, ["below", "below-file"]);
        [
            renamed(doubled, b"doubled-2", b"doubled-1"),
            renamed(below, b"below-file", b"below/file"),
            [&b"#!/bin/sh\n"[..], &zipped(members)[..]].concat(),
        ]
    }

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("odd.zip");
    let recovery = RecoveryKey::from_seed([7; 32]).expose_text().to_string();
    let note = format!("keep it: {recovery}");
    for zip in odd(&[("notes.txt", note.as_bytes())]) {
        fs::write(&path, zip).unwrap();
        match save(&path, false) {
            Err(SaveError::Source(SourceError::Secret { name, what })) => {
                assert_eq!((name.as_str(), what), ("notes.txt", "a recovery key"));
            }
            other => panic!("{other:?}"),
        }
        save(&path, true).unwrap();
    }
    for zip in odd(&[("home/identity", &[7; 32]), ("home/log.redb", b"redb")]) {
        fs::write(&path, zip).unwrap();
        let error = save(&path, true).unwrap_err();
        assert!(error.to_string().contains("podsync home"), "{error}");
    }
    for zip in odd(&[("notes.txt", b"nothing")]) {
        fs::write(&path, zip).unwrap();
        save(&path, false).unwrap();
    }
}

#[test]
fn a_secret_in_a_name_is_refused_and_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let recovery = RecoveryKey::from_seed([7; 32]).expose_text().to_string();
    let named = format!("{}.txt", recovery.to_ascii_uppercase());
    let (file, folder, link) = (
        dir.path().join("file"),
        dir.path().join("folder"),
        dir.path().join("link"),
    );
    for state in [&file, &folder, &link] {
        fs::create_dir(state).unwrap();
    }
    fs::write(file.join(&named), "x").unwrap();
    fs::create_dir(folder.join(&named)).unwrap();
    std::os::unix::fs::symlink(&named, link.join("a")).unwrap();
    let zip = dir.path().join("a.zip");
    fs::write(&zip, zipped(&[(named.as_str(), b"x")])).unwrap();
    for path in [&file, &folder, &link, &zip] {
        let error = save(path, false).unwrap_err().to_string();
        assert!(error.contains("a recovery key"), "{error}");
        assert!(!error.to_ascii_lowercase().contains(&recovery), "{error}");
        save(path, true).unwrap();
    }
}

#[test]
fn a_key_file_by_itself_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let hex = "0f".repeat(32);
    for (name, content, kind) in [
        ("identity", &[7; 32][..], "a device's key"),
        ("witness.key", format!("{hex}\n").as_bytes(), "a hub's key"),
        ("buckets/secret", hex.as_bytes(), "a hub's key"),
    ] {
        let state = dir.path().join(kind).join(name.replace('/', "-"));
        let file = state.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        for path in [&state, &file] {
            let error = save(path, false).unwrap_err().to_string();
            assert!(error.contains(kind), "{error}");
            save(path, true).unwrap();
        }
    }
}

#[test]
fn a_home_is_refused_whatever_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("state/deep/home");
    fs::create_dir_all(home.join("packs")).unwrap();
    fs::write(home.join("identity"), [7; 32]).unwrap();
    fs::write(home.join("machine"), "").unwrap();
    fs::write(home.join("packs/x.pack"), "sealed").unwrap();
    let zip = dir.path().join("home.zip");
    fs::write(&zip, zipped(&[("h/identity", b"key"), ("h/machine", b"")])).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&home, &link).unwrap();
    let inside = [
        home.join("packs"),
        home.join("packs/x.pack"),
        link.join("identity"),
    ];
    for path in [dir.path().join("state"), home, zip, link]
        .iter()
        .chain(&inside)
    {
        let error = save(path, true).unwrap_err();
        assert!(
            error.to_string().contains("podsync home"),
            "{}: {error}",
            path.display()
        );
    }
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("identity"), "of somebody else's program").unwrap();
    save(&other, false).unwrap();
}
