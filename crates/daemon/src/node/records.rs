//! Converts between the engine's types and those of the store and the network.

use podsync_core::{
    DeviceId, TeamId,
    catalog::PrivateVersion,
    codec::Format,
    engine::{self, Record},
    seal::SecretKey,
};
use podsync_store::{EntryKey, Key, Log, Namespace, StoreError};

/// Proofs of forked feeds: team and device.
const FORKS: Namespace = Namespace::new("forks");
/// Keys of the invites that this device joined by: team.
const INVITE_KEYS: Namespace = Namespace::new("invite-keys");

pub(super) fn to_store(record: Record) -> podsync_store::Record {
    use podsync_store::Record as Stored;
    match record {
        Record::Operation { team, id, bytes } => {
            Stored::put(Key::Operation { team, id }, bytes.to_vec())
        }
        Record::Entry {
            team,
            device,
            seq,
            hash,
            bytes,
        } => Stored::put(
            Key::Entry {
                team,
                entry: EntryKey { device, seq, hash },
            },
            bytes.to_vec(),
        ),
        Record::Head {
            team,
            device,
            bytes,
        } => Stored::put(Key::Head { team, device }, bytes.to_vec()),
        Record::Fork {
            team,
            device,
            bytes,
        } => Stored::put(fork(team, device), bytes.to_vec()),
        Record::Private { team, version } => Stored::put(
            Key::Version {
                team,
                id: version.version,
            },
            version.encode(),
        ),
        Record::InviteKey { team, seed } => Stored::put(invite_key(team), seed.expose().to_vec()),
        Record::PrivateGone { team, version } => Stored::delete(Key::Version { team, id: version }),
    }
}

/// Everything that the log keeps of a team, as the engine wrote it: operations first.
pub(crate) fn stored(log: &Log, team: TeamId) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    for row in log.operations(team)? {
        let (id, bytes) = row?;
        records.push(Record::Operation {
            team,
            id,
            bytes: bytes.into(),
        });
    }
    for row in log.entries(team)? {
        let (EntryKey { device, seq, hash }, bytes) = row?;
        records.push(Record::Entry {
            team,
            device,
            seq,
            hash,
            bytes: bytes.into(),
        });
    }
    for row in log.heads(team)? {
        let (device, bytes) = row?;
        records.push(Record::Head {
            team,
            device,
            bytes: bytes.into(),
        });
    }
    for row in log.settings(FORKS)? {
        let (name, bytes) = row?;
        let Some((of, device)) = name.split_at_checked(32) else {
            continue;
        };
        if let (true, Ok(device)) = (of == team.as_bytes(), device.try_into()) {
            records.push(Record::Fork {
                team,
                device: DeviceId::from_bytes(device),
                bytes: bytes.into(),
            });
        }
    }
    let seed = log.get(&invite_key(team))?;
    if let Some(seed) = seed.and_then(|seed| seed.try_into().ok()) {
        let seed = SecretKey::from_bytes(seed);
        records.push(Record::InviteKey { team, seed });
    }
    for row in log.versions(team)? {
        let (id, bytes) = row?;
        match PrivateVersion::decode(&bytes) {
            Ok(version) => records.push(Record::Private {
                team,
                version: Box::new(version),
            }),
            Err(error) => {
                tracing::error!(version = %id.short(), %error, "podsync can't read a private version's record and leaves it out")
            }
        }
    }
    Ok(records)
}

fn invite_key(team: TeamId) -> Key {
    Key::Setting {
        namespace: INVITE_KEYS,
        key: team.as_bytes().to_vec(),
    }
}

fn fork(team: podsync_core::TeamId, device: podsync_core::DeviceId) -> Key {
    Key::Setting {
        namespace: FORKS,
        key: [&team.as_bytes()[..], device.as_bytes()].concat(),
    }
}

pub(super) fn net_verdict(verdict: engine::Verdict) -> podsync_net::Verdict {
    match verdict {
        engine::Verdict::Accept => podsync_net::Verdict::Accept,
        engine::Verdict::Ignore => podsync_net::Verdict::Ignore,
        engine::Verdict::Reject => podsync_net::Verdict::Reject,
    }
}
