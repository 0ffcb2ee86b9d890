//! What all requests share: teams, who is known, limits, and what is counted. Nothing of it has to outlive
//! the process, and nothing is shared with other replicas.

use std::time::{SystemTime, UNIX_EPOCH};

use podsync_api::hub::HubError;
use podsync_core::{DeviceId, TeamId, keys::DeviceSecret};

use crate::{
    audit::{Audit, Deed},
    authenticate::{InFlight, Limits, Nonces},
    metrics::Metrics,
    teams::Teams,
};

#[derive(Debug)]
pub struct Hub {
    pub(crate) teams: Teams,
    /// The names that the hub is known by; empty where a request's `Host` is believed.
    pub(crate) authorities: Vec<String>,
    /// What joins are witnessed with.
    pub(crate) witness: Option<DeviceSecret>,
    pub(crate) nonces: Nonces,
    pub(crate) limits: Limits,
    pub(crate) in_flight: InFlight,
    pub(crate) metrics: Metrics,
    audit: Audit,
}

impl Hub {
    pub fn new(teams: Teams, authorities: Vec<String>, witness: Option<DeviceSecret>) -> Self {
        Self {
            teams,
            authorities,
            witness,
            nonces: Nonces::default(),
            limits: Limits::default(),
            in_flight: InFlight::default(),
            metrics: Metrics::default(),
            audit: Audit::new(rand::random()),
        }
    }

    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Notes what became of an action.
    pub(crate) fn record<T>(
        &self,
        team: TeamId,
        device: DeviceId,
        action: &str,
        detail: &str,
        result: &Result<T, HubError>,
    ) {
        let outcome = match result {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("{:?}", error.code),
        };
        let deed = Deed {
            team,
            device,
            action,
            outcome: &outcome,
            detail,
        };
        self.audit.record(now_ms(), &deed);
    }
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| {
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    })
}
