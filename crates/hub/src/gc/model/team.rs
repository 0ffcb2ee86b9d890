//! The team of the model: an admin and two publishers, with a device each.

use podsync_core::{
    DeviceId, DeviceLabel, MemberName, TeamId, TeamName,
    keys::DeviceSecret,
    membership::{Author, Enrolment, KeyRing, Membership, Operation, Role, author},
    seal::SecretKey,
    signed::verify,
};

pub(super) const DEVICES: u8 = 3;

pub(super) struct Team {
    pub(super) membership: Membership,
}

pub(super) fn secret(number: u8) -> DeviceSecret {
    DeviceSecret::from_seed([number + 1; 32])
}

pub(super) fn device(number: u8) -> DeviceId {
    secret(number).id()
}

fn enrolment(number: u8) -> Enrolment {
    Enrolment {
        device: device(number),
        box_key: secret(number).box_key(),
        member: MemberName::new(format!("member{number}")).unwrap(),
        label: DeviceLabel::new("laptop").unwrap(),
    }
}

impl Team {
    pub(super) fn new() -> Self {
        let team = author::NewTeam {
            name: TeamName::new("payments").unwrap(),
            member: enrolment(0).member,
            label: enrolment(0).label,
            recovery: secret(200).public(),
        };
        let key = SecretKey::from_bytes([0xf0; 32]);
        let founding = author::found(&secret(0), team, &key, [5; 32], &[6; 32]).unwrap();
        let mut membership = Membership::new(verify(&founding).unwrap()).unwrap();
        let mut keys = KeyRing::default();
        keys.insert(key);
        for number in 1..DEVICES {
            let founder = secret(0);
            let add = Author::new(&founder, &membership, &keys)
                .add(enrolment(number), Role::Publisher, &[number; 32])
                .unwrap();
            membership.insert(verify::<Operation>(&add).unwrap());
        }
        Self { membership }
    }

    pub(super) fn id(&self) -> TeamId {
        self.membership.team()
    }
}
