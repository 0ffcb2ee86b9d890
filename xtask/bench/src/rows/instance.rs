//! A save from and a load into a real LocalStack, beside curl at the same endpoints.
//!
//! The instance does most of the work in both. Each load is into an instance that was reset before, so that the
//! checkpoint which podsync takes is of nothing.

use anyhow::{Context, Result, bail};
use podsync_tests::kit::LocalStack;
use xtask::localstack;

use super::{SIDES, Side, in_turn, size_in_words};
use crate::{
    Setup, homes,
    measure::{Samples, timed},
    peers,
    report::{Bar, Goal, Report},
};

const SAVE_BESIDE_CURL: Bar = Bar::AtMost(1.15);
const LOAD_BESIDE_CURL: Bar = Bar::AtMost(1.10);
/// How long requests to a service may wait while others are loaded.
const WAIT_MS: Bar = Bar::AtMost(200.0);

pub(crate) fn measure(setup: &Setup) -> Result<Report> {
    if let Some(program) = peers::missing(&["curl"]) {
        bail!("there is no {program} here");
    }
    let python = localstack::python(localstack::VERSIONS[0])?;
    let (source, target) = (LocalStack::start(&python)?, LocalStack::start(&python)?);
    source.fill_with_bytes(setup.size)?;

    let (mut save, mut curl_save, mut save_beside) = <(Side, Side, Samples)>::default();
    let (mut load, mut curl_load, mut load_beside) = <(Side, Side, Samples)>::default();
    let mut waits = Samples::default();
    for turn in 0..setup.pairs {
        let podsync_first = turn % 2 == 0;
        // A file that is written again takes the very memory that it had: both sides begin with nothing.
        let scratch = tempfile::tempdir_in(setup.folder.path())?;
        let file = scratch.path().join("state.zip");
        let alice = homes::found(setup)?;
        let daemon = alice.daemon()?;
        let ((ran, cost), turn) = in_turn(
            podsync_first,
            || timed(&[daemon], || alice.save_from("orders", &source.endpoint())),
            || peers::curl_state(&source.endpoint(), &file),
        )?;
        let len = ran.answer.state_len;
        save.push(cost, len, &[alice.peak()?, ran.peak.bytes()]);
        curl_save.push(turn.cost, len, &turn.peaks);
        save_beside.push(cost.wall / turn.cost.wall);

        let ((ran, cost), turn) = in_turn(
            podsync_first,
            || {
                peers::curl_reset(&target.endpoint())?;
                timed(&[daemon], || alice.load_into("orders", &target.endpoint()))
            },
            || {
                peers::curl_reset(&target.endpoint())?;
                peers::curl_load(&target.endpoint(), &file)
            },
        )?;
        let wait = ran.answer.longest_wait_ms;
        waits.push(wait.context("the instance doesn't say how long its clients waited")? as f64);
        load.push(cost, len, &[alice.peak()?, ran.peak.bytes()]);
        curl_load.push(turn.cost, len, &turn.peaks);
        load_beside.push(cost.wall / turn.cost.wall);
    }

    let goal = |what: &str, beside: &Samples, bar| Goal {
        what: format!("instance: time of a {what} beside curl"),
        figure: beside.median(),
        bar,
        digits: 2,
        unit: " x",
    };
    Ok(Report {
        title: format!(
            "Save and load of {} in LocalStack",
            size_in_words(setup.size)
        ),
        head: SIDES.to_vec(),
        lines: vec![
            save.line("podsync save (daemon, command)"),
            curl_save.line("curl of the state"),
            load.line("podsync load (daemon, command)"),
            curl_load.line("curl into the instance"),
        ],
        notes: vec![
            format!("podsync save / curl, in time: {save_beside:.2}"),
            format!("podsync load / curl, in time: {load_beside:.2}"),
            format!(
                "Requests waited at most {:.0} ms while other services were loaded.",
                waits.max()
            ),
        ],
        goals: vec![
            goal("save", &save_beside, SAVE_BESIDE_CURL),
            goal("load", &load_beside, LOAD_BESIDE_CURL),
            Goal {
                what: "instance: longest wait for the load of another service".to_owned(),
                figure: waits.max(),
                bar: WAIT_MS,
                digits: 0,
                unit: " ms",
            },
        ],
    })
}
