//! A second version: what travels for what changed.
//!
//! The versions of one pod follow each other, so later turns meet what earlier ones left scattered.

use anyhow::Result;

use super::size_in_words;
use crate::{
    Setup, homes,
    measure::{Samples, timed},
    report::{Bar, Goal, Report},
    states,
};

const LARGE_PLACES: u64 = 16;
const EDITS: u64 = 256;
const EDIT_LEN: usize = 4096;
const TRAVELS_PER_CHANGED: Bar = Bar::AtMost(1.15);

#[derive(Default)]
struct Change {
    changed: u64,
    travelled: Samples,
    per_changed: Samples,
    save_seconds: Samples,
    pull_seconds: Samples,
}

impl Change {
    fn line(&self, name: String) -> Vec<String> {
        vec![
            name,
            format!("{:.2} MB", self.changed as f64 / 1e6),
            format!("{:.2} MB", self.travelled),
            format!("{:.3} x", self.per_changed),
            format!("{:.2}", self.save_seconds),
            format!("{:.2}", self.pull_seconds),
        ]
    }
}

pub(crate) fn measure(setup: &Setup) -> Result<Report> {
    let scratch = tempfile::tempdir_in(setup.folder.path())?;
    let state = scratch.path().join("state.bin");
    states::noise(&state, setup.size, 7)?;
    let alice = homes::found(setup)?;
    alice.save_and_share("orders", &state)?;
    let bob = homes::join(setup, "bob", &[&alice])?;
    bob.pull("orders")?;

    let part = (setup.size / 20 / LARGE_PLACES) as usize;
    let (mut large, mut scattered) = <(Change, Change)>::default();
    for turn in 0..u64::from(setup.pairs) {
        let kinds = [
            (&mut large, LARGE_PLACES, part),
            (&mut scattered, EDITS, EDIT_LEN),
        ];
        for (index, (change, places, len)) in kinds.into_iter().enumerate() {
            change.changed = states::change(&state, places, len, 2 * turn + index as u64)?;
            let (saved, save) = timed(&[alice.daemon()?], || {
                alice.save_and_share("orders", &state)
            })?;
            let reference = saved.answer.reference;
            let (pulled, pull) = timed(&[bob.daemon()?], || bob.pull(&reference))?;
            let travelled = pulled.answer.fetched as f64;
            change.travelled.push(travelled / 1e6);
            change.per_changed.push(travelled / change.changed as f64);
            change.save_seconds.push(save.wall);
            change.pull_seconds.push(pull.wall);
        }
    }

    let goals = vec![Goal {
        what: "change in 16 places: bytes travelled per byte changed".to_owned(),
        figure: large.per_changed.median(),
        bar: TRAVELS_PER_CHANGED,
        digits: 3,
        unit: " x",
    }];
    let per_edit = 1e6 * scattered.travelled.median() / EDITS as f64 / 1024.0;
    Ok(Report {
        title: format!(
            "A second version of {}, incompressible",
            size_in_words(setup.size)
        ),
        head: vec![
            "what changed",
            "changed",
            "travelled",
            "per byte",
            "save, s",
            "pull, s",
        ],
        lines: vec![
            large.line(format!("5 % in {LARGE_PLACES} places")),
            scattered.line(format!("{EDITS} scattered edits of 4 KiB")),
        ],
        notes: vec![format!(
            "A scattered edit of 4 KiB makes {per_edit:.0} KiB travel."
        )],
        goals,
    })
}
