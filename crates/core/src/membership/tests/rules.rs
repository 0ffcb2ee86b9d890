//! One test for each rule: who may do what, and which operation wins.

use super::*;

#[test]
fn a_founder_is_the_first_admin() {
    let team = Team::new();
    let roster = team.membership.state();
    assert_eq!(roster.name().as_str(), "payments");
    assert_eq!(team.role(FOUNDER), Some(Role::Admin));
    assert!(roster.may_publish(&id(FOUNDER)));
    assert_eq!(roster.devices().count(), 1);
    assert_eq!(team.role(1), None);
}

#[test]
fn only_admins_administer() {
    for role in [Role::Reader, Role::Publisher] {
        let mut team = Team::new();
        team.counts(FOUNDER, add(1, role));
        team.counts(FOUNDER, add(2, Role::Reader));
        let heads = team.heads();
        for kind in [
            add(3, Role::Reader),
            remove(2),
            set_role(2, Role::Admin),
            invite(50, 1),
            Kind::Settings(crate::membership::operation::Settings {
                changes: Default::default(),
            }),
        ] {
            let op = team.at(&heads, 1, kind);
            let expected = Void::RoleTooLow {
                device: id(1),
                has: role,
                needs: Role::Admin,
            };
            assert_eq!(team.void(op), Some(expected));
        }
        assert_eq!(team.role(2), Some(Role::Reader));
        assert_eq!(team.role(3), None);
    }
}

#[test]
fn whoever_is_in_may_leave_and_a_robot_may_not() {
    for role in [Role::Reader, Role::Publisher, Role::Admin] {
        let mut team = Team::new();
        team.counts(FOUNDER, add(1, role));
        let before = team.heads();
        let left = team.counts(1, remove(1));
        assert_eq!(team.role(1), None);
        assert!(team.membership.state().rotation_due());
        // A concurrent demotion doesn't keep it in.
        team.at(&before, FOUNDER, set_role(1, Role::Reader));
        assert_eq!((team.role(1), team.void(left)), (None, None));
    }
    let mut team = Team::new();
    let Kind::Add(robot) = add(2, Role::Reader) else {
        unreachable!()
    };
    team.counts(
        FOUNDER,
        Kind::Add(Add {
            robot: true,
            ..robot
        }),
    );
    let heads = team.heads();
    let op = team.at(&heads, 2, remove(2));
    assert_eq!(team.void(op), Some(Void::RobotRole));
    assert_eq!(team.role(2), Some(Role::Reader));
}

#[test]
fn publishers_publish_and_readers_read() {
    let mut team = Team::new();
    team.counts(FOUNDER, add(1, Role::Publisher));
    team.counts(FOUNDER, add(2, Role::Reader));
    let roster = team.membership.state();
    assert!(roster.may_publish(&id(1)) && roster.is_member(&id(1)));
    assert!(!roster.may_publish(&id(2)) && roster.is_member(&id(2)));
    assert!(!roster.may_publish(&id(3)) && !roster.is_member(&id(3)));
}

#[test]
fn the_recovery_key_administers_and_never_publishes() {
    let mut team = Team::new();
    team.counts(RECOVERY, add(1, Role::Admin));
    team.counts(RECOVERY, remove(FOUNDER));
    let roster = team.membership.state();
    assert_eq!(roster.role(&id(RECOVERY)), Some(Role::Admin));
    assert!(!roster.may_publish(&id(RECOVERY)));
    assert_eq!(
        roster
            .admins()
            .map(|admin| admin.device)
            .collect::<Vec<_>>(),
        [id(1)]
    );
    for kind in [remove(RECOVERY), set_role(RECOVERY, Role::Reader)] {
        let op = team.now(1, kind);
        assert_eq!(team.void(op), Some(Void::RecoveryKey));
    }
}

#[test]
fn what_a_removed_signer_did_unseen_is_void() {
    let mut team = Team::with_admins(&[1]);
    let before = team.heads();
    let promoted = team.at(&before, 1, add(2, Role::Admin));
    assert_eq!(team.void(promoted), None);
    let by_promoted = team.at(&[promoted], 2, add(3, Role::Reader));
    assert_eq!(team.void(by_promoted), None);
    let removal = team.at(&before, FOUNDER, remove(1));
    assert_eq!(team.void(promoted), Some(Void::Struck { by: removal }));
    assert_eq!(team.void(by_promoted), Some(Void::NotAMember(id(2))));
    assert_eq!(
        (team.role(1), team.role(2), team.role(3)),
        (None, None, None)
    );
}

