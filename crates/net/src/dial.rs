//! When to dial whom, and at which of its addresses: a state machine without I/O.
//!
//! TCP is tried before QUIC, for it moves bytes at nearly twice the speed here; QUIC is what is
//! left where TCP doesn't get through.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use libp2p::Multiaddr;
use podsync_core::DeviceId;

use crate::peer_id::is_quic;

/// Addresses kept of one peer: a machine has a handful, a liar any number.
const MAX_ADDRS: usize = 16;

/// Peers waiting to be dialled or being dialled, static ones not counted.
const MAX_PENDING: usize = 64;

/// How long the side that should wait lets the other one dial.
const FALLBACK: Duration = Duration::from_secs(2);

/// Between attempts to reach a static peer: doubled each time, up to the second.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// The other side doesn't know of us: dial now.
    AtOnce,
    /// The other side has heard of us as we of it: the smaller peer id dials, the larger one waits
    /// a little in case that fails.
    SmallerFirst,
}

/// Why a peer was not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    #[error("no address of {device} is known: give one, or wait until it is heard of")]
    NoAddress { device: DeviceId },
    #[error(
        "{device} could not be reached: {reason}; check that its daemon runs and its port is open"
    )]
    Unreachable { device: DeviceId, reason: String },
    #[error("too many peers are being dialled already: try {device} again later")]
    Busy { device: DeviceId },
    #[error("{device} was given up: the network is stopping")]
    Stopping { device: DeviceId },
}

/// What follows from a failed attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    TriesAgain,
    GivesUp,
}

#[derive(Debug)]
pub(crate) struct Dialler {
    local: DeviceId,
    targets: BTreeMap<DeviceId, Target>,
}

#[derive(Debug)]
struct Target {
    addrs: Vec<Multiaddr>,
    /// A static peer is never given up.
    is_static: bool,
    backoff: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { until: Instant, over: Over },
    Dialling { over: Over },
    Connected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Tcp,
    Quic,
}

impl Dialler {
    pub(crate) fn new(local: DeviceId) -> Self {
        Self {
            local,
            targets: BTreeMap::new(),
        }
    }

    /// A peer to be connected to always.
    pub(crate) fn keep(&mut self, device: DeviceId, addr: Multiaddr, now: Instant) {
        let target = self
            .targets
            .entry(device)
            .or_insert_with(|| Target::new(true, now));
        target.learn([addr]);
    }

    /// A peer to be connected to now, unless it is already.
    pub(crate) fn dial(
        &mut self,
        device: DeviceId,
        addrs: Vec<Multiaddr>,
        manners: Manners,
        now: Instant,
    ) -> Result<(), DialError> {
        if device == self.local {
            return Err(DialError::Unreachable {
                device,
                reason: "it is this device".to_owned(),
            });
        }
        let pending = self
            .targets
            .values()
            .filter(|target| !target.is_static)
            .count();
        if !self.targets.contains_key(&device) {
            if addrs.is_empty() {
                return Err(DialError::NoAddress { device });
            }
            if pending >= MAX_PENDING {
                return Err(DialError::Busy { device });
            }
        }
        let local = self.local;
        let known = self.targets.contains_key(&device);
        let target = self
            .targets
            .entry(device)
            .or_insert_with(|| Target::new(false, now));
        target.learn(addrs);
        if let State::Waiting { until, over } = target.state {
            let wait = match manners {
                Manners::SmallerFirst if device < local => FALLBACK,
                _ => Duration::ZERO,
            };
            let at = now + wait;
            let until = if known { until.min(at) } else { at };
            target.state = State::Waiting { until, over };
        }
        Ok(())
    }

    /// The attempts that are due, with the addresses to try.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(DeviceId, Vec<Multiaddr>)> {
        let mut due = Vec::new();
        for (&device, target) in &mut self.targets {
            if let State::Waiting { until, over } = target.state
                && until <= now
            {
                let (over, addrs) = target.route(over);
                target.state = State::Dialling { over };
                due.push((device, addrs));
            }
        }
        due
    }

    /// When the next attempt is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let waits = self
            .targets
            .values()
            .filter_map(|target| match target.state {
                State::Waiting { until, .. } => Some(until),
                _ => None,
            });
        waits.min()
    }

    pub(crate) fn connected(&mut self, device: DeviceId) {
        if let Some(target) = self.targets.get_mut(&device) {
            if target.is_static {
                target.state = State::Connected;
                target.backoff = BACKOFF_MIN;
            } else {
                self.targets.remove(&device);
            }
        }
    }

    pub(crate) fn disconnected(&mut self, device: DeviceId, now: Instant) {
        if let Some(target) = self.targets.get_mut(&device) {
            target.wait(now);
        }
    }

    /// An attempt has failed: QUIC after TCP, then again later where the peer is static.
    pub(crate) fn failed(&mut self, device: DeviceId, now: Instant) -> AfterFailure {
        let Some(target) = self.targets.get_mut(&device) else {
            return AfterFailure::GivesUp;
        };
        match target.state {
            State::Dialling { over: Over::Tcp } if target.addrs.iter().any(is_quic) => {
                target.state = State::Waiting {
                    until: now,
                    over: Over::Quic,
                };
                AfterFailure::TriesAgain
            }
            State::Dialling { .. } if target.is_static => {
                target.wait(now);
                AfterFailure::TriesAgain
            }
            State::Dialling { .. } => {
                self.targets.remove(&device);
                AfterFailure::GivesUp
            }
            // An attempt that was not ours: what we know of the peer stands.
            State::Waiting { .. } | State::Connected => AfterFailure::TriesAgain,
        }
    }

    /// Whoever is being dialled for a caller is so no longer; static peers stay.
    pub(crate) fn forget(&mut self, device: DeviceId) {
        if self
            .targets
            .get(&device)
            .is_some_and(|target| !target.is_static)
        {
            self.targets.remove(&device);
        }
    }
}

