//! Where a version is stored: on which devices, in the bucket or not; what may be deleted here because
//! it is stored elsewhere; and whether the bucket is still complete.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Fault, FaultyHub, Home, Hub, fill};
use serde_json::Value;

use crate::{
    bucket::{alice_with, alone, exported_is, share},
    share::alice_and_bob,
};

const FORBIDDEN: i32 = 5;
const UNREACHABLE: i32 = 7;
const DISK: i32 = 10;
const UNCONFIRMED: i32 = 15;
const MIB: usize = 1 << 20;

fn whereabouts(home: &Home, reference: &str) -> Result<Value> {
    let shown = home.run(&["show", reference])?.ok()?;
    Ok(shown["whereabouts"].clone())
}

/// Names of the devices that hold all of it.
fn whole_at(found: &Value) -> Vec<&str> {
    let devices = found["devices"].as_array().into_iter().flatten();
    let whole = devices.filter(|holder| holder["whole"] == true);
    whole
        .filter_map(|holder| holder["name"].as_str())
        .map(|name| name.split('/').next().unwrap_or_default())
        .collect()
}

fn warning(found: &Value) -> &str {
    found["warning"].as_str().unwrap_or_default()
}

#[test]
fn who_holds_a_version_is_told_and_who_could_not_be_asked() -> Result<()> {
    let (alice, mut bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    fill(&state, 2, MIB, 1)?;
    let from = state.to_string_lossy().into_owned();
    alice.run(&["save", "orders", "--from", &from])?.ok()?;
    let found = whereabouts(&alice, "orders:+1")?;
    ensure!(warning(&found).contains("podsync share"), "{found}");
    alice.run(&["share", "orders"])?.ok()?;

    // Bob knows of it and has no data: Alice's laptop is the only copy for every asker.
    bob.run(&["pin", "orders:1", "--wait", "60s"])?.ok()?;
    for home in [&alice, &bob] {
        let found = whereabouts(home, "orders:1")?;
        ensure!(whole_at(&found) == ["alice"], "{found}");
        ensure!(warning(&found).contains("only copy"), "{found}");
        ensure!(
            found["without"][0]
                .as_str()
                .is_some_and(|name| name.starts_with("bob")),
            "{found}"
        );
        ensure!(found["bucket"].is_null(), "{found}");
    }
    bob.run(&["pull", "orders:1"])?.ok()?;
    let found = whereabouts(&alice, "orders:1")?;
    ensure!(whole_at(&found).len() == 2, "{found}");
    ensure!(found["warning"].is_null(), "{found}");
    ensure!(found["needed"] == found["devices"][0]["held"], "{found}");

    bob.stop()?;
    let found = loop {
        let found = whereabouts(&alice, "orders:1")?;
        if found["unknown"] != serde_json::json!([]) {
            break found;
        }
    };
    ensure!(whole_at(&found) == ["alice"], "{found}");
    ensure!(warning(&found).contains("podsync could not ask"), "{found}");
    Ok(())
}

#[test]
fn the_bucket_is_a_copy_as_far_as_the_hub_confirms_it() -> Result<()> {
    let mut hub = Hub::start()?;
    let alice = alice_with(&hub)?;
    let state = alice.scratch("state");
    fill(&state, 2, MIB, 1)?;
    share(&alice, &state)?;
    let found = whereabouts(&alice, "orders:1")?;
    ensure!(found["bucket"] == "whole", "{found}");
    ensure!(found["warning"].is_null(), "{found}");

    let packs = hub.objects("packs")?;
    let pack = packs.first().context("no pack is in the bucket")?;
    let kept = fs::read(pack)?;
    fs::remove_file(pack)?;
    let found = whereabouts(&alice, "orders:1")?;
    ensure!(found["bucket"]["missing"] == 1, "{found}");
    ensure!(warning(&found).contains("verify --bucket"), "{found}");
    fs::write(pack, kept)?;

    hub.kill()?;
    let found = whereabouts(&alice, "orders:1")?;
    ensure!(found["bucket"]["unknown"].is_string(), "{found}");
    ensure!(warning(&found).contains("podsync could not ask"), "{found}");
    Ok(())
}

#[test]
fn what_the_bucket_has_for_sure_may_leave_without_asking() -> Result<()> {
    let mut hub = Hub::start()?;
    let alice = alice_with(&hub)?;
    let state = alice.scratch("state");
    fill(&state, 2, MIB, 1)?;
    share(&alice, &state)?;
    let gc = ["gc", "--budget", "0"];

    // A hub that can't be asked confirms nothing.
    hub.kill()?;
    let kept = alice.run(&gc)?;
    ensure!(kept.code == Some(UNCONFIRMED), "{kept:?}");
    ensure!(kept.stderr.contains("could not ask the bucket"), "{kept:?}");
    hub.run()?;

    // Nor does one whose bucket lost a pack.
    let packs = hub.objects("packs")?;
    let pack = packs.first().context("no pack is in the bucket")?;
    let bytes = fs::read(pack)?;
    fs::remove_file(pack)?;
    let kept = alice.run(&gc)?;
    ensure!(kept.code == Some(UNCONFIRMED), "{kept:?}");
    fs::write(pack, bytes)?;

    let collected = alice.run(&gc)?.ok()?;
    let evicted = &collected["evicted"][0];
    ensure!(evicted["reference"] == "orders:1", "{collected}");
    ensure!(evicted["elsewhere"][0] == "the bucket", "{collected}");
    ensure!(
        collected["freed"].as_u64() >= Some(2 * MIB as u64),
        "{collected}"
    );
    let found = whereabouts(&alice, "orders:1")?;
    ensure!(whole_at(&found).is_empty(), "{found}");
    let pulled = alice.run(&["pull", "orders:1"])?.ok()?;
    ensure!(pulled["sources"][0]["name"] == "the bucket", "{pulled}");
    exported_is(&alice, "orders:1", &state)
}

#[test]
fn what_nobody_else_has_stays_beside_what_the_bucket_has() -> Result<()> {
    let hub = Hub::start()?;
    let alice = alice_with(&hub)?;
    let state = alice.scratch("state");
    fill(&state, 2, MIB, 1)?;
    share(&alice, &state)?;
    let other = alice.scratch("other");
    fill(&other, 2, MIB, 2)?;
    let from = other.to_string_lossy().into_owned();
    alice.run(&["save", "orders", "--from", &from])?.ok()?;
    let kept = alice.run(&["gc", "--budget", "0"])?;
    ensure!(kept.code == Some(UNCONFIRMED), "{kept:?}");
    let evicted = kept.json["evicted"].as_array().map(Vec::len);
    ensure!(evicted == Some(1), "{kept:?}");
    let only = &kept.json["only_copies"];
    ensure!(only.as_array().map(Vec::len) == Some(1), "{kept:?}");
    let found = whereabouts(&alice, "orders:+1")?;
    ensure!(whole_at(&found) == ["alice"], "{found}");
    // A device with only the hub finds out from the hub.
    let ticket = alice.invite(&[])?;
    let bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    bob.run(&["pull", "orders:1", "--source", "bucket"])?
        .ok()
        .map(drop)
}

/// Flips a byte in the middle of a file.
fn flip(path: &Path) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(fs::write(path, bytes)?)
}

