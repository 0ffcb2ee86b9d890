//! Who is dialled, when, and at which addresses.

use super::*;

const SMALL: DeviceId = DeviceId::from_bytes([1; 32]);
const LARGE: DeviceId = DeviceId::from_bytes([2; 32]);
const TEAM: TeamId = TeamId::from_bytes([9; 32]);

/// Long after the start: nothing here is unknown to others.
const LATER: Duration = Duration::from_secs(1000);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn at(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn tcp() -> Multiaddr {
    at("/ip4/10.0.0.1/tcp/1")
}

fn quic() -> Multiaddr {
    at("/ip4/10.0.0.1/udp/1/quic-v1")
}

fn number(n: u8) -> DeviceId {
    DeviceId::from_bytes([n; 32])
}

/// A device that has run for long beside `others`, its team.
fn member(local: DeviceId, others: &[DeviceId]) -> Addresses {
    let mut addresses = Addresses::new(local, [], [], Duration::ZERO);
    let members = Input::Members {
        team: TEAM,
        devices: others.iter().copied().chain([local]).collect(),
    };
    addresses.handle(members, Duration::ZERO);
    outputs(&mut addresses);
    addresses
}

fn discovered(device: DeviceId, addresses: Vec<Multiaddr>) -> Input {
    Input::Discovered { device, addresses }
}

fn connected(device: DeviceId, address: Multiaddr) -> Input {
    Input::Connected {
        device,
        address,
        dialled: true,
    }
}

fn failed(device: DeviceId) -> Input {
    Input::DialFailed {
        device,
        taken: None,
    }
}

fn outputs(addresses: &mut Addresses) -> Vec<Output> {
    std::iter::from_fn(|| addresses.poll_output()).collect()
}

/// What is dialled now.
fn dialled(addresses: &mut Addresses) -> Vec<(DeviceId, Vec<Multiaddr>)> {
    let dials = outputs(addresses).into_iter();
    dials
        .filter_map(|output| match output {
            Output::Dial { device, addresses } => Some((device, addresses)),
            _ => None,
        })
        .collect()
}

/// Lets time pass until the next tick is due. Returns that time, and what is dialled then.
fn next_dial(addresses: &mut Addresses) -> (Duration, Vec<DeviceId>) {
    loop {
        let due = addresses.poll_timeout();
        addresses.handle(Input::Tick, due);
        let dials = dialled(addresses);
        if !dials.is_empty() {
            return (due, dials.into_iter().map(|(device, _)| device).collect());
        }
    }
}

#[test]
fn the_larger_waits_for_the_smaller() {
    let mut small = member(SMALL, &[LARGE]);
    small.handle(discovered(LARGE, vec![tcp()]), LATER);
    assert_eq!(dialled(&mut small), [(LARGE, vec![tcp()])]);

    let mut large = member(LARGE, &[SMALL]);
    large.handle(discovered(SMALL, vec![tcp()]), LATER);
    assert_eq!(dialled(&mut large), []);
    let again = discovered(SMALL, vec![at("/ip4/10.0.0.2/tcp/1")]);
    large.handle(again, LATER + FALLBACK / 2);
    assert_eq!(
        next_dial(&mut large),
        (LATER + FALLBACK, vec![SMALL]),
        "hearing again does not put it off"
    );
}

#[test]
fn after_a_failure_comes_a_pause_that_grows() {
    let mut addresses = member(SMALL, &[LARGE]);
    addresses.handle(discovered(LARGE, vec![quic(), tcp()]), LATER);
    let mut now = LATER;
    assert_eq!(
        dialled(&mut addresses),
        [(LARGE, vec![tcp()])],
        "what older devices say of QUIC is passed over"
    );
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        addresses.handle(failed(LARGE), now);
        assert_eq!(dialled(&mut addresses), []);
        assert_eq!(
            next_dial(&mut addresses),
            (now + seconds(pause), vec![LARGE])
        );
        now += seconds(pause);
    }
}

