//! Only the hub is online: robots, a newcomer with a real emulator, and what the bucket reveals.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{
    FakeEmulator, Home, Hub, LocalStack, Member, Runner, finish, localstack_python, zip,
};

use crate::bucket::{alice_with, alone};

const UNREACHABLE: i32 = 7;
const TICKET: i32 = 13;
const STALE: i32 = 16;

/// Strings that must not be readable in the bucket.
const SECRETS: [&str; 6] = [
    "mauve-pod",
    "mauve-message",
    "mauve-tag",
    "mauve-file",
    "mauve-bytes",
    "s3/buckets",
];

/// Alice, away, whose pod is tagged in the bucket, and the token of a robot.
fn alice_is_away(hub: &Hub, source: &FakeEmulator) -> Result<(Home, String)> {
    let mut alice = alice_with(hub)?;
    alice
        .run(&[
            "save",
            "mauve-pod",
            "-m",
            "mauve-message",
            "--share",
            "--wait",
            "--endpoint",
            &source.endpoint(),
        ])?
        .ok()?;
    alice.run(&["tag", "mauve-pod", "mauve-tag"])?.ok()?;
    let token = alice.token("ci")?;
    alice.run(&["share", "mauve-pod:1", "--wait"])?.ok()?;
    alice.stop()?;
    Ok((alice, token))
}

fn state() -> Vec<u8> {
    zip(&[
        Member::stored("s3/buckets", b"mauve-bytes".repeat(5000).as_slice()),
        Member::stored("sqs/mauve-file", &[2; 5000]),
    ])
}

/// As in a slim container.
#[test]
fn a_machine_without_certificates_pulls_over_http() -> Result<()> {
    let hub = Hub::start()?;
    let (_alice, token) = alice_is_away(&hub, &FakeEmulator::start(&state())?)?;
    let runner = Runner::new(&token)?;
    let pull = ["pull", "mauve-pod:mauve-tag"];
    let mut command = runner.command(&pull)?;
    command.env("SSL_CERT_FILE", runner.work().join("none"));
    command.env("SSL_CERT_DIR", runner.work());
    let pulled = finish(command.spawn()?)?.ok()?;
    ensure!(pulled["reference"] == "mauve-pod:1", "{pulled}");
    Ok(())
}

#[test]
fn robots_need_nobody_but_the_hub() -> Result<()> {
    let mut hub = Hub::start()?;
    let (mut alice, token) = alice_is_away(&hub, &FakeEmulator::start(&state())?)?;
    let runner = Runner::new(&token)?;
    let target = FakeEmulator::start(&state())?;
    let load = ["pull", "mauve-pod:mauve-tag", "--load", "--endpoint"];
    let loaded = runner
        .run(&[&load[..], &[&target.endpoint()]].concat())?
        .ok()?;
    ensure!(loaded["reference"] == "mauve-pod:1", "{loaded}");
    ensure!(target.posts().len() == 1);
    let pulled = runner
        .run(&["pull", "mauve-pod", "--max-age", "24h"])?
        .ok()?;
    ensure!(pulled["sources"][0]["name"] == "the bucket", "{pulled}");
    runner
        .run(&["pull", "mauve-pod", "--max-age", "0s", "--wait", "1s"])?
        .failed(STALE)?;
    runner.run(&["lock", "mauve-pod:mauve-tag"])?.ok()?;
    let jobs: Vec<_> = (0..8)
        .map(|_| runner.spawn(&["pull", "mauve-pod:mauve-tag", "--frozen"]))
        .collect::<Result<_>>()?;
    for job in jobs {
        finish(job)?.ok()?;
    }
    ensure!(runner.leftovers()?.is_empty(), "left behind");
    hub.kill()?;
    let message = runner
        .run(&["pull", "mauve-pod", "--wait", "1s"])?
        .failed(UNREACHABLE)?;
    ensure!(message.contains("hub"), "{message}");
    hub.run()?;
    alice.start(&[])?;
    alice.run(&["team", "remove", "ci", "--yes"])?.ok()?;
    alice.stop()?;
    runner.run(&["pull", "mauve-pod"])?.failed(TICKET)?;
    ensure!(runner.leftovers()?.is_empty(), "left behind");
    Ok(())
}

