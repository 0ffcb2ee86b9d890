//! Team keys: who can open which, and when a new one is due.

use super::*;
use crate::{
    EpochId,
    keys::{Seed, epoch_of},
    membership::{
        Author, AuthorError, KeyRing,
        author::Offer,
        operation::{InviteProof, KeyWrap, Rotate},
    },
    ticket::OpPrefix,
};

const NOW_MS: u64 = 500;

fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes([number; 32])
}

fn epoch(number: u8) -> EpochId {
    epoch_of(&key(number))
}

fn seed(number: u8) -> Seed {
    [number; 32]
}

fn offer() -> Offer {
    Offer {
        role: Role::Publisher,
        member: None,
        expires_ms: 1000,
        uses: 1,
    }
}

impl Team {
    fn ring(&self, number: u8) -> KeyRing {
        KeyRing::unlock(&self.membership, &device(number))
    }

    /// Makes an operation as a daemon does, and inserts it.
    fn author<T>(
        &mut self,
        number: u8,
        make: impl FnOnce(Author<'_>) -> Result<T, AuthorError>,
    ) -> T
    where
        T: Bytes,
    {
        let (secret, ring) = (device(number), self.ring(number));
        let made = make(Author::new(&secret, &self.membership, &ring)).unwrap();
        let op = verified(made.bytes());
        assert_eq!(self.membership.insert(op.clone()), Insert::New);
        assert_eq!(self.void(op_id(&op)), None);
        made
    }

    fn rotate(&mut self, number: u8, new: u8) {
        self.author(number, |author| {
            author.rotate(&key(new), NOW_MS, &seed(new))
        });
    }
}

trait Bytes {
    fn bytes(&self) -> &[u8];
}

impl Bytes for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl<T> Bytes for (Vec<u8>, T) {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[test]
fn founder_and_recovery_key_open_the_first_epoch() {
    let team = Team::new();
    let first = team.membership.state().current_epoch();
    assert_eq!(first, epoch(0xf0));
    for number in [FOUNDER, RECOVERY] {
        assert_eq!(team.ring(number).get(&first), Some(&key(0xf0)));
    }
    assert_eq!(team.ring(1).epochs().count(), 0);
    assert!(!team.membership.state().rotation_due());
}

#[test]
fn newcomers_are_given_the_key_and_read_the_past() {
    let mut team = Team::new();
    team.rotate(FOUNDER, 1);
    team.rotate(FOUNDER, 2);
    team.author(FOUNDER, |author| {
        author.add(enrolment(5), Role::Reader, &seed(3))
    });
    let ring = team.ring(5);
    for (number, id) in [(0xf0, epoch(0xf0)), (1, epoch(1)), (2, epoch(2))] {
        assert_eq!(ring.get(&id), Some(&key(number)));
    }
    assert_eq!(team.membership.state().current_epoch(), epoch(2));
    assert!(!team.membership.state().rotation_due());
}

fn invite_key() -> DeviceSecret {
    DeviceSecret::from_seed([0x50; 32])
}

#[test]
fn a_join_by_ticket() {
    let mut team = Team::new();
    let invite = invite_key();
    let op = team.author(FOUNDER, |author| author.invite(offer(), &invite, &seed(4)));
    let floor = OpPrefix::of(&OpId::of(&op));
    let made = team.membership.starting_with(&floor).unwrap();
    assert_eq!(**made.bytes(), *op);
    assert!(
        team.membership
            .starting_with(&OpPrefix::of(&OpId::of(b"another")))
            .is_none()
    );
    assert!(
        KeyRing::unlock(&team.membership, &invite)
            .get(&epoch(0xf0))
            .is_some()
    );

    let request = author::join_request(&invite, team.id(), enrolment(6));
    let request = verify::<InviteProof>(&request).unwrap();
    team.author(FOUNDER, |author| author.witness(&request, NOW_MS, &seed(5)));
    assert_eq!(team.role(6), Some(Role::Publisher));
    assert_eq!(team.ring(6).get(&epoch(0xf0)), Some(&key(0xf0)));

    let ring = team.ring(FOUNDER);
    let secret = device(FOUNDER);
    let founder = Author::new(&secret, &team.membership, &ring);
    let again = founder.witness(&request, NOW_MS, &seed(6)).unwrap_err();
    assert_eq!(again, AuthorError::Void(Void::AlreadyEnrolled(id(6))));
    let other = author::join_request(&invite, team.id(), enrolment(7));
    let other = verify::<InviteProof>(&other).unwrap();
    let spent = founder.witness(&other, NOW_MS, &seed(6)).unwrap_err();
    assert_eq!(spent, AuthorError::Void(Void::InviteSpent));
    let elsewhere = author::join_request(&invite, TeamId::of(b"elsewhere"), enrolment(7));
    let elsewhere = verify::<InviteProof>(&elsewhere).unwrap();
    assert!(founder.witness(&elsewhere, NOW_MS, &seed(6)).is_err());
}

#[test]
fn a_witness_without_keys_leaves_the_newcomer_to_its_invite() {
    let mut team = Team::new();
    let invite = invite_key();
    team.author(FOUNDER, |author| author.invite(offer(), &invite, &seed(4)));
    team.rotate(FOUNDER, 1);
    let request = author::join_request(&invite, team.id(), enrolment(6));
    let request = verify::<InviteProof>(&request).unwrap();
    let (secret, ring) = (device(FOUNDER), KeyRing::default());
    let join = Author::new(&secret, &team.membership, &ring).witness(&request, NOW_MS, &seed(5));
    team.membership.insert(verified(&join.unwrap()));
    let mut newcomer = team.ring(6);
    assert_eq!(newcomer.epochs().count(), 0);
    newcomer.extend(&team.membership, &invite);
    assert_eq!(newcomer.get(&epoch(1)), Some(&key(1)));
    assert_eq!(newcomer.get(&epoch(0xf0)), Some(&key(0xf0)));
    assert!(
        !team.membership.state().rotation_due(),
        "its invite can open the key"
    );
    team.rotate(FOUNDER, 2);
    assert_eq!(
        team.ring(6).get(&epoch(2)),
        Some(&key(2)),
        "from now on itself"
    );
}

#[test]
fn a_newcomer_whose_invite_lacks_the_key_makes_a_rotation_due() {
    for has_key in [true, false] {
        let mut team = Team::new();
        let (secret, ring) = (device(FOUNDER), KeyRing::default());
        let invite = invite_key();
        if has_key {
            team.author(FOUNDER, |author| author.invite(offer(), &invite, &seed(4)));
        } else {
            let keyless = Author::new(&secret, &team.membership, &ring);
            let made = keyless.invite(offer(), &invite, &seed(4)).unwrap();
            team.membership.insert(verified(&made));
        }
        let request = author::join_request(&invite, team.id(), enrolment(6));
        let request = verify::<InviteProof>(&request).unwrap();
        let keyless = Author::new(&secret, &team.membership, &ring);
        let join = keyless.witness(&request, NOW_MS, &seed(5)).unwrap();
        assert_eq!(team.membership.insert(verified(&join)), Insert::New);
        assert_eq!(team.membership.state().rotation_due(), !has_key);
    }
}

#[test]
fn a_robot_is_its_token() {
    let mut team = Team::new();
    let robot = DeviceSecret::from_seed([0x60; 32]);
    team.author(FOUNDER, |author| {
        let member = MemberName::new("ci").unwrap();
        let label = DeviceLabel::new("runner").unwrap();
        author.robot(member, label, &robot, &seed(7))
    });
    assert_eq!(
        team.membership.state().role(&robot.id()),
        Some(Role::Reader)
    );
    assert!(
        KeyRing::unlock(&team.membership, &robot)
            .get(&epoch(0xf0))
            .is_some()
    );
}

#[test]
fn a_removal_makes_a_rotation_due_and_the_removed_cannot_follow() {
    let mut team = Team::with_admins(&[1]);
    assert!(
        team.membership.state().rotation_due(),
        "device 1 was given no key"
    );
    team.rotate(FOUNDER, 1);
    assert!(!team.membership.state().rotation_due());
    team.author(FOUNDER, |author| author.remove(id(1), None));
    assert!(team.membership.state().rotation_due());
    team.rotate(FOUNDER, 2);
    assert!(!team.membership.state().rotation_due());
    assert!(team.ring(1).get(&epoch(1)).is_some());
    assert!(team.ring(1).get(&epoch(2)).is_none());
}

#[test]
fn a_withdrawn_invite_cannot_follow_either() {
    let mut team = Team::new();
    let invite = invite_key();
    team.author(FOUNDER, |author| author.invite(offer(), &invite, &seed(4)));
    team.author(FOUNDER, |author| author.remove(invite.id(), None));
    assert!(team.membership.state().rotation_due());
    team.rotate(FOUNDER, 1);
    assert!(
        KeyRing::unlock(&team.membership, &invite)
            .get(&epoch(1))
            .is_none()
    );
    assert!(!team.membership.state().rotation_due());
}

#[test]
fn an_epoch_that_saw_the_removal_is_preferred_to_a_deeper_one() {
    let mut team = Team::with_admins(&[1, 2]);
    let before = team.heads();
    let rotate = |number| {
        Kind::Rotate(Rotate {
            epoch: epoch(number),
            wraps: vec![],
            previous: vec![],
        })
    };
    let one = team.at(&before, 1, set_role(2, Role::Admin));
    let two = team.at(&[one], 1, set_role(2, Role::Admin));
    let three = team.at(&[two], 1, rotate(3));
    assert_eq!(team.membership.state().current_epoch(), epoch(3));
    let removal = team.at(&before, FOUNDER, remove(2));
    assert!(team.membership.state().rotation_due());
    let seen = team.at(&[removal], FOUNDER, rotate(4));
    assert_eq!((team.void(three), team.void(seen)), (None, None));
    assert_eq!(team.membership.state().current_epoch(), epoch(4));
}

#[test]
fn rotations_at_once_both_open_and_the_next_leads_to_both() {
    let mut team = Team::with_admins(&[1]);
    team.rotate(FOUNDER, 1);
    let (founder, one) = (device(FOUNDER), device(1));
    let ring = team.ring(FOUNDER);
    let first = Author::new(&founder, &team.membership, &ring).rotate(&key(2), NOW_MS, &seed(2));
    let second = Author::new(&one, &team.membership, &ring).rotate(&key(3), NOW_MS, &seed(3));
    team.membership
        .insert_all([verified(&first.unwrap()), verified(&second.unwrap())]);
    assert!([epoch(2), epoch(3)].contains(&team.membership.state().current_epoch()));
    team.author(1, |author| author.add(enrolment(5), Role::Reader, &seed(4)));
    team.rotate(1, 4);
    team.author(1, |author| author.add(enrolment(6), Role::Reader, &seed(5)));
    for number in [FOUNDER, 1, 5, 6] {
        let ring = team.ring(number);
        for known in [2, 3, 4, 0xf0] {
            assert!(
                ring.get(&epoch(known)).is_some(),
                "device {number}, epoch {known}"
            );
        }
    }
}

#[test]
fn a_wrong_key_under_a_right_name_is_passed_over() {
    let mut team = Team::new();
    let right = team.membership.state().current_epoch();
    let aad = [&right.as_bytes()[..], id(5).as_bytes()].concat();
    let wrong = device(5).box_key().wrap(&aad, &key(9), &seed(1)).unwrap();
    let newcomer = enrolment(5);
    let wraps = vec![KeyWrap {
        epoch: right,
        to: id(5),
        wrap: wrong,
    }];
    team.counts(
        FOUNDER,
        Kind::Add(Add {
            newcomer,
            role: Role::Reader,
            robot: false,
            wraps,
        }),
    );
    assert_eq!(team.ring(5).epochs().count(), 0);
}

#[test]
fn authors_are_told_why_not() {
    let mut team = Team::new();
    team.author(FOUNDER, |author| {
        author.add(enrolment(1), Role::Reader, &seed(1))
    });
    let (secret, ring) = (device(1), team.ring(1));
    let reader = Author::new(&secret, &team.membership, &ring);
    let needs_admin = AuthorError::Void(Void::RoleTooLow {
        device: id(1),
        has: Role::Reader,
        needs: Role::Admin,
    });
    assert_eq!(reader.remove(id(FOUNDER), None), Err(needs_admin.clone()));
    assert_eq!(reader.set_role(id(1), Role::Admin), Err(needs_admin));
    let secret = device(FOUNDER);
    let founder = Author::new(&secret, &team.membership, &ring);
    let nobody = Offer { uses: 0, ..offer() };
    let error = founder.invite(nobody, &invite_key(), &seed(1)).unwrap_err();
    assert_eq!(
        error,
        AuthorError::OutOfBounds("an invite is for 1 to 1024 devices")
    );
}

#[test]
fn a_ring_hides_its_keys() {
    let shown = format!("{:?}", Team::new().ring(FOUNDER));
    assert!(
        shown.contains("hidden") && !shown.contains("240") && !shown.contains("f0f0"),
        "{shown}"
    );
}