#[test]
fn where_another_device_answers_is_left_out_until_there_is_news() {
    let (there, elsewhere) = (tcp(), at("/ip4/10.0.0.2/tcp/1"));
    let mut addresses = member(SMALL, &[LARGE]);
    let both = vec![there.clone(), elsewhere.clone()];
    addresses.handle(discovered(LARGE, both.clone()), LATER);
    assert_eq!(dialled(&mut addresses), [(LARGE, both.clone())]);
    let taken = |address: &Multiaddr| Input::DialFailed {
        device: LARGE,
        taken: Some(address.clone()),
    };
    addresses.handle(taken(&there), LATER);
    assert_eq!(
        dialled(&mut addresses),
        [(LARGE, vec![elsewhere.clone()])],
        "the others at once"
    );
    addresses.handle(taken(&elsewhere), LATER);
    assert_eq!(dialled(&mut addresses), []);
    addresses.handle(Input::Tick, LATER + seconds(3600));
    assert_eq!(dialled(&mut addresses), [], "nothing is left to dial");

    let now = LATER + seconds(3600);
    addresses.handle(Input::NetworkChanged, now);
    assert_eq!(dialled(&mut addresses), [(LARGE, both)]);
    addresses.handle(taken(&there), now);
    outputs(&mut addresses);
    let announced = Input::Announced {
        device: LARGE,
        addresses: vec![there.to_string()],
    };
    addresses.handle(announced, now);
    assert_eq!(
        dialled(&mut addresses),
        [(LARGE, vec![there, elsewhere])],
        "what the device says of itself is news"
    );
}

#[test]
fn who_waits_is_told_once_no_address_is_left() {
    let mut addresses = member(SMALL, &[LARGE]);
    let wanted = Input::Wanted {
        device: LARGE,
        addresses: vec![tcp()],
    };
    addresses.handle(wanted, LATER);
    outputs(&mut addresses);
    let taken = Input::DialFailed {
        device: LARGE,
        taken: Some(tcp()),
    };
    addresses.handle(taken, LATER);
    assert_eq!(
        outputs(&mut addresses),
        [Output::Unreachable { device: LARGE }]
    );
}

#[test]
fn who_was_connected_lately_is_dialled_every_few_seconds() {
    let mut addresses = member(SMALL, &[LARGE]);
    addresses.handle(discovered(LARGE, vec![tcp()]), LATER);
    addresses.handle(connected(LARGE, tcp()), LATER);
    outputs(&mut addresses);
    let mut now = LATER + seconds(60);
    addresses.handle(Input::Disconnected { device: LARGE }, now);
    assert_eq!(dialled(&mut addresses).len(), 1, "at once");
    for pause in [1, 2, 3, 3, 3] {
        addresses.handle(failed(LARGE), now);
        let (due, _) = next_dial(&mut addresses);
        assert_eq!(due, now + seconds(pause));
        now = due;
    }
    now += seconds(300);
    addresses.handle(failed(LARGE), now);
    assert_eq!(next_dial(&mut addresses).0, now + seconds(30));
}

#[test]
fn who_hangs_up_at_once_is_not_dialled_at_once() {
    let mut addresses = member(SMALL, &[LARGE]);
    addresses.handle(discovered(LARGE, vec![tcp()]), LATER);
    outputs(&mut addresses);
    let mut now = LATER;
    for pause in [1, 2, 4, 8] {
        addresses.handle(connected(LARGE, tcp()), now);
        addresses.handle(Input::Disconnected { device: LARGE }, now);
        outputs(&mut addresses);
        let (due, _) = next_dial(&mut addresses);
        assert_eq!(due, now + seconds(pause));
        now = due;
    }
}