#[test]
fn nothing_in_the_bucket_is_in_the_clear() -> Result<()> {
    let mut hub = Hub::start()?;
    let (mut alice, token) = alice_is_away(&hub, &FakeEmulator::start(&state())?)?;
    Runner::new(&token)?.run(&["pull", "mauve-pod"])?.ok()?;
    alice.start(&[])?;
    let ticket = alice.invite(&[])?;
    alice.stop()?;
    let bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    bob.run(&["pull", "mauve-pod"])?.ok()?;
    let folder = bob.scratch("mauve-folder");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("mauve-file"), "mauve-bytes ".repeat(10_000))?;
    bob.run(&[
        "save",
        "mauve-pod",
        "--share",
        "--wait",
        "--from",
        &folder.to_string_lossy(),
    ])?
    .ok()?;
    bob.run(&["drop", "mauve-pod:2"])?.ok()?;
    alice.start(&[&bob])?;
    alice.run(&["team", "remove", "bob", "--yes"])?.ok()?;
    alice.run(&["share", "mauve-pod:1", "--wait"])?.ok()?;
    // Both devices keep reporting to the hub: stop it, so that nothing changes while all of it is
    // read.
    hub.kill()?;

    let secrets = [&SECRETS[..], &[&ticket[20..], &token[20..]]].concat();
    let mut seen = BTreeMap::new();
    for object in hub.everything()? {
        let bytes = std::fs::read(&object)?;
        let name = object.to_string_lossy().into_owned();
        for secret in &secrets {
            ensure!(!holds(&bytes, secret), "{name} shows {secret}");
            ensure!(!name.contains(secret), "{name} is a name with {secret}");
        }
        *seen.entry(kind(&object)).or_insert(0) += 1;
    }
    for kind in [
        "packs",
        "manifests",
        "outboards",
        "membership",
        "segments",
        "heads",
    ] {
        ensure!(seen.contains_key(kind), "no {kind} to look at: {seen:?}");
    }
    Ok(())
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes
        .windows(secret.len())
        .any(|window| window == secret.as_bytes())
}

/// The folder of the bucket's keys that an object is in.
fn kind(object: &Path) -> String {
    let folders = [
        "packs",
        "manifests",
        "outboards",
        "membership",
        "segments",
        "heads",
    ];
    let names = object.iter().filter_map(|name| name.to_str());
    let mut kinds = names.filter(|name| folders.contains(name));
    kinds.next().unwrap_or("other").to_owned()
}

#[test]
fn a_newcomer_loads_from_the_bucket_and_serves_the_next() -> Result<()> {
    let Some(python) = localstack_python() else {
        return Ok(());
    };
    let (hers, his) = (LocalStack::start(&python)?, LocalStack::start(&python)?);
    let mut hub = Hub::start()?;
    let mut alice = alice_with(&hub)?;
    hers.fill()?;
    alice
        .run(&[
            "save",
            "orders",
            "--share",
            "--wait",
            "--endpoint",
            &hers.endpoint(),
        ])?
        .ok()?;
    let (for_bob, for_carol) = (alice.invite(&[])?, alice.invite(&[])?);
    alice.stop()?;

    let bob = alone("bob")?;
    bob.join(&for_bob)?.ok()?;
    let pulled = bob.run(&["pull", "orders"])?.ok()?;
    ensure!(pulled["sources"][0]["name"] == "the bucket", "{pulled}");
    let load = ["load", "orders", "--merge", "overwrite", "--new-signer"];
    let endpoint = his.endpoint();
    let loaded = bob
        .run(&[&load[..], &["--endpoint", &endpoint]].concat())?
        .ok()?;
    ensure!(
        loaded["applied"]
            .as_array()
            .is_some_and(|applied| !applied.is_empty()),
        "{loaded}"
    );
    ensure!(hers.dump()? == his.dump()?, "they hold the same");

    let mut carol = Home::new("carol")?;
    carol.start(&[&bob])?;
    carol.join(&for_carol)?.ok()?;
    hub.kill()?;
    let pulled = carol.run(&["pull", "orders", "--source", "peers"])?.ok()?;
    let from = pulled["sources"][0]["name"].as_str().context("nobody")?;
    ensure!(from.starts_with("bob"), "{pulled}");
    Ok(())
}
