//! One transfer alone: what it requests, and what it leaves behind.

use super::*;
use crate::engine::input::WantedBlob;

const SECOND: Duration = Duration::from_secs(1);

const PATIENCE: Duration = Duration::from_secs(60);
const BLOB: BlobId = BlobId::from_bytes([1; 32]);
const LEN: u64 = 12 << 20;

fn device(n: u8) -> DeviceId {
    crate::keys::DeviceSecret::from_seed([n; 32]).id()
}

fn peer(n: u8) -> Provider {
    Provider::Peer(device(n))
}

fn transfer(missing: Units) -> Transfer {
    transfer_from(missing, Sources::Any)
}

fn transfer_from(missing: Units, sources: Sources) -> Transfer {
    let want = Want {
        transfer: TransferId(1),
        team: TeamId::from_bytes([1; 32]),
        blobs: vec![WantedBlob {
            blob: BLOB,
            len: LEN,
            missing,
        }],
        prefer: None,
        sources,
        patience: PATIENCE,
    };
    Transfer::new(want, [7; 32], Duration::ZERO)
}

#[test]
fn only_what_is_missing_is_asked_for() {
    let mut slots = Slots::default();
    let wanted = Units::span(0, 1) | Units::span(5, 7) | Units::span(11, 12);
    let mut transfer = transfer(wanted);
    transfer.provider_has(peer(1), BLOB, Units::whole(LEN));
    let mut asked = Units::NONE;
    let mut actions = transfer.poll(Duration::ZERO, &mut slots);
    while !actions.contains(&Action::Done) {
        let Some(Action::Fetch { fetch, range, .. }) = actions.pop() else {
            actions = transfer.poll(Duration::ZERO, &mut slots);
            continue;
        };
        let units = Units::inside(range, LEN);
        assert!((asked & units).is_empty(), "nothing is asked for twice");
        asked |= units;
        transfer.fetch_done(fetch, Duration::ZERO, &mut slots);
    }
    assert_eq!(asked, wanted);
    assert_eq!(transfer.credit(), [(peer(1), 4 << 20)]);
}

/// The provider failed once and is retried when the patience ends. That fetch must not keep its
/// slot for ever.
#[test]
fn a_transfer_that_is_given_up_leaves_no_place_taken() {
    let mut slots = Slots::default();
    let mut transfer = transfer(Units::whole(LEN));
    transfer.provider_has(peer(1), BLOB, Units::whole(LEN));
    let started = |actions: &[Action]| {
        let fetches = actions.iter().filter_map(|action| match action {
            Action::Fetch { fetch, .. } => Some(*fetch),
            _ => None,
        });
        fetches.collect::<Vec<_>>()
    };
    for fetch in started(&transfer.poll(Duration::ZERO, &mut slots)) {
        transfer.fetch_failed(fetch, FetchFailed::Cut, Duration::ZERO, &mut slots);
    }
    assert_eq!(transfer.poll(Duration::ZERO, &mut slots), []);
    let late = PATIENCE - Duration::from_secs(1);
    let again = started(&transfer.poll(late, &mut slots));
    assert_eq!(slots.in_all(), again.len());
    assert!(!again.is_empty());

    let end = transfer.poll(PATIENCE, &mut slots);
    assert!(matches!(end.last(), Some(Action::Failed { .. })), "{end:?}");
    for fetch in again {
        assert!(end.contains(&Action::Cancel { fetch }), "{end:?}");
    }
    assert_eq!(slots.in_all(), 0);
}

