//! `cargo xtask test`: everything that has to hold before a change lands.

use std::{any::Any, path::PathBuf, thread};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use xtask::{
    garage, localstack,
    tools::{command, ensure_nextest, has, run, step},
};

use crate::{manifests, s3};

const NEXTEST: [&str; 5] = ["nextest", "run", "--workspace", "--profile", "ci"];

#[derive(Args)]
pub(crate) struct Test {
    /// Leave out LocalStack and the end-to-end runs
    #[arg(long)]
    fast: bool,
    /// Also states of 4 GiB and of 100,000 objects: some minutes and 20 GB of disk more
    #[arg(long)]
    large: bool,
}

impl Test {
    pub(crate) fn run(self) -> Result<()> {
        ensure_nextest()?;
        run("cargo", &["fmt", "--all", "--check"])?;
        if self.fast {
            lints()?;
            return run(
                "cargo",
                &[&NEXTEST[..], &["-E", "not binary(end_to_end)"]].concat(),
            );
        }
        // What waits for the network or for an instance goes beside what compiles.
        let pythons = thread::scope(|scope| {
            let pythons = scope.spawn(|| localstack::VERSIONS.map(localstack::python));
            lints()?;
            pythons.join().map_err(panicked)
        })?;
        let all = [&NEXTEST[..], &["--features", "podsync/failpoints"]].concat();
        thread::scope(|scope| {
            let plugin = scope.spawn(|| test_plugin(&pythons));
            run("cargo", &[&all[..], &["--no-run"]].concat())?;
            plugin.join().map_err(panicked)?
        })?;
        // The end-to-end runs drive the program that is built with these features: it has the places where it
        // can be killed.
        let threads = threads()?.to_string();
        let mut tests = command("cargo", &[&all[..], &["--test-threads", &threads]].concat());
        if let [Ok(python), ..] = &pythons {
            tests = tests.env(localstack::PYTHON_VARIABLE, python);
        }
        match garage::program() {
            Some(program) => tests = tests.env(garage::VARIABLE, program),
            None => step("NOT RUN: Garage isn't here (`cargo xtask garage` builds it)"),
        }
        manifests::check()?;
        // It lives until all tests are through.
        let rclone = s3::Server::Rclone.start();
        match &rclone {
            Ok(running) => tests = tests.env(xtask::S3_VARIABLE, running.describe()?),
            Err(reason) => step(&format!("NOT RUN: rclone as an S3 server: {reason:#}")),
        }
        step(
            "NOT RUN: Ceph's RGW and OpenStack's Swift (`cargo xtask s3 rgw`, `cargo xtask s3 swift`): they take Debian's packages and root",
        );
        if self.large {
            tests = tests.env("PODSYNC_TEST_LARGE", "1");
        }
        step("cargo nextest run");
        tests.run()?;
        Ok(())
    }
}

/// How many tests run at once. More than half of their time they wait: for a disk, a lost packet or another process.
fn threads() -> Result<usize> {
    Ok(2 * thread::available_parallelism()?.get())
}

fn lints() -> Result<()> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--"];
    run("cargo", &[&clippy[..], &["-D", "warnings"]].concat())?;
    rules_of_dependencies()
}

fn panicked(_: Box<dyn Any + Send>) -> anyhow::Error {
    anyhow!("a thread of these tests panicked")
}

/// The plugin's own tests, in every version at once: each is one process that also waits.
fn test_plugin(pythons: &[Result<PathBuf>]) -> Result<()> {
    let mut present = Vec::new();
    for (version, python) in localstack::VERSIONS.iter().zip(pythons) {
        match python {
            Ok(python) => present.push((version, python)),
            Err(reason) => step(&format!("NOT RUN: LocalStack {version}: {reason:#}")),
        }
    }
    if present.is_empty() {
        return Ok(());
    }
    let clients = localstack::clients()?;
    thread::scope(|scope| {
        let mut suites = Vec::new();
        for (version, python) in present {
            step(&format!("the plugin's own tests in LocalStack {version}"));
            let clients = &clients;
            suites.push(scope.spawn(move || {
                localstack::test_plugin(python, clients)
                    .with_context(|| format!("LocalStack {version}"))
            }));
        }
        suites
            .into_iter()
            .try_for_each(|suite| suite.join().map_err(panicked)?)
    })
}

/// Which crate may use which, and their licences. cargo-deny takes minutes to build, so it is run where it
/// is there; advisories need the network and are looked at by hand (docs/testing.md).
fn rules_of_dependencies() -> Result<()> {
    if has("cargo", &["deny", "--version"]) {
        return run("cargo", &["deny", "check", "bans", "licenses", "sources"]);
    }
    step("NOT RUN: cargo-deny isn't here (`cargo install cargo-deny --locked`)");
    Ok(())
}
