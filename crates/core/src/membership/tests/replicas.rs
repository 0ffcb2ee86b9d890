//! Replicas: which operations are accepted, wait, are refused, and are sent on.

use super::*;
use crate::{
    codec::Format,
    membership::{
        FoundingError, Refusal,
        operation::{MAX_PARENTS, NO_TEAM, Settings},
        wire::{
            MAX_KNOWN_HEADS, MAX_MESSAGE_LEN, MembershipRequest, MembershipResponse, RefusedReason,
        },
    },
    signed::SignatureError,
};

#[test]
fn operations_wait_for_their_parents() {
    let mut team = Team::new();
    let first = team.sign_at(&team.heads(), FOUNDER, add(1, Role::Admin));
    let second = team.sign_at(&[op_id(&first)], 1, add(2, Role::Reader));
    let third = team.sign_at(&[op_id(&second), op_id(&first)], 2, remove(1));
    let insert = team.membership.insert(third.clone());
    assert!(
        matches!(&insert, Insert::Waiting { missing } if missing.len() == 2),
        "{insert:?}"
    );
    let missing = vec![op_id(&first)];
    assert_eq!(team.membership.insert(second), Insert::Waiting { missing });
    assert_eq!(team.membership.op_count(), 1);
    assert_eq!(team.membership.insert(first.clone()), Insert::New);
    assert_eq!(team.membership.op_count(), 4);
    assert_eq!(team.heads(), [op_id(&third)]);
    assert_eq!(team.membership.insert(first), Insert::Known);
    assert_eq!(team.role(2), Some(Role::Reader));
}

#[test]
fn junk_that_waits_does_not_keep_the_place() {
    let mut team = Team::new();
    for number in 0..1500_u32 {
        let nowhere = OpId::of(&number.to_le_bytes());
        let junk = team.sign_at(&[nowhere], 7, remove(1));
        assert_eq!(
            team.membership.insert(junk),
            Insert::Waiting {
                missing: vec![nowhere]
            }
        );
    }
    let parent = team.sign_at(&team.heads(), FOUNDER, add(1, Role::Admin));
    let child = team.sign_at(&[op_id(&parent)], 1, add(2, Role::Reader));
    assert!(matches!(
        team.membership.insert(child),
        Insert::Waiting { .. }
    ));
    assert_eq!(team.membership.insert(parent), Insert::New);
    assert_eq!(team.role(2), Some(Role::Reader));
}

#[test]
fn strangers_and_other_teams_are_refused() {
    let mut team = Team::new();
    let stranger = team.sign_at(&team.heads(), 7, add(7, Role::Admin));
    let refused = Insert::Refused(Refusal::Stranger(id(7)));
    assert_eq!(team.membership.insert(stranger), refused);
    let elsewhere = TeamId::of(b"elsewhere");
    let op = Operation {
        parents: team.heads(),
        kind: add(1, Role::Admin),
    };
    let foreign = verified(&device(FOUNDER).sign(elsewhere, &op));
    assert_eq!(
        team.membership.insert(foreign),
        Insert::Refused(Refusal::OtherTeam(elsewhere))
    );
    assert_eq!(team.membership.insert(team.founding.clone()), Insert::Known);
    assert_eq!(team.membership.op_count(), 1);
}

#[test]
fn a_team_begins_with_its_founding() {
    let team = Team::new();
    assert_eq!(team.id().as_bytes(), op_id(&team.founding).as_bytes());
    let op = team.sign_at(&team.heads(), FOUNDER, add(1, Role::Admin));
    let error = Membership::new(verify(op.bytes()).unwrap()).unwrap_err();
    assert_eq!(error, FoundingError::NotAFounding(op_id(&op)));
}

