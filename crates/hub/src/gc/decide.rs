//! Decides what a sweep does: a pure function of two listings and a time.
//!
//! All times are the bucket's own, so a hub whose clock is wrong condemns and deletes nothing too early.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use crate::keys::ObjectKey;

/// An upload may wait so long for its commit: a laptop that sleeps over a weekend uploads anew.
pub const UNNAMED_FOR: Duration = Duration::from_secs(48 * 3600);
/// How long a marker has to be there before its object goes: far longer than any commit takes.
pub const CONDEMNED_FOR: Duration = Duration::from_secs(24 * 3600);

/// How long an object stays once it is condemned: never shorter than [`CONDEMNED_FOR`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention(Duration);

impl Retention {
    /// `None` if it is too short to be safe.
    pub fn new(time: Duration) -> Option<Self> {
        (time >= CONDEMNED_FOR).then_some(Self(time))
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self(CONDEMNED_FOR)
    }
}

/// What lies in the bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Objects {
    /// When each object was written, and its bytes.
    pub present: BTreeMap<ObjectKey, (SystemTime, u64)>,
    /// When each marker was last written, of objects that are there and that are not.
    pub condemned: BTreeMap<ObjectKey, SystemTime>,
}

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Write its marker.
    Condemn(ObjectKey),
    /// Delete the object, never its marker.
    Delete(ObjectKey),
}

/// What to do about objects. The time is the bucket's own, from before the reading of `named` began.
pub fn decide(
    objects: &Objects,
    now: SystemTime,
    named: &BTreeSet<ObjectKey>,
    Retention(retention): Retention,
) -> Vec<Step> {
    let is_past =
        |since: SystemTime, wait: Duration| since.checked_add(wait).is_some_and(|then| then <= now);
    let about = |(key, (written, _)): (&ObjectKey, &(SystemTime, u64))| {
        let is_named = named.contains(key);
        match objects.condemned.get(key) {
            None => (!is_named && is_past(*written, UNNAMED_FOR)).then_some(Step::Condemn(*key)),
            Some(since) => {
                (!survives(is_named) && is_past(*since, retention)).then_some(Step::Delete(*key))
            }
        }
    };
    objects.present.iter().filter_map(about).collect()
}

/// The second look: an object that was named after it was condemned stays.
#[cfg(not(podsync_planted = "gc-no-second-look"))]
fn survives(is_named: bool) -> bool {
    is_named
}

#[cfg(podsync_planted = "gc-no-second-look")]
fn survives(_: bool) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use podsync_api::hub::{ObjectKind, Sha256};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn key(generation: u32) -> ObjectKey {
        ObjectKey {
            kind: ObjectKind::Pack,
            sha256: Sha256::from_bytes([1; 32]),
            generation,
        }
    }

    fn after(hours: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + 1_000_000 * HOUR + hours * HOUR
    }

    fn one(condemned: Option<SystemTime>) -> Objects {
        Objects {
            present: [(key(0), (after(0), 10))].into(),
            condemned: condemned.map(|since| (key(0), since)).into_iter().collect(),
        }
    }

    #[test]
    fn an_object_goes_in_two_steps_and_a_day_between() {
        let named = BTreeSet::new();
        let decide =
            |objects: &Objects, hours| decide(objects, after(hours), &named, Retention::default());
        let (fresh, marked) = (one(None), one(Some(after(50))));
        assert_eq!(decide(&fresh, 47), []);
        assert_eq!(decide(&fresh, 48), [Step::Condemn(key(0))]);
        assert_eq!(decide(&marked, 73), []);
        assert_eq!(decide(&marked, 74), [Step::Delete(key(0))]);
    }

    #[test]
    fn a_retention_makes_the_second_step_wait_and_is_never_too_short() {
        assert_eq!(Retention::new(CONDEMNED_FOR - HOUR), None);
        let (week, named) = (Retention::new(7 * 24 * HOUR).unwrap(), BTreeSet::new());
        let marked = one(Some(after(50)));
        assert_eq!(decide(&marked, after(50 + 167), &named, week), []);
        assert_eq!(
            decide(&marked, after(50 + 168), &named, week),
            [Step::Delete(key(0))]
        );
        let ages = Retention::new(Duration::MAX).unwrap();
        assert_eq!(decide(&marked, after(10_000), &named, ages), []);
    }

    #[test]
    fn what_is_named_stays_with_a_marker_and_without() {
        let named = [key(0)].into();
        for objects in [one(None), one(Some(after(1)))] {
            let decided = decide(&objects, after(10_000), &named, Retention::default());
            assert_eq!(decided, []);
        }
    }

    #[test]
    fn a_clock_that_went_back_deletes_nothing() {
        let objects = one(Some(after(50)));
        let decided = decide(&objects, after(10), &BTreeSet::new(), Retention::default());
        assert_eq!(decided, []);
    }
}
