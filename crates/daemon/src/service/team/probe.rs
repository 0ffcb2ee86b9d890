//! Dialling who a ticket leads to. A ticket of today names addresses and no device: who answers there is learnt.

use std::time::Duration;

use podsync_core::ticket::Ticket;
use podsync_net::{DialError, Multiaddr, Net};
use tokio::time::{interval, sleep};

/// How often a newcomer dials again that found no place: others are served meanwhile.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How long those who are connected already have to let a newcomer in before a ticket's addresses are dialled.
const KNOCK_BESIDE_AFTER: Duration = Duration::from_secs(2);

/// Dials until this is dropped: one that has no place now may soon. It ends where the network does.
pub(super) async fn probe(net: &Net, ticket: &Ticket) {
    let addresses = addresses(ticket);
    if addresses.is_empty() {
        return std::future::pending().await;
    }
    let mut met = ticket.issuer;
    if met.is_none() && !net.connections().is_empty() {
        // It may be one of these, and a second connection would take the place of the first.
        sleep(KNOCK_BESIDE_AFTER).await;
    }
    let mut rounds = interval(PROBE_EVERY);
    loop {
        rounds.tick().await;
        if met.is_some_and(|device| net.is_connected(device)) {
            continue;
        }
        let answered = match ticket.issuer {
            Some(issuer) => match net.dial(issuer, addresses.clone()).await {
                Err(DialError::Gone(gone)) => Err(gone),
                Ok(()) | Err(DialError::Unreachable { .. }) => Ok(Some(issuer)),
            },
            None => net.probe(addresses.clone()).await,
        };
        match answered {
            Ok(answered) => met = answered,
            Err(_) => return,
        }
    }
}

pub(super) fn addresses(ticket: &Ticket) -> Vec<Multiaddr> {
    let parsed = ticket.dialled().map(str::parse);
    parsed.filter_map(Result::ok).collect()
}
