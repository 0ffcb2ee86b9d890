//! A pull of incompressible bytes over loopback, from one daemon to another.

use anyhow::Result;

use super::{SIDES, Side, in_turn, size_in_words};
use crate::{
    Setup, homes,
    measure::{Samples, timed},
    peers::{self, Nginx},
    report::{Bar, Goal, Report},
    states,
};

const BESIDE_NGINX: Bar = Bar::AtLeast(0.50);
const CPU_PER_GIB: Bar = Bar::AtMost(5.5);

pub(crate) fn measure(setup: &Setup) -> Result<Report> {
    let served = tempfile::tempdir_in(setup.folder.path())?;
    let scratch = tempfile::tempdir_in(setup.folder.path())?;
    let state = served.path().join("state.bin");
    states::noise(&state, setup.size, 1)?;
    let mut alice = homes::found(setup)?;
    alice.save_and_share("orders", &state)?;

    let (no_socat, no_curl) = (
        peers::missing(&["socat"]),
        peers::missing(&["nginx", "curl"]),
    );
    let nginx = match no_curl {
        None => Some(Nginx::start(served.path(), &scratch.path().join("nginx"))?),
        Some(_) => None,
    };
    let (mut podsync, mut plain, mut tls) = (Side::default(), Side::default(), Side::default());
    let (mut beside_plain, mut beside_tls) = (Samples::default(), Samples::default());
    for turn in 0..setup.pairs {
        // What serving costs in memory, not what saving did.
        alice.restart()?;
        let bob = homes::join(setup, &format!("bob-{turn}"), &[&alice])?;
        // Files of a turn stay until its end, so that no side gets memory that the other has just freed.
        let copies = tempfile::tempdir_in(setup.folder.path())?;
        let daemons = [alice.daemon()?, bob.daemon()?];
        let ((ran, cost), (by_socat, by_curl)) = in_turn(
            turn % 2 == 0,
            || timed(&daemons, || bob.pull("orders")),
            || {
                let by_socat = match no_socat {
                    None => Some(peers::socat(&state, &copies.path().join("socat"))?),
                    Some(_) => None,
                };
                let by_curl = match &nginx {
                    Some(nginx) => Some(nginx.curl(&state, &copies.path().join("curl"))?),
                    None => None,
                };
                Ok((by_socat, by_curl))
            },
        )?;
        let peaks = [bob.peak()?, alice.peak()?, ran.peak.bytes()];
        podsync.push(cost, setup.size, &peaks);
        if let Some(peer) = by_socat {
            plain.push(peer.cost, setup.size, &peer.peaks);
            beside_plain.push(peer.cost.wall / cost.wall);
        }
        if let Some(peer) = by_curl {
            tls.push(peer.cost, setup.size, &peer.peaks);
            beside_tls.push(peer.cost.wall / cost.wall);
        }
    }

    let mut lines = vec![podsync.line("podsync pull (getter, provider, command)")];
    let mut notes = Vec::new();
    for (side, missing, name) in [
        (&plain, no_socat, "socat, TCP to a file (receiver, sender)"),
        (&tls, no_curl, "curl from nginx, TLS 1.3 (curl, nginx)"),
    ] {
        match missing {
            None => lines.push(side.line(name)),
            Some(program) => notes.push(format!("Without {name}: there is no {program} here.")),
        }
    }
    let mut goals = vec![Goal {
        what: "pull: CPU-seconds per GiB, both daemons and the command".to_owned(),
        figure: podsync.cpu_per_gib.median(),
        bar: CPU_PER_GIB,
        digits: 2,
        unit: "",
    }];
    if !beside_plain.is_empty() {
        notes.push(format!("podsync / socat: {beside_plain:.2}"));
    }
    if !beside_tls.is_empty() {
        notes.push(format!("podsync / nginx TLS 1.3: {beside_tls:.2}"));
        goals.push(Goal {
            what: "pull: rate beside curl from nginx, TLS 1.3".to_owned(),
            figure: beside_tls.median(),
            bar: BESIDE_NGINX,
            digits: 2,
            unit: " x",
        });
    }
    let title = format!(
        "Pull of {}, incompressible, over loopback",
        size_in_words(setup.size)
    );
    Ok(Report {
        title,
        head: SIDES.to_vec(),
        lines,
        notes,
        goals,
    })
}
