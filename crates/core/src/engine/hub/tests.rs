//! What homes learn from an honest or a lying hub. The tests carry the hub's bytes by hand.

use std::time::Duration;

use super::*;
use crate::{
    engine::{
        Answer, Command, CommandId, EngineError, Event, FetchFailed, HubJoin, HubJoinFailure,
        Input, InviteOptions, Now, Output, Publish, Sources, TransferId, Want, WantedBlob,
    },
    feed::BlobRef,
    id::{BlobId, VersionId},
    keys::DeviceSecret,
    membership::{
        Author, HUB_KEY, HUB_URL, KeyRing, Membership, Operation, Role, wire::RefusedReason,
    },
    signed::verify,
    ticket::Ticket,
    wire::ResponseIn,
};

const URL: &str = "https://hub.example";
const NOW_MS: u64 = 1_800_000_000_000;

/// A home with a working disk and no connections.
struct Home {
    engine: Engine,
    now: Duration,
    given: u64,
}

impl Home {
    fn new(n: u8) -> Self {
        let secret = DeviceSecret::from_seed([n; 32]);
        let mut engine = Engine::new(secret, [n; 32], clock(Duration::ZERO));
        engine.start(clock(Duration::ZERO));
        Self {
            engine,
            now: Duration::ZERO,
            given: 0,
        }
    }

    /// Handles an input, confirms all writes, and returns the other outputs.
    fn give(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.engine.handle(input, clock(self.now));
        while let Some(output) = self.engine.poll_output() {
            if let Output::Persist { id, .. } = output {
                self.engine.handle(Input::Persisted { id }, clock(self.now));
            } else {
                outputs.push(output);
            }
        }
        outputs
    }

    fn pass(&mut self, time: Duration) -> Vec<Output> {
        self.now += time;
        self.give(Input::Tick)
    }

    fn tell(&mut self, command: Command) -> Vec<Output> {
        self.given += 1;
        let id = CommandId(self.given);
        self.give(Input::Command { id, command })
    }

    fn must(&mut self, command: Command) -> Answer {
        let outputs = self.tell(command);
        reply(&outputs).expect("it is answered").expect("it may")
    }

    fn found(&mut self) -> TeamId {
        let (name, member, label) = ("everybody", "alice", "laptop");
        let command = Command::CreateTeam {
            name: name.parse().unwrap(),
            member: member.parse().unwrap(),
            label: label.parse().unwrap(),
        };
        match self.must(command) {
            Answer::TeamCreated { team, .. } => team,
            other => panic!("{other:?}"),
        }
    }

    fn set(&mut self, team: TeamId, name: &str, value: String) {
        let (name, value) = (name.to_owned(), Some(value));
        self.must(Command::SetSetting { team, name, value });
    }

    fn invite(&mut self, team: TeamId) -> Ticket {
        let options = InviteOptions {
            team,
            role: Role::Publisher,
            member: None,
            expires_ms: NOW_MS + 3_600_000,
            uses: 1,
            robot: None,
            addresses: Vec::new(),
        };
        match self.must(Command::Invite(options)) {
            Answer::Invited { ticket } => *ticket,
            other => panic!("{other:?}"),
        }
    }

    fn publish(&mut self, team: TeamId, n: u8) {
        let (epoch, _) = self.engine.current_key(&team).unwrap();
        let blob = |k: u8| BlobRef {
            id: BlobId::from_bytes([n ^ k; 32]),
            len: 1000,
        };
        let publish = Publish {
            team,
            pod: "orders".parse().unwrap(),
            version: VersionId::from_bytes([n; 32]),
            epoch,
            manifest: blob(0x40),
            packs: vec![blob(0x80)],
            message: String::new(),
            services: Vec::new(),
            emulator: None,
            created_ms: NOW_MS,
            state_len: 1,
            entry_count: 1,
            tags: Vec::new(),
            is_older: false,
            replaces: None,
        };
        self.must(Command::Publish(Box::new(publish)));
    }

    fn join(&mut self, ticket: &Ticket) -> Vec<Output> {
        self.tell(Command::Join {
            ticket: Box::new(ticket.clone()),
            member: "bob".parse().unwrap(),
            label: "desktop".parse().unwrap(),
            patience: Duration::from_secs(30),
        })
    }

