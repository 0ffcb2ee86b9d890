//! Forgeries that a malicious member can make: well-formed bytes that no honest device signed.
//!
//! It knows the team key, so it can write entries in anybody's name. What it lacks is their
//! signature.

use podsync_core::{
    BlobId, DeviceId, PodName, VersionId,
    bounded::Bounded,
    codec::Format,
    feed::{BlobRef, Body, Entry, Head, Header, Kind, Publication},
    membership::{Operation, Role, operation},
    wire::{EntriesResponse, Gossip, Protocol},
};
use serde_bytes::ByteBuf;

use super::{chance, history::Violation, id::NodeId, view, world::World};

/// Where an envelope names its signer: after its version, its domain and the team.
const SIGNER_AT: std::ops::Range<usize> = 34..66;

impl World {
    /// Gossips a version in the name of `victim`, signed by `forger`, to all that `forger` is
    /// connected to. False where it doesn't know enough for that.
    pub fn forge_version(
        &mut self,
        forger: NodeId,
        victim: DeviceId,
        team: podsync_core::TeamId,
    ) -> Result<bool, Violation> {
        let Some(message) = self.forged_version(forger, victim, team) else {
            return Ok(false);
        };
        self.note(forger, "forges a version", None, 0);
        self.pass_on(forger, team, &message.encode().into(), None);
        Ok(true)
    }

    fn forged_version(
        &mut self,
        forger: NodeId,
        victim: DeviceId,
        team: podsync_core::TeamId,
    ) -> Option<Gossip> {
        let salt = chance::seed(&mut self.rng);
        let (version, blob) = (chance::seed(&mut self.rng), chance::seed(&mut self.rng));
        let home = self.node(forger);
        let engine = home.engine.as_ref()?;
        let (epoch, key) = engine.current_key(&team)?;
        let catalog = view::catalog(engine, team)?;
        let its = view::versions(catalog).filter(|version| version.device() == victim);
        let last = its
            .map(|version| &version.entry)
            .max_by_key(|entry| entry.header().seq)?;
        let header = Header {
            team,
            device: victim,
            seq: last.header().seq + 1,
            previous: Some(last.hash()),
            membership: Bounded::first([]),
            epoch,
            kind: Kind::Publish,
            blobs: Bounded::first([BlobRef {
                id: BlobId::from_bytes(blob),
                len: 1000,
            }]),
        };
        let body = Body::Publish(Publication {
            pod: PodName::new("orders").expect("a good name"),
            number: 1_000,
            version: VersionId::from_bytes(version),
            parents: Bounded::first([]),
            message: "not mine".into(),
            services: Bounded::first([]),
            emulator: None,
            created_ms: 0,
            state_len: 1000,
            entry_count: 1,
            tags: Bounded::first([]),
            supersedes: Bounded::first([]),
        });
        let entry = Entry::write(&header, &body, key, salt).ok()?;
        let head = home.secret.sign(
            team,
            &Head {
                seq: header.seq,
                entry: entry.hash(),
            },
        );
        let head = in_the_name_of(victim, head);
        Some(Gossip::Announcement {
            head,
            entry: Some(ByteBuf::from(entry.bytes().to_vec())),
        })
    }

    /// Gossips an operation in the name of `victim` that makes `forger` an admin.
    pub fn forge_promotion(
        &mut self,
        forger: NodeId,
        victim: DeviceId,
        team: podsync_core::TeamId,
    ) -> Result<(), Violation> {
        let home = self.node(forger);
        let engine = home.engine.as_ref();
        let Some(mut parents) = engine.and_then(|engine| view::membership_heads(engine, team))
        else {
            return Ok(());
        };
        parents.sort_unstable();
        let kind = operation::Kind::SetRole(operation::SetRole {
            device: home.device(),
            role: Role::Admin,
        });
        let bytes = home.secret.sign(team, &Operation { parents, kind });
        let message = Gossip::Operations(Bounded::first([in_the_name_of(victim, bytes)]));
        self.note(forger, "forges a promotion", None, 0);
        self.pass_on(forger, team, &message.encode().into(), None);
        Ok(())
    }
}

fn in_the_name_of(victim: DeviceId, mut envelope: Vec<u8>) -> ByteBuf {
    envelope[SIGNER_AT].copy_from_slice(victim.as_bytes());
    envelope.into()
}

/// An answer with entries, the last byte of each changed: still well formed, but not what a head or
/// the entry after it names.
pub(super) fn tampered(protocol: Protocol, bytes: Vec<u8>) -> Vec<u8> {
    if protocol != Protocol::Entries {
        return bytes;
    }
    match EntriesResponse::decode(&bytes) {
        Ok(EntriesResponse::Entries { entries, more }) => {
            let change = |mut entry: ByteBuf| {
                if let Some(last) = entry.last_mut() {
                    *last ^= 1;
                }
                entry
            };
            let entries = Bounded::first(entries.into_iter().map(change));
            EntriesResponse::Entries { entries, more }.encode()
        }
        _ => bytes,
    }
}