/// The only provider disappears midway, for longer than the wait for a provider that never sent anything.
#[test]
fn who_sent_something_and_vanished_is_waited_for() {
    let mut slots = Slots::default();
    let mut transfer = transfer(Units::whole(LEN));
    transfer.provider_has(peer(1), BLOB, Units::whole(LEN));
    let fetches = asked(&transfer.poll(Duration::ZERO, &mut slots));
    let (first, ..) = fetches[0].clone();
    transfer.fetch_progress(first, 3 << 20, SECOND, &mut slots);
    transfer.fetch_failed(first, FetchFailed::Cut, SECOND, &mut slots);
    transfer.provider_gone(&peer(1), &mut slots);
    transfer.provider_may_return(peer(1));
    transfer.poll(SECOND, &mut slots);
    let late = SECOND + INTERRUPTION - SECOND;
    let waiting = transfer.poll(late, &mut slots);
    assert!(
        matches!(waiting[..], [] | [Action::Starved { .. }]),
        "{waiting:?}"
    );

    transfer.provider_has(peer(1), BLOB, Units::whole(LEN));
    let again = asked(&transfer.poll(late, &mut slots));
    assert!(!again.is_empty(), "it is asked at once");
    let arrived = fetches[0].2.start..fetches[0].2.start + (3 << 20);
    for (.., range) in &again {
        assert!(
            range.start >= arrived.end || range.end <= arrived.start,
            "{range:?} was there already"
        );
    }

    // Now it is connected and delivers nothing: the wait is no longer than for any other.
    for (fetch, ..) in again {
        transfer.fetch_failed(fetch, FetchFailed::Refused, late, &mut slots);
    }
    transfer.poll(late, &mut slots);
    let end = transfer.poll(late + PATIENCE, &mut slots);
    assert!(matches!(end.last(), Some(Action::Failed { .. })), "{end:?}");
}

#[test]
fn who_sent_something_and_stays_away_is_given_up_in_the_end_and_not_called_a_liar() {
    let mut slots = Slots::default();
    let mut transfer = transfer(Units::whole(LEN));
    transfer.provider_has(peer(1), BLOB, Units::whole(LEN));
    transfer.provider_has(peer(2), BLOB, Units::whole(1 << 20));
    let fetches = asked(&transfer.poll(Duration::ZERO, &mut slots));
    let of = |peer| fetches.iter().find(|(_, provider, _)| *provider == peer);
    transfer.fetch_progress(of(peer(1)).unwrap().0, 3 << 20, SECOND, &mut slots);
    transfer.provider_gone(&peer(1), &mut slots);
    transfer.provider_may_return(peer(1));
    // It was asked and has never sent anything.
    transfer.provider_gone(&peer(2), &mut slots);
    transfer.provider_may_return(peer(2));
    transfer.poll(SECOND, &mut slots);
    let end = transfer.poll(SECOND + INTERRUPTION, &mut slots);
    let Some(Action::Failed {
        why: EngineError::NoProvider { failed, lied, .. },
    }) = end.last()
    else {
        panic!("{end:?}")
    };
    assert_eq!((&failed[..], &lied[..]), (&[peer(1)][..], &[][..]));
}

/// The fetches among the actions: provider and bytes of each.
fn asked(actions: &[Action]) -> Vec<(FetchId, Provider, Range<u64>)> {
    let fetches = actions.iter().filter_map(|action| match action {
        Action::Fetch {
            fetch,
            provider,
            range,
            ..
        } => Some((*fetch, *provider, range.clone())),
        _ => None,
    });
    fetches.collect()
}

fn asked_of(actions: &[Action], of: Provider) -> Units {
    let asked = asked(actions);
    let its = asked.into_iter().filter(|(_, provider, _)| *provider == of);
    its.fold(Units::NONE, |all, (.., range)| {
        all | Units::inside(range, LEN)
    })
}

/// A transfer of the whole blob with these peers and the bucket, all of which have said what they
/// have.
fn with_bucket(peers: &[(u8, Units)]) -> Transfer {
    let mut transfer = transfer(Units::whole(LEN));
    transfer.provider_has(Provider::Bucket, BLOB, Units::whole(LEN));
    for (n, have) in peers {
        transfer.provider_has(peer(*n), BLOB, *have);
    }
    transfer.peers_answered();
    transfer
}

#[test]
fn with_nobody_connected_the_bucket_is_asked_at_once() {
    let mut slots = Slots::default();
    let actions = with_bucket(&[]).poll(Duration::ZERO, &mut slots);
    assert_eq!(asked_of(&actions, Provider::Bucket), Units::whole(LEN));
}

