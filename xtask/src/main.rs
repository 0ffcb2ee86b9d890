//! `cargo xtask`: sets up what a new developer's machine needs, and runs it.

mod dist;
mod fuzz;
mod lengths;
mod manifests;
mod planted;
mod s3;
mod test;

use clap::{Parser, Subcommand};
use xtask::{garage, tools};

#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Formatting, lints, every test, and the real LocalStack where Python 3.13 is there
    Test(test::Test),
    /// Plant each known bug in turn; the simulated network or the collector's model must catch it
    Planted,
    /// Feed every decoder with what others may send, under libFuzzer
    Fuzz(fuzz::Fuzz),
    /// Programs, packages and sums of a release, for this machine's architecture; Linux alone
    Dist(dist::Dist),
    /// Build the S3 server that the hub's suite runs on beside others
    Garage(garage::Garage),
    /// Set up an S3 server by others on loopback, and run the suite of buckets and a whole way over it
    S3(s3::S3),
    /// Measure against tar, zstd, socat, curl, nginx, aws and rclone; prints ratios
    #[command(disable_help_flag = true)]
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// How long files and functions are, now and at another commit
    Lengths {
        /// The commit to compare with
        before: String,
    },
}

fn main() -> anyhow::Result<()> {
    if let Some(status) = planted::as_compiler() {
        return status;
    }
    match Arguments::parse().task {
        Task::Test(test) => test.run(),
        Task::Planted => planted::run(),
        Task::Fuzz(fuzz) => fuzz.run(),
        Task::Dist(dist) => dist.run(),
        Task::Garage(garage) => garage.run(),
        Task::S3(s3) => s3.run(),
        // A package of its own: it links all of podsync, and no test should wait until that is built once more.
        Task::Bench { arguments } => {
            let package = ["run", "--quiet", "--package", "podsync-bench", "--"].map(str::to_owned);
            let arguments = [&package[..], &arguments].concat();
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            tools::run("cargo", &arguments)
        }
        Task::Lengths { before } => lengths::run(&before),
    }
}
