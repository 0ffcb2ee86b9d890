//! The initial logs of homes that start as members of a team.
//!
//! The founder enrols everybody, with the same code that makes operations in the daemon. The log is
//! verified once and shared by all: a thousand homes with a thousand operations each would otherwise
//! spend the run on signatures.

use std::{collections::BTreeSet, sync::Arc};

use podsync_core::{
    DeviceLabel, MemberName, TeamId, TeamName,
    engine::Restored,
    keys::DeviceSecret,
    membership::{
        Author, Enrolment, KeyRing, Membership, Operation, Role,
        author::{NewTeam, found},
    },
    seal::SecretKey,
    signed::{Verified, verify},
};
use rand_chacha::ChaCha8Rng;

use super::{chance, hash::hash};

#[derive(Debug, Default)]
pub(super) struct Genesis {
    pub(super) records: Vec<Restored>,
    pub(super) hashes: BTreeSet<[u8; 32]>,
}

impl Genesis {
    /// A team of the founder, an admin, and of `others`, publishers.
    pub(super) fn team(
        founder: &DeviceSecret,
        others: &[&DeviceSecret],
        rng: &mut ChaCha8Rng,
    ) -> (TeamId, Self) {
        let key = SecretKey::from_bytes(chance::seed(rng));
        let enrolment = enrolment(founder, 0);
        let new_team = NewTeam {
            name: TeamName::new("everybody").expect("a good name"),
            member: enrolment.member,
            label: enrolment.label,
            recovery: DeviceSecret::from_seed(chance::seed(rng)).public(),
        };
        let founding = found(
            founder,
            new_team,
            &key,
            chance::seed(rng),
            &chance::seed(rng),
        );
        let founding = opened(&founding.expect("a founding needs nobody's leave"));
        let mut genesis = Self::default();
        let mut membership = Membership::new(founding.clone()).expect("it founds a team");
        let team = membership.team();
        genesis.push(team, founding);
        let mut keys = KeyRing::default();
        keys.insert(key);
        for (number, other) in (1..).zip(others) {
            let author = Author::new(founder, &membership, &keys);
            let add = author.add(
                self::enrolment(other, number),
                Role::Publisher,
                &chance::seed(rng),
            );
            let add = opened(&add.expect("an admin may enrol"));
            membership.insert(add.clone());
            genesis.push(team, add);
        }
        (team, genesis)
    }

    fn push(&mut self, team: TeamId, operation: Verified<Operation>) {
        self.hashes.insert(hash(operation.bytes()));
        self.records
            .push(Restored::Operation(team, Arc::new(operation)));
    }
}

fn enrolment(secret: &DeviceSecret, number: usize) -> Enrolment {
    Enrolment {
        device: secret.id(),
        box_key: secret.box_key(),
        member: member(number),
        label: label(number),
    }
}

/// The member name of a node's user.
pub(super) fn member(number: usize) -> MemberName {
    MemberName::new(format!("member-{number}")).expect("a good name")
}

/// What they call their machine.
pub(super) fn label(number: usize) -> DeviceLabel {
    DeviceLabel::new(format!("device-{number}")).expect("a good name")
}

fn opened(bytes: &[u8]) -> Verified<Operation> {
    verify(bytes).expect("what was just signed")
}
