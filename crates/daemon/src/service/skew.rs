//! Compares this machine's clock with those of teammates, which sign the time. Which one is wrong shows only if most of
//! them agree against this one: a single other clock may be the wrong one.

use std::collections::BTreeMap;

use chrono::{Local, TimeZone};
use podsync_api::node::Clock;
use podsync_core::{DeviceId, TeamId, engine::Engine};

use crate::{clock::now_ms, error::Failure, node::handle::Node};

const DAY_S: u64 = 24 * 60 * 60;
/// A connected device signs the time every hour, so a statement of it may be that old.
const FRESH_MS: u64 = 2 * 60 * 60 * 1000;

/// How much a teammate's clock may differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tolerance {
    pub(crate) ahead_s: u64,
    pub(crate) behind_s: u64,
}

/// A version with a time that is off by more looks too old or too new. Laptops sleep, so smaller differences are
/// normal. Time zones don't affect these clocks.
const OF_VERSIONS: Tolerance = Tolerance {
    ahead_s: DAY_S,
    behind_s: DAY_S,
};

/// What teammates' clocks say about this machine's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement<'a> {
    /// None differs, or there is none to compare with.
    Alike,
    /// Most of them are ahead of this one, or most are behind it, by at least so many seconds.
    WrongHere { off: i64, clocks: usize },
    /// This one and others agree against these.
    WrongThere(Vec<&'a Clock>),
    /// They differ, and too few agree to tell which is right.
    Undecided(&'a Clock),
}

/// The clocks of a team's other devices, as far as they can be compared with this one. Of a device that is offline
/// only a statement from the future or from the last hours says something.
pub(crate) fn clocks(engine: &Engine, team: TeamId, now_ms: u64) -> Vec<Clock> {
    let Some(roster) = engine.roster(&team) else {
        return Vec::new();
    };
    let (me, connected) = (engine.device(), engine.connected(&team));
    let mut times = BTreeMap::new();
    for heard in engine.last_heard(&team) {
        if connected.contains(&heard.device) || heard.time_ms.saturating_add(FRESH_MS) >= now_ms {
            times.insert(heard.device, heard.time_ms);
        }
    }
    for heard in engine.heard_ahead(&team) {
        if heard.time_ms > now_ms {
            times.insert(heard.device, heard.time_ms);
        }
    }
    times.remove(&me);
    let clock = |(device, time_ms): (DeviceId, u64)| {
        let record = roster.member(&device)?;
        if record.removed.is_some() {
            return None;
        }
        let ahead_s = (i128::from(time_ms) - i128::from(now_ms)) / 1000;
        Some(Clock {
            device,
            name: format!("{}/{}", record.member, record.label),
            ahead_s: i64::try_from(ahead_s).unwrap_or(i64::MAX),
        })
    };
    times.into_iter().filter_map(clock).collect()
}

pub(crate) fn judge(clocks: &[Clock], tolerance: Tolerance) -> Judgement<'_> {
    let (ahead, behind): (Vec<_>, Vec<_>) = clocks.iter().partition(|clock| clock.ahead_s > 0);
    let ahead = beyond(ahead, tolerance.ahead_s);
    let behind = beyond(behind, tolerance.behind_s);
    for group in [&ahead, &behind] {
        let least = group
            .iter()
            .min_by_key(|clock| clock.ahead_s.unsigned_abs());
        if let Some(least) = least
            && group.len() >= 2
            && 2 * group.len() > clocks.len()
        {
            return Judgement::WrongHere {
                off: least.ahead_s,
                clocks: group.len(),
            };
        }
    }
    let off: Vec<_> = ahead.into_iter().chain(behind).collect();
    let Some(first) = off.first().copied() else {
        return Judgement::Alike;
    };
    match off.len() == clocks.len() {
        true => Judgement::Undecided(first),
        false => Judgement::WrongThere(off),
    }
}

fn beyond(clocks: Vec<&Clock>, most_s: u64) -> Vec<&Clock> {
    let off = clocks.into_iter();
    off.filter(|clock| clock.ahead_s.unsigned_abs() > most_s)
        .collect()
}

/// `bob/laptop's clock says 2 December 2026 20:47, and this machine's 30 November 2026 20:47`.
pub(crate) fn both(clock: &Clock) -> String {
    let now = now_ms();
    let theirs = now.saturating_add_signed(clock.ahead_s.saturating_mul(1000));
    let (name, theirs, ours) = (&clock.name, shown(theirs), shown(now));
    format!("{name}'s clock says {theirs}, and this machine's {ours}")
}

