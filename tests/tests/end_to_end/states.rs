//! Files that are no state, or a dangerous one: refused by name, and nothing is listed.

use std::{fs, io::Write, os::unix::fs::symlink, process::Command};

use anyhow::{Result, ensure};
use podsync_tests::kit::{Home, Member, fill, same_tree, zip};

const BAD_STATE: i32 = 12;
const INVALID: i32 = 2;
const DISK: i32 = 10;

fn alice() -> Result<Home> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    Ok(alice)
}

/// Saves these bytes as a file that is called so, and expects a refusal that says one of `words`.
fn refused(home: &Home, name: &str, bytes: &[u8], words: &[&str]) -> Result<()> {
    let path = home.scratch(name);
    fs::write(&path, bytes)?;
    let message = home
        .run(&["save", "orders", "--from", &path.to_string_lossy()])?
        .failed(BAD_STATE)?;
    ensure!(
        words.iter().any(|word| message.contains(word)),
        "{name}: {message}"
    );
    let pods = home.run(&["list"])?.ok()?;
    ensure!(
        pods.as_array().is_some_and(Vec::is_empty),
        "{name} left a pod behind: {pods}"
    );
    Ok(())
}

#[test]
fn a_zip_bomb_is_refused_before_it_inflates() -> Result<()> {
    let alice = alice()?;
    // 2 MiB that claim to be 2 GiB: within what deflate can do, and far beyond what a state does.
    let packed = vec![0; 2 << 20];
    let bomb = Member {
        method: 8,
        len: 2_080_000_000,
        ..Member::stored("bomb", &packed)
    };
    refused(&alice, "bomb.zip", &zip(&[bomb]), &["inflate"])?;
    // More than deflate can do at all.
    let lie = Member {
        method: 8,
        len: u32::MAX - 1,
        ..Member::stored("lie", &[0; 100])
    };
    refused(
        &alice,
        "lie.zip",
        &zip(&[lie]),
        &["lie", "inflate", "length"],
    )
}

#[test]
fn a_member_that_climbs_out_is_refused() -> Result<()> {
    let alice = alice()?;
    for name in [
        "../evil",
        "a/../../evil",
        "/etc/evil",
        "a\\..\\evil",
        "C:evil",
    ] {
        let member = Member::stored(name, b"x");
        refused(&alice, "climbing.zip", &zip(&[member]), &[name, "evil"])?;
    }
    Ok(())
}

/// A zip that can't be rebuilt from its members is kept as a file, byte for byte.
#[test]
fn odd_zips_are_kept_as_they_are() -> Result<()> {
    let alice = alice()?;
    let secret = Member {
        flags: 1,
        ..Member::stored("secret", b"0123456789ab and the rest")
    };
    let twice = [Member::stored("a", b"one"), Member::stored("a", b"two")];
    for (name, bytes) in [("encrypted", zip(&[secret])), ("twice", zip(&twice))] {
        let path = alice.scratch(&format!("{name}.zip"));
        fs::write(&path, &bytes)?;
        alice
            .run(&["save", name, "--from", &path.to_string_lossy()])?
            .ok()?;
        let out = alice.scratch(&format!("{name}-out"));
        alice.run(&["export", name, &out.to_string_lossy()])?.ok()?;
        ensure!(fs::read(&out)? == bytes, "{name} came back otherwise");
    }
    Ok(())
}

#[test]
fn a_zip_that_is_cut_off_is_refused() -> Result<()> {
    let alice = alice()?;
    let whole = zip(&[Member::stored("a", &[7; 5000])]);
    refused(&alice, "cut.zip", &whole[..whole.len() - 30], &["cut off"])?;
    let mut changed = whole;
    changed[100] ^= 1;
    refused(&alice, "changed.zip", &changed, &["checksum"])
}

#[test]
fn links_within_a_folder_travel_and_others_do_not() -> Result<()> {
    let alice = alice()?;
    let state = alice.scratch("state");
    fill(&state, 1, 1000, 1)?;
    symlink("file-00000.bin", state.join("link"))?;
    let from = state.to_string_lossy().into_owned();
    alice.run(&["save", "orders", "--from", &from])?.ok()?;
    let out = alice.scratch("out");
    alice
        .run(&["export", "orders", &out.to_string_lossy()])?
        .ok()?;
    same_tree(&state, &out)?;
    ensure!(fs::read_link(out.join("link"))?.to_string_lossy() == "file-00000.bin");
    for target in ["/etc/passwd", "../../outside"] {
        fs::remove_file(state.join("link"))?;
        symlink(target, state.join("link"))?;
        let message = alice
            .run(&["save", "orders", "--from", &from])?
            .failed(BAD_STATE)?;
        ensure!(message.contains("link"), "{message}");
    }
    Ok(())
}

#[test]
fn special_files_are_refused_by_name() -> Result<()> {
    let alice = alice()?;
    let state = alice.scratch("state");
    fill(&state, 1, 1000, 1)?;
    let pipe = state.join("pipe");
    ensure!(Command::new("mkfifo").arg(&pipe).status()?.success());
    let socket = std::os::unix::net::UnixListener::bind(state.join("socket"))?;
    for (from, name) in [(&state, "pipe"), (&pipe, "pipe")] {
        let message = alice
            .run(&["save", "orders", "--from", &from.to_string_lossy()])?
            .failed(BAD_STATE)?;
        ensure!(message.contains(name), "{message}");
    }
    fs::remove_file(&pipe)?;
    let message = alice
        .run(&["save", "orders", "--from", &state.to_string_lossy()])?
        .failed(BAD_STATE)?;
    ensure!(message.contains("socket"), "{message}");
    drop(socket);
    let message = alice
        .run(&["save", "orders", "--from", "/dev/zero"])?
        .failed(BAD_STATE)?;
    ensure!(message.contains("/dev/zero"), "{message}");
    let missing = alice.run(&["save", "orders", "--from", "/nowhere/at/all"])?;
    ensure!(
        missing.code == Some(BAD_STATE) || missing.code == Some(INVALID),
        "{missing:?}"
    );
    Ok(())
}

