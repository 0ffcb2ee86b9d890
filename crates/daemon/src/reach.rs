//! Whether this machine has a network: without one, no failure of a transfer is a teammate's.

use std::sync::{Arc, Mutex, PoisonError};

use podsync_net::Multiaddr;

use crate::{addresses::is_beyond_this_machine, settings::Settings};

/// What is said of a machine without a network, with what to do.
pub const CUT_OFF: &str =
    "this machine has no network address except loopback, so it reaches no other machine";

#[derive(Clone)]
pub(crate) struct Reach {
    pub(crate) settings: Arc<Settings>,
    pub(crate) listening: Arc<Mutex<Vec<Multiaddr>>>,
}

impl Reach {
    /// Whether this machine has lost its last address. A daemon that is told to listen on loopback only hasn't.
    pub(crate) fn is_cut_off(&self) -> bool {
        let (wanted, _) = self.settings.listen_addresses();
        let everywhere = wanted.iter().any(|address| address.ip().is_unspecified());
        let listening = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        everywhere && has_only_loopback(&listening)
    }
}

/// Nothing is known yet of a daemon that has just begun to listen.
fn has_only_loopback(listening: &[Multiaddr]) -> bool {
    !listening.is_empty() && !listening.iter().any(is_beyond_this_machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_has_only_loopback_is_cut_off() {
        let addresses = |texts: &[&str]| {
            let parsed = texts.iter().map(|text| text.parse().unwrap());
            parsed.collect::<Vec<Multiaddr>>()
        };
        let local = ["/ip4/127.0.0.1/tcp/7637", "/ip6/::1/tcp/7637"];
        assert!(has_only_loopback(&addresses(&local)));
        assert!(has_only_loopback(&addresses(&[
            local[0],
            "/ip6/fe80::1/tcp/7637"
        ])));
        assert!(!has_only_loopback(&addresses(&[
            local[0],
            "/ip4/10.0.0.7/tcp/7637"
        ])));
        assert!(!has_only_loopback(&[]));
    }
}