    fn operations(&self, team: TeamId) -> Vec<Arc<Verified<Operation>>> {
        let operations = self.engine.operations_beyond(&team, &[]);
        operations
            .iter()
            .map(|bytes| Arc::new(verify(bytes).unwrap()))
            .collect()
    }

    fn hear(&mut self, team: TeamId, news: HubNews) -> Vec<Output> {
        self.give(Input::Hub { team, news })
    }

    /// The head of this home's own feed at number `upto`.
    fn head(&self, team: TeamId, upto: usize) -> Verified<Head> {
        let own = self.engine.own_entries(&team, 0, upto).unwrap().unwrap();
        verify(&own.head).unwrap()
    }

    fn entries(&self, team: TeamId) -> Vec<Arc<Entry>> {
        let mut own = self.engine.own_entries(&team, 0, 1000).unwrap().unwrap();
        own.entries.reverse();
        own.entries
    }

    fn versions(&self, team: TeamId) -> usize {
        let catalog = self.engine.catalog(&team).unwrap();
        catalog.versions(&"orders".parse().unwrap()).len()
    }
}

fn clock(mono: Duration) -> Now {
    let elapsed = u64::try_from(mono.as_millis()).unwrap();
    Now {
        mono,
        wall_ms: NOW_MS + elapsed,
    }
}

fn reply(outputs: &[Output]) -> Option<Result<Answer, EngineError>> {
    outputs.iter().find_map(|output| match output {
        Output::Reply { result, .. } => Some(result.clone()),
        _ => None,
    })
}

fn asked_of_hub(outputs: &[Output]) -> Option<(Vec<String>, HubJoin)> {
    outputs.iter().find_map(|output| match output {
        Output::JoinAtHub { urls, request, .. } => Some((urls.clone(), request.clone())),
        _ => None,
    })
}

fn heads(heads: Vec<Verified<Head>>) -> HubNews {
    HubNews::Heads {
        heads,
        liveness: Vec::new(),
    }
}

fn hub_key() -> DeviceSecret {
    DeviceSecret::from_seed([0x77; 32])
}

/// A founder whose team has a hub, and an invite to it.
fn founder() -> (Home, TeamId, Ticket) {
    let mut founder = Home::new(1);
    let team = founder.found();
    founder.set(team, HUB_URL, URL.into());
    founder.set(team, HUB_KEY, hub_key().id().to_string());
    let ticket = founder.invite(team);
    (founder, team, ticket)
}

/// What the hub answers to a join request over these operations.
fn witnessed(
    operations: &[Arc<Verified<Operation>>],
    request: &[u8],
) -> Vec<Arc<Verified<Operation>>> {
    let founding = Verified::clone(&operations[0]);
    let mut membership = Membership::new(founding).unwrap();
    membership.insert_all(operations.iter().cloned());
    let (key, keys) = (hub_key(), KeyRing::default());
    let author = Author::new(&key, &membership, &keys);
    let proof = verify(request).unwrap();
    let join = author.witness(&proof, NOW_MS, &[5; 32]).unwrap();
    let mut operations = operations.to_vec();
    operations.push(Arc::new(verify(&join).unwrap()));
    operations
}

/// A copy of the founder's home that knows the team and has none of its feed.
fn twin_of(founder: &Home, team: TeamId) -> Home {
    let mut twin = Home::new(1);
    for operation in founder.operations(team) {
        let record = crate::engine::Restored::Operation(team, operation);
        twin.engine.restore(record);
    }
    twin.engine.start(clock(Duration::ZERO));
    twin
}

/// Two homes of one team that never meet: the second joined through the hub.
fn two() -> (Home, Home, TeamId) {
    let (mut founder, team, ticket) = founder();
    let mut newcomer = Home::new(2);
    let (_, request) = asked_of_hub(&newcomer.join(&ticket)).unwrap();
    let HubJoin::Witness(request) = request else {
        panic!("{request:?}")
    };
    let operations = witnessed(&founder.operations(team), &request);
    let outputs = newcomer.hear(team, HubNews::Operations(operations.clone()));
    assert!(matches!(reply(&outputs), Some(Ok(Answer::Joined { .. }))));
    founder.hear(team, HubNews::Operations(operations));
    (founder, newcomer, team)
}

