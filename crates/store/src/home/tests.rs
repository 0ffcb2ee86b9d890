use std::process::Command;

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
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for bad in [31, 33, 100_000] {
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
        *holder,
        format!("process {} (podsync daemon)", std::process::id())
    );
    drop(guard);
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
    fs::write(home.tmp().join("half a pack"), "half").unwrap();
    fs::write(folder.path().join(".unfinished-abc"), "half").unwrap();
    drop(home);
    let home = Home::open(folder.path(), "a test").unwrap();
    assert_eq!(home.tmp().read_dir().unwrap().count(), 0);
    assert!(!folder.path().join(".unfinished-abc").exists());
    assert_eq!(home.identity().unwrap(), Some(seed()));
}