fn total_len(files: &[PathBuf]) -> Result<u64> {
    let lens = files.iter().map(|file| Ok(fs::metadata(file)?.len()));
    lens.sum()
}

fn everything(hub: &Hub) -> Result<Vec<PathBuf>> {
    let folders = ["packs", "manifests", "outboards"].map(|folder| hub.objects(folder));
    let mut all = Vec::new();
    for objects in folders {
        all.extend(objects?);
    }
    Ok(all)
}

fn contents(files: &[PathBuf]) -> Result<Vec<Vec<u8>>> {
    files.iter().map(|file| Ok(fs::read(file)?)).collect()
}

/// How many blobs of the first version that isn't whole are damaged, and how many missing.
fn broken(verified: &Value) -> (usize, usize) {
    let count = |what: &str| verified["broken"][0][what].as_array().map_or(0, Vec::len);
    (count("damaged"), count("missing"))
}

/// The upload pulls what this machine has lost, and nobody has it. A share that waits must not hold up that pull.
#[test]
fn a_share_of_bytes_that_are_lost_ends() -> Result<()> {
    let hub = Hub::start()?;
    let alice = alice_with(&hub)?;
    let state = alice.scratch("state");
    fill(&state, 1, MIB, 1)?;
    let from = state.to_string_lossy().into_owned();
    alice.run(&["save", "orders", "--from", &from])?.ok()?;
    let mut packs = Vec::new();
    for entry in alice.path().join("packs").read_dir()? {
        let path = entry?.path();
        packs.push((path.metadata()?.len(), path));
    }
    let (_, largest) = packs.into_iter().max().context("no pack")?;
    flip(&largest)?;
    alice.run(&["share", "orders", "--wait"])?.failed(DISK)?;
    let found = alice.run(&["verify", "--repair", "--wait", "1s"])?;
    ensure!(found.code == Some(DISK), "{found:?}");
    let told = alice.run(&["share", "orders", "--wait"])?.failed(DISK)?;
    ensure!(told.contains("are gone from this machine"), "{told}");
    Ok(())
}

