//! Detects a wall clock that differs by days from teammates' clocks. Its versions would seem too old or too new.

use podsync_core::{TeamId, engine::Engine};

use crate::{clock::now_ms, error::Failure, node::handle::Node};

/// Smaller differences are normal: laptops sleep. Time zones don't affect these clocks.
const MAX_SKEW_MS: u64 = DAY_MS;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The warning about this machine's clock, if there is one.
pub(super) async fn warnings(node: &Node, team: TeamId) -> Result<Vec<String>, Failure> {
    let warning = node.read(move |engine| {
        let times = Times::of(engine, team);
        warning(now_ms(), times)
    });
    Ok(warning.await?.into_iter().collect())
}

/// The newest times that teammates' devices signed, by their own clocks.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// The newest time of all devices.
    any: Option<u64>,
    /// The newest time of connected devices, which sign a new one every minute.
    connected: Option<u64>,
}

impl Times {
    fn of(engine: &Engine, team: TeamId) -> Self {
        let me = engine.device();
        let connected = engine.connected(&team);
        let mut heard = engine.last_heard(&team);
        heard.retain(|heard| heard.device != me);
        let newest = |among: &dyn Fn(&podsync_core::DeviceId) -> bool| {
            let times = heard.iter().filter(|heard| among(&heard.device));
            times.map(|heard| heard.time_ms).max()
        };
        Self {
            any: newest(&|_| true),
            connected: newest(&|device| connected.contains(device)),
        }
    }
}

fn warning(now_ms: u64, times: Times) -> Option<String> {
    let behind = times.any.map_or(0, |time| time.saturating_sub(now_ms));
    let ahead = times
        .connected
        .map_or(0, |time| now_ms.saturating_sub(time));
    let (off, where_to) = if behind > MAX_SKEW_MS {
        (behind, "behind")
    } else if ahead > MAX_SKEW_MS {
        (ahead, "ahead of")
    } else {
        return None;
    };
    let days = off / DAY_MS;
    let plural = if days == 1 { "" } else { "s" };
    Some(format!(
        "this machine's clock is {days} day{plural} {where_to} teammates' clocks, so teammates see a wrong time for this \
         version: set the clock"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumped_by_more_than_a_day_is_told() {
        let now = 100 * DAY_MS;
        let told = |any, connected| warning(now, Times { any, connected });
        assert_eq!(told(None, None), None);
        assert_eq!(told(Some(now + DAY_MS), Some(now - DAY_MS)), None);
        let behind = told(Some(now + 3 * DAY_MS + 1), None).unwrap();
        assert!(behind.contains("3 days behind"), "{behind}");
        let ahead = told(Some(now - DAY_MS - 1), Some(now - DAY_MS - 1)).unwrap();
        assert!(ahead.contains("1 day ahead"), "{ahead}");
        // A device that was offline for long says nothing about this clock.
        assert_eq!(told(Some(now - 30 * DAY_MS), None), None);
    }
}
