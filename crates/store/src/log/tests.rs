use podsync_core::EntryHash;
use proptest::prelude::*;

use super::*;

const BASED_ON: Namespace = Namespace::new("based_on");
const BASED: Namespace = Namespace::new("based");

fn team(n: u8) -> TeamId {
    TeamId::from_bytes([n; 32])
}

fn entry(team_no: u8, device: u8, seq: u64, hash: u8) -> Key {
    let entry = EntryKey {
        device: DeviceId::from_bytes([device; 32]),
        seq,
        hash: EntryHash::from_bytes([hash; 32]),
    };
    Key::Entry {
        team: team(team_no),
        entry,
    }
}

fn every_kind(n: u8) -> Vec<Key> {
    let team = team(n);
    vec![
        Key::Operation {
            team,
            id: OpId::from_bytes([n; 32]),
        },
        entry(n, n, 1, n),
        Key::Head {
            team,
            device: DeviceId::from_bytes([n; 32]),
        },
        Key::Version {
            team,
            id: VersionId::from_bytes([n; 32]),
        },
        Key::Transfer {
            team,
            id: VersionId::from_bytes([n; 32]),
        },
        Key::Setting {
            namespace: BASED_ON,
            key: vec![n],
        },
    ]
}

fn taken<T: Field>(rows: Rows<T>) -> Vec<(T, Vec<u8>)> {
    rows.collect::<Result<_, _>>().unwrap()
}

#[test]
fn everything_committed_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), "a test").unwrap();
    let log = Log::open(&home).unwrap();
    for n in [1, 2, 255] {
        let records: Vec<Record> = every_kind(n)
            .into_iter()
            .map(|key| Record::put(key, vec![n; 100]))
            .collect();
        log.commit(&records).unwrap();
    }
    drop(log);

    let log = Log::open(&home).unwrap();
    assert_eq!(log.teams().unwrap(), [team(1), team(2), team(255)]);
    for n in [1, 2, 255] {
        assert_eq!(
            taken(log.operations(team(n)).unwrap()),
            [(OpId::from_bytes([n; 32]), vec![n; 100])]
        );
        assert_eq!(taken(log.entries(team(n)).unwrap()).len(), 1);
        assert_eq!(taken(log.heads(team(n)).unwrap()).len(), 1);
        assert_eq!(taken(log.versions(team(n)).unwrap()).len(), 1);
        assert_eq!(taken(log.transfers(team(n)).unwrap()).len(), 1);
        for key in every_kind(n) {
            assert_eq!(log.get(&key).unwrap(), Some(vec![n; 100]), "{key:?}");
        }
    }
    log.commit(
        &every_kind(2)
            .into_iter()
            .map(Record::delete)
            .collect::<Vec<_>>(),
    )
    .unwrap();
    assert_eq!(log.teams().unwrap(), [team(1), team(255)]);
    assert_eq!(log.get(&entry(2, 2, 1, 2)).unwrap(), None);
}

#[test]
fn entries_come_in_order_and_both_sides_of_a_fork() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(&Home::open(folder.path(), "a test").unwrap()).unwrap();
    let keys = [(1, 256, 9), (1, 2, 4), (1, 2, 3), (0, 7, 1)];
    let records: Vec<Record> = keys
        .map(|(device, seq, hash)| Record::put(entry(1, device, seq, hash), vec![hash]))
        .to_vec();
    log.commit(&records).unwrap();
    let order: Vec<u8> = taken(log.entries(team(1)).unwrap())
        .into_iter()
        .map(|(_, value)| value[0])
        .collect();
    assert_eq!(order, [1, 3, 4, 9]);
}

#[test]
fn a_namespace_is_not_the_beginning_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(&Home::open(folder.path(), "a test").unwrap()).unwrap();
    let put = |namespace, key: &[u8]| {
        Record::put(
            Key::Setting {
                namespace,
                key: key.to_vec(),
            },
            b"value",
        )
    };
    log.commit(&[put(BASED_ON, b"x"), put(BASED, b""), put(BASED, b"_on\0x")])
        .unwrap();
    assert_eq!(taken(log.settings(BASED_ON).unwrap()).len(), 1);
    let keys: Vec<Vec<u8>> = taken(log.settings(BASED).unwrap())
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys, [b"".to_vec(), b"_on\0x".to_vec()]);
}

