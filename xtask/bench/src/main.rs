//! `cargo xtask bench`: what podsync costs, beside programs that do parts of its work.
//!
//! The sides take turns, so that whatever else the machine does hits them alike: compare the ratios,
//! which are medians over the pairs, before the rates.

mod chromium;
mod crowd;
mod homes;
mod http;
mod measure;
mod page;
mod peers;
mod ports;
mod report;
mod rows;
mod servers;
mod states;
mod watch;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use tempfile::TempDir;
use xtask::tools::{run, step, target};

use self::report::Report;

#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Bench {
    /// What to measure [default: all but `idle`, `large`, `objects` and `build`]
    #[arg(value_enum, value_name = "ROW")]
    rows: Vec<Row>,
    /// Bytes of a large state: `1GiB`, `256MiB`
    #[arg(long, default_value = "1GiB", value_parser = size)]
    size: u64,
    /// How many turns each side takes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: u32,
    /// How many devices `polling` has
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=1024))]
    devices: u32,
    /// Also the memory of every process at 4 GiB
    #[arg(long)]
    large: bool,
    /// How many minutes `idle` looks on
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: u64,
    /// The commit that `build` and `objects` are measured against
    #[arg(long, value_name = "COMMIT", default_value = "HEAD^")]
    before: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Row {
    /// A pull over loopback, beside socat and curl from nginx
    Pull,
    /// A second version: how much travels for what changed
    Change,
    /// A save, beside `tar | zstd`
    Save,
    /// From `share` on one device to `list` on another
    Latency,
    /// Many small files, beside one file of their size
    Files,
    /// How two equal providers share the work
    Providers,
    /// A save and a load at a real LocalStack, beside curl
    Instance,
    /// A save and a load of 50,000 objects by the plugin, beside that of a commit before; only if it is named here
    Objects,
    /// An upload to a bucket and a download from it, beside `aws s3 cp` and rclone
    Bucket,
    /// Devices that ask one replica of a hub what is new
    Polling,
    /// The page's first view with a thousand pods, in a headless Chromium
    Page,
    /// What a daemon takes while nothing happens; only if it is named here: it looks on for ten minutes
    Idle,
    /// Memory at 4 GiB; only with --large, or named here
    Large,
    /// A clean build and the size of what it makes, beside the commit before; only if it is named here
    Build,
}

/// What every row works with.
struct Setup {
    program: PathBuf,
    hub: PathBuf,
    /// Holds every state, home and file of the run.
    folder: TempDir,
    size: u64,
    pairs: u32,
    devices: u32,
    /// How long an idle daemon is looked at.
    idle: Duration,
    /// The commit that a build and the plugin are measured against.
    before: String,
}

fn main() -> Result<()> {
    Bench::parse().run()
}

impl Bench {
    fn run(self) -> Result<()> {
        let [program, hub] = ["podsync", "podsync-hub"].map(released);
        if self.rows != [Row::Build] {
            let packages = ["--package", "podsync", "--package", "podsync-hub"];
            run("cargo", &[&["build", "--release"], &packages[..]].concat())?;
            for built in [&program, &hub] {
                let path = built.display();
                ensure!(built.is_file(), "{path} isn't there after its build");
            }
        }
        // The client needs a provider for TLS, though it only ever speaks over a socket.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::Builder::new()
            .prefix("podsync-bench-")
            .tempdir()
            .context("no temporary folder: set TMPDIR to one with room for five times --size")?;
        let (size, pairs) = (self.size, self.pairs);
        let setup = Setup {
            program,
            hub,
            folder,
            size,
            pairs,
            devices: self.devices,
            idle: Duration::from_secs(self.minutes * 60),
            before: self.before.clone(),
        };

        println!("{}", measure::machine()?);
        let rows = Row::value_variants().iter().filter(|row| self.wants(**row));
        let (mut goals, mut failed) = (Vec::new(), Vec::new());
        for row in rows {
            let name = row
                .to_possible_value()
                .map_or_else(String::new, |v| v.get_name().to_owned());
            step(&format!("bench: {name}"));
            match row.measure(&setup) {
                Ok(report) => {
                    println!("\n{report}");
                    goals.extend(report.goals);
                }
                Err(error) => {
                    eprintln!("{name}: {error:#}");
                    failed.push(name);
                }
            }
        }
        println!(
            "\n## Against what was to be reached\n\n{}",
            report::verdicts(&goals)
        );
        println!("\n{}", measure::machine()?);
        setup
            .folder
            .close()
            .context("the temporary folder could not be removed")?;
        ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
        Ok(())
    }

    fn wants(&self, row: Row) -> bool {
        if self.rows.is_empty() {
            !matches!(row, Row::Build | Row::Idle | Row::Objects)
                && (row != Row::Large || self.large)
        } else {
            self.rows.contains(&row)
        }
    }
}

/// Where a release build puts a program.
fn released(name: &str) -> PathBuf {
    target().join(format!("release/{name}{}", std::env::consts::EXE_SUFFIX))
}

impl Row {
    fn measure(self, setup: &Setup) -> Result<Report> {
        match self {
            Self::Pull => rows::pull::measure(setup),
            Self::Change => rows::change::measure(setup),
            Self::Save => rows::save::measure(setup),
            Self::Latency => rows::latency::measure(setup),
            Self::Files => rows::files::measure(setup),
            Self::Providers => rows::providers::measure(setup),
            Self::Instance => rows::instance::measure(setup),
            Self::Objects => rows::objects::measure(setup),
            Self::Bucket => rows::bucket::measure(setup),
            Self::Polling => rows::polling::measure(setup),
            Self::Page => rows::page::measure(setup),
            Self::Idle => rows::idle::measure(setup),
            Self::Large => rows::large::measure(setup),
            Self::Build => rows::build::measure(setup),
        }
    }
}

/// A number of MiB or GiB.
fn size(text: &str) -> Result<u64, String> {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20)];
    let found = units
        .iter()
        .find_map(|(unit, len)| Some((text.strip_suffix(unit)?.trim(), *len)));
    let bytes = found.and_then(|(number, len)| number.parse::<u64>().ok()?.checked_mul(len));
    match bytes {
        Some(bytes) if (16 << 20..=64 << 30).contains(&bytes) => Ok(bytes),
        _ => Err("say 16MiB to 64GiB, as in `256MiB` or `1GiB`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two_within_bounds() {
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("256 MiB"), Ok(256 << 20));
        for wrong in [
            "",
            "1",
            "1GB",
            "15MiB",
            "65GiB",
            "-1GiB",
            "99999999999999999999GiB",
        ] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
