//! `podsync status` and `podsync peers`.

use clap::Args;
use podsync_api::{ApiError, node};

use crate::{
    call::call,
    command::autosave::times,
    command::pause::how_long,
    context::{Context, Needs},
    output::{
        Column::{Name, Whole},
        ago, bytes, count, field, full_table, table,
    },
};

#[derive(Debug, Args)]
pub(crate) struct Status {}

#[derive(Debug, Args)]
pub(crate) struct Peers {}

pub(crate) async fn run(context: &Context, _: &Status) -> Result<(), ApiError> {
    let status = call(context, Needs::Home, &node::GetStatus {}).await?;
    for warning in &status.warnings {
        context.printer.warn(warning);
    }
    let whole = context.global.verbose > 0;
    context
        .printer
        .result(&status, |status| words(status, whole))
}

/// Addresses are brief unless they are wanted `whole`.
pub(crate) fn words(status: &node::Status, whole: bool) -> String {
    let daemon = if status.transient {
        "not running".to_owned()
    } else {
        format!("running, pid {}", status.pid)
    };
    let mut lines = vec![
        field("home", &status.home.display().to_string()),
        field("device", &status.device.to_string()),
        field("daemon", &daemon),
        field("peers", &format!("{} connected", status.peers_connected)),
        field("disk", &format!("{} used", bytes(status.bytes_held))),
    ];
    if let Some(paused) = &status.paused {
        lines.push(field("paused", &how_long(paused)));
    }
    for (limit, what) in [(status.limit_up, "sent"), (status.limit_down, "fetched")] {
        if limit > 0 {
            lines.push(field("limit", &format!("{}/s {what}", bytes(limit))));
        }
    }
    if status.metered {
        let metered = "metered: nothing is fetched that you did not ask for";
        lines.push(field("link", metered));
    }
    if !status.transient {
        lines.extend(status.listening.iter().map(|address| {
            let shown = match whole {
                true => address.clone(),
                false => brief(address),
            };
            field("listens", &shown)
        }));
    }
    for team in &status.teams {
        lines.extend(words_of_team(team, status));
    }
    lines.extend(status.follows.iter().map(|followed| {
        let load = followed.load.as_ref();
        let load = load.map_or_else(String::new, |into| {
            format!(", loaded into {}", into.endpoint)
        });
        field(
            "follows",
            &format!("{} of {}{load}", followed.pod, followed.team),
        )
    }));
    lines.extend(status.autosaves.iter().map(|saved| {
        let newest = saved.newest_ms.map_or_else(
            || "none yet".to_owned(),
            |newest| format!("newest {}", ago(newest)),
        );
        let what = format!(
            "{} to {} {}, {newest}",
            saved.endpoint,
            saved.pod,
            times(saved)
        );
        field("autosaves", &what)
    }));
    lines.join("\n")
}

fn words_of_team(team: &node::TeamStatus, status: &node::Status) -> Vec<String> {
    let role = team.role.map_or_else(
        || match team.left {
            true => "you left".to_owned(),
            false => "you are not a member any more".to_owned(),
        },
        |role| role.to_string(),
    );
    let about = format!(
        "{}: {role}, {}, {}, {}",
        name_among(team, &status.teams),
        count(team.members, "member"),
        count(team.admins, "admin"),
        count(team.pods, "pod")
    );
    let mut lines = vec![field("team", &about)];
    if team.connected > 0 {
        lines.push(field("", "last contact with a teammate now"));
    } else if let Some(heard) = team.heard_ms {
        let heard = format!("last contact with a teammate {}", ago(heard));
        lines.push(field("", &heard));
    }
    if let Some(hub) = &team.hub {
        lines.extend(words_of_hub(hub, status.transient));
    }
    lines.extend(team.quarantined.iter().map(|device| {
        let what = format!("{device} published contradicting versions. podsync ignores them");
        field("", &what)
    }));
    lines
}

/// The name of a team, with the beginning of its id if another team has the name too.
fn name_among(team: &node::TeamStatus, teams: &[node::TeamStatus]) -> String {
    let has_namesake = teams
        .iter()
        .any(|other| other.id != team.id && other.name == team.name);
    match has_namesake {
        true => format!("{} ({})", team.name, team.id.short()),
        false => team.name.to_string(),
    }
}

/// What keeps podsync from knowing what the bucket has.
pub(crate) const fn not_reached(transient: bool) -> &'static str {
    match transient {
        true => "not reached: no daemon is running",
        false => "not reached since the daemon started",
    }
}

