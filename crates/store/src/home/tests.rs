use std::{
    fs,
    io::BufRead,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::{Command, Stdio},
};

use super::*;

fn seed() -> SecretKey {
    SecretKey::from_bytes([7; 32])
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_home_is_private_and_keeps_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/home");
    let home = Home::open(&root, "a test").unwrap();
    assert_eq!(mode(&root), 0o700);
    assert!(home.identity().unwrap().is_none());
    home.create_identity(&seed()).unwrap();
    assert_eq!(mode(&root.join("identity")), 0o600);

    let again = home.create_identity(&SecretKey::from_bytes([8; 32]));
    assert!(matches!(again, Err(HomeError::IdentityExists { .. })));
    drop(home);
    let home = Home::open(&root, "a test").unwrap();
    assert_eq!(home.identity().unwrap(), Some(seed()));
}

#[test]
fn an_exposed_or_broken_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), "a test").unwrap();
    home.create_identity(&seed()).unwrap();
    let path = folder.path().join("identity");
    for bad in [0o640, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(bad)).unwrap();
        let error = home.identity().unwrap_err();
        assert!(matches!(error, HomeError::Exposed { .. }), "{bad:o}");
        assert!(error.hint().unwrap().contains("chmod 600"), "{error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for bad in [0, 31, 33, 100_000] {
        fs::write(&path, vec![1; bad]).unwrap();
        let error = home.identity().unwrap_err();
        assert!(
            matches!(error, HomeError::Store(StoreError::Damaged { .. })),
            "{bad} bytes"
        );
    }
}

#[test]
fn a_folder_that_others_can_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o770)).unwrap();
    let error = Home::open(folder.path(), "a test").unwrap_err();
    assert!(matches!(error, HomeError::Exposed { mode: 0o770, .. }));
}

#[test]
fn a_second_one_is_told_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = Home::open(folder.path(), "podsync daemon").unwrap();
    let guard = first.guard();
    drop(first);
    let error = Home::open(folder.path(), "podsync save").unwrap_err();
    let HomeError::InUse { holder, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        holder.to_string(),
        format!("process {} (podsync daemon)", std::process::id())
    );
    assert_eq!(Home::holder(folder.path()).unwrap().as_ref(), Some(holder));
    drop(guard);
    assert_eq!(Home::holder(folder.path()).unwrap(), None);
    Home::open(folder.path(), "podsync save").unwrap();
}

#[test]
fn a_copy_is_noticed_and_a_renamed_home_is_not_one() {
    let folder = tempfile::tempdir().unwrap();
    let (original, copy, renamed) = (
        folder.path().join("a"),
        folder.path().join("b"),
        folder.path().join("c"),
    );
    Home::open(&original, "a test")
        .unwrap()
        .create_identity(&seed())
        .unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .args([&original, &copy])
        .status()
        .unwrap();
    assert!(copied.success());

    assert!(matches!(
        Home::open(&copy, "a test"),
        Err(HomeError::CopiedHome { .. })
    ));
    fs::rename(&original, &renamed).unwrap();
    Home::open(&renamed, "a test").unwrap();

    Home::open_moved(&copy, "a test").unwrap();
    Home::open(&copy, "a test").unwrap();
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(Home::open(folder.path(), "a test").unwrap());
    fs::write(folder.path().join("format"), "2\n").unwrap();
    let unfinished = folder.path().join("tmp/kept");
    fs::write(&unfinished, "").unwrap();
    assert!(matches!(
        Home::open(folder.path(), "a test"),
        Err(HomeError::Newer { found: 2, .. })
    ));
    assert!(unfinished.exists());
    fs::write(folder.path().join("format"), "garbage").unwrap();
    let error = Home::open(folder.path(), "a test").unwrap_err();
    assert!(matches!(
        error,
        HomeError::Store(StoreError::Damaged { .. })
    ));
}

#[test]
fn what_a_crash_left_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), "a test").unwrap();
    home.create_identity(&seed()).unwrap();
    fs::write(home.tmp().join("pack-abc"), "half").unwrap();
    fs::write(home.tmp().join("notes.txt"), "somebody's").unwrap();
    fs::create_dir(home.tmp().join("pack-folder")).unwrap();
    fs::write(folder.path().join(".unfinished-abc"), "half").unwrap();
    fs::create_dir(folder.path().join(".unfinished-folder")).unwrap();
    drop(home);
    let home = Home::open(folder.path(), "a test").unwrap();
    assert!(!home.tmp().join("pack-abc").exists());
    assert!(!folder.path().join(".unfinished-abc").exists());
    for theirs in ["tmp/notes.txt", "tmp/pack-folder", ".unfinished-folder"] {
        assert!(folder.path().join(theirs).exists(), "{theirs}");
    }
    assert_eq!(home.identity().unwrap(), Some(seed()));
}