/// A pull is three transfers, and the first may use up its patience.
#[test]
fn a_connected_holder_is_heard_even_if_no_patience_is_left() {
    for sources in [Sources::Any, Sources::Peers] {
        let mut slots = Slots::default();
        let mut transfer = transfer_from(Units::whole(LEN), sources);
        transfer.patience = Duration::ZERO;
        assert_eq!(transfer.poll(SECOND, &mut slots), []);
        assert_eq!(transfer.timeout(), Some(HEARD_WITHIN), "no busy wait");
        transfer.provider_has(peer(1), BLOB, Units::whole(LEN));
        transfer.peers_answered();
        assert!(!asked(&transfer.poll(SECOND, &mut slots)).is_empty());

        let mut transfer = transfer_from(Units::whole(LEN), sources);
        transfer.patience = Duration::ZERO;
        assert_eq!(transfer.poll(SECOND, &mut slots), []);
        transfer.peers_answered();
        let end = transfer.poll(SECOND, &mut slots);
        assert!(matches!(end.last(), Some(Action::Failed { .. })), "{end:?}");
    }
}

#[test]
fn members_have_a_second_to_say_what_they_have() {
    let mut slots = Slots::default();
    let mut transfer = transfer(Units::whole(LEN));
    transfer.provider_has(Provider::Bucket, BLOB, Units::whole(LEN));
    assert!(transfer.awaits_answers());
    assert_eq!(transfer.poll(Duration::ZERO, &mut slots), []);
    assert_eq!(transfer.timeout(), Some(ANSWERED_WITHIN));
    let actions = transfer.poll(ANSWERED_WITHIN, &mut slots);
    assert_eq!(asked_of(&actions, Provider::Bucket), Units::whole(LEN));
}

#[test]
fn what_a_peer_has_is_left_to_peers() {
    let mut slots = Slots::default();
    let half = Units::span(0, 6);
    let mut transfer = with_bucket(&[(1, half)]);
    let actions = transfer.poll(Duration::ZERO, &mut slots);
    let rest = Units::whole(LEN).without(half);
    assert_eq!(asked_of(&actions, Provider::Bucket), rest);
    assert!(half.contains(asked_of(&actions, peer(1))));

    // Both serve one pull until it is complete.
    let mut open = asked(&actions);
    while let Some((fetch, ..)) = open.pop() {
        transfer.fetch_done(fetch, SECOND, &mut slots);
        open.extend(asked(&transfer.poll(SECOND, &mut slots)));
    }
    assert!(transfer.poll(SECOND, &mut slots).contains(&Action::Done));
    assert_eq!(
        transfer.credit(),
        [(peer(1), 6 << 20), (Provider::Bucket, 6 << 20)]
    );
    assert_eq!(slots.in_all(), 0);
}

#[test]
fn a_peer_that_sleeps_costs_seconds() {
    let mut slots = Slots::default();
    let mut transfer = with_bucket(&[(1, Units::whole(LEN))]);
    let first = transfer.poll(Duration::ZERO, &mut slots);
    assert_eq!(asked_of(&first, Provider::Bucket), Units::NONE);
    let early = transfer.poll(HEDGED_AFTER - SECOND, &mut slots);
    assert_eq!(asked_of(&early, Provider::Bucket), Units::NONE);
    let later = transfer.poll(HEDGED_AFTER, &mut slots);
    assert_eq!(
        asked_of(&later, Provider::Bucket),
        Units::whole(LEN),
        "what nobody was asked for, and what the sleeper was"
    );
}

#[test]
fn a_peer_that_moves_is_not_doubled() {
    let mut slots = Slots::default();
    let mut transfer = with_bucket(&[(1, Units::whole(LEN))]);
    let first = asked(&transfer.poll(Duration::ZERO, &mut slots));
    for second in 1..20 {
        let now = SECOND * second;
        for (fetch, ..) in &first {
            transfer.fetch_progress(*fetch, u64::from(second), now, &mut slots);
        }
        assert_eq!(transfer.poll(now, &mut slots), [], "at {now:?}");
    }
}