fn words_of_hub(hub: &node::HubStatus, transient: bool) -> Vec<String> {
    let heard = match hub.heard_ms {
        Some(heard) => format!("last contact {}", ago(heard)),
        None => not_reached(transient).to_owned(),
    };
    let waiting = match (hub.waiting, hub.uploading) {
        (_, Some((sent, total))) => {
            format!("uploading {} of {}", bytes(sent), bytes(total))
        }
        (Some(0), _) => "everything shared here is in the bucket".to_owned(),
        (Some(n), _) => {
            let changes = match n {
                1 => "1 change that waits".to_owned(),
                n => format!("{n} changes that wait"),
            };
            let why = hub.trouble.as_ref();
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            format!("the bucket lacks {changes} for upload{why}")
        }
        (None, _) => "what the bucket lacks is not known".to_owned(),
    };
    vec![
        field("hub", &format!("{}, {heard}", hub.url)),
        field("", &waiting),
    ]
}

pub(crate) async fn peers(context: &Context, _: &Peers) -> Result<(), ApiError> {
    let peers = call(context, Needs::Network, &node::GetPeers {}).await?;
    if peers.is_empty() {
        context
            .printer
            .note("There are no teammates yet. `podsync team invite` prints a ticket for one.");
    }
    let status = context.status().await?;
    let warnings = status.iter().flat_map(|status| &status.warnings);
    for warning in warnings.filter(|warning| warning.starts_with(podsync_daemon::CUT_OFF)) {
        context.printer.warn(warning);
    }
    let whole = context.global.verbose > 0;
    context
        .printer
        .result(&peers, |peers| connections(peers, whole))
}

pub(crate) fn connections(peers: &[node::Peer], whole: bool) -> String {
    if peers.is_empty() {
        return String::new();
    }
    if whole {
        let head = [
            Name("PEER"),
            Whole("STATE"),
            Whole("LAST CONTACT"),
            Whole("ROUND TRIP"),
            Whole("SENT"),
            Whole("RECEIVED"),
            Whole("DEVICE"),
            Name("ADDRESS"),
        ];
        let rows = peers.iter().map(|peer| {
            let [name, state, heard, trip, sent, received, _] = row(peer);
            let address = peer.address.clone().unwrap_or_default();
            [
                name,
                state,
                heard,
                trip,
                sent,
                received,
                peer.device.to_string(),
                address,
            ]
        });
        return full_table(head, rows);
    }
    let head = [
        Name("PEER"),
        Whole("STATE"),
        Whole("HEARD"),
        Whole("TRIP"),
        Whole("SENT"),
        Whole("RECEIVED"),
        Name("ADDRESS"),
    ];
    table(head, peers.iter().map(row))
}

fn row(peer: &node::Peer) -> [String; 7] {
    let state = if peer.connected {
        "connected"
    } else {
        "offline"
    };
    [
        peer.name.clone().unwrap_or_else(|| peer.device.short()),
        state.to_owned(),
        match peer.connected {
            true => "now".to_owned(),
            false => peer.heard_ms.map(ago).unwrap_or_default(),
        },
        peer.round_trip_us
            .map(|us| format!("{}.{} ms", us / 1000, us % 1000 / 100))
            .unwrap_or_default(),
        bytes(peer.sent),
        bytes(peer.received),
        peer.address.as_deref().map(brief).unwrap_or_default(),
    ]
}

/// `192.168.1.7:7637` of `/ip4/192.168.1.7/tcp/7637`; an address of another form as it is.
fn brief(address: &str) -> String {
    let parts: Vec<_> = address.split('/').collect();
    match parts[..] {
        ["", "ip4", ip, _, port, ..] => format!("{ip}:{port}"),
        ["", "ip6", ip, _, port, ..] => format!("[{ip}]:{port}"),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(transient: bool, heard_ms: Option<u64>, waiting: Option<u64>) -> String {
        let hub = node::HubStatus {
            url: "https://hub.example".to_owned(),
            heard_ms,
            trouble: None,
            waiting,
            uploading: None,
        };
        words_of_hub(&hub, transient).join("\n")
    }

    #[test]
    fn a_hub_that_was_not_reached_has_told_no_number() {
        let unknown = "what the bucket lacks is not known";
        let running = said(false, None, None);
        assert!(running.contains("since the daemon started"), "{running}");
        assert!(running.contains(unknown), "{running}");
        let transient = said(true, None, None);
        assert!(transient.contains("no daemon is running"), "{transient}");
        assert!(transient.contains(unknown), "{transient}");
        let known = said(false, Some(1), Some(0));
        assert!(known.contains("is in the bucket"), "{known}");
    }
}
