//! Time, CPU and memory, as the kernel reports them for each process.
//!
//! The CPU of a short-lived program counts here only once it was waited for: everything that
//! [`timed`] runs must have been waited for when it returns.

use std::{
    fmt,
    fs::{self, File},
    path::Path,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

pub(super) const GIB: f64 = (1_u64 << 30) as f64;

/// How often a short-lived program's peak memory is read; the last reading counts.
const PEAK_POLL: Duration = Duration::from_millis(10);

/// More than both sides need of memory, with the files and the servers that they make grow.
const WARMED: usize = 6 << 30;
const PAGE: usize = 4096;

/// What some work cost: seconds on the clock, and of CPU in all processes that took part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) wall: f64,
    pub(super) cpu: f64,
}

impl Cost {
    /// 10^6 bytes a second.
    pub(super) fn rate(self, bytes: u64) -> f64 {
        bytes as f64 / 1e6 / self.wall
    }

    pub(super) fn cpu_per_gib(self, bytes: u64) -> f64 {
        self.cpu / (bytes as f64 / GIB)
    }

    pub(super) fn cores(self) -> f64 {
        self.cpu / self.wall
    }
}

/// Measures `work`, which may use `daemons` besides what it starts itself, on a machine that is at rest.
pub(super) fn timed<T>(daemons: &[Process], work: impl FnOnce() -> Result<T>) -> Result<(T, Cost)> {
    // What was written before must not be flushed in the time that is measured.
    rustix::fs::sync();
    warm()?;
    measured(daemons, work)
}

/// Measures `work` as the machine is: for what takes minutes.
pub(super) fn measured<T>(
    daemons: &[Process],
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Cost)> {
    let cpu = || -> Result<f64> {
        let mut sum = Process::own_and_waited_for()?;
        for daemon in daemons {
            sum += daemon.cpu_seconds()?;
        }
        Ok(sum)
    };
    let (before, begin) = (cpu()?, Instant::now());
    let done = work()?;
    let wall = begin.elapsed().as_secs_f64();
    Ok((
        done,
        Cost {
            wall,
            cpu: cpu()? - before,
        },
    ))
}

/// Touches memory and lets go of it. A virtual machine has to ask its host for memory that it gave back. That
/// takes longer than most of what is measured here, and would slow down the side that runs first.
fn warm() -> Result<()> {
    let info = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let free = info
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let free: usize = free
        .and_then(|free| free.trim().strip_suffix(" kB")?.parse().ok())
        .context("/proc/meminfo names no MemAvailable")?;
    let mut memory = vec![0_u8; WARMED.min(free * 1024 / 2)];
    memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    std::hint::black_box(&memory);
    Ok(())
}

/// Makes what a competitor wrote as durable as what podsync wrote.
pub(super) fn fsync(path: &Path) -> Result<()> {
    File::open(path)?
        .sync_all()
        .with_context(|| format!("fsync of {}", path.display()))
}

/// A process that lives as long as it is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process(pub(super) u32);

impl Process {
    pub(super) fn cpu_seconds(self) -> Result<f64> {
        ticks(&format!("/proc/{}/stat", self.0), 2)
    }

    /// This process and its children that have ended.
    fn own_and_waited_for() -> Result<f64> {
        ticks("/proc/self/stat", 4)
    }

    /// The most memory that it had resident since it began, in bytes; `None` once it has ended.
    pub(super) fn peak(self) -> Option<u64> {
        self.memory("VmHWM:")
    }

    /// The memory that it has resident now, in bytes; `None` once it has ended.
    pub(super) fn resident(self) -> Option<u64> {
        self.memory("VmRSS:")
    }

    fn memory(self, name: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }

    /// Follows the peak until the process ends.
    pub(super) fn follow(self) -> Peak {
        Peak(thread::spawn(move || {
            let mut last = 0;
            while let Some(peak) = self.peak() {
                last = peak;
                thread::sleep(PEAK_POLL);
            }
            last
        }))
    }
}