#[test]
fn what_is_gone_or_damaged_in_the_bucket_is_found_and_put_back() -> Result<()> {
    let hub = Hub::start()?;
    let alice = alice_with(&hub)?;
    let state = alice.scratch("state");
    fill(&state, 3, 16 * MIB, 1)?;
    share(&alice, &state)?;
    let ticket = alice.invite(&["--role", "reader"])?;
    let all = everything(&hub)?;
    let before = contents(&all)?;
    let sound = alice.run(&["verify", "--bucket"])?.ok()?;
    ensure!(sound["broken"] == serde_json::json!([]), "{sound}");
    ensure!(sound["blobs"] == all.len(), "{sound}");
    ensure!(sound["bytes"] == total_len(&all)?, "{sound}");

    // One of each kind is damaged, then all of them are gone: packs, the manifest, the outboards.
    let packs = hub.objects("packs")?;
    let mut damaged = vec![packs[0].clone()];
    damaged.extend(hub.objects("manifests")?);
    damaged.extend(hub.objects("outboards")?);
    for object in &damaged {
        flip(object)?;
    }
    let found = alice.run(&["verify", "--bucket", "orders:1"])?;
    ensure!(found.code == Some(DISK), "{found:?}");
    ensure!(
        found.stderr.contains("verify --bucket --repair"),
        "{found:?}"
    );
    ensure!(broken(&found.json) == (3, 0), "{found:?}");

    // A reader sees it too, and mends nothing.
    let bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    let found = bob.run(&["verify", "--bucket"])?;
    ensure!(broken(&found.json) == (3, 0), "{found:?}");
    bob.run(&["verify", "--bucket", "--repair"])?
        .failed(FORBIDDEN)?;

    let mended = alice.run(&["verify", "--bucket", "--repair"])?.ok()?;
    ensure!(mended["broken"][0]["repaired"] == true, "{mended}");
    ensure!(contents(&all)? == before, "other bytes are in the bucket");

    for object in &all {
        fs::remove_file(object)?;
    }
    let mended = alice.run(&["verify", "--bucket", "--repair"])?.ok()?;
    ensure!(broken(&mended) == (0, all.len()), "{mended}");
    ensure!(contents(&all)? == before, "other bytes are in the bucket");
    bob.run(&["pull", "orders", "--source", "bucket"])?.ok()?;
    exported_is(&bob, "orders:1", &state)
}

#[test]
fn what_this_machine_lacks_is_put_back_from_a_teammate() -> Result<()> {
    let mut hub = Hub::start()?;
    let mut alice = alice_with(&hub)?;
    let state = alice.scratch("state");
    fill(&state, 3, 16 * MIB, 1)?;
    share(&alice, &state)?;
    let mut bob = Home::new("bob")?;
    bob.start(&[&alice])?;
    bob.join(&alice.invite(&[])?)?.ok()?;
    bob.run(&["pin", "orders:1", "--wait", "60s"])?.ok()?;
    let packs = hub.objects("packs")?;
    ensure!(packs.len() > 1, "one pack can't be gone and damaged");
    let before = contents(&packs)?;
    fs::remove_file(&packs[0])?;
    flip(&packs[packs.len() - 1])?;

    // With nobody there that has it, it stays as it is, and that is said.
    alice.stop()?;
    let left = bob.run(&["verify", "--bucket", "--repair", "--wait", "1s"])?;
    ensure!(left.code == Some(DISK), "{left:?}");
    ensure!(left.json["broken"][0]["why"].is_string(), "{left:?}");

    alice.start(&[&bob])?;
    let mended = bob
        .run(&["verify", "--bucket", "--repair", "--wait", "60s"])?
        .ok()?;
    ensure!(mended["broken"][0]["repaired"] == true, "{mended}");
    ensure!(contents(&packs)? == before, "other bytes are in the bucket");
    // What was fetched for that doesn't stay.
    bob.run(&["gc"])?.ok()?;
    let status = bob.run(&["status"])?.ok()?;
    ensure!(status["bytes_held"] == 0, "{status}");

    hub.kill()?;
    let message = bob.run(&["verify", "--bucket"])?.failed(UNREACHABLE)?;
    ensure!(message.contains("hub"), "{message}");
    Ok(())
}

