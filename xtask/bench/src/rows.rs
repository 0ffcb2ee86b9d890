//! One file per row: what it does, what it reports, and the bar that it has to reach.

pub(super) mod bucket;
pub(super) mod build;
pub(super) mod change;
pub(super) mod files;
pub(super) mod idle;
pub(super) mod instance;
pub(super) mod large;
pub(super) mod latency;
pub(super) mod objects;
pub(super) mod page;
pub(super) mod polling;
pub(super) mod providers;
pub(super) mod pull;
pub(super) mod save;

use anyhow::Result;

use super::measure::{Cost, Samples};

/// The turns of one side.
#[derive(Default)]
struct Side {
    rate: Samples,
    cpu_per_gib: Samples,
    cores: Samples,
    /// Bytes, each process by itself.
    peaks: Vec<Samples>,
}

impl Side {
    fn push(&mut self, cost: Cost, bytes: u64, peaks: &[u64]) {
        self.rate.push(cost.rate(bytes));
        self.cpu_per_gib.push(cost.cpu_per_gib(bytes));
        self.cores.push(cost.cores());
        self.peaks.resize_with(peaks.len(), Samples::default);
        for (samples, peak) in self.peaks.iter_mut().zip(peaks) {
            samples.push(*peak as f64);
        }
    }

    fn line(&self, name: &str) -> Vec<String> {
        vec![
            name.to_owned(),
            format!("{:.0}", self.rate),
            format!("{:.2}", self.cpu_per_gib),
            format!("{:.2}", self.cores),
            self.peaks
                .iter()
                .map(|peak| megabytes(peak.max()))
                .collect::<Vec<_>>()
                .join(", "),
        ]
    }
}

/// The head of a table of [`Side::line`]s.
const SIDES: [&str; 5] = [
    "",
    "MB/s",
    "CPU-s/GiB",
    "cores used",
    "peak MB, each process",
];

fn megabytes(bytes: f64) -> String {
    format!("{:.0}", bytes / 1e6)
}

/// `1 GiB`, or whatever the run was asked for.
fn size_in_words(bytes: u64) -> String {
    match bytes {
        bytes if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        bytes => format!("{} MiB", bytes >> 20),
    }
}

/// Runs both sides. The second side finds memory that the first has just freed, which a virtual machine need
/// not ask its host for: neither may always be that.
fn in_turn<P, C>(
    podsync_first: bool,
    podsync: impl FnOnce() -> Result<P>,
    others: impl FnOnce() -> Result<C>,
) -> Result<(P, C)> {
    if podsync_first {
        let done = podsync()?;
        return Ok((done, others()?));
    }
    let done = others()?;
    Ok((podsync()?, done))
}
