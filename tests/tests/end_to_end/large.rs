//! States of a size that takes minutes and tens of gigabytes of disk: run where `PODSYNC_TEST_LARGE` is
//! set, as `cargo xtask test --large` does.

use anyhow::{Context, Result};
use podsync_tests::kit::{Home, LocalStack, localstack_python, peak_memory};

/// What a daemon may have resident, however large the state is.
const DAEMON_MEMORY: u64 = 200_000_000;

#[test]
fn a_state_of_four_gibibytes_is_saved_and_loaded() -> Result<()> {
    there_and_back(|source| source.fill_with_bytes(4 << 30))
}

#[test]
fn a_bucket_with_a_hundred_thousand_objects_is_saved_and_loaded() -> Result<()> {
    there_and_back(|source| source.fill_with_objects(100_000, 0))
}

fn there_and_back(fill: impl FnOnce(&LocalStack) -> Result<()>) -> Result<()> {
    if std::env::var_os("PODSYNC_TEST_LARGE").is_none() {
        eprintln!("NOT RUN: takes minutes and 20 GB of disk (`cargo xtask test --large`)");
        return Ok(());
    }
    let Some(python) = localstack_python() else {
        return Ok(());
    };
    let (source, target) = (LocalStack::start(&python)?, LocalStack::start(&python)?);
    fill(&source)?;
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let saved = alice
        .run(&["save", "large", "--endpoint", &source.endpoint()])?
        .ok()?;
    assert_eq!(saved["failed"].as_array().map_or(1, Vec::len), 0, "{saved}");
    alice
        .run(&["load", "large", "--endpoint", &target.endpoint()])?
        .ok()?;
    assert_eq!(source.digest()?, target.digest()?);
    let daemon = peak_memory(alice.daemon_id().context("no daemon")?)?;
    eprintln!(
        "{} bytes; peak memory: daemon {daemon}, LocalStack saving {}, loading {}",
        saved["state_len"],
        source.peak_memory()?,
        target.peak_memory()?
    );
    assert!(daemon < DAEMON_MEMORY, "{daemon}");
    Ok(())
}