/// A folder named by mistake with `--home` stays unchanged, to the last byte.
#[test]
fn a_folder_that_is_no_home_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("project");
    fs::create_dir_all(project.join("tmp/deep")).unwrap();
    fs::create_dir(project.join("blobs")).unwrap();
    for file in [
        "tmp/pack-list.txt",
        "tmp/deep/x",
        "blobs/x.temp",
        "lock",
        "README",
    ] {
        fs::write(project.join(file), "precious").unwrap();
    }
    let before = listing(&project);
    let error = Home::open(&project, "a test").unwrap_err();
    assert!(matches!(error, HomeError::NotAHome { .. }), "{error}");
    assert!(Home::open_moved(&project, "a test").is_err());
    assert_eq!(listing(&project), before);

    let lock_only = folder.path().join("lock only");
    fs::create_dir(&lock_only).unwrap();
    fs::write(lock_only.join("lock"), "somebody's").unwrap();
    assert!(Home::open(&lock_only, "a test").is_err());
    assert_eq!(fs::read(lock_only.join("lock")).unwrap(), b"somebody's");

    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    for path in [&file, &file.join("home")] {
        let error = Home::open(path, "a test").unwrap_err();
        assert!(matches!(error, HomeError::NotAFolder { .. }), "{error}");
    }
}

fn listing(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(listing(&path)),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn a_folder_that_is_to_become_a_home_may_have_what_belongs_there() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.toml", "daemon.log", ".DS_Store", ".unfinished-x"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    fs::write(folder.path().join("lock"), "process 7 (podsync daemon)\n").unwrap();
    fs::create_dir(folder.path().join("lost+found")).unwrap();
    drop(Home::open(folder.path(), "a test").unwrap());
    fs::write(folder.path().join("a note"), "of its owner").unwrap();
    Home::open(folder.path(), "a test").unwrap();
}

#[test]
fn a_home_has_no_other_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let outer = folder.path().join("outer");
    Home::open(&outer, "a test")
        .unwrap()
        .create_identity(&seed())
        .unwrap();
    for inner in ["inner", "tmp/deep/inner"] {
        let error = Home::open(&outer.join(inner), "a test").unwrap_err();
        assert!(matches!(error, HomeError::Nested { .. }), "{error}");
        assert!(!outer.join(inner).exists());
    }
    let link = folder.path().join("link");
    symlink(&outer, &link).unwrap();
    let error = Home::open(&link.join("inner"), "a test").unwrap_err();
    assert!(matches!(error, HomeError::Nested { .. }), "{error}");
    Home::open(&link, "a home may be reached by a link").unwrap();
}