#[test]
fn peers_that_failed_or_lied_do_not_keep_the_bucket_out() {
    for why in [
        FetchFailed::Cut,
        FetchFailed::Stalled,
        FetchFailed::Liar,
        FetchFailed::Refused,
    ] {
        let mut slots = Slots::default();
        let mut transfer = with_bucket(&[(1, Units::whole(LEN))]);
        for (fetch, ..) in asked(&transfer.poll(Duration::ZERO, &mut slots)) {
            transfer.fetch_failed(fetch, why, Duration::ZERO, &mut slots);
        }
        let actions = transfer.poll(Duration::ZERO, &mut slots);
        assert_eq!(
            asked_of(&actions, Provider::Bucket),
            Units::whole(LEN),
            "{why:?}"
        );
    }
}

/// A peer fails at every retry: the bucket continues beside it.
#[test]
fn a_peer_that_failed_has_to_deliver_first() {
    let mut slots = Slots::default();
    let mut transfer = with_bucket(&[(1, Units::whole(LEN))]);
    for (fetch, ..) in asked(&transfer.poll(Duration::ZERO, &mut slots)) {
        transfer.fetch_failed(fetch, FetchFailed::Cut, Duration::ZERO, &mut slots);
    }
    let again = transfer.poll(FIRST_REST, &mut slots);
    let (to_peer, to_bucket) = (
        asked_of(&again, peer(1)),
        asked_of(&again, Provider::Bucket),
    );
    assert!(!to_peer.is_empty() && !to_bucket.is_empty(), "{again:?}");
}

#[test]
fn fetches_that_fail_together_are_one_failure() {
    let mut slots = Slots::default();
    let mut transfer = with_bucket(&[]);
    let fetches = asked(&transfer.poll(Duration::ZERO, &mut slots));
    assert!(fetches.len() > 1);
    for (fetch, ..) in fetches {
        transfer.fetch_failed(fetch, FetchFailed::NotConnected, SECOND, &mut slots);
    }
    assert_eq!(transfer.poll(SECOND, &mut slots), []);
    let again = transfer.poll(SECOND + FIRST_REST, &mut slots);
    assert!(!asked_of(&again, Provider::Bucket).is_empty());
    for (fetch, ..) in asked(&again) {
        transfer.fetch_failed(fetch, FetchFailed::Cut, SECOND * 3, &mut slots);
    }
    let early = transfer.poll(SECOND * 3 + FIRST_REST, &mut slots);
    assert_eq!(asked(&early), []);
    let third = transfer.poll(SECOND * 3 + FIRST_REST * 2, &mut slots);
    assert!(
        !asked_of(&third, Provider::Bucket).is_empty(),
        "it rests twice as long"
    );
}

#[test]
fn a_bucket_that_lies_about_a_blob_is_not_asked_for_it_again() {
    let mut slots = Slots::default();
    let mut transfer = with_bucket(&[]);
    let (fetch, ..) = asked(&transfer.poll(Duration::ZERO, &mut slots))[0].clone();
    transfer.fetch_failed(fetch, FetchFailed::Liar, SECOND, &mut slots);
    let actions = transfer.poll(SECOND, &mut slots);
    let (provider, blob) = (Provider::Bucket, BLOB);
    assert!(
        actions.contains(&Action::Liar { provider, blob }),
        "{actions:?}"
    );
    assert_eq!(asked_of(&actions, Provider::Bucket), Units::NONE);
    transfer.provider_has(Provider::Bucket, BLOB, Units::whole(LEN));
    let later = transfer.poll(SECOND * 2, &mut slots);
    assert_eq!(
        asked_of(&later, Provider::Bucket),
        Units::NONE,
        "whatever is said of it"
    );

    // Peers serve what it held.
    transfer.provider_has(peer(1), BLOB, Units::whole(LEN));
    let peers = transfer.poll(SECOND * 3, &mut slots);
    assert!(!asked_of(&peers, peer(1)).is_empty());
}

#[test]
fn a_transfer_that_only_the_bucket_could_end_says_who_lied() {
    let mut slots = Slots::default();
    let mut transfer = with_bucket(&[]);
    for (fetch, ..) in asked(&transfer.poll(Duration::ZERO, &mut slots)) {
        transfer.fetch_failed(fetch, FetchFailed::Liar, Duration::ZERO, &mut slots);
    }
    transfer.poll(Duration::ZERO, &mut slots);
    let end = transfer.poll(PATIENCE, &mut slots);
    let why = EngineError::NoProvider {
        missing: LEN,
        blob: BLOB,
        failed: Vec::new(),
        lied: vec![Provider::Bucket],
        damaged: Vec::new(),
    };
    assert_eq!(end, [Action::Failed { why }]);
}