#[test]
fn what_a_removed_signer_did_before_stays() {
    let mut team = Team::with_admins(&[1]);
    let added = team.counts(1, add(2, Role::Reader));
    team.counts(FOUNDER, remove(1));
    assert_eq!(team.void(added), None);
    assert_eq!(team.role(2), Some(Role::Reader));
}

#[test]
fn what_a_removed_signer_does_afterwards_is_void() {
    let mut team = Team::with_admins(&[1]);
    team.counts(FOUNDER, remove(1));
    let late = team.now(1, add(2, Role::Reader));
    assert_eq!(team.void(late), Some(Void::NotAMember(id(1))));
}

#[test]
fn a_demotion_voids_what_took_the_higher_role() {
    let mut team = Team::with_admins(&[1]);
    team.counts(FOUNDER, invite(50, 1));
    let before = team.heads();
    let added = team.at(&before, 1, add(2, Role::Reader));
    let joined = team.at(&before, 1, team.join(50, enrolment(3)));
    let demotion = team.at(&before, FOUNDER, set_role(1, Role::Publisher));
    assert_eq!(team.void(added), Some(Void::Struck { by: demotion }));
    assert_eq!(team.void(joined), None, "publishers witness joins too");
    assert_eq!(team.role(1), Some(Role::Publisher));
}

#[test]
fn a_demotion_beats_a_promotion_beside_it() {
    for (first, second) in [(Role::Admin, Role::Reader), (Role::Reader, Role::Admin)] {
        let mut team = Team::with_admins(&[1]);
        team.counts(FOUNDER, add(2, Role::Publisher));
        let before = team.heads();
        team.at(&before, FOUNDER, set_role(2, first));
        team.at(&before, 1, set_role(2, second));
        assert_eq!(team.role(2), Some(Role::Reader));
        let invited = team.now(2, invite(50, 1));
        assert!(matches!(team.void(invited), Some(Void::RoleTooLow { .. })));
        team.counts(FOUNDER, set_role(2, Role::Admin));
        assert_eq!(team.role(2), Some(Role::Admin), "a later word settles it");
        team.counts(2, invite(51, 1));
    }
}

#[test]
fn mutual_removal_goes_to_the_earlier_enrolled() {
    let mut team = Team::with_admins(&[1, 2]);
    let before = team.heads();
    let junior = team.at(&before, 2, remove(1));
    let senior = team.at(&before, 1, remove(2));
    assert_eq!(team.void(senior), None);
    assert_eq!(team.void(junior), Some(Void::Struck { by: senior }));
    assert_eq!((team.role(1), team.role(2)), (Some(Role::Admin), None));
    assert!(
        team.membership.fold.is_plain(),
        "a rule decides it, nothing has to be cut"
    );
}

#[test]
fn mutual_removal_of_equals_goes_to_the_lower_id() {
    let mut team = Team::new();
    let founding = team.heads();
    team.at(&founding, FOUNDER, add(1, Role::Admin));
    team.at(&founding, FOUNDER, add(2, Role::Admin));
    let before = team.heads();
    team.at(&before, 1, remove(2));
    team.at(&before, 2, remove(1));
    let (winner, loser) = if id(1) < id(2) { (1, 2) } else { (2, 1) };
    assert_eq!(
        (team.role(winner), team.role(loser)),
        (Some(Role::Admin), None)
    );
}

#[test]
fn seniority_cannot_be_had_by_a_void_enrolment() {
    let mut team = Team::new();
    let founding = team.heads();
    let reader = team.at(&founding, FOUNDER, add(5, Role::Reader));
    // A reader enrols device 2 earlier, which does not count.
    let forged = team.at(&[reader], 5, add(2, Role::Admin));
    let first = team.at(&[reader], FOUNDER, set_role(5, Role::Reader));
    let second = team.at(&[first], FOUNDER, add(1, Role::Admin));
    let third = team.at(&[second], FOUNDER, add(2, Role::Admin));
    let seen = [third, forged];
    team.at(&seen, 2, remove(1));
    team.at(&seen, 1, remove(2));
    assert_eq!((team.role(1), team.role(2)), (Some(Role::Admin), None));
}