/// The peak memory of a short-lived process.
pub(super) struct Peak(JoinHandle<u64>);

impl Peak {
    /// Ask after the process was waited for, and outside of what is timed.
    pub(super) fn bytes(self) -> u64 {
        self.0.join().unwrap_or_default()
    }
}

/// The sum of the first `count` of `utime`, `stime`, `cutime`, `cstime`, in seconds.
fn ticks(stat: &str, count: usize) -> Result<f64> {
    let text =
        fs::read_to_string(stat).with_context(|| format!("{stat}: has the process ended?"))?;
    // The name is in parentheses and may hold anything, also spaces and parentheses.
    let (_, fields) = text
        .rsplit_once(')')
        .with_context(|| format!("{stat} is malformed"))?;
    let times = fields
        .split_whitespace()
        .skip(11)
        .take(count)
        .map(str::parse::<u64>);
    let sum = times
        .sum::<Result<u64, _>>()
        .with_context(|| format!("{stat} is malformed"))?;
    Ok(sum as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The same figure from every turn.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn push(&mut self, sample: f64) {
        self.0.push(sample);
        self.0.sort_by(f64::total_cmp);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = f64> {
        self.0.iter().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn median(&self) -> f64 {
        let (low, high) = (self.0.len().saturating_sub(1) / 2, self.0.len() / 2);
        self.0
            .get(low)
            .zip(self.0.get(high))
            .map_or(f64::NAN, |(low, high)| (low + high) / 2.0)
    }

    /// The smallest sample that `share` of all do not exceed.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or(f64::NAN)
    }

    pub(super) fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    pub(super) fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        let mut all = Self::default();
        samples.into_iter().for_each(|sample| all.push(sample));
        all
    }
}

/// `433 (401 to 448)`: the median, and how far the turns were apart.
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        if self.is_empty() {
            return f.write_str("-");
        }
        let (low, high) = (self.min(), self.max());
        write!(
            f,
            "{:.digits$} ({low:.digits$} to {high:.digits$})",
            self.median()
        )
    }
}

/// What the figures were taken on, and how busy it is.
pub(super) fn machine() -> Result<String> {
    let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
    let info = read("/proc/cpuinfo")?;
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or_default();
    let cores = thread::available_parallelism()?;
    let load = read("/proc/loadavg")?;
    let load: Vec<_> = load.split_whitespace().take(3).collect();
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let (model, kernel) = (model.trim_start_matches([' ', '\t', ':']), kernel.trim());
    Ok(format!(
        "{cores} cores ({model}), Linux {kernel}, load {}",
        load.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles_of_unsorted_samples() {
        let odd: Samples = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!(odd.median(), 2.0);
        let even: Samples = [4.0, 1.0, 3.0, 2.0].into_iter().collect();
        assert_eq!(even.median(), 2.5);
        let hundred: Samples = (1..=100).map(f64::from).collect();
        assert_eq!(
            (hundred.quantile(0.5), hundred.quantile(0.99)),
            (50.0, 99.0)
        );
        assert_eq!(format!("{odd:.1}"), "2.0 (1.0 to 3.0)");
        assert!(Samples::default().median().is_nan());
    }

    #[test]
    fn children_count_once_they_were_waited_for() {
        let burn = || {
            let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
            assert!(
                std::process::Command::new("sh")
                    .args(["-c", script])
                    .status()?
                    .success()
            );
            Ok(())
        };
        let ((), cost) = measured(&[], burn).unwrap();
        assert!(cost.cpu > 0.02, "{cost:?}");
    }

    #[test]
    fn a_process_that_ended_has_no_peak_and_following_it_ends() {
        let mut child = std::process::Command::new("sleep")
            .arg("0.05")
            .spawn()
            .unwrap();
        let process = Process(child.id());
        let peak = process.follow();
        child.wait().unwrap();
        assert!(process.peak().is_none());
        assert!(peak.bytes() > 0);
    }
}