#[test]
fn a_provider_whose_copy_is_damaged_is_told_as_that_and_not_asked_for_it_again() {
    let mut slots = Slots::default();
    let mut transfer = transfer(Units::whole(LEN));
    transfer.provider_has(peer(1), BLOB, Units::whole(LEN));
    for (fetch, ..) in asked(&transfer.poll(Duration::ZERO, &mut slots)) {
        transfer.fetch_failed(fetch, FetchFailed::Cut, Duration::ZERO, &mut slots);
    }
    for (fetch, ..) in asked(&transfer.poll(FIRST_REST, &mut slots)) {
        transfer.fetch_failed(fetch, FetchFailed::Damaged, FIRST_REST, &mut slots);
    }
    assert_eq!(asked(&transfer.poll(SECOND * 9, &mut slots)), []);
    let end = transfer.poll(SECOND * 9 + PATIENCE, &mut slots);
    let why = EngineError::NoProvider {
        missing: LEN,
        blob: BLOB,
        failed: Vec::new(),
        lied: Vec::new(),
        damaged: vec![peer(1)],
    };
    assert_eq!(end, [Action::Failed { why }]);
}

#[test]
fn what_is_under_way_at_somebody_who_sends_nothing_is_missing_too() {
    let mut slots = Slots::default();
    let mut transfer = transfer(Units::whole(LEN));
    transfer.provider_has(peer(1), BLOB, Units::whole(LEN));
    for (fetch, ..) in asked(&transfer.poll(Duration::ZERO, &mut slots)) {
        transfer.fetch_failed(fetch, FetchFailed::Cut, Duration::ZERO, &mut slots);
    }
    transfer.poll(Duration::ZERO, &mut slots);
    let end = transfer.poll(PATIENCE, &mut slots);
    assert!(!asked(&end).is_empty(), "it is asked again: {end:?}");
    let Some(Action::Failed {
        why: EngineError::NoProvider { missing, .. },
    }) = end.last()
    else {
        panic!("{end:?}")
    };
    assert_eq!(*missing, LEN);
}

/// It is asked again and again. Until it sends something, users see that nobody does.
#[test]
fn who_failed_and_is_asked_again_does_not_count_as_a_provider() {
    let mut slots = Slots::default();
    let mut transfer = transfer(Units::whole(LEN));
    transfer.provider_has(peer(1), BLOB, Units::whole(LEN));
    let first = asked(&transfer.poll(Duration::ZERO, &mut slots));
    assert_eq!(transfer.active_providers(), 1);
    for (fetch, ..) in first {
        transfer.fetch_failed(fetch, FetchFailed::Cut, Duration::ZERO, &mut slots);
    }
    let again = asked(&transfer.poll(FIRST_REST, &mut slots));
    assert_eq!((again.is_empty(), transfer.active_providers()), (false, 0));
    transfer.fetch_progress(again[0].0, 1 << 20, FIRST_REST, &mut slots);
    assert_eq!(transfer.active_providers(), 1);
}

#[test]
fn who_goes_away_while_nobody_sends_is_a_new_reason_to_wait() {
    let mut slots = Slots::default();
    let mut transfer = transfer(Units::whole(LEN));
    transfer.provider_has(peer(1), BLOB, Units::whole(LEN));
    for (fetch, ..) in asked(&transfer.poll(Duration::ZERO, &mut slots)) {
        transfer.fetch_failed(fetch, FetchFailed::Cut, Duration::ZERO, &mut slots);
    }
    transfer.poll(Duration::ZERO, &mut slots);
    let starved = Action::Starved { missing: LEN };
    let told = |actions: &[Action]| actions.contains(&starved);
    assert!(told(&transfer.poll(STARVED_AFTER, &mut slots)));
    assert!(!told(&transfer.poll(STARVED_AFTER * 2, &mut slots)));
    transfer.provider_gone(&peer(1), &mut slots);
    assert!(told(&transfer.poll(STARVED_AFTER * 3, &mut slots)));
}