/// Nothing is removed, emptied or written through a link that somebody put into a home.
#[test]
fn no_link_in_a_home_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (root, elsewhere) = (folder.path().join("home"), folder.path().join("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("pack-1"), "precious").unwrap();
    drop(Home::open(&root, "a test").unwrap());
    for name in ["tmp", "packs", "blobs", "run"] {
        let path = root.join(name);
        let _ = fs::remove_dir_all(&path);
        symlink(&elsewhere, &path).unwrap();
        let error = Home::open(&root, "a test").unwrap_err();
        assert!(matches!(error, HomeError::Link { .. }), "{name}: {error}");
        fs::remove_file(&path).unwrap();
    }
    for name in ["lock", "run/holder"] {
        drop(Home::open(&root, "a test").unwrap());
        let path = root.join(name);
        fs::remove_file(&path).unwrap();
        symlink(elsewhere.join("pack-1"), &path).unwrap();
        let error = Home::open(&root, "a test").unwrap_err();
        let HomeError::LinkedFile { path: told } = &error else {
            panic!("{name}: {error}");
        };
        assert!(told.ends_with(name), "{error}");
        assert!(error.hint().unwrap().contains("mv "), "{error}");
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(fs::read(elsewhere.join("pack-1")).unwrap(), b"precious");

    fs::create_dir_all(root.join("blobs")).unwrap();
    for name in ["blobs/data", "blobs/temp"] {
        let path = root.join(name);
        fs::write(&path, "").unwrap();
        let error = Home::open(&root, "a test").unwrap_err();
        let HomeError::InTheWay { path: told } = &error else {
            panic!("{name}: {error}");
        };
        assert!(told.ends_with(name), "{error}");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_link_that_leads_nowhere_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let (link, itself) = (folder.path().join("link"), folder.path().join("itself"));
    symlink(folder.path().join("gone"), &link).unwrap();
    symlink(&itself, &itself).unwrap();
    for home in [link.clone(), link.join("home"), itself] {
        let error = Home::open(&home, "a test").unwrap_err();
        assert!(matches!(error, HomeError::LeadsNowhere { .. }), "{error}");
        assert!(error.hint().unwrap().contains("--home"), "{error}");
    }
    assert!(!folder.path().join("gone").exists());
}

#[test]
fn what_this_user_may_not_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    drop(Home::open(folder.path(), "a test").unwrap());
    fs::create_dir(folder.path().join("packs")).unwrap();
    fs::create_dir(folder.path().join("blobs")).unwrap();
    fs::write(folder.path().join("packs.location"), "").unwrap();
    Home::check_access(folder.path()).unwrap();
    if folder.path().metadata().unwrap().uid() == 0 {
        eprintln!("left out: root may use everything");
        return;
    }
    for name in ["packs", "blobs", "packs.location"] {
        let path = folder.path().join(name);
        let mode = path.metadata().unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        let error = Home::check_access(folder.path()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        fs::set_permissions(&path, mode).unwrap();
    }
}

#[test]
fn a_flipped_bit_in_the_key_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), "a test").unwrap();
    home.create_identity(&seed()).unwrap();
    let path = folder.path().join("identity");
    let sound = fs::read(&path).unwrap();
    for bit in 0..sound.len() * 8 {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        let error = home.identity().unwrap_err();
        assert!(
            matches!(
                &error,
                HomeError::Store(StoreError::Damaged {
                    remedy: Remedy::KeyOrNote,
                    ..
                })
            ),
            "bit {bit}: {error}"
        );
    }
    fs::write(&path, &sound).unwrap();
    assert_eq!(home.identity().unwrap(), Some(seed()));
    fs::write(folder.path().join("device"), "").unwrap();
    assert!(home.identity().is_err());
}

#[test]
fn a_flipped_bit_in_the_note_of_the_device_accuses_the_note_and_not_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), "a test").unwrap();
    home.create_identity(&seed()).unwrap();
    let note = folder.path().join("device");
    let sound = fs::read(&note).unwrap();
    let mut noticed = 0;
    for bit in 0..sound.len() * 8 {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&note, &bytes).unwrap();
        let error = match home.identity() {
            // The id is followed by white space of another kind.
            Ok(found) => {
                assert_eq!(found, Some(seed()));
                continue;
            }
            Err(error) => error,
        };
        let told = error.to_string();
        assert!(told.contains("device is damaged"), "bit {bit}: {told}");
        let rm = format!("rm {}", note.display());
        assert!(error.hint().unwrap().contains(&rm), "bit {bit}: {told}");
        noticed += 1;
    }
    assert!(noticed >= 8 * (sound.len() - 1), "{noticed}");
    fs::remove_file(&note).unwrap();
    assert_eq!(home.identity().unwrap(), Some(seed()));
    assert_eq!(fs::read(&note).unwrap(), sound);
}

#[test]
fn a_home_without_a_note_of_its_device_gets_one() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), "a test").unwrap();
    home.create_identity(&seed()).unwrap();
    let note = folder.path().join("device");
    let noted = fs::read(&note).unwrap();
    fs::remove_file(&note).unwrap();
    assert_eq!(home.identity().unwrap(), Some(seed()));
    assert_eq!(fs::read(&note).unwrap(), noted);

    // The note of a removed key does not apply to the next one.
    fs::remove_file(folder.path().join("identity")).unwrap();
    let other = SecretKey::from_bytes([8; 32]);
    home.create_identity(&other).unwrap();
    assert_eq!(home.identity().unwrap(), Some(other));
}

