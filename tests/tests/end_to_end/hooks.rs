//! Hook scripts of the home, and desktop notifications.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::Home;

use crate::{events::share, share::alice_and_bob};

fn script(path: &Path, text: &str, mode: u32) -> Result<()> {
    let folder = path.parent().context("no folder")?;
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    fs::write(path, format!("#!/bin/sh\n{text}\n"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn fifo(home: &Home, name: &str) -> Result<std::path::PathBuf> {
    let path = home.scratch(name);
    ensure!(Command::new("mkfifo").arg(&path).status()?.success());
    Ok(path)
}

#[test]
fn a_homes_hooks_are_run_for_shares_and_pulls() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let said = fifo(&bob, "said")?;
    let to_fifo = format!(
        "echo \"$PODSYNC_EVENT $PODSYNC_REFERENCE $PODSYNC_HOME\" > '{}'; echo in the log",
        said.display()
    );
    script(&bob.path().join("hooks/on-share"), &to_fifo, 0o700)?;
    script(&bob.path().join("hooks/on-pull"), &to_fifo, 0o700)?;
    share(&alice, "orders", 1)?;
    // The reader waits for the script, and the script for the reader.
    let heard = fs::read_to_string(&said)?;
    ensure!(
        heard == format!("shared orders:1 {}\n", bob.path().display()),
        "{heard}"
    );
    bob.run(&["pull", "orders"])?.ok()?;
    let heard = fs::read_to_string(&said)?;
    ensure!(heard.starts_with("pulled orders:1 "), "{heard}");
    Ok(())
}

#[test]
fn a_hook_that_fails_or_that_others_can_write_to_is_told() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let mut events = bob.listen(None)?;
    let hook = bob.path().join("hooks/on-share");
    script(&hook, "echo nonsense >&2; exit 3", 0o700)?;
    share(&alice, "orders", 1)?;
    let trouble = events.wait_for("trouble")?;
    ensure!(
        trouble["message"]
            .as_str()
            .is_some_and(|said| said.contains("hooks/on-share failed")),
        "{trouble}"
    );
    ensure!(trouble["reference"] == "orders:1", "{trouble}");
    ensure!(bob.log().contains("nonsense"), "its words are in the log");

    script(&hook, "touch /nowhere/at/all", 0o777)?;
    share(&alice, "orders", 2)?;
    let trouble = events.wait_for("trouble")?;
    ensure!(
        trouble["message"]
            .as_str()
            .is_some_and(|said| said.contains("can be written by others")),
        "{trouble}"
    );
    Ok(())
}

/// A replacement for the desktop's program that prints its arguments.
#[cfg(target_os = "linux")]
#[test]
fn what_teammates_share_is_shown_on_the_desktop() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let mut bob = Home::new("bob")?;
    let said = fifo(&bob, "said")?;
    let programs = bob.scratch("programs");
    script(
        &programs.join("notify-send"),
        &format!("echo \"$*\" > '{}'", said.display()),
        0o700,
    )?;
    let path = std::env::var("PATH")?;
    let path = format!("{}:{path}", programs.display());
    let daemon = ["daemon", "--listen", "127.0.0.1:0", "--no-mdns", "--peer"];
    let address = alice.address()?;
    bob.start_with(
        &[&daemon[..], &[address.as_str()]].concat(),
        &[
            ("CI", ""),
            ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere"),
            ("PATH", &path),
        ],
    )?;
    bob.join(&alice.invite(&[])?)?.ok()?;
    share(&alice, "orders", 1)?;
    let heard = fs::read_to_string(&said)?;
    ensure!(
        heard == "-a podsync -- podsync alice shared orders:1: see here\n",
        "{heard}"
    );
    Ok(())
}
