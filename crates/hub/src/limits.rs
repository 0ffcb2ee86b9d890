//! How many requests the hub answers at once, in all and of one device, and how long each may take.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use podsync_api::hub::{HubError, HubErrorCode};
use podsync_core::DeviceId;

/// How many requests one hub serves at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Signed requests in all: with the longest bodies, 2 GiB.
    pub in_flight: usize,
    /// Signed requests of one device.
    pub per_device: usize,
    /// Signed requests of devices that aren't in the team: newcomers, and anyone else with a key.
    pub strangers: usize,
    /// How long a body may take to arrive.
    pub body: Duration,
    /// How long a request may take in all: a commit looks for thousands of objects.
    pub whole: Duration,
    /// How long an answer to who asks about the buckets' health is reused.
    pub health: Duration,
    /// How long a listing or a write counts as a sign of health. After this the hub tries one, if somebody asks.
    pub trial: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 256,
            per_device: 16,
            strangers: 32,
            body: Duration::from_secs(30),
            whole: Duration::from_secs(120),
            health: Duration::from_secs(5),
            trial: Duration::from_secs(60),
        }
    }
}

/// The signed requests that are being answered, by device.
#[derive(Debug, Default)]
pub struct InFlight(Arc<Mutex<HashMap<Requester, usize>>>);

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Requester {
    Member(DeviceId),
    Stranger,
}

impl InFlight {
    /// Keys cost nothing, so all devices that aren't members share their places.
    pub(crate) fn take(
        &self,
        device: DeviceId,
        is_member: bool,
        limits: &Limits,
    ) -> Result<Permit, HubError> {
        let (requester, most) = if is_member {
            (Requester::Member(device), limits.per_device)
        } else {
            (Requester::Stranger, limits.strangers)
        };
        let mut in_flight = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = in_flight.values().sum();
        let own = in_flight.get(&requester).copied().unwrap_or_default();
        if own >= most || all >= limits.in_flight {
            return Err(HubError::new(
                HubErrorCode::TooManyRequests,
                "too many requests at once; try again in a second",
            ));
        }
        in_flight.insert(requester, own + 1);
        Ok(Permit {
            requester,
            in_flight: self.0.clone(),
        })
    }
}

/// A place among the requests in flight.
#[derive(Debug)]
pub(crate) struct Permit {
    requester: Requester,
    in_flight: Arc<Mutex<HashMap<Requester, usize>>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut in_flight = self
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = in_flight.get_mut(&self.requester) {
            *own -= 1;
            if *own == 0 {
                in_flight.remove(&self.requester);
            }
        }
    }
}
