//! `cargo xtask planted`: known bugs, planted one by one, must each be caught by the simulation.

use anyhow::{Result, ensure};

use crate::tools::{command, ensure_nextest, root, step, target};

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
        // A folder of its own: changed flags would rebuild every dependency in the common one.
        let outcome = command(
            "cargo",
            &[
                "nextest",
                "run",
                "-p",
                "podsync-tests",
                "-p",
                "podsync-core",
                "-E",
                "not binary(end_to_end)",
                "--no-fail-fast",
            ],
        )
        .env("RUSTFLAGS", format!("--cfg podsync_planted=\"{bug}\""))
        .env("CARGO_TARGET_DIR", target().join("planted"))
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
        println!(
            "{bug}: {}",
            if outcome.status.success() {
                "MISSED"
            } else {
                "caught"
            }
        );
        if outcome.status.success() {
            missed.push(*bug);
        }
    }
    ensure!(
        missed.is_empty(),
        "planted and not caught: {}",
        missed.join(", ")
    );
    println!("{} passed, 0 failed", bugs.len());
    Ok(())
}
