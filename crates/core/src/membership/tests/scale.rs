//! A team of a thousand, and a hostile one.

use super::*;

/// One invite and a thousand newcomers, each witnessed by an earlier one, sometimes two at once.
#[test]
fn a_thousand_devices_join() {
    let mut team = Team::new();
    team.counts(FOUNDER, invite(200, 1000));
    let secret = |number: usize| {
        let mut seed = [0xaa; 32];
        seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
        DeviceSecret::from_seed(seed)
    };
    let mut witness = device(FOUNDER);
    let mut seen = team.heads();
    for number in 0..1000 {
        let newcomer = secret(number);
        let public = newcomer.public();
        let enrolment = Enrolment {
            device: public.device,
            box_key: public.box_key,
            member: MemberName::new(format!("m{number}")).unwrap(),
            label: DeviceLabel::new("laptop").unwrap(),
        };
        if number % 3 != 0 {
            seen = team.heads();
        }
        let op = Operation {
            parents: seen.clone(),
            kind: join(team.id(), 200, enrolment, 500),
        };
        let op = verified(&witness.sign(team.id(), &op));
        assert_eq!(team.membership.insert(op.clone()), Insert::New);
        assert_eq!(team.void(op_id(&op)), None);
        if number % 3 != 2 {
            witness = newcomer;
            seen = team.heads();
        }
    }
    assert_eq!(team.membership.state().devices().count(), 1001);
    assert_eq!(
        team.membership
            .state()
            .invite(&id(200))
            .unwrap()
            .uses_left(),
        0
    );

    let ops: Vec<Signed> = team
        .membership
        .ops_since(&[])
        .iter()
        .skip(1)
        .map(|bytes| verified(bytes))
        .collect();
    let mut replica = Membership::new(verify(team.founding.bytes()).unwrap()).unwrap();
    replica.insert_all(ops);
    assert_eq!(replica.state(), team.membership.state());
}

/// Two hostile admins make hundreds of concurrent removals and rings: the fold ends, with the same
/// result everywhere.
#[test]
fn a_war_of_removals_ends() {
    let admins: Vec<u8> = (1..=60).collect();
    let mut team = Team::with_admins(&admins);
    let before = team.heads();
    for signer in &admins {
        for step in [1, 7, 23] {
            team.at(&before, *signer, remove((signer - 1 + step) % 60 + 1));
        }
    }
    let mut ops: Vec<Signed> = team
        .membership
        .ops_since(&[])
        .iter()
        .skip(1)
        .map(|bytes| verified(bytes))
        .collect();
    ops.reverse();
    let mut replica = Membership::new(verify(team.founding.bytes()).unwrap()).unwrap();
    replica.insert_all(ops);
    assert_eq!(replica.state(), team.membership.state());
    assert_eq!(replica.digest(), team.membership.digest());
    assert_eq!(team.role(FOUNDER), Some(Role::Admin));
}
