//! A save and a load of many small objects by the plugin of this commit and by that of one before it.
//!
//! Both instances are of one virtual environment: the earlier plugin's source stands before the installed one in
//! the search path.

use anyhow::{Result, bail};
use podsync_tests::kit::LocalStack;
use xtask::{localstack, tools::target};

use super::{build::Worktree, in_turn};
use crate::{
    Setup,
    measure::Samples,
    peers,
    report::{Bar, Goal, Report},
};

const OBJECTS: u32 = 50_000;
const OBJECT_LEN: u64 = 4096;

const BESIDE_BEFORE: Bar = Bar::AtLeast(1.5);

/// What one plugin does, in objects a second.
#[derive(Default)]
struct Rates {
    save: Samples,
    load: Samples,
}

pub(crate) fn measure(setup: &Setup) -> Result<Report> {
    if let Some(program) = peers::missing(&["curl"]) {
        bail!("there is no {program} here");
    }
    let python = localstack::python(localstack::VERSIONS[0])?;
    let before = Worktree::of(&setup.before, target().join("bench-objects"))?;
    let source = before.0.join("crates/instance/localstack-plugin/src");
    let this = LocalStack::start(&python)?;
    let other = LocalStack::start_with(&python, &source)?;
    // Each plugin saves and loads what it saved itself: an earlier one doesn't load this one's states.
    for instance in [&this, &other] {
        instance.fill_with_objects(OBJECTS, OBJECT_LEN)?;
    }

    let (mut now, mut then) = <(Rates, Rates)>::default();
    let (mut save, mut load) = <(Samples, Samples)>::default();
    for turn in 0..setup.pairs {
        let (mine, theirs) = in_turn(
            turn % 2 == 0,
            || turn_of(&this, setup, &mut now),
            || turn_of(&other, setup, &mut then),
        )?;
        save.push(theirs.0 / mine.0);
        load.push(theirs.1 / mine.1);
    }

    let line = |name: &str, rates: &Rates| {
        vec![
            name.to_owned(),
            format!("{:.0}", rates.save),
            format!("{:.0}", rates.load),
        ]
    };
    let goal = |what: &str, beside: &Samples| Goal {
        what: format!("objects: rate of a {what} beside {}", setup.before),
        figure: beside.median(),
        bar: BESIDE_BEFORE,
        digits: 2,
        unit: " x",
    };
    Ok(Report {
        title: format!("{OBJECTS} objects of 4 KiB in LocalStack"),
        head: vec!["", "save, objects/s", "load, objects/s"],
        lines: vec![
            line("this commit", &now),
            line(&format!("before ({})", setup.before), &then),
        ],
        notes: vec![
            format!("before / this commit, in time of a save: {save:.2}"),
            format!("before / this commit, in time of a load: {load:.2}"),
        ],
        goals: vec![goal("save", &save), goal("load", &load)],
    })
}

/// The seconds of a save, and of a load of what it saved.
fn turn_of(instance: &LocalStack, setup: &Setup, rates: &mut Rates) -> Result<(f64, f64)> {
    let scratch = tempfile::tempdir_in(setup.folder.path())?;
    let file = scratch.path().join("state.zip");
    let save = peers::curl_state(&instance.endpoint(), &file)?.cost.wall;
    let load = peers::curl_load(&instance.endpoint(), &file)?.cost.wall;
    rates.save.push(f64::from(OBJECTS) / save);
    rates.load.push(f64::from(OBJECTS) / load);
    Ok((save, load))
}