#[test]
fn whoever_is_not_to_be_asked_is_not() {
    for (sources, of, not) in [
        (Sources::Peers, peer(1), Provider::Bucket),
        (Sources::Bucket, Provider::Bucket, peer(1)),
    ] {
        let mut slots = Slots::default();
        let mut transfer = transfer_from(Units::whole(LEN), sources);
        transfer.provider_has(Provider::Bucket, BLOB, Units::whole(LEN));
        transfer.provider_has(peer(1), BLOB, Units::whole(LEN));
        let actions = transfer.poll(Duration::ZERO, &mut slots);
        assert!(!asked_of(&actions, of).is_empty(), "{sources:?}");
        assert_eq!(asked_of(&actions, not), Units::NONE, "{sources:?}");
        assert_eq!(transfer.asks_peers(), sources == Sources::Peers);
    }
}

#[test]
fn a_large_transfer_takes_whole_packs_of_the_bucket_and_keeps_its_places_apart() {
    let mut slots = Slots::default();
    let len = 64 << 20;
    let blobs = (0..30).map(|n| WantedBlob {
        blob: BlobId::from_bytes([n; 32]),
        len,
        missing: Units::whole(len),
    });
    let want = Want {
        transfer: TransferId(1),
        team: TeamId::from_bytes([1; 32]),
        blobs: blobs.collect(),
        prefer: None,
        sources: Sources::Any,
        patience: PATIENCE,
    };
    let mut transfer = Transfer::new(want, [7; 32], Duration::ZERO);
    transfer.peers_answered();
    // Enough stalled peers to hold all peer slots.
    for n in 1..=4 {
        for blob in 0..30 {
            let blob = BlobId::from_bytes([blob; 32]);
            transfer.provider_has(peer(n), blob, Units::whole(len));
        }
    }
    assert_eq!(
        asked(&transfer.poll(Duration::ZERO, &mut slots)).len(),
        MAX_IN_ALL
    );
    for blob in 0..30 {
        let blob = BlobId::from_bytes([blob; 32]);
        transfer.provider_has(Provider::Bucket, blob, Units::whole(len));
    }
    let hedged = asked(&transfer.poll(HEDGED_AFTER, &mut slots));
    assert_eq!(hedged.len(), MAX_AT_BUCKET);
    let whole = |(_, provider, range): &(FetchId, Provider, Range<u64>)| {
        *provider == Provider::Bucket && range.end - range.start == len
    };
    assert!(
        hedged.iter().filter(|fetch| whole(fetch)).count() >= 4,
        "{hedged:?}"
    );
}

/// A peer starts every range and completes none: that buys it no further wait.
#[test]
fn a_peer_that_went_quiet_is_relied_on_again_when_a_range_has_come() {
    let mut slots = Slots::default();
    let mut transfer = with_bucket(&[(1, Units::span(0, 8))]);
    let first = asked(&transfer.poll(Duration::ZERO, &mut slots));
    let (at_peer, ..) = first[0].clone();
    transfer.poll(HEDGED_AFTER, &mut slots);
    let now = HEDGED_AFTER + SECOND;
    transfer.fetch_progress(at_peer, 1, now, &mut slots);
    assert!(slots.is_quiet(&peer(1)));
    transfer.fetch_done(at_peer, now, &mut slots);
    assert!(!slots.is_quiet(&peer(1)));
    transfer.provider_gone(&peer(1), &mut slots);
    assert!(!slots.is_quiet(&peer(1)));
}

/// For a second transfer all slots at a stalled peer are taken.
#[test]
fn who_sleeps_for_one_transfer_sleeps_for_the_others() {
    let mut slots = Slots::default();
    with_bucket(&[(1, Units::whole(LEN))]).poll(Duration::ZERO, &mut slots);
    let mut second = with_bucket(&[(1, Units::whole(LEN))]);
    assert_eq!(second.poll(SECOND, &mut slots), []);
    let hedged = second.poll(HEDGED_AFTER, &mut slots);
    assert_eq!(asked_of(&hedged, Provider::Bucket), Units::whole(LEN));
}
