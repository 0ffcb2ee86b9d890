//! What a daemon costs while nothing happens: one whose page is open and whose events are read, and one with neither.
//!
//! Both are in one team and connected, so what they keep up for each other counts too.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::megabytes;
use crate::{
    Setup, homes,
    measure::Process,
    page,
    report::{Bar, Goal, Report},
    states,
};

const PODS: u64 = 4;
const STATE_LEN: u64 = 1 << 20;
/// What a start and a pull leave to be done is done by then.
const SETTLED_AFTER: Duration = Duration::from_secs(30);
/// How often the memory is read.
const LOOK: Duration = Duration::from_secs(1);

/// In hundredths of a core, and in 10^6 bytes.
const WITH_PAGE: (Bar, Bar) = (Bar::AtMost(0.3), Bar::AtMost(60.0));
const WITHOUT: (Bar, Bar) = (Bar::AtMost(0.1), Bar::AtMost(39.0));

/// What a daemon took while it was looked at.
#[derive(Default)]
struct Taken {
    /// Hundredths of a core.
    cpu: f64,
    /// The most bytes at any look.
    memory: f64,
}

pub(crate) fn measure(setup: &Setup) -> Result<Report> {
    let scratch = tempfile::tempdir_in(setup.folder.path())?;
    let state = scratch.path().join("state.bin");
    let alice = homes::found(setup)?;
    let bob = homes::join(setup, "bob", &[&alice])?;
    for number in 0..PODS {
        states::noise(&state, STATE_LEN, number)?;
        let pod = format!("pod-{number}");
        alice.save_and_share(&pod, &state)?;
        bob.pull(&pod)?;
    }
    page::open(&alice.page()?)?;
    let _watch = alice.watch()?;
    let [with_page, without] = look(setup.idle, [alice.daemon()?, bob.daemon()?])?;

    let line = |what: &str, taken: &Taken| {
        let (cpu, memory) = (format!("{:.2}", taken.cpu), megabytes(taken.memory));
        vec![what.to_owned(), cpu, memory]
    };
    let goals = [
        ("with its page open and `watch`", &with_page, WITH_PAGE),
        ("with neither", &without, WITHOUT),
    ];
    let goals = goals.into_iter().flat_map(|(what, taken, (cpu, memory))| {
        let goal = |of: &str, figure, bar, digits, unit| Goal {
            what: format!("an idle daemon {what}: {of}"),
            figure,
            bar,
            digits,
            unit,
        };
        [
            goal("CPU", taken.cpu, cpu, 2, " % of a core"),
            goal("memory", taken.memory / 1e6, memory, 0, " MB"),
        ]
    });
    Ok(Report {
        title: format!("An idle daemon, over {} s", setup.idle.as_secs()),
        head: vec!["", "% of a core", "most MB"],
        lines: vec![
            line(
                "alice's: a page and `watch --json` read its events",
                &with_page,
            ),
            line("bob's: nobody asks it anything", &without),
        ],
        notes: Vec::new(),
        goals: goals.collect(),
    })
}

/// Looks on for so long.
fn look(time: Duration, daemons: [Process; 2]) -> Result<[Taken; 2]> {
    thread::sleep(SETTLED_AFTER);
    let cpu = || -> Result<[f64; 2]> {
        let [first, second] = daemons;
        Ok([first.cpu_seconds()?, second.cpu_seconds()?])
    };
    let (before, begin) = (cpu()?, Instant::now());
    let mut taken = <[Taken; 2]>::default();
    while begin.elapsed() < time {
        for (taken, daemon) in taken.iter_mut().zip(daemons) {
            let now = daemon.resident().context("a daemon has ended")?;
            taken.memory = taken.memory.max(now as f64);
        }
        thread::sleep(LOOK);
    }
    let (after, passed) = (cpu()?, begin.elapsed().as_secs_f64());
    for (taken, (before, after)) in taken.iter_mut().zip(before.into_iter().zip(after)) {
        taken.cpu = (after - before) / passed * 100.0;
    }
    Ok(taken)
}