#[test]
fn misshapen_operations_are_not_believed() {
    let team = Team::new();
    let head = team.heads()[0];
    let mut two = [head, OpId::of(b"another")];
    two.sort_unstable();
    let newcomer = enrolment(2);
    let mut weak = newcomer.clone();
    weak.box_key = crate::keys::BoxKey::from_bytes([0; 32]);
    let too_many: Vec<_> = (0..=MAX_PARENTS as u64)
        .map(|n| OpId::of(&n.to_le_bytes()))
        .collect();
    let mut ascending = too_many;
    ascending.sort_unstable();
    let huge = [("x".to_owned(), Some("y".repeat(2000)))].into();
    let other_request = Kind::Join(Join {
        invite: id(50),
        newcomer: newcomer.clone(),
        request: author::join_request(&device(51), team.id(), newcomer.clone()),
        witnessed_ms: 0,
        wraps: vec![],
    });
    let other_team = join(TeamId::of(b"elsewhere"), 50, newcomer.clone(), 0);
    let changed = match team.join(50, newcomer.clone()) {
        Kind::Join(join) => Kind::Join(Join {
            newcomer: enrolment(3),
            ..join
        }),
        _ => unreachable!("a join is a join"),
    };
    let weak_add = Kind::Add(Add {
        newcomer: weak,
        role: Role::Reader,
        robot: false,
        wraps: vec![],
    });
    let cases: Vec<(&str, TeamId, Vec<OpId>, Kind)> = vec![
        ("no parents", team.id(), vec![], add(1, Role::Reader)),
        ("no team", NO_TEAM, vec![head], add(1, Role::Reader)),
        (
            "descending",
            team.id(),
            vec![two[1], two[0]],
            add(1, Role::Reader),
        ),
        (
            "repeated",
            team.id(),
            vec![head, head],
            add(1, Role::Reader),
        ),
        (
            "too many parents",
            team.id(),
            ascending,
            add(1, Role::Reader),
        ),
        ("an invite for nobody", team.id(), vec![head], invite(50, 0)),
        ("an invite for all", team.id(), vec![head], invite(50, 1025)),
        ("a weak box key", team.id(), vec![head], weak_add),
        (
            "a huge setting",
            team.id(),
            vec![head],
            Kind::Settings(Settings { changes: huge }),
        ),
        (
            "another invite's request",
            team.id(),
            vec![head],
            other_request,
        ),
        ("another team's request", team.id(), vec![head], other_team),
        ("another newcomer's request", team.id(), vec![head], changed),
        (
            "a second founding",
            team.id(),
            vec![head],
            team.founding.value().kind.clone(),
        ),
    ];
    for (what, team, parents, kind) in cases {
        let bytes = device(FOUNDER).sign(team, &Operation { parents, kind });
        let error = verify::<Operation>(&bytes).unwrap_err();
        assert!(
            matches!(error, SignatureError::OutOfRules { .. }),
            "{what}: {error}"
        );
    }
    let founding = Operation {
        parents: vec![],
        kind: team.founding.value().kind.clone(),
    };
    assert!(
        verify::<Operation>(&device(1).sign(NO_TEAM, &founding)).is_err(),
        "another signer"
    );
}

#[test]
fn a_forged_request_is_not_believed() {
    let team = Team::new();
    let Kind::Join(mut join) = team.join(50, enrolment(2)) else {
        panic!("a join is a join")
    };
    *join.request.last_mut().unwrap() ^= 1;
    let op = Operation {
        parents: team.heads(),
        kind: Kind::Join(join),
    };
    assert!(verify::<Operation>(&device(FOUNDER).sign(team.id(), &op)).is_err());
}

