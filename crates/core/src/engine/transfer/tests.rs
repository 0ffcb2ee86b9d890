//! One transfer by itself: what it asks for, and what it leaves behind.

use super::*;
use crate::engine::input::WantedBlob;

const PATIENCE: Duration = Duration::from_secs(60);
const BLOB: BlobId = BlobId::from_bytes([1; 32]);
const LEN: u64 = 12 << 20;

fn device(n: u8) -> DeviceId {
    crate::keys::DeviceSecret::from_seed([n; 32]).id()
}

fn transfer(missing: Units) -> Transfer {
    let want = Want {
        transfer: TransferId(1),
        team: TeamId::from_bytes([1; 32]),
        blobs: vec![WantedBlob {
            blob: BLOB,
            len: LEN,
            missing,
        }],
        prefer: None,
        patience: PATIENCE,
    };
    Transfer::new(want, [7; 32], Duration::ZERO)
}

#[test]
fn only_what_is_missing_is_asked_for() {
    let mut slots = Slots::default();
    let wanted = Units::span(0, 1) | Units::span(5, 7) | Units::span(11, 12);
    let mut transfer = transfer(wanted);
    transfer.provider_has(device(1), BLOB, Units::whole(LEN));
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
        transfer.fetch_done(fetch, &mut slots);
    }
    assert_eq!(asked, wanted);
    assert_eq!(transfer.credit(), [(device(1), 4 << 20)]);
}

/// Its provider failed once and is asked again when the patience ends: that fetch must not keep its
/// place for ever.
#[test]
fn a_transfer_that_is_given_up_leaves_no_place_taken() {
    let mut slots = Slots::default();
    let mut transfer = transfer(Units::whole(LEN));
    transfer.provider_has(device(1), BLOB, Units::whole(LEN));
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
    assert_eq!(slots.in_all, again.len());
    assert!(!again.is_empty());

    let end = transfer.poll(PATIENCE, &mut slots);
    assert!(matches!(end.last(), Some(Action::Failed { .. })), "{end:?}");
    for fetch in again {
        assert!(end.contains(&Action::Cancel { fetch }), "{end:?}");
    }
    assert_eq!(slots.in_all, 0);
}