#[test]
fn what_an_older_podsync_left_open_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    let home = Home::open(&root, "a test").unwrap();
    drop(crate::Log::open(&home).unwrap());
    drop(home);
    fs::create_dir_all(root.join("blobs/data")).unwrap();
    fs::write(root.join("blobs/data/x"), "").unwrap();
    for path in ["log.redb", "blobs/data/x", "blobs", "blobs/data"] {
        let open = if root.join(path).is_dir() {
            0o755
        } else {
            0o644
        };
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(open)).unwrap();
    }
    Home::open(&root, "a test").unwrap();
    assert_eq!(mode(&root.join("log.redb")), 0o600);
    assert_eq!(mode(&root.join("blobs/data/x")), 0o600);
    assert_eq!(mode(&root.join("blobs")), 0o700);
    assert_eq!(mode(&root.join("blobs/data")), 0o700);
}

#[test]
fn a_home_that_cannot_be_written_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    if folder.path().metadata().unwrap().uid() == 0 {
        eprintln!("left out: root may write everywhere");
        return;
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let error = Home::open(folder.path(), "a test").unwrap_err();
    assert!(
        matches!(error, HomeError::Store(StoreError::Io { .. })),
        "{error}"
    );
}

/// Run once more by itself, as the process that holds the home.
#[test]
fn a_lock_is_believed_of_the_process_that_has_it() {
    const HOLDS: &str = "PODSYNC_TEST_HOLDS";
    if let Some(root) = std::env::var_os(HOLDS) {
        let _home = Home::open(Path::new(&root), "podsync daemon").unwrap();
        eprintln!("held");
        io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let name = "home::tests::a_lock_is_believed_of_the_process_that_has_it";
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(HOLDS, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = io::BufReader::new(other.stderr.take().unwrap());
    assert!(said.lines().any(|line| line.unwrap() == "held"));
    let holder = Home::holder(folder.path()).unwrap().unwrap();
    assert_eq!(holder.process, Some(other.id()));
    assert!(Home::is_held_by(folder.path(), &holder));
    let this = Holder {
        process: Some(std::process::id()),
        ..holder.clone()
    };
    assert!(!Home::is_held_by(folder.path(), &this));
    // The claim beside the lock says so too.
    fs::remove_file(folder.path().join("lock")).unwrap();
    assert_eq!(Home::holder(folder.path()).unwrap().as_ref(), Some(&holder));
    let error = Home::open(folder.path(), "a test").unwrap_err();
    assert!(
        matches!(&error, HomeError::InUse { holder: found, .. } if *found == holder),
        "{error}"
    );
    assert!(Home::is_held_by(folder.path(), &holder));
    drop(other.stdin.take());
    other.wait().unwrap();
    assert!(!Home::is_held_by(folder.path(), &holder), "it has let go");
}

#[test]
fn what_a_lock_says_of_a_process_that_has_it_not_open_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), "podsync daemon").unwrap();
    // As seen from another container, where the number is another process.
    let parent = std::os::unix::process::parent_id();
    let says = format!("process {parent} (podsync daemon)\n");
    fs::write(folder.path().join("lock"), says).unwrap();
    let holder = Home::holder(folder.path()).unwrap().unwrap();
    assert_eq!(holder.process, Some(parent));
    assert!(!Home::is_held_by(folder.path(), &holder));
    for nonsense in [
        "",
        "process",
        "process x (y)",
        "process 1",
        "1 (podsync daemon)",
    ] {
        fs::write(folder.path().join("lock"), nonsense).unwrap();
        let holder = Home::holder(folder.path()).unwrap().unwrap();
        assert_eq!(holder.process, None, "{nonsense:?}");
        assert!(!Home::is_held_by(folder.path(), &holder));
    }
    drop(home);
}

#[test]
fn a_new_home_is_taken_back_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    let make = |root: &Path| {
        let home = Home::open(root, "a test").unwrap();
        home.create_identity(&seed()).unwrap();
        fs::write(home.tmp().join("pack-1"), "half").unwrap();
        fs::create_dir_all(root.join("blobs/data")).unwrap();
    };
    let new = NewHome::at(&root).unwrap();
    make(&root);
    assert_eq!(NewHome::at(&root), None, "there is a home");
    new.take_back().unwrap();
    assert!(!root.exists());

    // Earlier content stays.
    fs::create_dir(&root).unwrap();
    fs::write(root.join("config.toml"), "mdns = false\n").unwrap();
    fs::write(root.join("daemon.log"), "of before").unwrap();
    let new = NewHome::at(&root).unwrap();
    make(&root);
    new.take_back().unwrap();
    let left: Vec<_> = root
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");

    fs::write(root.join("notes"), "mine").unwrap();
    assert_eq!(NewHome::at(&root), None, "somebody else's");
}