#[test]
fn a_ticket_names_the_hub_and_a_newcomer_joins_there() {
    let (founder, newcomer, team) = two();
    for home in [&founder, &newcomer] {
        let roster = home.engine.roster(&team).unwrap();
        assert!(roster.is_member(&newcomer.engine.device()));
        assert_eq!(home.engine.hub_url(&team), Some(URL));
        assert_eq!(home.engine.hub_key(&team), Some(hub_key().id()));
    }
    assert!(
        newcomer.engine.current_key(&team).is_some(),
        "it reads what is shared"
    );
}

#[test]
fn where_there_is_nobody_to_dial_the_hub_is_asked_at_once_and_only_once() {
    let (_, _, ticket) = founder();
    let mut newcomer = Home::new(2);
    let (urls, _) = asked_of_hub(&newcomer.join(&ticket)).unwrap();
    assert_eq!(urls, [URL]);
    assert!(asked_of_hub(&newcomer.pass(Duration::from_secs(10))).is_none());
}

#[test]
fn members_that_may_be_dialled_have_two_seconds() {
    let (_, _, mut ticket) = founder();
    ticket.addresses.push("/ip4/192.168.1.5/tcp/4747".into());
    let mut newcomer = Home::new(2);
    assert!(asked_of_hub(&newcomer.join(&ticket)).is_none());
    assert!(asked_of_hub(&newcomer.pass(Duration::from_secs(1))).is_none());
    let due = newcomer.engine.poll_timeout().unwrap();
    assert_eq!(due, Duration::from_secs(2));
    assert!(asked_of_hub(&newcomer.pass(Duration::from_secs(1))).is_some());
}

/// A device that refuses a newcomer closes the connection right after its answer. The close may be read
/// first.
#[test]
fn a_refusal_counts_although_its_connection_is_gone() {
    let (founder, _, mut ticket) = founder();
    ticket.addresses.clear();
    let device = founder.engine.device();
    let mut newcomer = Home::new(2);
    newcomer.join(&ticket);
    let asked = newcomer.give(Input::Connected { device });
    let asked = asked.iter().find_map(|output| match output {
        Output::Request { id, .. } => Some(*id),
        _ => None,
    });
    newcomer.give(Input::Disconnected { device });
    let why = RefusedReason::InviteExpired;
    let outputs = newcomer.give(Input::Response {
        id: asked.unwrap(),
        result: Ok(ResponseIn::MembershipRefused(why)),
    });
    assert!(matches!(reply(&outputs), Some(Err(EngineError::JoinRefused(said))) if said == why));
}

#[test]
fn an_answer_in_pages_is_asked_on_for() {
    let (founder, team, ticket) = founder();
    let mut newcomer = Home::new(2);
    let (_, request) = asked_of_hub(&newcomer.join(&ticket)).unwrap();
    let HubJoin::Witness(request) = request else {
        panic!("{request:?}")
    };
    let mut operations = witnessed(&founder.operations(team), &request);
    let rest = operations.split_off(2);
    let known = vec![OpId::of(operations[1].bytes())];
    let outputs = newcomer.hear(team, HubNews::Operations(operations));
    let (_, request) = asked_of_hub(&outputs).unwrap();
    assert_eq!(request, HubJoin::Fetch { known });
    let outputs = newcomer.hear(team, HubNews::Operations(rest));
    assert!(matches!(reply(&outputs), Some(Ok(Answer::Joined { .. }))));
}

/// A hub that shows an older team than the ticket names lets nobody in.
#[test]
fn the_tickets_floor_holds_at_the_hub_too() {
    let (mut founder, team, mut ticket) = founder();
    let operations = founder.operations(team);
    founder.set(team, "something", "newer".into());
    ticket.floor = founder.invite(team).floor;
    let mut newcomer = Home::new(2);
    let (_, request) = asked_of_hub(&newcomer.join(&ticket)).unwrap();
    let HubJoin::Witness(request) = request else {
        panic!("{request:?}")
    };
    let operations = witnessed(&operations, &request);
    let mut outputs = newcomer.hear(team, HubNews::Operations(operations.clone()));
    assert!(reply(&outputs).is_none());
    outputs = newcomer.hear(team, HubNews::Operations(operations));
    assert!(reply(&outputs).is_none());
    let end = newcomer.pass(Duration::from_secs(30));
    assert!(matches!(
        reply(&end),
        Some(Err(EngineError::NotLetInByHub(_)))
    ));
    assert!(newcomer.engine.roster(&team).is_none());
}