#[test]
fn a_record_too_large_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(&Home::open(folder.path(), "a test").unwrap()).unwrap();
    let small = Record::put(entry(1, 1, 1, 1), b"small");
    let large = Record::put(entry(1, 1, 2, 2), vec![0; MAX_RECORD_LEN + 1]);
    let error = log.commit(&[small, large]).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }));
    assert_eq!(taken(log.entries(team(1)).unwrap()).len(), 0);
}

#[test]
fn a_listing_does_not_see_later_commits_and_does_not_block_them() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(&Home::open(folder.path(), "a test").unwrap()).unwrap();
    log.commit(&[Record::put(entry(1, 1, 1, 1), b"first")])
        .unwrap();
    let rows = log.entries(team(1)).unwrap();
    log.commit(&[Record::put(entry(1, 1, 2, 2), b"second")])
        .unwrap();
    assert_eq!(taken(rows).len(), 1);
    assert_eq!(taken(log.entries(team(1)).unwrap()).len(), 2);
}

#[test]
fn debug_hides_values() {
    let record = Record::put(entry(1, 1, 1, 1), b"a team key".to_vec());
    let text = format!("{record:?}");
    assert!(
        text.contains("value_len: Some(10)") && !text.contains("team key"),
        "{text}"
    );
}

proptest! {
    #[test]
    fn an_entry_key_reads_back(device: [u8; 32], seq: u64, hash: [u8; 32]) {
        let entry = EntryKey { device: DeviceId::from_bytes(device), seq, hash: EntryHash::from_bytes(hash) };
        let bytes = Key::Entry { team: team(3), entry }.to_bytes();
        let mut rest = bytes.strip_prefix(team(3).as_bytes()).unwrap();
        prop_assert_eq!(EntryKey::read(&mut rest), Some(entry));
        prop_assert!(rest.is_empty());
        for short in 0..72 {
            prop_assert_eq!(EntryKey::read(&mut &bytes[32..32 + short]), None);
        }
    }
}

#[test]
fn a_log_that_is_gone_is_damage_until_its_owner_says_that_it_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), "a test").unwrap();
    home.create_identity(&podsync_core::seal::SecretKey::from_bytes([7; 32]))
        .unwrap();
    // After `podsync init` there is no log yet.
    Log::examine(&home).unwrap();
    let log = Log::open(&home).unwrap();
    assert!(!log.is_made_anew().unwrap());
    let key = Key::Setting {
        namespace: Namespace::new("test"),
        key: Vec::new(),
    };
    log.commit(&[Record::put(key.clone(), b"precious".to_vec())])
        .unwrap();
    drop(log);
    let packs = folder.path().join("packs");
    std::fs::create_dir_all(&packs).unwrap();
    std::fs::write(packs.join("1.pack"), "").unwrap();

    let [path, aside, elsewhere] =
        ["log.redb", "log.redb.damaged", "elsewhere"].map(|name| folder.path().join(name));
    let is_gone = || {
        let error = Log::open(&home).unwrap_err();
        assert!(error.to_string().contains("it is gone"), "{error}");
        assert!(Log::examine(&home).is_err());
        assert!(!path.exists(), "looking makes nothing");
        error.hint().unwrap()
    };
    std::fs::rename(&path, &elsewhere).unwrap();
    assert!(is_gone().contains("touch"));

    // Setting it aside permits one new log.
    std::fs::rename(&elsewhere, &aside).unwrap();
    let log = Log::open(&home).unwrap();
    assert!(log.is_made_anew().unwrap() && log.is_another_set_aside().unwrap());
    drop(log);
    assert!(Log::open(&home).unwrap().is_made_anew().unwrap());
    std::fs::remove_file(&path).unwrap();
    assert!(is_gone().contains("log.redb.damaged.2"));

    // It is put back and has all that was in it. It may be set aside again.
    std::fs::rename(&aside, &path).unwrap();
    let log = Log::open(&home).unwrap();
    assert!(!log.is_made_anew().unwrap() && !log.is_another_set_aside().unwrap());
    assert_eq!(log.get(&key).unwrap().as_deref(), Some(&b"precious"[..]));
    drop(log);
    std::fs::rename(&path, &aside).unwrap();
    assert!(Log::open(&home).unwrap().is_made_anew().unwrap());
}