#[test]
fn a_removed_admins_removals_beside_it_are_void() {
    // The junior removes the senior, who concurrently removes a third: not mutual.
    let mut team = Team::with_admins(&[1, 2, 3]);
    let before = team.heads();
    let third = team.at(&before, 1, remove(3));
    let senior = team.at(&before, 2, remove(1));
    assert_eq!(team.void(third), Some(Void::Struck { by: senior }));
    assert_eq!(
        (team.role(1), team.role(2), team.role(3)),
        (None, Some(Role::Admin), Some(Role::Admin))
    );
}

#[test]
fn a_struck_removal_gives_back_what_it_voided() {
    // 3 removes 2, who concurrently removed 1: so 1 stays, and its operations count again.
    let mut team = Team::with_admins(&[1, 2, 3]);
    let before = team.heads();
    let added = team.at(&before, 1, add(4, Role::Reader));
    let removal = team.at(&before, 3, remove(1));
    assert_eq!(team.void(added), Some(Void::Struck { by: removal }));
    let counter = team.at(&before, 2, remove(3));
    assert_eq!(team.void(removal), Some(Void::Struck { by: counter }));
    assert_eq!(team.void(added), None);
    assert_eq!(team.role(4), Some(Role::Reader));
}

#[test]
fn a_ring_of_removals_goes_by_seniority() {
    let mut team = Team::with_admins(&[1, 2, 3]);
    let before = team.heads();
    let one = team.at(&before, 1, remove(2));
    let two = team.at(&before, 2, remove(3));
    let three = team.at(&before, 3, remove(1));
    assert_eq!((team.void(one), team.void(three)), (None, None));
    assert_eq!(team.void(two), Some(Void::Struck { by: one }));
    assert_eq!(
        (team.role(1), team.role(2), team.role(3)),
        (None, None, Some(Role::Admin))
    );
    // The ring is past: later operations that know all of it are judged as usual.
    team.counts(3, add(4, Role::Reader));
}

#[test]
fn a_ring_through_a_promotion_ends_with_the_removal() {
    // One admin removes another, who concurrently makes 3 an admin, who removes the first one.
    for (remover, promoter) in [(1, 2), (2, 1)] {
        let mut team = Team::with_admins(&[1, 2]);
        team.counts(FOUNDER, add(3, Role::Reader));
        let before = team.heads();
        let removal = team.at(&before, remover, remove(promoter));
        let promotion = team.at(&before, promoter, set_role(3, Role::Admin));
        let revenge = team.at(&[promotion], 3, remove(remover));
        assert_eq!(team.void(removal), None);
        assert!(team.void(promotion).is_some() && team.void(revenge).is_some());
        assert_eq!(team.role(remover), Some(Role::Admin));
        assert_eq!(
            (team.role(promoter), team.role(3)),
            (None, Some(Role::Reader))
        );
    }
}

#[test]
fn of_removals_at_once_the_lowest_entry_counts() {
    for (first, second) in [(Some(7), Some(4)), (Some(4), Some(7))] {
        let mut team = Team::with_admins(&[1]);
        team.counts(FOUNDER, add(2, Role::Publisher));
        let before = team.heads();
        team.at(&before, FOUNDER, remove_after(2, first));
        team.at(&before, 1, remove_after(2, second));
        let roster = team.membership.state();
        assert!(roster.entry_counts(&id(2), 3, &EntryHash::of(b"any")));
        assert!(roster.entry_counts(&id(2), 4, &entry(4)));
        assert!(
            !roster.entry_counts(&id(2), 4, &entry(5)),
            "another entry of that number"
        );
        assert!(!roster.entry_counts(&id(2), 5, &entry(5)));
    }
    let mut team = Team::with_admins(&[1]);
    team.counts(FOUNDER, add(2, Role::Publisher));
    let before = team.heads();
    team.at(&before, FOUNDER, remove_after(2, None));
    team.at(&before, 1, remove_after(2, Some(4)));
    assert!(
        !team.membership.state().entry_counts(&id(2), 0, &entry(0)),
        "nothing is less than something"
    );
}

#[test]
fn entries_count_for_members_and_for_nobody_else() {
    let team = Team::new();
    assert!(
        team.membership
            .state()
            .entry_counts(&id(FOUNDER), 9, &entry(9))
    );
    assert!(!team.membership.state().entry_counts(&id(1), 0, &entry(0)));
}

