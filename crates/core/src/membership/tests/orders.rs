//! The same operations give the same team in any order of arrival.

use proptest::prelude::*;

use super::*;
use crate::membership::operation::{Rotate, Settings};

/// One operation of a random history: its author, its subject, and the earlier operations that the
/// author knew.
#[derive(Debug, Clone)]
struct Step {
    signer: u8,
    what: u8,
    whom: u8,
    seen: u64,
}

fn step() -> impl Strategy<Value = Step> {
    (0..6_u8, 0..14_u8, 0..6_u8, any::<u64>()).prop_map(|(signer, what, whom, seen)| Step {
        signer,
        what,
        whom,
        seen,
    })
}

/// Devices 0 (founder) to 4 and the recovery key; 0 to 3 start as admins, 4 as a reader.
fn history(steps: &[Step]) -> (Team, Vec<Signed>) {
    let mut team = Team::with_admins(&[1, 2, 3]);
    team.counts(FOUNDER, add(4, Role::Reader));
    team.counts(FOUNDER, invite(50, 2));
    let founded: Vec<Signed> = team
        .membership
        .ops_since(&[])
        .iter()
        .skip(1)
        .map(|bytes| verified(bytes))
        .collect();
    let start = team.heads()[0];
    let mut ops: Vec<Signed> = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let mut parents = vec![start];
        // A choice among the newest few operations, so that histories are neither pure lines nor
        // pure fans.
        let recent = ops.iter().rev().take(6).enumerate();
        parents.extend(
            recent
                .filter(|(at, _)| step.seen >> at & 1 == 1)
                .map(|(_, op)| op_id(op)),
        );
        let newcomer = 10 + step.whom;
        let kind = match step.what {
            0..=2 => remove(step.whom),
            3 => remove_after(step.whom, Some(u64::from(step.what) + step.seen % 3)),
            4 => set_role(step.whom, Role::Admin),
            5 => set_role(step.whom, Role::Reader),
            6 => add(newcomer, Role::Admin),
            7 => set_role(newcomer, Role::Admin),
            8 => remove(newcomer),
            9 => team.join(50, named(newcomer, "newcomer")),
            10 => team.join(50, enrolment(newcomer)),
            11 => remove(50),
            12 => Kind::Settings(Settings {
                changes: [("color".to_owned(), Some(number.to_string()))].into(),
            }),
            _ => Kind::Rotate(Rotate {
                epoch: crate::EpochId::of(&[step.whom]),
                wraps: vec![],
                previous: vec![],
            }),
        };
        let signer = match step.signer {
            5 if step.seen >> 10 & 1 == 1 => RECOVERY,
            5 => newcomer,
            signer => signer,
        };
        let op = team.sign_at(&parents, signer, kind);
        // Operations of strangers are refused, and nobody builds on them.
        if team.membership.insert(op.clone()) == Insert::New {
            ops.push(op);
        }
    }
    (team, [founded, ops].concat())
}

fn assert_same(one: &Membership, other: &Membership, ops: &[Signed]) {
    assert_eq!(one.digest(), other.digest());
    for op in ops {
        assert_eq!(one.why_void(&op_id(op)), other.why_void(&op_id(op)));
    }
    assert_eq!(one.state(), other.state());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn all_orders_make_one_team(
        (steps, orders) in proptest::collection::vec(step(), 1..24).prop_flat_map(|steps| {
            let places: Vec<usize> = (0..steps.len() + 5).collect();
            let orders = proptest::collection::vec(Just(places).prop_shuffle(), 3);
            (Just(steps), orders)
        })
    ) {
        let (team, ops) = history(&steps);
        for order in orders {
            let mut one_by_one = Membership::new(verify(team.founding.bytes()).unwrap()).unwrap();
            let order: Vec<_> = order.into_iter().filter_map(|place| ops.get(place).cloned()).collect();
            for op in &order {
                one_by_one.insert(op.clone());
                one_by_one.insert(op.clone());
            }
            assert_same(&team.membership, &one_by_one, &ops);
            let mut at_once = Membership::new(verify(team.founding.bytes()).unwrap()).unwrap();
            at_once.insert_all(order);
            assert_same(&team.membership, &at_once, &ops);
        }
    }

    #[test]
    fn the_roster_keeps_its_promises(steps in proptest::collection::vec(step(), 1..24)) {
        let (team, ops) = history(&steps);
        let roster = team.membership.state();
        let graph = &team.membership.graph;
        for op in ops.iter().filter(|op| team.void(op_id(op)).is_none()) {
            let Kind::Remove(removal) = &op.value().kind else { continue };
            prop_assert_eq!(roster.role(&removal.device), None);
            // Concurrent operations of the removed device don't count, unless a ring was cut.
            let at = graph.index(&op_id(op)).unwrap();
            if !team.membership.fold.is_plain() {
                continue;
            }
            for other in graph.nodes() {
                let other_at = graph.index(&other.order.id).unwrap();
                if other.signer() == removal.device && graph.concurrent(at, other_at) {
                    prop_assert!(team.void(other.order.id).is_some());
                }
            }
        }
        let invite = roster.invite(&id(50));
        prop_assert!(invite.is_none_or(|invite| invite.joined.len() <= 2));
        prop_assert!(roster.role(&id(RECOVERY)) == Some(Role::Admin));
    }
}