#[test]
fn a_hub_that_fails_is_asked_again_and_one_that_refuses_is_not() {
    let (_, team, ticket) = founder();
    let mut newcomer = Home::new(2);
    newcomer.join(&ticket);
    let why = "503".to_owned();
    let away = HubNews::JoinFailed(HubJoinFailure::NotReached(why.clone()));
    assert!(reply(&newcomer.hear(team, away)).is_none());
    assert!(asked_of_hub(&newcomer.pass(Duration::from_secs(4))).is_none());
    assert!(asked_of_hub(&newcomer.pass(Duration::from_secs(1))).is_some());
    let refused = HubJoinFailure::Refused(why.clone());
    let end = newcomer.hear(team, HubNews::JoinFailed(refused));
    assert!(matches!(reply(&end), Some(Err(EngineError::NotLetInByHub(said))) if said == why));
}

/// The ticket's other addresses are tried once all connected devices have refused.
#[test]
fn it_is_told_when_nobody_who_is_connected_lets_a_newcomer_in() {
    let (_, _, ticket) = founder();
    let mut newcomer = Home::new(2);
    let strangers = [8, 9].map(|n| DeviceSecret::from_seed([n; 32]).id());
    for device in strangers {
        newcomer.give(Input::Connected { device });
    }
    let mut outputs = newcomer.join(&ticket);
    let told = |outputs: &[Output]| {
        let is_told = |output: &Output| matches!(output, Output::Event(Event::NotLetIn { .. }));
        outputs.iter().any(is_told)
    };
    for _ in strangers {
        assert!(!told(&outputs), "somebody is still being asked");
        let asked = outputs.iter().find_map(|output| match output {
            Output::Request { id, .. } => Some(*id),
            _ => None,
        });
        let refused = ResponseIn::MembershipRefused(RefusedReason::UnknownTeam);
        outputs = newcomer.give(Input::Response {
            id: asked.unwrap(),
            result: Ok(refused),
        });
    }
    assert!(told(&outputs));
    // Both have refused and the hub was never reached: nobody can have written the join.
    let end = newcomer.pass(Duration::from_secs(30));
    assert!(matches!(
        reply(&end),
        Some(Err(EngineError::NobodyWitnessed { .. }))
    ));
}

/// An address may have gone to another daemon. What that one says about the team, nobody of the team has signed.
#[test]
fn a_stranger_at_the_address_has_refused_nothing() {
    let (_, _, ticket) = founder();
    for why in [RefusedReason::NotListed, RefusedReason::UnknownTeam] {
        let mut newcomer = Home::new(2);
        let device = DeviceSecret::from_seed([8; 32]).id();
        newcomer.give(Input::Connected { device });
        let asked = newcomer
            .join(&ticket)
            .iter()
            .find_map(|output| match output {
                Output::Request { id, .. } => Some(*id),
                _ => None,
            });
        newcomer.give(Input::Response {
            id: asked.unwrap(),
            result: Ok(ResponseIn::MembershipRefused(why)),
        });
        let end = newcomer.pass(Duration::from_secs(30));
        let Some(Err(error @ EngineError::NobodyWitnessed { .. })) = reply(&end) else {
            panic!("{why} ended the join: {end:?}");
        };
        assert!(error.to_string().contains("is not of this team"), "{error}");
    }
}

#[test]
fn a_hub_that_takes_the_question_and_stays_silent_is_named() {
    let (_, _, ticket) = founder();
    let mut newcomer = Home::new(2);
    let mut asked = newcomer.join(&ticket);
    asked.extend(newcomer.pass(Duration::from_secs(5)));
    let is_asked = |output: &Output| matches!(output, Output::JoinAtHub { .. });
    assert!(asked.iter().any(is_asked));
    let end = newcomer.pass(Duration::from_secs(30));
    let Some(Err(error @ EngineError::NobodyWitnessed { .. })) = reply(&end) else {
        panic!("{end:?}");
    };
    let hub = ticket.hubs().next().unwrap();
    let named = format!("the hub at {hub} does not answer");
    assert!(error.to_string().contains(&named), "{error}");
}

