//! The memory of every process where the state is far larger than any buffer should be.

use anyhow::Result;

use super::{megabytes, size_in_words};
use crate::{
    Setup, homes,
    measure::{Cost, timed},
    report::{Bar, Goal, Report},
    states,
};

const STATE_LEN: u64 = 4 << 30;
const PEAK_MB: Bar = Bar::AtMost(200.0);

pub(crate) fn measure(setup: &Setup) -> Result<Report> {
    let scratch = tempfile::tempdir_in(setup.folder.path())?;
    let state = scratch.path().join("state.bin");
    states::noise(&state, STATE_LEN, 31)?;
    let mut alice = homes::found(setup)?;
    let mut most = 0.0_f64;
    let mut line = |what: &str, cost: Cost, peaks: [u64; 3]| {
        let peaks = peaks.map(|peak| peak as f64);
        most = peaks.into_iter().fold(most, f64::max);
        let [alice, bob, command] = peaks.map(|peak| match peak {
            0.0 => "-".to_owned(),
            peak => megabytes(peak),
        });
        vec![
            what.to_owned(),
            format!("{:.0}", cost.rate(STATE_LEN)),
            alice,
            bob,
            command,
        ]
    };

    let (ran, cost) = timed(&[], || alice.save_and_share("orders", &state))?;
    let saved = line(
        "save and share on alice",
        cost,
        [alice.peak()?, 0, ran.peak.bytes()],
    );
    alice.restart()?;
    let bob = homes::join(setup, "bob", &[&alice])?;
    let (ran, cost) = timed(&[], || bob.pull("orders"))?;
    let peaks = [alice.peak()?, bob.peak()?, ran.peak.bytes()];
    let pulled = line("pull from alice to bob", cost, peaks);
    let (ran, cost) = timed(&[], || bob.export("orders", &bob.beside("out")))?;
    let peaks = [alice.peak()?, bob.peak()?, ran.peak.bytes()];
    let exported = line("export on bob", cost, peaks);

    Ok(Report {
        title: format!("Peak memory at {}", size_in_words(STATE_LEN)),
        head: vec![
            "",
            "MB/s",
            "alice's daemon, MB",
            "bob's daemon, MB",
            "the command, MB",
        ],
        lines: vec![saved, pulled, exported],
        notes: vec![
            "A daemon's peak is since its start; alice's started anew before the pull.".to_owned(),
        ],
        goals: vec![Goal {
            what: format!("{}: peak memory of any process", size_in_words(STATE_LEN)),
            figure: most / 1e6,
            bar: PEAK_MB,
            digits: 0,
            unit: " MB",
        }],
    })
}