#[test]
fn a_full_disk_is_told_and_costs_nothing_that_was_there() -> Result<()> {
    let Some(alice) = Home::on_small_disk("alice", 96 << 20)? else {
        return Ok(());
    };
    alice.found("payments")?;
    let (small, large) = (alice.scratch("small"), alice.scratch("large"));
    fill(&small, 1, 4 << 20, 1)?;
    fill(&large, 40, 4 << 20, 2)?;
    alice
        .run(&["save", "orders", "--from", &small.to_string_lossy()])?
        .ok()?;
    alice
        .run(&["save", "orders", "--from", &large.to_string_lossy()])?
        .failed(DISK)?;
    let out = alice.scratch("out");
    alice
        .run(&["export", "orders", &out.to_string_lossy()])?
        .ok()?;
    same_tree(&small, &out)?;
    // The room that the broken save took is there again.
    fill(&small, 2, 4 << 20, 3)?;
    alice
        .run(&["save", "orders", "--from", &small.to_string_lossy()])?
        .ok()?;
    Ok(())
}

#[test]
fn an_export_that_fills_the_disk_names_its_target_and_leaves_nothing() -> Result<()> {
    const LEFT: u64 = 20 << 20;
    let Some(alice) = Home::on_small_disk("alice", 96 << 20)? else {
        return Ok(());
    };
    alice.found("payments")?;
    let state = alice.scratch("state");
    fill(&state, 7, 4 << 20, 1)?;
    alice
        .run(&["save", "orders", "--from", &state.to_string_lossy()])?
        .ok()?;
    let mut filler = fs::File::create(alice.path().join("filler"))?;
    while filler.write_all(&[1; 64 << 10]).is_ok() {}
    let len = filler.metadata()?.len();
    filler.set_len(len.saturating_sub(LEFT))?;
    for name in ["out", "out.snapshot"] {
        let out = alice.path().join(name).to_string_lossy().into_owned();
        let told = alice.run(&["export", "orders", &out])?.failed(DISK)?;
        ensure!(told.contains(&format!("the disk is full: {out}")), "{told}");
        for entry in fs::read_dir(alice.path())? {
            let left = entry?.file_name().to_string_lossy().into_owned();
            ensure!(left != name && !left.starts_with(".podsync-"), "{left}");
        }
    }
    Ok(())
}

#[test]
fn a_pull_and_a_share_that_do_not_fit_are_refused_and_go_on_when_there_is_room() -> Result<()> {
    const DISK_LEN: u64 = 192 << 20;
    let Some(mut bob) = Home::on_small_disk("bob", DISK_LEN)? else {
        return Ok(());
    };
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    bob.start(&[&alice])?;
    bob.join(&alice.invite(&["--role", "publisher"])?)?.ok()?;
    let state = alice.scratch("state");
    let from = state.to_string_lossy().into_owned();
    fill(&state, 8, 6 << 20, 1)?;
    alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;

    let filler = bob.path().join("filler");
    let fill_up = || fs::write(&filler, vec![1; 150 << 20]);
    fill_up()?;
    let told = bob.run(&["pull", "orders"])?.failed(DISK)?;
    ensure!(told.contains("full"), "{told}");
    let tips = bob.run(&["list"])?.ok()?;
    ensure!(tips[0]["tips"][0]["held"] == false, "{tips}");
    fs::remove_file(&filler)?;
    bob.run(&["pull", "orders"])?.ok()?;
    let out = bob.scratch("out");
    bob.run(&["export", "orders", &out.to_string_lossy()])?
        .ok()?;
    same_tree(&state, &out)?;

    // The second private version draws on the first one's pack: to share it alone is to copy that.
    fill(&state, 9, 6 << 20, 2)?;
    bob.run(&["save", "orders", "--from", &from])?.ok()?;
    fill(&state, 1, 1 << 20, 3)?;
    bob.run(&["save", "orders", "--from", &from])?.ok()?;
    let left = 2 << 20;
    let taken = podsync_tests::kit::size_of(&bob.path())?;
    fs::write(&filler, vec![1; (DISK_LEN - taken - left) as usize])?;
    let told = bob.run(&["share", "orders"])?.failed(DISK)?;
    ensure!(told.contains("full"), "{told}");
    let shared = alice.run(&["versions", "orders"])?.ok()?;
    ensure!(
        shared.as_array().is_some_and(|all| all.len() == 1),
        "{shared}"
    );
    fs::remove_file(&filler)?;
    let shared = bob.run(&["share", "orders"])?.ok()?;
    ensure!(shared["reference"] == "orders:2", "{shared}");
    alice.run(&["pull", "orders:2"])?.ok()?;
    let out = alice.scratch("out");
    alice
        .run(&["export", "orders:2", &out.to_string_lossy()])?
        .ok()?;
    same_tree(&state, &out)
}