/// A time in words, in its largest unit: `2 days`.
pub(crate) fn span(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..3600 => (seconds / 60, "minute"),
        3600..DAY_S => (seconds / 3600, "hour"),
        _ => (seconds / DAY_S, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

fn shown(ms: u64) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(|ms| Local.timestamp_millis_opt(ms).single());
    time.map_or_else(
        || "a time that no calendar has".to_owned(),
        |time| time.format("%-d %B %Y %H:%M").to_string(),
    )
}

/// The warning about this machine's clock, if there is one, for who saves or shares a version.
pub(super) async fn warnings(node: &Node, team: TeamId) -> Result<Vec<String>, Failure> {
    let clocks = node.read(move |engine| clocks(engine, team, now_ms()));
    Ok(warning(&clocks.await?).into_iter().collect())
}

fn warning(clocks: &[Clock]) -> Option<String> {
    match judge(clocks, OF_VERSIONS) {
        Judgement::Alike | Judgement::WrongThere(_) => None,
        Judgement::WrongHere { off, .. } => {
            let how_far = span(off.unsigned_abs());
            let direction = if off > 0 { "behind" } else { "ahead of" };
            Some(format!(
                "this machine's clock is {how_far} {direction} teammates' clocks, so teammates see a wrong time for \
                 this version: set the clock"
            ))
        }
        Judgement::Undecided(clock) => Some(format!(
            "{}: if this machine's is wrong, teammates see a wrong time for this version: compare both, and set the \
             wrong one",
            both(clock)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = DAY_S as i64;

    fn clocks(ahead_s: &[i64]) -> Vec<Clock> {
        let clocks = ahead_s.iter().zip(1..).map(|(ahead_s, n)| Clock {
            device: DeviceId::from_bytes([n; 32]),
            name: format!("bob/{n}"),
            ahead_s: *ahead_s,
        });
        clocks.collect()
    }

    #[test]
    fn a_clock_that_jumped_by_more_than_a_day_is_told() {
        let told = |ahead_s: &[i64]| warning(&clocks(ahead_s));
        for alike in [&[][..], &[DAY], &[-DAY], &[0, 3600, -3600]] {
            assert_eq!(told(alike), None);
        }
        let behind = told(&[3 * DAY + 1, 4 * DAY, 0]).unwrap();
        assert!(behind.contains("3 days behind"), "{behind}");
        let ahead = told(&[-DAY - 3600, -DAY - 7200]).unwrap();
        assert!(ahead.contains("1 day ahead of"), "{ahead}");
        for alone in [DAY + 3600, -DAY - 3600] {
            let told = told(&[alone]).unwrap();
            assert!(told.starts_with("bob/1's clock says "), "{told}");
            assert!(!told.contains("this machine's clock is"), "{told}");
        }
        // The other one is wrong: a third agrees with this one.
        assert_eq!(told(&[2 * DAY, 0]), None);
    }

    #[test]
    fn only_most_clocks_accuse_this_one() {
        let judged = |ahead_s: &[i64]| format!("{:?}", judge(&clocks(ahead_s), OF_VERSIONS));
        let off = 2 * DAY;
        for (ahead_s, judgement) in [
            (&[off][..], "Undecided"),
            (&[off, -off], "Undecided"),
            (&[off, 0], "WrongThere"),
            (&[off, off, 0, 0], "WrongThere"),
            (&[off, off], "WrongHere"),
            (&[off, off + 5, 0], "WrongHere"),
        ] {
            let judged = judged(ahead_s);
            assert!(judged.starts_with(judgement), "{ahead_s:?}: {judged}");
        }
    }

    #[test]
    fn no_time_is_too_far_away_to_be_told() {
        for ahead_s in [i64::MAX, i64::MIN + 1] {
            let told = warning(&clocks(&[ahead_s])).unwrap();
            assert!(told.contains("this machine's "), "{told}");
        }
        let told = [59, 60, 3599, 3600, DAY_S - 1, DAY_S, 3 * DAY_S].map(span);
        let units = [
            "0 minutes",
            "1 minute",
            "59 minutes",
            "1 hour",
            "23 hours",
            "1 day",
            "3 days",
        ];
        assert_eq!(told, units);
    }
}
