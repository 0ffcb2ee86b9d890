//! Checks that the crates' dependencies are exactly those that docs/architecture.md draws.

#![expect(
    clippy::unwrap_used,
    reason = "a test says by panicking what cargo left out"
)]

mod docs;
mod files;
mod page;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Who may depend on whom among our own crates; dev-dependencies don't count.
const ARROWS: [(&str, &[&str]); 11] = [
    ("podsync-core", &[]),
    ("podsync-pack", &["podsync-core"]),
    ("podsync-store", &["podsync-core"]),
    ("podsync-net", &["podsync-core"]),
    ("podsync-instance", &["podsync-core"]),
    ("podsync-api", &["podsync-core"]),
    ("podsync-bucket", &["podsync-api", "podsync-core"]),
    ("podsync-hub", &["podsync-api", "podsync-core"]),
    ("podsync-page", &[]),
    (
        "podsync-daemon",
        &[
            "podsync-api",
            "podsync-bucket",
            "podsync-core",
            "podsync-instance",
            "podsync-net",
            "podsync-pack",
            "podsync-page",
            "podsync-store",
        ],
    ),
    (
        "podsync",
        &["podsync-api", "podsync-core", "podsync-daemon"],
    ),
];

/// Dependencies that core must not have: clocks, disks, sockets and randomness are inputs.
const NOT_IN_CORE: [&str; 7] = [
    "tokio",
    "libp2p",
    "iroh-blobs",
    "redb",
    "reqwest",
    "getrandom",
    "tempfile",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn dependencies(metadata: &Value, package: &str) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages
        .iter()
        .find(|found| found["name"] == package)
        .unwrap();
    let dependencies = package["dependencies"].as_array().unwrap();
    let normal = dependencies
        .iter()
        .filter(|dependency| dependency["kind"].is_null());
    normal
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn rooms_depend_on_each_other_as_drawn() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for (room, allowed) in ARROWS {
        let drawn: BTreeSet<&str> = allowed.iter().copied().collect();
        let found = dependencies(&metadata, room);
        let found: BTreeSet<&str> = found
            .iter()
            .map(String::as_str)
            .filter(|name| ours.contains(name))
            .collect();
        let extra: Vec<_> = found.difference(&drawn).collect();
        assert!(
            extra.is_empty(),
            "{room} depends on {extra:?}: draw the arrow in docs/architecture.md first"
        );
    }
}

#[test]
fn the_domain_reaches_no_clock_disk_or_socket() {
    let found = dependencies(&metadata(), "podsync-core");
    for banned in NOT_IN_CORE {
        assert!(!found.contains(banned), "podsync-core depends on {banned}");
    }
}