#[test]
fn a_mark_of_nothing_is_damage_and_no_copy() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    drop(Home::open(&root, "a test").unwrap());
    let mark = root.join("machine");
    let sound = fs::read(&mark).unwrap();
    for garbage in [
        &b""[..],
        b"\xff\xfe",
        &sound[..sound.len() / 2],
        b"localhost",
    ] {
        fs::write(&mark, garbage).unwrap();
        let error = Home::open(&root, "a test").unwrap_err();
        let HomeError::Store(error @ StoreError::Damaged { .. }) = error else {
            panic!("{error}");
        };
        assert!(error.hint().unwrap().contains("podsync init --moved"));
    }
    fs::write(&mark, "0".repeat(sound.len())).unwrap();
    let error = Home::open(&root, "a test").unwrap_err();
    assert!(matches!(error, HomeError::CopiedHome { .. }), "{error}");
    // The hint's command repairs it.
    fs::write(&mark, "").unwrap();
    drop(Home::open_moved(&root, "a test").unwrap());
    assert_eq!(fs::read(&mark).unwrap(), sound);
    fs::remove_file(&mark).unwrap();
    fs::create_dir(&mark).unwrap();
    let error = Home::open(&root, "a test").unwrap_err();
    assert!(error.to_string().contains("it is a folder"), "{error}");
    assert!(error.hint().unwrap().contains("mv "));

    // A home without a key may be a new one. With a key it had its mark.
    fs::remove_dir(&mark).unwrap();
    let home = Home::open(&root, "a test").unwrap();
    home.create_identity(&seed()).unwrap();
    drop(home);
    fs::remove_file(&mark).unwrap();
    let error = Home::open(&root, "a test").unwrap_err();
    assert!(error.to_string().contains("it is gone"), "{error}");
    assert!(error.hint().unwrap().contains("podsync init --moved"));
    assert!(!mark.exists(), "nothing is written before a yes");
    drop(Home::open_moved(&root, "a test").unwrap());
    drop(Home::open(&root, "a test").unwrap());
}

#[test]
fn whatever_stands_in_place_of_a_file_is_told_with_the_way_back() {
    for name in [
        "lock",
        "machine",
        "identity",
        "device",
        "log.redb",
        "log.replaced",
        "held.redb",
        "held.unfinished",
        "blobs/blobs.db",
        "packs.location",
        "run/holder",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("home");
        drop(Home::open(&root, "a test").unwrap());
        let path = root.join(name);
        let _ = fs::remove_file(&path);
        fs::create_dir_all(&path).unwrap();
        let error = Home::open(&root, "a test").unwrap_err();
        assert!(
            error.to_string().contains("it is a folder"),
            "{name}: {error}"
        );
        let hint = error.hint().unwrap();
        assert!(hint.contains("mv "), "{name}: {hint}");
        assert!(Home::holder(&root).unwrap().is_none(), "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    drop(Home::open(folder.path(), "a test").unwrap());
    let note = folder.path().join("packs.location");
    let _socket = std::os::unix::net::UnixListener::bind(&note).unwrap();
    let error = Home::open(folder.path(), "a test").unwrap_err();
    assert!(error.to_string().contains("it is no file"), "{error}");
    assert!(error.hint().unwrap().contains("rm "), "{error}");
}

#[test]
fn a_folder_in_place_of_a_file_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), "a test").unwrap();
    let device = folder.path().join("device");
    fs::create_dir(&device).unwrap();
    let error = home.identity().unwrap_err();
    assert!(error.to_string().contains("it is a folder"), "{error}");
    let aside = format!("mv {0} {0}.damaged", device.display());
    assert!(error.hint().unwrap().contains(&aside), "{error}");
    fs::remove_dir(&device).unwrap();
    fs::create_dir(folder.path().join("identity")).unwrap();
    let error = home.identity().unwrap_err();
    assert!(error.to_string().contains("it is a folder"), "{error}");
    assert!(!error.hint().unwrap().contains("chmod"), "{error}");
}
