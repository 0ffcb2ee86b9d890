//! Many small files, beside one file with as many bytes.

use std::path::Path;

use anyhow::Result;

use crate::{
    Setup, homes,
    measure::{Samples, timed},
    report::{Bar, Goal, Report},
    states,
};

const FILES: u64 = 100_000;
const FILE_LEN: u64 = 4096;
const BESIDE_ONE_FILE: Bar = Bar::AtLeast(0.5);

#[derive(Default)]
struct Rates {
    save: Samples,
    pull: Samples,
}

pub(crate) fn measure(setup: &Setup) -> Result<Report> {
    let scratch = tempfile::tempdir_in(setup.folder.path())?;
    let (many, one) = (scratch.path().join("many"), scratch.path().join("one.bin"));
    let files = FILES.min(setup.size / FILE_LEN);
    let len = files * FILE_LEN;
    states::small_files(&many, files as u32, FILE_LEN as usize, 11)?;
    states::noise(&one, len, 12)?;

    let (mut of_many, mut of_one, mut ratio) = <(Rates, Rates, Rates)>::default();
    for _ in 0..setup.pairs {
        let (save, pull) = turn(setup, &many)?;
        let (save_one, pull_one) = turn(setup, &one)?;
        of_many.save.push(len as f64 / 1e6 / save);
        of_many.pull.push(len as f64 / 1e6 / pull);
        of_one.save.push(len as f64 / 1e6 / save_one);
        of_one.pull.push(len as f64 / 1e6 / pull_one);
        ratio.save.push(save_one / save);
        ratio.pull.push(pull_one / pull);
    }

    let line = |name: String, rates: &Rates| {
        vec![
            name,
            format!("{:.0}", rates.save),
            format!("{:.0}", rates.pull),
        ]
    };
    let goal = |what: &str, ratio: &Samples| Goal {
        what: format!("small files: {what} beside one file"),
        figure: ratio.median(),
        bar: BESIDE_ONE_FILE,
        digits: 2,
        unit: " x",
    };
    Ok(Report {
        title: format!("{files} files of 4 KiB, incompressible"),
        head: vec!["", "save, MB/s", "pull, MB/s"],
        lines: vec![
            line(format!("{files} files"), &of_many),
            line(format!("one file of {:.0} MB", len as f64 / 1e6), &of_one),
            vec![
                "many / one".to_owned(),
                format!("{:.2}", ratio.save),
                format!("{:.2}", ratio.pull),
            ],
        ],
        notes: Vec::new(),
        goals: vec![goal("save", &ratio.save), goal("pull", &ratio.pull)],
    })
}

/// Seconds of a save and of a pull, between homes that know nothing of the state.
fn turn(setup: &Setup, state: &Path) -> Result<(f64, f64)> {
    let alice = homes::found(setup)?;
    let (_, save) = timed(&[], || alice.save("orders", state))?;
    alice.share("orders")?;
    let bob = homes::join(setup, "bob", &[&alice])?;
    let (_, pull) = timed(&[], || bob.pull("orders"))?;
    Ok((save.wall, pull.wall))
}
