//! Which devices of a team aren't connected, and the text for what a command waits for.

use std::fmt::Display;

use chrono::{DateTime, Local, TimeDelta, TimeZone};
use podsync_api::ApiError;
use podsync_core::{DeviceId, TeamId};

use crate::{clock::now_ms, error::Stopped, node::handle::Node};

/// The most devices that a line names.
const MAX_NAMED: usize = 4;
/// A weekday names only days less than a week ago.
const WEEK: TimeDelta = TimeDelta::days(7);

/// The devices of a team that aren't connected.
#[derive(Debug)]
pub(crate) struct Absent {
    /// The team is this device alone, and has no hub.
    pub(crate) is_nobody_else: bool,
    away: Vec<Away>,
}

#[derive(Debug)]
struct Away {
    name: String,
    /// Unix milliseconds.
    since_ms: Option<u64>,
}

impl Absent {
    pub(crate) async fn read(node: &Node, me: DeviceId, team: TeamId) -> Result<Self, Stopped> {
        node.read(move |engine| {
            let connected = engine.connected(&team);
            let roster = engine.roster(&team);
            let devices = roster.into_iter().flat_map(|roster| roster.devices());
            let others: Vec<_> = devices
                .filter(|record| record.device != me && !record.robot)
                .collect();
            let is_nobody_else = others.is_empty() && engine.hub_url(&team).is_none();
            let away = others
                .into_iter()
                .filter(|record| !connected.contains(&record.device));
            let away = away.map(|record| Away {
                name: format!("{}/{}", record.member, record.label),
                since_ms: engine.offline_since(&team, &record.device),
            });
            Self {
                is_nobody_else,
                away: away.collect(),
            }
        })
        .await
    }

    /// `waiting for bob/laptop (offline since 10:31), hub asked`. `None` if all devices are connected.
    pub(crate) fn line(&self, hub: Option<bool>) -> Option<String> {
        self.line_at(&local(now_ms())?, hub)
    }

    fn line_at<Tz: TimeZone<Offset: Display>>(
        &self,
        now: &DateTime<Tz>,
        hub: Option<bool>,
    ) -> Option<String> {
        let for_whom = self.away.iter().map(|away| {
            let since = away.since_ms.and_then(|ms| at(ms, &now.timezone()));
            match since {
                Some(since) => format!("{} (offline since {})", away.name, moment(&since, now)),
                None => format!("{} (offline)", away.name),
            }
        });
        let mut for_whom: Vec<_> = for_whom.take(MAX_NAMED).collect();
        if for_whom.is_empty() {
            return None;
        }
        if self.away.len() > MAX_NAMED {
            for_whom.push(format!("{} more", self.away.len() - MAX_NAMED));
        }
        let hub = match hub {
            Some(true) => ", hub asked",
            Some(false) => ", hub not reached",
            None => "",
        };
        Some(format!("waiting for {}{hub}", for_whom.join(", ")))
    }

    /// Adds to an error that an offline device may know the version. Callers that have `waited`, or that
    /// can't, get no hint to wait.
    pub(crate) fn explain(&self, error: ApiError, waited: bool) -> ApiError {
        let names: Vec<_> = self
            .away
            .iter()
            .take(MAX_NAMED)
            .map(|away| &*away.name)
            .collect();
        let who = match (&names[..], self.away.len()) {
            ([], _) => return error,
            ([one], 1) => format!("{one} is"),
            (names, count) if count > names.len() => {
                format!("{} and {} more are", names.join(", "), count - names.len())
            }
            (names, _) => format!("{} are", names.join(", ")),
        };
        let next = if waited {
            "try again when they are online"
        } else {
            "--wait TIME waits"
        };
        let hint = match &error.hint {
            // A question ends its sentence.
            Some(hint) if hint.ends_with('?') => {
                format!("{hint} {who} offline and may know of it: {next}")
            }
            Some(hint) => format!("{hint}; {who} offline and may know of it: {next}"),
            None => format!("{who} offline and may know of it: {next}"),
        };
        error.hint(hint)
    }
}

fn local(ms: u64) -> Option<DateTime<Local>> {
    at(ms, &Local)
}

