//! The whole way over a bucket at a server that we didn't write: `cargo xtask s3` starts it and names it.

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{AnyBucket, Home, fill};
use serde_json::Value;

use crate::bucket::{alone, exported_is, share};

const MIB: usize = 1 << 20;

/// Objects that are damaged or gone, of all versions.
fn broken(found: &Value) -> usize {
    let len = |list: &Value| list.as_array().map_or(0, Vec::len);
    let versions = found["broken"].as_array().into_iter().flatten();
    versions
        .map(|version| len(&version["damaged"]) + len(&version["missing"]))
        .sum()
}

#[test]
fn shared_joined_pulled_verified_and_repaired_over_a_bucket_by_others() -> Result<()> {
    let Some(mut bucket) = AnyBucket::described()? else {
        return Ok(());
    };
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let status = alice.run(&["status"])?.ok()?;
    let team = status["teams"][0]["id"].as_str().context("no team")?;
    let url = bucket.serve(team)?;
    let set = alice.run(&["team", "set-hub", &url])?.ok()?;
    ensure!(set["witnesses"] == true, "{set}");
    let state = alice.scratch("state");
    fill(&state, 3, 16 * MIB, 1)?;
    let saved = share(&alice, &state)?;
    ensure!(saved["shared"]["durable"] == true, "{saved}");
    let ticket = alice.invite(&["--role", "publisher"])?;
    let for_carol = alice.invite(&[])?;
    alice.stop()?;

    // Everyone is away: the hub lets Bob in, and the bucket has the bytes.
    let bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    let pulled = bob.run(&["pull", "orders", "--source", "bucket"])?.ok()?;
    ensure!(pulled["sources"][0]["name"] == "the bucket", "{pulled}");
    exported_is(&bob, "orders:1", &state)?;
    let sound = bob.run(&["verify", "--bucket"])?.ok()?;
    ensure!(broken(&sound) == 0, "{sound}");

    // One is deleted, one has a flipped byte, one is cut.
    let packs = bucket.keys("packs/")?;
    let manifests = bucket.keys("manifests/")?;
    ensure!(packs.len() > 1, "one pack can't be gone and damaged");
    bucket.delete(&packs[0])?;
    bucket.change(&packs[1], |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    })?;
    bucket.change(&manifests[0], |bytes| bytes.truncate(bytes.len() / 2))?;
    let found = bob.run(&["verify", "--bucket"])?;
    ensure!(broken(&found.json) == 3, "{found:?}");
    bob.run(&["verify", "--bucket", "--repair"])?.ok()?;
    let mended = bob.run(&["verify", "--bucket"])?.ok()?;
    ensure!(broken(&mended) == 0, "{mended}");

    let carol = alone("carol")?;
    carol.join(&for_carol)?.ok()?;
    carol.run(&["pull", "orders", "--source", "bucket"])?.ok()?;
    exported_is(&carol, "orders:1", &state)
}