#[test]
fn a_removed_device_does_not_come_back() {
    let mut team = Team::new();
    team.counts(FOUNDER, invite(50, 1));
    team.counts(FOUNDER, add(1, Role::Reader));
    team.counts(FOUNDER, remove(1));
    let added = team.now(FOUNDER, add(1, Role::Admin));
    assert_eq!(team.void(added), Some(Void::DeviceRemoved(id(1))));
    let joined = team.now(FOUNDER, team.join(50, enrolment(1)));
    assert_eq!(team.void(joined), Some(Void::DeviceRemoved(id(1))));
    let again = team.now(FOUNDER, remove(1));
    assert_eq!(team.void(again), Some(Void::DeviceRemoved(id(1))));
    assert_eq!(team.role(1), None);
}

#[test]
fn nobody_is_enrolled_twice() {
    let mut team = Team::new();
    team.counts(FOUNDER, add(1, Role::Reader));
    let again = team.now(FOUNDER, add(1, Role::Admin));
    assert_eq!(team.void(again), Some(Void::AlreadyEnrolled(id(1))));
    assert_eq!(team.role(1), Some(Role::Reader));
}

#[test]
fn enrolled_twice_at_once_has_the_lower_role() {
    let mut team = Team::with_admins(&[1]);
    let before = team.heads();
    team.at(&before, FOUNDER, add(2, Role::Admin));
    team.at(&before, 1, add(2, Role::Reader));
    assert_eq!(team.role(2), Some(Role::Reader));
    assert_eq!(team.membership.state().devices().count(), 3);
}

#[test]
fn unknown_devices_are_neither_removed_nor_promoted() {
    let mut team = Team::new();
    for kind in [remove(7), set_role(7, Role::Admin)] {
        let op = team.now(FOUNDER, kind);
        assert_eq!(team.void(op), Some(Void::UnknownDevice(id(7))));
    }
}

#[test]
fn any_member_witnesses_a_join() {
    let mut team = Team::new();
    team.counts(FOUNDER, add(1, Role::Reader));
    team.counts(FOUNDER, invite(50, 2));
    team.counts(1, team.join(50, enrolment(2)));
    let roster = team.membership.state();
    assert_eq!(roster.role(&id(2)), Some(Role::Publisher));
    assert_eq!(roster.member(&id(2)).unwrap().enrolled.invite, Some(id(50)));
    assert_eq!(roster.invite(&id(50)).unwrap().uses_left(), 1);
}

#[test]
fn an_invite_ends() {
    let mut team = Team::new();
    team.counts(FOUNDER, invite(50, 1));
    let late = join(team.id(), 50, enrolment(1), 1001);
    let late = team.now(FOUNDER, late);
    assert_eq!(team.void(late), Some(Void::InviteExpired));
    team.counts(FOUNDER, team.join(50, enrolment(2)));
    let spent = team.now(FOUNDER, team.join(50, enrolment(3)));
    assert_eq!(team.void(spent), Some(Void::InviteSpent));
    team.counts(FOUNDER, invite(51, 1));
    team.counts(FOUNDER, remove(51));
    let withdrawn = team.now(FOUNDER, team.join(51, enrolment(3)));
    assert_eq!(team.void(withdrawn), Some(Void::InviteWithdrawn));
    let unknown = team.now(FOUNDER, team.join(52, enrolment(3)));
    assert_eq!(team.void(unknown), Some(Void::NoSuchInvite(id(52))));
}

#[test]
fn joins_at_once_do_not_overspend_an_invite() {
    for (first, second) in [(2, 3), (3, 2)] {
        let mut team = Team::with_admins(&[1]);
        team.counts(FOUNDER, invite(50, 1));
        let before = team.heads();
        let first = team.at(&before, FOUNDER, team.join(50, enrolment(first)));
        let second = team.at(&before, FOUNDER, team.join(50, enrolment(second)));
        assert_eq!(team.void(first.min(second)), None);
        assert_eq!(team.void(first.max(second)), Some(Void::InviteSpent));
        let roster = team.membership.state();
        assert_eq!(roster.devices().count(), 3);
        assert_eq!(roster.invite(&id(50)).unwrap().uses_left(), 0);
    }
}

#[test]
fn two_witnesses_of_one_newcomer_spend_one_use() {
    let mut team = Team::with_admins(&[1]);
    team.counts(FOUNDER, invite(50, 2));
    let before = team.heads();
    let first = team.at(&before, FOUNDER, team.join(50, enrolment(2)));
    let second = team.at(&before, 1, team.join(50, enrolment(2)));
    assert_eq!((team.void(first), team.void(second)), (None, None));
    assert_eq!(
        team.membership.state().invite(&id(50)).unwrap().uses_left(),
        1
    );
}