fn at<Tz: TimeZone>(ms: u64, zone: &Tz) -> Option<DateTime<Tz>> {
    zone.timestamp_millis_opt(i64::try_from(ms).ok()?).single()
}

/// A time as the clock on the wall shows it: `10:31`, `Tuesday 10:31`, `3 November 10:31`, `3 November 2025`.
fn moment<Tz: TimeZone<Offset: Display>>(time: &DateTime<Tz>, now: &DateTime<Tz>) -> String {
    let (day, today) = (time.date_naive(), now.date_naive());
    let form = if day == today {
        "%H:%M"
    } else if day < today && today - day < WEEK {
        "%A %H:%M"
    } else if time.format("%Y").to_string() == now.format("%Y").to_string() {
        "%-d %B %H:%M"
    } else {
        "%-d %B %Y"
    };
    time.format(form).to_string()
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    /// Sunday, 29 November 2026, 16:00 in a zone two hours east.
    fn now() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-11-29T16:00:00+02:00").unwrap()
    }

    #[test]
    fn a_time_is_told_as_the_clock_on_the_wall_shows_it() {
        for (time, told) in [
            ("2026-11-29T10:31:59+02:00", "10:31"),
            // In UTC this is the evening before; here it is this morning.
            ("2026-11-28T22:30:00Z", "00:30"),
            ("2026-11-28T21:59:00Z", "Saturday 23:59"),
            ("2026-11-23T08:05:00+02:00", "Monday 08:05"),
            ("2026-11-22T23:59:00+02:00", "22 November 23:59"),
            ("2025-12-31T12:00:00+02:00", "31 December 2025"),
            // Another device's clock may be ahead.
            ("2026-11-30T09:00:00+02:00", "30 November 09:00"),
        ] {
            let time = DateTime::parse_from_rfc3339(time).unwrap();
            assert_eq!(moment(&time.with_timezone(&now().timezone()), &now()), told);
        }
    }

    fn away(names: &[&str], since: &str) -> Absent {
        let since = DateTime::parse_from_rfc3339(since).unwrap();
        let away = names.iter().map(|name| Away {
            name: (*name).to_owned(),
            since_ms: u64::try_from(since.timestamp_millis()).ok(),
        });
        Absent {
            is_nobody_else: false,
            away: away.collect(),
        }
    }

    #[test]
    fn who_has_waited_is_not_told_to_wait() {
        let absent = away(&["bob/laptop"], "2026-11-29T10:31:00+02:00");
        let hint = |waited| {
            let error = ApiError::new(podsync_api::ErrorCode::NotFound, "no pod");
            absent.explain(error, waited).hint.unwrap()
        };
        assert!(hint(false).contains("--wait"));
        assert!(!hint(true).contains("--wait"), "{}", hint(true));
        assert!(hint(true).contains("bob/laptop is offline"));
        let error = ApiError::new(podsync_api::ErrorCode::NotFound, "no pod");
        let asked = absent.explain(error.hint("did you mean orders?"), true);
        assert_eq!(
            asked.hint.unwrap(),
            "did you mean orders? bob/laptop is offline and may know of it: try again when they are online"
        );
    }

    #[test]
    fn a_line_says_for_whom_a_command_waits_and_since_when() {
        let absent = away(&["bob/laptop"], "2026-11-29T10:31:00+02:00");
        assert_eq!(
            absent.line_at(&now(), Some(true)).unwrap(),
            "waiting for bob/laptop (offline since 10:31), hub asked"
        );
        let absent = away(
            &["a/1", "b/2", "c/3", "d/4", "e/5", "f/6"],
            "2026-11-28T22:30:00Z",
        );
        assert!(
            absent
                .line_at(&now(), Some(false))
                .unwrap()
                .ends_with("d/4 (offline since 00:30), 2 more, hub not reached")
        );
        let unknown = Absent {
            is_nobody_else: false,
            away: vec![Away {
                name: "bob/laptop".to_owned(),
                since_ms: None,
            }],
        };
        assert_eq!(
            unknown.line_at(&now(), None).unwrap(),
            "waiting for bob/laptop (offline)"
        );
        assert_eq!(
            away(&[], "2026-11-29T10:31:00Z").line_at(&now(), None),
            None
        );
    }
}
