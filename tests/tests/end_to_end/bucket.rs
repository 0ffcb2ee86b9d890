//! The organisation's bucket serves when nobody is online, through a real hub.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Home, Hub, change_file, fill, same_tree};

const UNREACHABLE: i32 = 7;
const MIB: usize = 1 << 20;

/// Alice with a team that has a hub, her daemon up.
pub(crate) fn alice_with(hub: &Hub) -> Result<Home> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let set = alice.run(&["team", "set-hub", &hub.url()])?.ok()?;
    ensure!(set["witnesses"] == true, "{set}");
    Ok(alice)
}

/// Somebody with a daemon that knows nobody.
pub(crate) fn alone(name: &str) -> Result<Home> {
    let mut home = Home::new(name)?;
    home.start(&[])?;
    Ok(home)
}

pub(crate) fn share(home: &Home, state: &std::path::Path) -> Result<serde_json::Value> {
    let from = state.to_string_lossy().into_owned();
    home.run(&["save", "orders", "--share", "--wait", "--from", &from])?
        .ok()
}

pub(crate) fn exported_is(home: &Home, reference: &str, state: &std::path::Path) -> Result<()> {
    let out = home.scratch("exported");
    home.run(&["export", reference, &out.to_string_lossy()])?
        .ok()?;
    same_tree(state, &out)?;
    Ok(std::fs::remove_dir_all(out)?)
}

#[test]
fn whoever_never_met_the_sharer_pulls_from_the_bucket_and_serves_the_next() -> Result<()> {
    let mut hub = Hub::start()?;
    let mut alice = alice_with(&hub)?;
    let state = alice.scratch("state");
    fill(&state, 5, 16 * MIB, 1)?;
    let saved = share(&alice, &state)?;
    ensure!(saved["shared"]["durable"] == true, "{saved}");
    let (for_bob, for_carol) = (alice.invite(&[])?, alice.invite(&[])?);
    let status = alice.run(&["status"])?.ok()?;
    ensure!(status["teams"][0]["hub"]["waiting"] == 0, "{status}");
    ensure!(!hub.objects("packs")?.is_empty(), "nothing was uploaded");
    alice.stop()?;

    let bob = alone("bob")?;
    bob.join(&for_bob)?.ok()?;
    let pulled = bob.run(&["pull", "orders"])?.ok()?;
    ensure!(pulled["author"] == "alice", "{pulled}");
    let from = &pulled["sources"][0];
    ensure!(
        from["name"] == "the bucket" && from["device"].is_null(),
        "{pulled}"
    );
    ensure!(from["bytes"].as_u64() >= Some(80 * MIB as u64), "{pulled}");
    exported_is(&bob, "orders:1", &state)?;

    let mut carol = Home::new("carol")?;
    carol.start(&[&bob])?;
    carol.join(&for_carol)?.ok()?;
    hub.kill()?;
    let pulled = carol.run(&["pull", "orders", "--source", "peers"])?.ok()?;
    ensure!(
        pulled["sources"][0]["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("bob")),
        "{pulled}"
    );
    exported_is(&carol, "orders:1", &state)
}

#[test]
fn only_what_changed_is_uploaded_and_pulled() -> Result<()> {
    let hub = Hub::start()?;
    let alice = alice_with(&hub)?;
    let state = alice.scratch("state");
    fill(&state, 4, 16 * MIB, 1)?;
    share(&alice, &state)?;
    let before = hub.objects("packs")?.len();
    let ticket = alice.invite(&[])?;
    let bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    bob.run(&["pull", "orders", "--source", "bucket"])?.ok()?;
    change_file(&state.join("file-00002.bin"), 5 * MIB as u64, 2 * MIB, 7)?;
    share(&alice, &state)?;
    ensure!(hub.objects("packs")?.len() == before + 1);
    let pulled = bob.run(&["pull", "orders", "--source", "bucket"])?.ok()?;
    ensure!(
        pulled["fetched"].as_u64() < Some(6 * MIB as u64),
        "{pulled}"
    );
    exported_is(&bob, "orders:2", &state)
}

#[test]
fn a_hub_that_is_down_keeps_nobody_from_sharing_and_gets_it_later() -> Result<()> {
    let mut hub = Hub::start()?;
    let alice = alice_with(&hub)?;
    let state = alice.scratch("state");
    fill(&state, 2, MIB, 1)?;
    hub.kill()?;
    let from = state.to_string_lossy().into_owned();
    let saved = alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;
    ensure!(saved["shared"]["durable"] == false, "{saved}");
    let status = alice.run(&["status"])?.ok()?;
    ensure!(status["teams"][0]["hub"]["waiting"] != 0, "{status}");
    hub.run()?;
    let shared = alice.run(&["share", "orders:1", "--wait"])?.ok()?;
    ensure!(
        shared["durable"] == true && shared["already"] == true,
        "{shared}"
    );
    ensure!(!hub.objects("manifests")?.is_empty());
    Ok(())
}

#[test]
fn a_sharer_that_is_killed_goes_on_uploading_after_its_restart() -> Result<()> {
    let mut hub = Hub::start()?;
    let mut alice = alice_with(&hub)?;
    let ticket = alice.invite(&[])?;
    let state = alice.scratch("state");
    fill(&state, 3, 8 * MIB, 1)?;
    hub.kill()?;
    let from = state.to_string_lossy().into_owned();
    alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;
    alice.kill()?;
    hub.run()?;
    alice.start(&[])?;
    alice.run(&["share", "orders:1", "--wait"])?.ok()?;
    alice.stop()?;
    let bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    bob.run(&["pull", "orders"])?.ok()?;
    exported_is(&bob, "orders", &state)
}

#[test]
fn damage_in_the_bucket_is_noticed_and_a_teammate_serves_instead() -> Result<()> {
    let hub = Hub::start()?;
    let alice = alice_with(&hub)?;
    let ticket = alice.invite(&[])?;
    let state = alice.scratch("state");
    fill(&state, 3, 8 * MIB, 1)?;
    share(&alice, &state)?;
    for pack in hub.objects("packs")? {
        let len = std::fs::metadata(&pack)?.len();
        if len > MIB as u64 {
            change_file(&pack, len / 2, 1000, 9)?;
        }
    }
    let bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    let message = bob
        .run(&["pull", "orders", "--source", "bucket", "--wait", "3s"])?
        .failed(6)?;
    ensure!(message.contains("the team's bucket"), "{message}");
    // Bob knows Alice's address from her own record.
    let pulled = bob
        .run(&["pull", "orders", "--source", "any", "--wait", "60s"])?
        .ok()?;
    let names: Vec<_> = pulled["sources"]
        .as_array()
        .context("no sources")?
        .iter()
        .map(|source| source["name"].to_string())
        .collect();
    ensure!(names.iter().any(|name| name.contains("alice")), "{pulled}");
    exported_is(&bob, "orders", &state)
}

#[test]
fn without_a_daemon_a_share_ends_in_the_bucket_and_a_pull_begins_there() -> Result<()> {
    let hub = Hub::start()?;
    let mut alice = alice_with(&hub)?;
    let ticket = alice.invite(&[])?;
    alice.stop()?;
    let state = alice.scratch("state");
    fill(&state, 2, 2 * MIB, 1)?;
    let from = state.to_string_lossy().into_owned();
    let quiet = [("PODSYNC_MDNS", "false"), ("PODSYNC_LISTEN", "127.0.0.1:0")];
    let saved = alice
        .run_with(
            &["save", "orders", "--share", "--from", &from],
            &quiet,
            None,
        )?
        .ok()?;
    ensure!(saved["shared"]["durable"] == true, "{saved}");
    let bob = Home::new("bob")?;
    bob.run_with(&["team", "join", "-", "--as", "bob"], &quiet, Some(&ticket))?
        .ok()?;
    let listed = bob.run_with(&["list"], &quiet, None)?.ok()?;
    ensure!(listed[0]["name"] == "orders", "{listed}");
    let pulled = bob.run_with(&["pull", "orders"], &quiet, None)?.ok()?;
    ensure!(pulled["sources"][0]["name"] == "the bucket", "{pulled}");
    exported_is(&bob, "orders", &state)
}

#[test]
fn what_is_no_hub_is_refused() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    for (url, code) in [
        ("http://127.0.0.1:9", 7),
        ("http://hub.example", 2),
        ("ftp://127.0.0.1", 2),
        ("nonsense", 2),
    ] {
        let message = alice.run(&["team", "set-hub", url])?.failed(code)?;
        ensure!(
            message.contains(url.trim_start_matches("http://")),
            "{message}"
        );
    }
    let message = alice
        .run(&["pull", "orders", "--source", "bucket"])?
        .failed(3)?;
    ensure!(message.contains("set-hub"), "{message}");
    let unset = alice.run(&["team", "set-hub", "--unset"])?.ok()?;
    ensure!(unset["url"].is_null(), "{unset}");
    Ok(())
}