#[test]
fn another_network_means_that_all_are_dialled_at_once() {
    let others: Vec<_> = (1..=5).map(number).collect();
    let mut addresses = member(number(200), &others);
    for &device in &others {
        addresses.handle(discovered(device, vec![tcp()]), LATER);
    }
    // The first answers, the second is being dialled, the others are paused after failures.
    let mut now = LATER + seconds(2);
    addresses.handle(Input::Tick, now);
    assert_eq!(dialled(&mut addresses).len(), 5);
    addresses.handle(connected(others[0], tcp()), now);
    for _ in 0..6 {
        for &device in &others[2..] {
            addresses.handle(failed(device), now);
        }
        now = addresses.poll_timeout();
        addresses.handle(Input::Tick, now);
    }
    for &device in &others[2..] {
        addresses.handle(failed(device), now);
    }
    outputs(&mut addresses);
    addresses.handle(Input::NetworkChanged, now);
    let dials = dialled(&mut addresses);
    let devices: BTreeSet<_> = dials.into_iter().map(|(device, _)| device).collect();
    assert_eq!(devices, others[1..].iter().copied().collect());

    // Of the two attempts at the second device, the one in the old network fails. That has no effect.
    addresses.handle(failed(others[1]), now);
    assert_eq!(addresses.peers[&others[1]].due(), None);
    // A device that was lost by the change doesn't know of it. So this side dials, though its key is the larger
    // one.
    addresses.handle(Input::Disconnected { device: others[0] }, now + seconds(1));
    let due = addresses.peers[&others[0]].due();
    assert!(due.is_none_or(|due| due <= now + seconds(2)), "{due:?}");
}

#[test]
fn who_came_again_from_elsewhere_is_dialled_there_after_a_change() {
    let mut addresses = member(SMALL, &[LARGE]);
    let announced = Input::Announced {
        device: LARGE,
        addresses: vec!["/ip4/10.77.2.2/tcp/7637".to_owned()],
    };
    addresses.handle(announced, LATER);
    for from in ["/ip4/10.77.2.2/tcp/40123", "/ip4/10.77.4.2/tcp/40124"] {
        addresses.handle(Input::Disconnected { device: LARGE }, LATER);
        let accepted = Input::Connected {
            device: LARGE,
            address: at(from),
            dialled: false,
        };
        addresses.handle(accepted, LATER);
    }
    outputs(&mut addresses);
    addresses.handle(Input::Disconnected { device: LARGE }, LATER + seconds(20));
    addresses.handle(Input::NetworkChanged, LATER + seconds(20));
    let there = at("/ip4/10.77.4.2/tcp/7637");
    let dials = dialled(&mut addresses);
    assert!(dials.iter().any(|(_, at)| at.contains(&there)), "{dials:?}");
}

/// An attempt at addresses that swallow packets takes seconds.
#[test]
fn news_of_an_address_does_not_wait_for_the_attempt_that_was_begun_without_it() {
    let mut addresses = member(SMALL, &[LARGE]);
    addresses.handle(discovered(LARGE, vec![tcp()]), LATER);
    assert_eq!(dialled(&mut addresses), [(LARGE, vec![tcp()])]);
    let there = "/ip4/10.77.4.2/tcp/7637";
    let announced = Input::Announced {
        device: LARGE,
        addresses: vec![there.to_owned()],
    };
    addresses.handle(announced.clone(), LATER + seconds(1));
    assert_eq!(dialled(&mut addresses), [(LARGE, vec![at(there), tcp()])]);
    addresses.handle(announced, LATER + seconds(1));
    assert_eq!(dialled(&mut addresses), [], "that is no news");
    // One of the two fails: the other one may still succeed.
    addresses.handle(failed(LARGE), LATER + seconds(3));
    assert_eq!(addresses.peers[&LARGE].due(), None);
    for port in 1..20 {
        let elsewhere = vec![at(&format!("/ip4/10.77.4.9/tcp/{port}"))];
        addresses.handle(discovered(LARGE, elsewhere), LATER + seconds(3));
    }
    assert_eq!(dialled(&mut addresses).len(), 2, "attempts are bounded");
}

#[test]
fn expired_addresses_are_announced_no_more() {
    let mut addresses = member(SMALL, &[LARGE]);
    let (home, office) = (at("/ip4/192.168.1.5/tcp/1"), at("/ip4/10.9.0.5/tcp/1"));
    let announced = |texts: &[&Multiaddr]| Output::Announce {
        addresses: texts.iter().map(ToString::to_string).collect(),
    };
    let listening = |address: &Multiaddr| Input::Listening {
        address: address.clone(),
    };
    addresses.handle(listening(&home), LATER);
    addresses.handle(listening(&office), LATER);
    let ended = Input::ListeningEnded {
        address: home.clone(),
    };
    addresses.handle(ended, LATER);
    assert_eq!(
        outputs(&mut addresses),
        [
            announced(&[&home]),
            announced(&[&home, &office]),
            announced(&[&office])
        ]
    );
    assert_eq!(addresses.listening(), [office]);
}

