//! Dials the addresses of a ticket. Tickets name no device, so dialling shows which device answers.

use std::time::Duration;

use podsync_api::{Progress, Stage};
use podsync_core::{TeamId, engine::Event, ticket::Ticket};
use podsync_net::{DialError, Multiaddr, Net};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{interval, sleep, timeout},
};

use crate::call::Context;

/// How often to dial again if the member has no free place.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How long devices that are already connected have to answer before the ticket's addresses are dialled.
const PROBE_BESIDE_AFTER: Duration = Duration::from_secs(2);

/// How long to wait before telling the user which device is awaited.
const SAY_AFTER: Duration = Duration::from_secs(2);

/// Dials until this is dropped: a member without a free place may have one soon. Ends with the network. `events`
/// are those since the newcomer began to ask.
pub(super) async fn probe(net: &Net, mut events: Receiver<Event>, ticket: &Ticket) {
    let addresses = addresses(ticket);
    if addresses.is_empty() {
        return std::future::pending().await;
    }
    let mut met = ticket.issuer;
    if met.is_none() && !net.connections().is_empty() {
        // The member may be connected already. A second connection would replace the first and lose its answer.
        let _ = timeout(PROBE_BESIDE_AFTER, not_let_in(&mut events, ticket.team)).await;
    }
    drop(events);
    let mut rounds = interval(PROBE_EVERY);
    loop {
        rounds.tick().await;
        if met.is_some_and(|device| net.is_connected(device)) {
            continue;
        }
        let answered = match ticket.issuer {
            Some(issuer) => match net.dial(issuer, addresses.clone()).await {
                Err(DialError::Gone(gone)) => Err(gone),
                Ok(()) | Err(DialError::Unreachable { .. } | DialError::Taken { .. }) => {
                    Ok(Some(issuer))
                }
            },
            None => net.probe(addresses.clone()).await,
        };
        match answered {
            Ok(answered) => met = answered,
            Err(_) => return,
        }
    }
}

/// Reports which device is awaited, once the wait takes a while. Never resolves.
pub(super) async fn say_for_whom(ticket: &Ticket, context: &Context) {
    sleep(SAY_AFTER).await;
    if let Some(line) = for_whom(ticket) {
        context.report(&Progress {
            waiting: Some(line),
            ..Progress::new(Stage::Finding, 0, None)
        });
    }
    std::future::pending().await
}

fn for_whom(ticket: &Ticket) -> Option<String> {
    places(ticket).map(|places| format!("waiting for {places}"))
}

/// `a member of the team at 192.168.1.5:7637, or the hub at https://hub.example`.
pub(super) fn places(ticket: &Ticket) -> Option<String> {
    let mut places = Vec::new();
    for address in ticket.dialled() {
        let place = match address.split('/').collect::<Vec<_>>()[..] {
            ["", "ip6", ip, _, port, ..] => format!("[{ip}]:{port}"),
            ["", _, host, _, port, ..] => format!("{host}:{port}"),
            _ => address.to_owned(),
        };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let member =
        (!places.is_empty()).then(|| format!("a member of the team at {}", places.join(", ")));
    let hub = ticket.hubs().next().map(|hub| format!("the hub at {hub}"));
    let whom: Vec<_> = member.into_iter().chain(hub).collect();
    (!whom.is_empty()).then(|| whom.join(", or "))
}

/// Resolves when all connected devices were asked in vain.
async fn not_let_in(events: &mut Receiver<Event>, team: TeamId) {
    loop {
        match events.recv().await {
            Ok(Event::NotLetIn { team: of }) if of == team => return,
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

pub(super) fn addresses(ticket: &Ticket) -> Vec<Multiaddr> {
    let parsed = ticket.dialled().map(str::parse);
    parsed.filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use podsync_core::{
        OpId, TeamId,
        ticket::{TicketKind, TicketSecret},
    };

    use super::*;

    #[test]
    fn a_newcomer_is_told_for_whom_it_waits() {
        let line = |hub, addresses: &[&str]| {
            let (secret, team) = (TicketSecret::from_seed(&[7; 32]), TeamId::of(b"team"));
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            let op = OpId::of(b"op");
            for_whom(&Ticket::new(
                TicketKind::Invite,
                secret,
                team,
                &op,
                hub,
                &addresses,
            ))
        };
        let both = [
            "/ip4/192.168.1.5/tcp/7637",
            "/ip4/192.168.1.5/udp/7637/quic-v1",
            "/ip6/fd00::5/tcp/7637",
        ];
        assert_eq!(
            line(Some("https://hub.example"), &both).unwrap(),
            "waiting for a member of the team at 192.168.1.5:7637, [fd00::5]:7637, or the hub at https://hub.example"
        );
        assert_eq!(
            line(Some("https://hub.example"), &[]).unwrap(),
            "waiting for the hub at https://hub.example"
        );
        assert_eq!(line(None, &[]), None);
    }
}