#[test]
fn what_another_lacks_comes_parents_first() {
    let mut team = Team::with_admins(&[1, 2]);
    let shared = team.heads();
    let mine = team.at(&shared, 1, add(3, Role::Reader));
    team.at(&shared, 2, add(4, Role::Reader));
    team.counts(FOUNDER, add(5, Role::Reader));
    let lacking = |known: &[OpId]| {
        let ops = team.membership.ops_since(known);
        ops.iter().map(|bytes| OpId::of(bytes)).collect::<Vec<_>>()
    };
    assert_eq!(lacking(&[]).len(), 6);
    assert_eq!(lacking(&shared).len(), 3);
    assert_eq!(lacking(&[mine]).len(), 2);
    assert_eq!(lacking(&[mine, OpId::of(b"unheard of")]).len(), 2);
    assert!(lacking(&team.heads()).is_empty());
    let mut other = Team::new().membership;
    for bytes in team.membership.ops_since(&[]).iter().skip(1) {
        assert_eq!(other.insert(verify(bytes).unwrap()), Insert::New);
    }
    assert_eq!(other.digest(), team.membership.digest());
    assert_eq!(other.state(), team.membership.state());
    assert_eq!(other.op_bytes(&mine), team.membership.op_bytes(&mine));
}

#[test]
fn a_removed_device_is_shown_its_removal_and_nothing_later() {
    let mut team = Team::with_admins(&[1]);
    team.counts(FOUNDER, add(2, Role::Publisher));
    let known = team.heads();
    team.counts(1, add(3, Role::Reader));
    team.counts(FOUNDER, remove(2));
    let removed = team.heads();
    team.counts(1, add(4, Role::Reader));
    let shown = |device: u8, known: &[OpId]| team.membership.removal_since(&id(device), known);
    let mut other = Team::new().membership;
    for bytes in shown(2, &[]).iter().skip(1) {
        assert_eq!(other.insert(verify(bytes).unwrap()), Insert::New);
    }
    assert!(!other.state().is_member(&id(2)));
    assert!(other.state().is_member(&id(3)), "the removal rests on it");
    assert!(other.state().member(&id(4)).is_none());
    assert_eq!(shown(2, &known).len(), 2);
    assert!(shown(2, &removed).is_empty());
    assert!(shown(3, &[]).is_empty(), "it was not removed");
    assert!(shown(9, &[]).is_empty(), "nobody knows it");
}

#[test]
fn more_heads_than_an_operation_names_are_merged_step_by_step() {
    let mut team = Team::new();
    let root = team.heads();
    for number in 1..=80 {
        team.at(&root, FOUNDER, add(number, Role::Reader));
    }
    assert_eq!(team.membership.parents_for_next().len(), MAX_PARENTS);
    team.counts(FOUNDER, set_role(1, Role::Reader));
    assert_eq!(team.heads().len(), 80 - MAX_PARENTS + 1);
    team.counts(FOUNDER, set_role(1, Role::Admin));
    assert_eq!(team.heads().len(), 1);
}

#[test]
fn messages_keep_their_bounds() {
    let many = vec![OpId::of(b"head"); MAX_KNOWN_HEADS + 1];
    let request = MembershipRequest::fetch(TeamId::of(b"team"), &many);
    assert!(request.is_in_bounds());
    assert_eq!(MembershipRequest::decode(&request.encode()), Ok(request));
    let over = MembershipRequest::Fetch {
        team: TeamId::of(b"team"),
        known: many,
    };
    assert!(
        !MembershipRequest::decode(&over.encode())
            .unwrap()
            .is_in_bounds()
    );

    let ops = vec![vec![7_u8; 200 << 10]; 9];
    let response = MembershipResponse::ops(&ops);
    let MembershipResponse::Ops(fitting) = &response else {
        panic!("it holds operations")
    };
    assert_eq!(fitting.len(), 5);
    assert!(response.encode().len() <= MAX_MESSAGE_LEN);
    let small = MembershipResponse::joined(vec![[7_u8; 100]; 20_000]);
    assert!(small.encode().len() <= MAX_MESSAGE_LEN);
    assert_eq!(MembershipResponse::decode(&small.encode()), Ok(small));
    let refused = MembershipResponse::Refused(RefusedReason::from(&Void::InviteSpent));
    assert_eq!(
        refused,
        MembershipResponse::Refused(RefusedReason::InviteSpent)
    );
}