#[test]
fn where_a_device_was_reached_is_remembered_and_forgotten_with_its_membership() {
    let mut addresses = member(SMALL, &[LARGE]);
    addresses.handle(connected(LARGE, tcp()), LATER);
    let remember = |addresses| Output::Remember {
        device: LARGE,
        addresses,
    };
    assert_eq!(outputs(&mut addresses), [remember(vec![tcp()])]);
    addresses.handle(Input::Disconnected { device: LARGE }, LATER);
    let nobody = Input::Members {
        team: TEAM,
        devices: vec![SMALL],
    };
    addresses.handle(nobody, LATER);
    outputs(&mut addresses);
    addresses.handle(Input::Tick, LATER + 2 * PRUNE_EVERY);
    assert_eq!(outputs(&mut addresses), [remember(vec![])]);
    assert!(addresses.peers.is_empty());

    let restored = Addresses::new(SMALL, [], [(LARGE, vec![tcp()])], LATER);
    assert_eq!(restored.peers[&LARGE].known.reached(), [tcp()]);
}

#[test]
fn strangers_are_dialled_by_who_wants_to_join_only() {
    let mut addresses = member(SMALL, &[]);
    addresses.handle(discovered(LARGE, vec![tcp()]), LATER);
    assert_eq!(dialled(&mut addresses), []);
    addresses.handle(Input::Joining(true), LATER);
    assert_eq!(dialled(&mut addresses), [(LARGE, vec![tcp()])]);
    // A stranger's announcement isn't stored.
    let announced = Input::Announced {
        device: number(7),
        addresses: vec![tcp().to_string()],
    };
    addresses.handle(announced, LATER);
    assert!(!addresses.peers.contains_key(&number(7)));
}

#[test]
fn who_is_wanted_is_dialled_now_and_told_to_be_unreachable_once() {
    let mut addresses = member(LARGE, &[]);
    let wanted = |addresses| Input::Wanted {
        device: SMALL,
        addresses,
    };
    let unreachable = [Output::Unreachable { device: SMALL }];
    addresses.handle(wanted(vec![]), LATER);
    assert_eq!(outputs(&mut addresses), unreachable, "no address is known");
    addresses.handle(wanted(vec![tcp()]), LATER);
    assert_eq!(dialled(&mut addresses), [(SMALL, vec![tcp()])]);
    addresses.handle(failed(SMALL), LATER);
    assert_eq!(outputs(&mut addresses), unreachable);
    addresses.handle(Input::Tick, LATER + seconds(600));
    assert_eq!(dialled(&mut addresses), [], "nobody waits any more");
}

#[test]
fn what_is_pinned_is_dialled_for_ever() {
    let mut addresses = Addresses::new(SMALL, [(LARGE, tcp())], [], Duration::ZERO);
    let mut now = Duration::ZERO;
    addresses.handle(Input::Tick, now);
    for _ in 0..50 {
        addresses.handle(failed(LARGE), now);
        outputs(&mut addresses);
        now = addresses.poll_timeout();
        addresses.handle(Input::Tick, now);
    }
    assert!(now > seconds(600));
    assert!(addresses.peers.contains_key(&LARGE));
}

#[test]
fn devices_and_attempts_are_bounded() {
    let id = |n: usize| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        id[31] = 1;
        DeviceId::from_bytes(id)
    };
    let all: Vec<_> = (0..1000).map(id).collect();
    let mut addresses = member(number(255), &all);
    for &device in &all {
        addresses.handle(discovered(device, vec![tcp()]), LATER + seconds(3));
    }
    addresses.handle(Input::Tick, LATER + seconds(10));
    assert_eq!(addresses.peers.len(), MAX_DEVICES);
    assert_eq!(dialled(&mut addresses).len(), MAX_DIALLED);
    let mut addresses = member(number(255), &[]);
    for &device in &all {
        addresses.handle(discovered(device, vec![tcp()]), LATER);
    }
    assert_eq!(addresses.peers.len(), MAX_STRANGERS);
}
