//! `cargo xtask planted`: known bugs, planted one by one, must each be caught: by the simulated network, or by
//! the model of the bucket's garbage collector, as the bug's name says.
//!
//! This program stands before the compiler then: cargo calls it for the packages of the workspace, so
//! that the flag which plants a bug doesn't rebuild every dependency.

use std::env;

use anyhow::{Context, Result, ensure};

use xtask::tools::{command, ensure_nextest, root, step, target};

/// Names the planted bug to the compiler's stand-in.
const PLANTED: &str = "PODSYNC_PLANTED";
/// Where a bug lies, and the tests that have to catch it.
struct Area {
    package: &'static str,
    tests: &'static [&'static str],
}

const NETWORK: Area = Area {
    package: "podsync-core",
    tests: &["-p", "podsync-tests", "--test", "simulation"],
};
const COLLECTOR: Area = Area {
    package: "podsync-hub",
    tests: &["-p", "podsync-hub", "--lib", "gc::model"],
};

pub(crate) fn run() -> Result<()> {
    ensure_nextest()?;
    let list = std::fs::read_to_string(root().join("tests/planted.txt"))?;
    let bugs: Vec<_> = list
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let mut missed = Vec::new();
    for bug in &bugs {
        step(&format!("planted: {bug}"));
        match caught_by(bug)? {
            Some(test) => println!("{bug}: caught by {test}"),
            None => {
                println!("{bug}: MISSED");
                missed.push(*bug);
            }
        }
    }
    ensure!(
        missed.is_empty(),
        "planted and not caught: {}",
        missed.join(", ")
    );
    println!("{} planted, all caught", bugs.len());
    Ok(())
}

/// The first test that fails with a bug planted.
fn caught_by(bug: &str) -> Result<Option<String>> {
    let folder = target().join("planted");
    let area = match bug.starts_with("gc-") {
        true => COLLECTOR,
        false => NETWORK,
    };
    // Cargo doesn't know that the stand-in compiles otherwise than last time.
    command("cargo", &["clean", "-p", area.package])
        .env("CARGO_TARGET_DIR", &folder)
        .stderr_null()
        .run()?;
    let tests = [&["nextest", "run"], area.tests].concat();
    let outcome = command("cargo", &tests)
        .env("CARGO_TARGET_DIR", &folder)
        .env("RUSTC_WORKSPACE_WRAPPER", env::current_exe()?)
        .env(PLANTED, bug)
        .stdout_null()
        .stderr_capture()
        .unchecked()
        .run()?;
    let log = String::from_utf8_lossy(&outcome.stderr);
    // A tree that doesn't build would look caught.
    ensure!(
        log.contains("tests run:"),
        "the tests did not run with {bug} planted:\n{log}"
    );
    if outcome.status.success() {
        return Ok(None);
    }
    let failed = log
        .lines()
        .find(|line| line.trim_start().starts_with("FAIL"));
    let test = failed.and_then(|line| line.rsplit_once(") "));
    Ok(Some(test.map_or("a test", |(_, test)| test).to_owned()))
}

/// Compiles with the bug planted, where cargo called this program as the compiler.
pub(crate) fn as_compiler() -> Option<Result<()>> {
    let bug = env::var(PLANTED).ok()?;
    let mut arguments = env::args_os().skip(1);
    let compile = || {
        let compiler = arguments.next().context("cargo names the compiler")?;
        let status = std::process::Command::new(compiler)
            .args(arguments)
            .arg("--cfg")
            .arg(format!("podsync_planted=\"{bug}\""))
            .status()?;
        ensure!(status.success(), "the compiler failed");
        Ok(())
    };
    Some(compile())
}