#[test]
fn a_withdrawal_beats_a_join_beside_it() {
    let mut team = Team::with_admins(&[1]);
    team.counts(FOUNDER, invite(50, 1));
    let before = team.heads();
    let joined = team.at(&before, 1, team.join(50, enrolment(2)));
    let withdrawal = team.at(&before, FOUNDER, remove(50));
    assert_eq!(team.void(joined), Some(Void::Struck { by: withdrawal }));
    assert_eq!(team.role(2), None);
}

#[test]
fn the_invite_of_an_admin_removed_beside_it_is_void() {
    let mut team = Team::with_admins(&[1]);
    let before = team.heads();
    let invited = team.at(&before, 1, invite(50, 1));
    let joined = team.at(&[invited], FOUNDER, team.join(50, enrolment(2)));
    assert_eq!(team.role(2), Some(Role::Publisher));
    team.at(&before, FOUNDER, remove(1));
    assert_eq!(team.void(joined), Some(Void::NoSuchInvite(id(50))));
    assert_eq!(team.role(2), None);
}

#[test]
fn nobody_joins_under_anothers_name() {
    let mut team = Team::new();
    team.counts(FOUNDER, add(1, Role::Reader));
    team.counts(FOUNDER, invite(50, 5));
    let taken = team.now(FOUNDER, team.join(50, named(2, "Member1")));
    assert_eq!(
        team.void(taken),
        Some(Void::NameTaken(MemberName::new("Member1").unwrap()))
    );
    let mine = Kind::Invite(Invite {
        key: device(51).public(),
        role: Role::Publisher,
        member: Some(MemberName::new("member1").unwrap()),
        expires_ms: 1000,
        uses: 1,
        wraps: vec![],
    });
    team.counts(FOUNDER, mine);
    let other = team.now(FOUNDER, team.join(51, named(2, "mallory")));
    assert!(matches!(
        team.void(other),
        Some(Void::InvitedByAnotherName { .. })
    ));
    team.counts(FOUNDER, team.join(51, named(2, "member1")));
}

#[test]
fn one_name_taken_twice_at_once_is_the_firsts() {
    let mut team = Team::with_admins(&[1]);
    team.counts(FOUNDER, invite(50, 5));
    let before = team.heads();
    let first = team.at(&before, FOUNDER, team.join(50, named(2, "eve")));
    let second = team.at(&before, 1, team.join(50, named(3, "eve")));
    let void = [first, second]
        .into_iter()
        .filter(|op| team.void(*op).is_some())
        .count();
    assert_eq!(void, 1);
    assert_eq!(team.void(first.min(second)), None);
}

#[test]
fn a_robot_stays_a_reader() {
    let robot = |role| {
        Kind::Add(Add {
            newcomer: enrolment(1),
            role,
            robot: true,
            wraps: vec![],
        })
    };
    let mut team = Team::new();
    let publisher = team.now(FOUNDER, robot(Role::Publisher));
    assert_eq!(team.void(publisher), Some(Void::RobotRole));
    team.counts(FOUNDER, robot(Role::Reader));
    let promoted = team.now(FOUNDER, set_role(1, Role::Publisher));
    assert_eq!(team.void(promoted), Some(Void::RobotRole));
    assert!(team.membership.state().member(&id(1)).unwrap().robot);
    assert!(!team.membership.state().may_publish(&id(1)));
}

#[test]
fn a_key_is_one_thing() {
    let mut team = Team::new();
    team.counts(FOUNDER, add(1, Role::Reader));
    team.counts(FOUNDER, invite(50, 1));
    for (number, kind) in [
        (1, invite(1, 1)),
        (50, invite(50, 1)),
        (50, add(50, Role::Reader)),
    ] {
        let op = team.now(FOUNDER, kind);
        assert_eq!(team.void(op), Some(Void::KeyInUse(id(number))));
    }
    let op = team.now(FOUNDER, add(RECOVERY, Role::Admin));
    assert!(team.void(op).is_some());
}

#[test]
fn settings_change_one_by_one() {
    let set = |name: &str, value: Option<&str>| {
        let changes = [(name.to_owned(), value.map(str::to_owned))].into();
        Kind::Settings(crate::membership::operation::Settings { changes })
    };
    let mut team = Team::with_admins(&[1]);
    let before = team.heads();
    team.at(
        &before,
        FOUNDER,
        set("hub.url", Some("https://hub.example")),
    );
    team.at(&before, 1, set("color", Some("green")));
    assert_eq!(
        team.membership.state().hub_url(),
        Some("https://hub.example")
    );
    assert_eq!(team.membership.state().setting("color"), Some("green"));
    team.counts(1, set("hub.url", None));
    assert_eq!(team.membership.state().hub_url(), None);
}