#[test]
fn a_hub_that_was_never_reached_has_refused_nothing() {
    let (_, team, ticket) = founder();
    for (failure, is_refusal) in [
        (
            HubJoinFailure::NotReached("connection refused".to_owned()),
            false,
        ),
        (HubJoinFailure::NotYet("not a member".to_owned()), true),
    ] {
        let mut newcomer = Home::new(2);
        newcomer.join(&ticket);
        newcomer.hear(team, HubNews::JoinFailed(failure));
        let end = newcomer.pass(Duration::from_secs(30));
        match reply(&end) {
            Some(Err(EngineError::NotLetInByHub(_))) => assert!(is_refusal),
            Some(Err(error @ EngineError::NobodyWitnessed { may_be_in, .. })) => {
                assert!(!is_refusal);
                assert!(may_be_in, "the hub may have written the join");
                assert!(error.to_string().ends_with("connection refused"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Who was never asked has written nothing, so the newcomer's key may go.
#[test]
fn a_hub_that_refuses_every_connection_was_not_asked() {
    let refused = || HubJoinFailure::NotConnected("connection refused".to_owned());
    let cut = || HubJoinFailure::NotReached("the connection broke".to_owned());
    for (failures, expected) in [
        (vec![refused()], false),
        (vec![refused(), refused()], false),
        (vec![cut(), refused()], true),
        (vec![refused(), cut()], true),
        (
            vec![cut(), HubJoinFailure::NotYet("no".to_owned()), refused()],
            false,
        ),
    ] {
        let (_, team, ticket) = founder();
        let mut newcomer = Home::new(2);
        let mut asked = newcomer.join(&ticket);
        for failure in &failures {
            if asked_of_hub(&asked).is_none() {
                asked = newcomer.pass(Duration::from_secs(5));
            }
            assert!(asked_of_hub(&asked).is_some(), "{failures:?}");
            asked = newcomer.hear(team, HubNews::JoinFailed(failure.clone()));
        }
        let end = newcomer.pass(Duration::from_secs(30));
        let Some(Err(error @ EngineError::NobodyWitnessed { may_be_in, .. })) = reply(&end) else {
            panic!("{failures:?}: {end:?}");
        };
        assert_eq!(may_be_in, expected, "{failures:?}");
        let last = match failures.last() {
            Some(HubJoinFailure::NotReached(_)) => "broke",
            _ => "refused",
        };
        assert!(error.to_string().contains(last), "{error}");
    }
}

#[test]
fn what_one_home_committed_another_lists() {
    let (mut founder, mut newcomer, team) = two();
    (1..=5).for_each(|n| founder.publish(team, n));
    let device = founder.engine.device();

    // Commit the first three, with the head that was signed then.
    let own = founder.engine.own_entries(&team, 0, 3).unwrap().unwrap();
    assert_eq!(own.entries.len(), 3);
    let head: Verified<Head> = verify(&own.head).unwrap();
    assert_eq!(
        (head.value().seq, head.value().entry),
        (3, own.entries[2].hash())
    );
    assert_eq!(
        founder
            .engine
            .own_entries(&team, 3, 64)
            .unwrap()
            .unwrap()
            .entries
            .len(),
        2
    );
    assert!(founder.engine.own_entries(&team, 5, 64).unwrap().is_none());

    newcomer.hear(team, heads(vec![head]));
    assert_eq!(newcomer.engine.hub_reach(&team, &device), 3);
    let gap = |from, to| EntryRange { device, from, to };
    assert_eq!(newcomer.engine.hub_gaps(&team), [gap(1, 3)]);
    // A page of one, then the rest.
    let mut page = own.entries;
    let oldest = page.drain(..2).rev().collect();
    let outputs = newcomer.hear(
        team,
        HubNews::Entries {
            device,
            entries: page,
        },
    );
    let heard = |output: &Output| matches!(output, Output::Event(Event::VersionHeard { .. }));
    assert!(
        outputs.iter().any(heard),
        "the newest is listed before the rest is here"
    );
    assert_eq!(newcomer.engine.hub_gaps(&team), [gap(1, 2)]);
    newcomer.hear(
        team,
        HubNews::Entries {
            device,
            entries: oldest,
        },
    );
    assert_eq!(newcomer.engine.hub_gaps(&team), []);
    assert_eq!(newcomer.versions(team), 3);
}

/// A peer named entries that the hub doesn't have: they are not requested from the hub.
#[test]
fn only_what_the_hub_has_is_asked_of_it() {
    let (mut founder, mut newcomer, team) = two();
    (1..=5).for_each(|n| founder.publish(team, n));
    let device = founder.engine.device();
    let (third, fifth) = (founder.head(team, 3), founder.head(team, 5));
    newcomer.hear(team, heads(vec![third.clone(), fifth]));
    newcomer.hear(team, heads(vec![third]));
    let gaps = newcomer.engine.hub_gaps(&team);
    assert!(
        gaps.iter().all(|gap| gap.device == device && gap.to <= 3),
        "{gaps:?}"
    );
    newcomer.hear(team, heads(Vec::new()));
    assert_eq!(newcomer.engine.hub_gaps(&team), []);
}

#[test]
fn a_head_that_goes_back_changes_nothing() {
    let (mut founder, mut newcomer, team) = two();
    (1..=4).for_each(|n| founder.publish(team, n));
    let device = founder.engine.device();
    newcomer.hear(team, heads(vec![founder.head(team, 4)]));
    let entries = founder.entries(team);
    newcomer.hear(team, HubNews::Entries { device, entries });
    newcomer.hear(team, heads(vec![founder.head(team, 2)]));
    let feed = newcomer.engine.feed(&team, &device).unwrap();
    assert_eq!((feed.seq, feed.complete, feed.forked_at), (4, true, None));
    assert_eq!(newcomer.versions(team), 4);
    assert_eq!(
        newcomer.engine.hub_reach(&team, &device),
        2,
        "what the hub has is another matter"
    );
}

#[test]
fn an_entry_that_no_head_leads_to_is_not_taken() {
    let (mut founder, mut newcomer, team) = two();
    (1..=3).for_each(|n| founder.publish(team, n));
    let device = founder.engine.device();
    newcomer.hear(team, heads(vec![founder.head(team, 3)]));
    let mut entries = founder.entries(team);
    // The middle one is left out, so nothing proves the first.
    let middle = entries.remove(1);
    newcomer.hear(
        team,
        HubNews::Entries {
            device,
            entries: entries.clone(),
        },
    );
    assert_eq!(newcomer.versions(team), 1);

    // An entry of another chain is refused too, though the same key signed it.
    let mut twin = twin_of(&founder, team);
    (11..=13).for_each(|n| twin.publish(team, n));
    let theirs = twin.entries(team)[1].clone();
    newcomer.hear(
        team,
        HubNews::Entries {
            device,
            entries: vec![theirs],
        },
    );
    assert_eq!(newcomer.versions(team), 1);
    newcomer.hear(
        team,
        HubNews::Entries {
            device,
            entries: vec![middle],
        },
    );
    assert_eq!(newcomer.versions(team), 2);
    // Entries of one feed aren't taken from the page of another.
    let me = newcomer.engine.device();
    let entries = founder.entries(team);
    newcomer.hear(
        team,
        HubNews::Entries {
            device: me,
            entries,
        },
    );
    assert_eq!(newcomer.versions(team), 2);
}

#[test]
fn operations_and_heads_of_another_team_change_nothing() {
    let (_, mut newcomer, team) = two();
    let mut stranger = Home::new(9);
    let other = stranger.found();
    stranger.publish(other, 1);
    let before = newcomer.engine.membership(&team).unwrap().digest();
    let outputs = newcomer.hear(team, HubNews::Operations(stranger.operations(other)));
    assert!(outputs.is_empty(), "{outputs:?}");
    newcomer.hear(team, heads(vec![stranger.head(other, 1)]));
    let device = stranger.engine.device();
    let entries = stranger.entries(other);
    newcomer.hear(team, HubNews::Entries { device, entries });
    assert_eq!(newcomer.engine.membership(&team).unwrap().digest(), before);
    assert_eq!(newcomer.versions(team), 0);
    assert!(newcomer.engine.feed(&team, &device).is_none());
    assert_eq!(newcomer.engine.hub_gaps(&team), []);
    // Operations of a team that this home isn't in are ignored.
    newcomer.hear(other, HubNews::Operations(stranger.operations(other)));
    assert!(newcomer.engine.roster(&other).is_none());
}

/// The founder's home was copied and both copies signed: the hub's heads prove the fork.
#[test]
fn a_feed_that_is_forked_at_the_hub_is_quarantined() {
    let (mut founder, mut newcomer, team) = two();
    let mut copy = twin_of(&founder, team);
    founder.publish(team, 1);
    copy.publish(team, 2);
    let both = vec![founder.head(team, 1), copy.head(team, 1)];
    let outputs = newcomer.hear(team, heads(both.clone()));
    let device = founder.engine.device();
    let proof = Event::ForkProof {
        team,
        device,
        seq: 1,
    };
    let told = |output: &Output| matches!(output, Output::Event(event) if *event == proof);
    assert!(outputs.iter().any(told), "{outputs:?}");
    let entries = founder.entries(team);
    newcomer.hear(team, HubNews::Entries { device, entries });
    assert_eq!(newcomer.versions(team), 0);

    // The forked device commits nothing more.
    founder.hear(team, heads(both));
    let own = founder.engine.own_entries(&team, 0, 64);
    assert_eq!(own.err(), Some(EngineError::DeviceMustBeMinted));
}

#[test]
fn statements_of_liveness_are_brought_and_heard() {
    let (mut founder, mut newcomer, team) = two();
    assert!(founder.engine.own_liveness(&team).is_none());
    founder.pass(Duration::from_secs(60));
    newcomer.now = founder.now;
    let statement = founder.engine.own_liveness(&team).unwrap();
    let news = HubNews::Heads {
        heads: Vec::new(),
        liveness: vec![verify(&statement).unwrap()],
    };
    newcomer.hear(team, news);
    let heard = newcomer.engine.last_heard(&team);
    assert!(
        heard
            .iter()
            .any(|heard| heard.device == founder.engine.device())
    );
}

#[test]
fn who_slept_or_set_the_clock_signs_the_time_anew() {
    let (mut founder, _, team) = two();
    let signed = |founder: &mut Home, wall_ms: u64| {
        let mono = founder.now;
        let news = heads(Vec::new());
        founder
            .engine
            .handle(Input::Hub { team, news }, Now { mono, wall_ms });
        let statement = founder.engine.own_liveness(&team).unwrap();
        let statement = verify::<crate::wire::Liveness>(&statement).unwrap();
        statement.value().time_ms
    };
    const HOUR_MS: u64 = 60 * 60 * 1000;
    assert_eq!(signed(&mut founder, NOW_MS), NOW_MS);
    assert_eq!(signed(&mut founder, NOW_MS + HOUR_MS), NOW_MS);
    let monday = NOW_MS + 60 * HOUR_MS;
    assert_eq!(signed(&mut founder, monday), monday);
    assert_eq!(signed(&mut founder, NOW_MS), NOW_MS);
}

#[test]
fn a_statement_from_the_future_tells_only_of_its_clock() {
    let (mut founder, mut newcomer, team) = two();
    let device = founder.engine.device();
    let says = |founder: &Home, newcomer: &mut Home| {
        let statement = founder.engine.own_liveness(&team).unwrap();
        let liveness = vec![verify(&statement).unwrap()];
        let heads = Vec::new();
        newcomer.hear(team, HubNews::Heads { heads, liveness });
        let about = |heard: Vec<crate::engine::DeviceHeard>| {
            let mut heard = heard.into_iter().filter(|heard| heard.device == device);
            heard.next().map(|heard| heard.time_ms)
        };
        let engine = &newcomer.engine;
        (
            about(engine.last_heard(&team)),
            about(engine.heard_ahead(&team)),
        )
    };
    let days = Duration::from_secs(2 * 24 * 60 * 60);
    founder.pass(days);
    let ahead_ms = clock(days).wall_ms;
    assert_eq!(says(&founder, &mut newcomer), (None, Some(ahead_ms)));

    // The clock is set back, and the next statement counts.
    newcomer.now = Duration::from_secs(60);
    let wall_ms = clock(newcomer.now).wall_ms;
    let now = Now {
        mono: founder.now,
        wall_ms,
    };
    founder.engine.handle(Input::Tick, now);
    founder.engine.state_liveness(team);
    assert_eq!(says(&founder, &mut newcomer), (Some(wall_ms), None));
}

#[test]
fn operations_that_the_hub_lacks_are_told() {
    let (mut founder, newcomer, team) = two();
    let at_hub = newcomer.engine.membership_heads(&team);
    assert!(!founder.engine.lacks_operations(&team, &at_hub));
    assert!(founder.engine.operations_beyond(&team, &at_hub).is_empty());
    founder.set(team, "something", "newer".into());
    assert_eq!(founder.engine.operations_beyond(&team, &at_hub).len(), 1);
    let newer = founder.engine.membership_heads(&team);
    assert!(newcomer.engine.lacks_operations(&team, &newer));
}

#[test]
fn a_refresh_waits_for_those_who_are_connected_and_for_nobody_else() {
    let (mut founder, newcomer, team) = two();
    let refreshed = |outputs: &[Output]| match reply(outputs) {
        Some(Ok(Answer::Refreshed { members })) => Some(members),
        None => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(refreshed(&founder.tell(Command::Refresh { team })), Some(0));
    let device = newcomer.engine.device();
    founder.give(Input::Connected { device });
    assert_eq!(refreshed(&founder.tell(Command::Refresh { team })), None);
    // A member that disconnects without an answer has told nothing.
    let gone = founder.give(Input::Disconnected { device });
    assert_eq!(refreshed(&gone), Some(0));
}

/// Somebody may have put it back meanwhile.
#[test]
fn what_the_bucket_lacked_is_asked_for_again_after_a_minute() {
    let mut home = Home::new(1);
    let team = home.found();
    let blob = BlobRef {
        id: BlobId::from_bytes([9; 32]),
        len: 1000,
    };
    let has = |home: &mut Home| {
        home.give(Input::BucketHas {
            team,
            blobs: vec![blob.id],
        })
    };
    has(&mut home);
    let mut transfers = 0;
    let mut pull = |home: &mut Home| {
        transfers += 1;
        let want = Want {
            transfer: TransferId(transfers),
            team,
            blobs: vec![WantedBlob::whole(blob)],
            prefer: None,
            sources: Sources::Bucket,
            patience: Duration::ZERO,
        };
        let outputs = home.give(Input::Want(want));
        outputs.into_iter().find_map(|output| match output {
            Output::Fetch { fetch, .. } => Some(fetch),
            _ => None,
        })
    };
    let fetch = pull(&mut home).expect("it is there");
    let why = FetchFailed::Refused;
    home.give(Input::FetchFailed { fetch, why });
    assert_eq!(pull(&mut home), None, "it was just asked for in vain");
    home.pass(Duration::from_secs(60));
    let fetch = pull(&mut home).expect("it may be there again");
    home.give(Input::FetchFailed { fetch, why });
    // What the hub says goes before.
    home.give(Input::BucketLacks {
        team,
        blobs: vec![blob.id],
    });
    home.pass(Duration::from_secs(60));
    assert_eq!(pull(&mut home), None);
}

/// Without a word of that, a line of progress would name a provider that sends nothing any more.
#[test]
fn a_provider_that_stops_is_told_although_no_byte_moves() {
    let mut home = Home::new(1);
    let team = home.found();
    let blob = BlobRef {
        id: BlobId::from_bytes([9; 32]),
        len: 3 << 20,
    };
    home.give(Input::BucketHas {
        team,
        blobs: vec![blob.id],
    });
    let seen = |outputs: &[Output]| {
        let mut progress = outputs.iter().filter_map(|output| match output {
            Output::Event(Event::TransferProgress {
                bytes, providers, ..
            }) => Some((*bytes, *providers)),
            _ => None,
        });
        progress.next_back()
    };
    let outputs = home.give(Input::Want(Want {
        transfer: TransferId(1),
        team,
        blobs: vec![WantedBlob::whole(blob)],
        prefer: None,
        sources: Sources::Bucket,
        patience: Duration::from_secs(60),
    }));
    assert_eq!(seen(&outputs), Some((0, 1)));
    let fetch = outputs.into_iter().find_map(|output| match output {
        Output::Fetch { fetch, .. } => Some(fetch),
        _ => None,
    });
    let fetch = fetch.expect("it is there");
    let mib = 1 << 20;
    let outputs = home.give(Input::FetchProgress { fetch, bytes: mib });
    assert_eq!(seen(&outputs), Some((mib, 1)));
    home.pass(Duration::from_secs(1));
    let why = FetchFailed::Cut;
    let outputs = home.give(Input::FetchFailed { fetch, why });
    assert_eq!(seen(&outputs), Some((mib, 0)));
    let outputs = home.pass(Duration::from_secs(3));
    let told = |output: &Output| matches!(output, Output::Event(Event::TransferStarved { missing, .. }) if *missing == 2 * mib);
    assert!(outputs.iter().any(told), "{outputs:?}");
    assert_eq!(seen(&outputs), None, "it is asked again, and sends nothing");
}