impl Target {
    fn new(is_static: bool, now: Instant) -> Self {
        Self {
            addrs: Vec::new(),
            is_static,
            backoff: BACKOFF_MIN,
            state: State::Waiting {
                until: now,
                over: Over::Tcp,
            },
        }
    }

    fn learn(&mut self, addrs: impl IntoIterator<Item = Multiaddr>) {
        for addr in addrs {
            if self.addrs.len() < MAX_ADDRS && !self.addrs.contains(&addr) {
                self.addrs.push(addr);
            }
        }
    }

    fn route(&self, over: Over) -> (Over, Vec<Multiaddr>) {
        let (quic, tcp): (Vec<_>, Vec<_>) = self.addrs.iter().cloned().partition(is_quic);
        match over {
            Over::Tcp if !tcp.is_empty() => (Over::Tcp, tcp),
            _ => (Over::Quic, quic),
        }
    }

    fn wait(&mut self, now: Instant) {
        self.state = State::Waiting {
            until: now + self.backoff,
            over: Over::Tcp,
        };
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: DeviceId = DeviceId::from_bytes([1; 32]);
    const LARGE: DeviceId = DeviceId::from_bytes([2; 32]);

    fn tcp() -> Multiaddr {
        "/ip4/10.0.0.1/tcp/1".parse().unwrap()
    }

    fn quic() -> Multiaddr {
        "/ip4/10.0.0.1/udp/1/quic-v1".parse().unwrap()
    }

    #[test]
    fn the_larger_waits_for_the_smaller() {
        let now = Instant::now();
        let mut small = Dialler::new(SMALL);
        small
            .dial(LARGE, vec![tcp()], Manners::SmallerFirst, now)
            .unwrap();
        assert_eq!(small.due(now), [(LARGE, vec![tcp()])]);

        let mut large = Dialler::new(LARGE);
        large
            .dial(SMALL, vec![tcp()], Manners::SmallerFirst, now)
            .unwrap();
        assert_eq!(large.due(now), []);
        assert_eq!(large.next_due(), Some(now + FALLBACK));
        large
            .dial(
                SMALL,
                vec![tcp()],
                Manners::SmallerFirst,
                now + FALLBACK / 2,
            )
            .unwrap();
        assert_eq!(
            large.next_due(),
            Some(now + FALLBACK),
            "hearing again does not put it off"
        );
        assert_eq!(large.due(now + FALLBACK), [(SMALL, vec![tcp()])]);
    }

    #[test]
    fn quic_comes_after_tcp_and_then_the_end() {
        let now = Instant::now();
        let mut dialler = Dialler::new(SMALL);
        dialler
            .dial(LARGE, vec![quic(), tcp()], Manners::AtOnce, now)
            .unwrap();
        assert_eq!(dialler.due(now), [(LARGE, vec![tcp()])]);
        assert_eq!(dialler.failed(LARGE, now), AfterFailure::TriesAgain);
        assert_eq!(dialler.due(now), [(LARGE, vec![quic()])]);
        assert_eq!(dialler.failed(LARGE, now), AfterFailure::GivesUp);
        assert_eq!(dialler.next_due(), None);
    }

    #[test]
    fn a_static_peer_is_never_given_up() {
        let now = Instant::now();
        let mut dialler = Dialler::new(SMALL);
        dialler.keep(LARGE, tcp(), now);
        let mut at = now;
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(dialler.due(at).len(), 1);
            assert_eq!(dialler.failed(LARGE, at), AfterFailure::TriesAgain);
            assert_eq!(dialler.next_due(), Some(at + Duration::from_secs(wait)));
            at += Duration::from_secs(wait);
        }
        dialler.due(at);
        dialler.connected(LARGE);
        assert_eq!(dialler.next_due(), None);
        dialler.disconnected(LARGE, at);
        assert_eq!(dialler.next_due(), Some(at + BACKOFF_MIN));
    }

    #[test]
    fn what_a_liar_says_is_bounded() {
        let now = Instant::now();
        let mut dialler = Dialler::new(SMALL);
        let many = (1..1000).map(|port| format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap());
        dialler
            .dial(LARGE, many.collect(), Manners::AtOnce, now)
            .unwrap();
        assert_eq!(dialler.due(now)[0].1.len(), MAX_ADDRS);
        for n in 0..MAX_PENDING as u8 {
            let _ = dialler.dial(
                DeviceId::from_bytes([n + 3; 32]),
                vec![tcp()],
                Manners::AtOnce,
                now,
            );
        }
        let one_more = DeviceId::from_bytes([255; 32]);
        let error = dialler
            .dial(one_more, vec![tcp()], Manners::AtOnce, now)
            .unwrap_err();
        assert_eq!(error, DialError::Busy { device: one_more });
    }
}