#[test]
fn a_proxy_that_is_down_or_none_is_named() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let reach = |url, proxy| {
        let variables = [
            ("HTTPS_PROXY", proxy),
            ("ALL_PROXY", ""),
            ("NO_PROXY", ""),
            ("PODSYNC_MDNS", "false"),
            ("PODSYNC_LISTEN", "127.0.0.1:0"),
        ];
        let answer = alice.run_with(&["team", "set-hub", url], &variables, None)?;
        answer.failed(UNREACHABLE)
    };
    let message = reach("https://hub.test:7740", "http://me:hunter2@127.0.0.1:9")?;
    ensure!(
        message.contains("through the proxy http://127.0.0.1:9 "),
        "{message}"
    );
    ensure!(!message.contains("hunter2"), "{message}");

    // Nobody listens there, and it isn't an address that goes past every proxy.
    let message = reach("https://0.0.0.0:9", "garbage://hunter2")?;
    ensure!(
        message.contains("no usable proxy in HTTPS_PROXY") && !message.contains("hunter2"),
        "{message}"
    );
    let mut daemon = alice
        .typed(&["daemon", "--listen", "127.0.0.1:0", "--no-mdns"])?
        .env("HTTPS_PROXY", "garbage://hunter2")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let log = BufReader::new(daemon.stderr.take().context("no stderr")?);
    let line = log.lines().find(|line| {
        let is_one = |line: &String| line.contains("HTTPS_PROXY") || line.contains(" serves ");
        line.as_ref().is_ok_and(is_one)
    });
    daemon.kill()?;
    daemon.wait()?;
    let line = line.context("the daemon ended by itself")??;
    ensure!(
        line.contains("HTTPS_PROXY") && !line.contains("hunter2"),
        "{line}"
    );
    Ok(())
}