#[test]
fn a_repair_that_the_bucket_refuses_sends_to_its_operator_and_to_no_teammate() -> Result<()> {
    let faulty = FaultyHub::start()?;
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    alice
        .run(&["team", "set-hub", &faulty.to_hub.url()])?
        .ok()?;
    let state = alice.scratch("state");
    fill(&state, 2, MIB, 1)?;
    share(&alice, &state)?;
    fs::remove_file(faulty.hub.objects("packs")?.remove(0))?;
    for (status, code) in [(403, "AccessDenied"), (501, "NotImplemented")] {
        let body: &'static str = format!("<Error><Code>{code}</Code></Error>").leak();
        faulty.to_bucket.fail(Fault::Answer(status, body));
        let left = alice.run(&["verify", "--bucket", "--repair"])?;
        ensure!(left.code == Some(DISK), "{left:?}");
        let broken = &left.json["broken"][0];
        let why = broken["why"].as_str().context("no reason")?;
        ensure!(why.contains(code), "{broken}");
        let hint = broken["hint"].as_str().context("no hint")?;
        ensure!(hint.contains("tell the hub's operator"), "{broken}");
        let said = format!("{left:?}");
        ensure!(!said.contains("teammate"), "{said}");
    }
    faulty.to_bucket.heal();
    let mended = alice.run(&["verify", "--bucket", "--repair"])?.ok()?;
    ensure!(mended["broken"][0]["repaired"] == true, "{mended}");
    Ok(())
}

#[test]
fn an_object_that_the_bucket_does_not_give_is_a_finding_beside_the_others() -> Result<()> {
    let faulty = FaultyHub::start()?;
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    alice
        .run(&["team", "set-hub", &faulty.to_hub.url()])?
        .ok()?;
    let state = alice.scratch("state");
    for seed in [1, 2] {
        fill(&state, 2, MIB, seed)?;
        share(&alice, &state)?;
    }
    let all = everything(&faulty.hub)?;
    let before = contents(&all)?;
    let lost = faulty.hub.objects("manifests")?.remove(0);
    let unread = faulty.hub.objects("packs")?.remove(0);
    let name = unread.file_name().and_then(|name| name.to_str());
    let name: &'static str = name.context("no name")?.to_owned().leak();

    fs::remove_file(&lost)?;
    faulty.to_bucket.fail(Fault::AnswerGets(500, name));
    let found = alice.run(&["verify", "--bucket"])?;
    ensure!(found.code == Some(DISK), "{found:?}");
    let counts = |found: &Value, what: &str| {
        let versions = found["broken"].as_array().into_iter().flatten();
        let each = versions.filter_map(|version| version[what].as_array().map(Vec::len));
        each.sum::<usize>()
    };
    ensure!(counts(&found.json, "missing") == 1, "{found:?}");
    ensure!(counts(&found.json, "unreadable") > 0, "{found:?}");
    ensure!(found.json.to_string().contains("HTTP 500"), "{found:?}");

    // It is put anew like the rest, and what still can't be read doesn't count as repaired.
    flip(&unread)?;
    let left = alice.run(&["verify", "--bucket", "--repair"])?;
    ensure!(left.code == Some(DISK), "{left:?}");
    ensure!(contents(&all)? == before, "other bytes are in the bucket");

    // A bucket that gives nothing at all is an outage.
    faulty.to_bucket.fail(Fault::HangUp);
    let message = alice.run(&["verify", "--bucket"])?.failed(UNREACHABLE)?;
    ensure!(message.contains("the bucket can't serve"), "{message}");
    faulty.to_bucket.heal();
    alice.run(&["verify", "--bucket"])?.ok().map(drop)
}
