//! Tests of membership. The tests build operations by hand, with any parents and any signer.

mod golden;
mod keys;
mod orders;
mod replicas;
mod rules;
mod scale;

use std::sync::Arc;

use super::{
    Enrolment, Insert, LastEntry, Membership, Operation, Role, Void,
    author::{self, NewTeam},
    operation::{Add, Invite, Join, Kind, Remove, SetRole},
};
use crate::{
    id::{DeviceId, EntryHash, OpId, TeamId},
    keys::DeviceSecret,
    name::{DeviceLabel, MemberName, TeamName},
    seal::SecretKey,
    signed::{Verified, verify},
};

type Signed = Arc<Verified<Operation>>;

/// A team founded by device 0; device 99 is its recovery key.
struct Team {
    founding: Signed,
    membership: Membership,
}

const FOUNDER: u8 = 0;
const RECOVERY: u8 = 99;
const FOUNDING_KEY: [u8; 32] = [0xf0; 32];

fn device(number: u8) -> DeviceSecret {
    DeviceSecret::from_seed([number + 1; 32])
}

fn id(number: u8) -> DeviceId {
    device(number).id()
}

fn enrolment(number: u8) -> Enrolment {
    named(number, &format!("member{number}"))
}

fn named(number: u8, member: &str) -> Enrolment {
    let public = device(number).public();
    Enrolment {
        device: public.device,
        box_key: public.box_key,
        member: MemberName::new(member).unwrap(),
        label: DeviceLabel::new("laptop").unwrap(),
    }
}

fn op_id(op: &Signed) -> OpId {
    OpId::of(op.bytes())
}

fn verified(bytes: &[u8]) -> Signed {
    Arc::new(verify(bytes).unwrap())
}

fn add(number: u8, role: Role) -> Kind {
    Kind::Add(Add {
        newcomer: enrolment(number),
        role,
        robot: false,
        wraps: vec![],
    })
}

fn remove(number: u8) -> Kind {
    remove_after(number, None)
}

fn remove_after(number: u8, last: Option<u64>) -> Kind {
    let last = last.map(|seq| LastEntry {
        seq,
        hash: entry(seq),
    });
    Kind::Remove(Remove {
        device: id(number),
        last,
    })
}

fn entry(seq: u64) -> EntryHash {
    EntryHash::of(&seq.to_le_bytes())
}

fn set_role(number: u8, role: Role) -> Kind {
    Kind::SetRole(SetRole {
        device: id(number),
        role,
    })
}

fn invite(number: u8, uses: u32) -> Kind {
    Kind::Invite(Invite {
        key: device(number).public(),
        role: Role::Publisher,
        member: None,
        expires_ms: 1000,
        uses,
        wraps: vec![],
    })
}

fn join(team: TeamId, invite: u8, newcomer: Enrolment, witnessed_ms: u64) -> Kind {
    Kind::Join(Join {
        invite: id(invite),
        newcomer: newcomer.clone(),
        request: author::join_request(&device(invite), team, newcomer),
        witnessed_ms,
        wraps: vec![],
    })
}

impl Team {
    fn new() -> Self {
        let founder = enrolment(FOUNDER);
        let team = NewTeam {
            name: TeamName::new("payments").unwrap(),
            member: founder.member,
            label: founder.label,
            recovery: device(RECOVERY).public(),
        };
        let key = SecretKey::from_bytes(FOUNDING_KEY);
        let bytes = author::found(&device(FOUNDER), team, &key, [5; 32], &[6; 32]).unwrap();
        let founding = verified(&bytes);
        let membership = Membership::new(verify(&bytes).unwrap()).unwrap();
        Self {
            founding,
            membership,
        }
    }

    /// A team whose admins are the founder and these.
    fn with_admins(numbers: &[u8]) -> Self {
        let mut team = Self::new();
        for number in numbers {
            team.counts(FOUNDER, add(*number, Role::Admin));
        }
        team
    }

    fn id(&self) -> TeamId {
        self.membership.team()
    }

    /// Signs an operation; inserts nothing.
    fn sign_at(&self, parents: &[OpId], signer: u8, kind: Kind) -> Signed {
        let mut parents = parents.to_vec();
        parents.sort_unstable();
        verified(&device(signer).sign(self.id(), &Operation { parents, kind }))
    }

    /// Inserts an operation that has seen `parents`.
    fn at(&mut self, parents: &[OpId], signer: u8, kind: Kind) -> OpId {
        let op = self.sign_at(parents, signer, kind);
        assert_eq!(self.membership.insert(op.clone()), Insert::New);
        op_id(&op)
    }

    /// Inserts an operation that has seen everything.
    fn now(&mut self, signer: u8, kind: Kind) -> OpId {
        let parents = self.membership.parents_for_next();
        self.at(&parents, signer, kind)
    }

    fn counts(&mut self, signer: u8, kind: Kind) -> OpId {
        let op = self.now(signer, kind);
        assert_eq!(self.void(op), None);
        op
    }

    fn heads(&self) -> Vec<OpId> {
        self.membership.heads().to_vec()
    }

    fn void(&self, op: OpId) -> Option<Void> {
        self.membership.why_void(&op)
    }

    fn role(&self, number: u8) -> Option<Role> {
        self.membership.state().role(&id(number))
    }

    fn join(&self, invite: u8, newcomer: Enrolment) -> Kind {
        join(self.id(), invite, newcomer, 500)
    }
}