mod hubs {
    use super::*;
    use crate::membership::HUB_KEY;

    const HUB: u8 = 50;
    const INVITE: u8 = 60;

    fn hub_is(number: Option<u8>) -> Kind {
        let value = number.map(|number| id(number).to_string());
        let changes = [(HUB_KEY.to_owned(), value)].into();
        Kind::Settings(crate::membership::operation::Settings { changes })
    }

    fn team() -> Team {
        let mut team = Team::with_admins(&[1]);
        team.counts(FOUNDER, invite(INVITE, 5));
        team.counts(FOUNDER, hub_is(Some(HUB)));
        team
    }

    #[test]
    fn a_key_that_the_team_names_witnesses_joins_and_no_more() {
        let mut team = team();
        assert_eq!(team.membership.state().hub_key(), Some(id(HUB)));
        let join = team.join(INVITE, enrolment(10));
        team.counts(HUB, join);
        assert_eq!(team.role(10), Some(Role::Publisher));
        assert_eq!(team.role(HUB), None);
        for kind in [
            add(11, Role::Reader),
            remove(1),
            hub_is(None),
            invite(61, 1),
        ] {
            let op = team.now(HUB, kind);
            assert_eq!(team.void(op), Some(Void::NotAMember(id(HUB))));
        }
    }

    #[test]
    fn a_key_that_was_not_named_is_a_stranger() {
        let mut team = team();
        let join = team.join(INVITE, enrolment(10));
        let join = team.sign_at(&team.membership.parents_for_next(), 51, join);
        assert!(matches!(team.membership.insert(join), Insert::Refused(_)));
    }

    #[test]
    fn a_change_of_the_key_leaves_what_was_witnessed_beside_it() {
        let mut team = team();
        let before = team.heads();
        team.counts(FOUNDER, hub_is(Some(HUB + 1)));
        let join = team.join(INVITE, enrolment(10));
        let beside = team.at(&before, HUB, join);
        assert_eq!(team.void(beside), None);
        let join = team.join(INVITE, enrolment(11));
        let after = team.now(HUB, join);
        assert_eq!(team.void(after), Some(Void::NotAMember(id(HUB))));
        let join = team.join(INVITE, enrolment(12));
        team.counts(HUB + 1, join);
        team.counts(1, hub_is(None));
        let join = team.join(INVITE, enrolment(13));
        let none = team.now(HUB + 1, join);
        assert_eq!(team.void(none), Some(Void::NotAMember(id(HUB + 1))));
    }

    #[test]
    fn a_removed_key_witnesses_no_more_for_good() {
        let mut team = team();
        let before = team.heads();
        assert!(team.membership.state().is_hub_key(&id(HUB)));
        assert!(!team.membership.state().is_hub_key(&id(HUB + 1)));
        let removal = team.counts(1, remove(HUB));
        assert!(!team.membership.state().is_hub_key(&id(HUB)));
        let join = team.join(INVITE, enrolment(10));
        let beside = team.at(&before, HUB, join);
        assert_eq!(team.void(beside), Some(Void::Struck { by: removal }));
        team.counts(FOUNDER, hub_is(Some(HUB)));
        let join = team.join(INVITE, enrolment(11));
        let after = team.now(HUB, join);
        assert_eq!(team.void(after), Some(Void::NotAMember(id(HUB))));
        assert_eq!(team.role(10).or(team.role(11)), None);
    }

    #[test]
    fn the_order_of_arrival_changes_nothing() {
        let one = team();
        let before = one.heads();
        let join = one.join(INVITE, enrolment(10));
        let join = one.sign_at(&before, HUB, join);
        let change = one.sign_at(&before, FOUNDER, hub_is(Some(HUB + 1)));
        let removal = one.sign_at(&before, 1, remove(HUB));
        let mut states = Vec::new();
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let mut team = team();
            for at in order {
                let op = [&join, &change, &removal][at].clone();
                assert_eq!(team.membership.insert(op), Insert::New);
            }
            states.push(team.membership.state().clone());
        }
        assert!(states.iter().all(|state| *state == states[0]));
        assert_eq!(states[0].role(&id(10)), None);
    }
}
