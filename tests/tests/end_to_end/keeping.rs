//! Nothing is lost by a mistake, a failing disk, or a failed save.

use std::{
    fs,
    os::unix::net::UnixListener,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Home, fill, finish, same_tree, size_of};

use crate::share::alice_and_bob;

const MIB: usize = 1 << 20;
/// What databases may grow by, of which something is always in use.
const RECORDS_LEN: u64 = 8 << 20;
/// How long released data may take to leave the disk.
const PATIENCE: Duration = Duration::from_secs(60);

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Everything that the home and a running daemon keep, and how much it is.
fn used(home: &Home) -> Result<(usize, u64)> {
    let packs = fs::read_dir(home.path().join("packs"))?.count();
    let unfinished = fs::read_dir(home.path().join("tmp"))?.count();
    Ok((packs + unfinished, size_of(&home.path())?))
}

/// Waits until no more is used than before.
fn nothing_left(home: &Home, before: (usize, u64)) -> Result<()> {
    let begun = Instant::now();
    loop {
        let now = used(home)?;
        if now.0 == before.0 && now.1 <= before.1 + RECORDS_LEN {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "{before:?} packs and bytes before, {now:?} after"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// 90 MiB that don't shrink, and last what can't be saved.
fn unsavable(folder: &Path) -> Result<UnixListener> {
    fill(folder, 90, MIB, 1)?;
    UnixListener::bind(folder.join("zz-socket")).context("no socket")
}

#[test]
fn a_save_that_fails_leaves_nothing_behind() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    let small = alice.scratch("small");
    fill(&small, 3, MIB, 2)?;
    let state = alice.scratch("state");
    let _socket = unsavable(&state)?;
    let save = ["save", "orders", "--from", &text(&state)];
    for with_daemon in [false, true] {
        if with_daemon {
            alice.start(&[])?;
        }
        alice
            .run(&["save", "orders", "--from", &text(&small)])?
            .ok()?;
        let before = used(&alice)?;
        let told = alice.run(&save)?.failed(12)?;
        ensure!(told.contains("zz-socket"), "{told}");
        nothing_left(&alice, before)?;
    }
    Ok(())
}

#[test]
fn a_save_that_is_killed_leaves_nothing_behind_at_the_next_start() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.run(&["list"])?.ok()?;
    let before = used(&alice)?;
    let state = alice.scratch("state");
    let _socket = unsavable(&state)?;
    let save = ["save", "orders", "--from", &text(&state)];
    for place in ["store::pack::synced", "store::pack::adopted"] {
        let killed = alice.run_with(&save, &[("PODSYNC_ABORT_AT", place)], None)?;
        ensure!(killed.code.is_none(), "{place} was never reached");
        ensure!(
            used(&alice)?.1 > before.1 + RECORDS_LEN,
            "{place}: nothing to clear"
        );
        alice.run(&["list"])?.ok()?;
        nothing_left(&alice, before).with_context(|| format!("killed at {place}"))?;
    }
    Ok(())
}

#[test]
fn a_save_that_is_interrupted_leaves_nothing_behind() -> Result<()> {
    for with_daemon in [false, true] {
        let mut alice = Home::new("alice")?;
        alice.found("payments")?;
        alice.run(&["list"])?.ok()?;
        if with_daemon {
            alice.start(&[])?;
        }
        let before = used(&alice)?;
        let state = alice.scratch("state");
        fill(&state, 400, MIB, 1)?;
        let saving = alice.spawn(&["save", "orders", "--from", &text(&state)], &[])?;
        let begun = Instant::now();
        while fs::read_dir(alice.path().join("packs"))?.count() <= before.0 {
            ensure!(begun.elapsed() < PATIENCE, "no pack was written");
            thread::sleep(Duration::from_millis(2));
        }
        Command::new("kill")
            .args(["-INT", &saving.id().to_string()])
            .status()?;
        let answer = finish(saving)?;
        ensure!(answer.code != Some(0), "it was done before: {answer:?}");
        nothing_left(&alice, before)?;
    }
    Ok(())
}

#[test]
fn a_folder_that_is_no_home_is_refused_by_every_command() -> Result<()> {
    let alice = Home::uninitialised("alice")?;
    fs::create_dir_all(alice.path().join("tmp"))?;
    let precious = alice.path().join("tmp/pack-precious");
    fs::write(&precious, "precious")?;
    let commands: [&[&str]; 14] = [
        &["config"],
        &["config", "get", "mdns"],
        &["config", "set", "mdns", "false"],
        &["config", "unset", "mdns"],
        &["stop"],
        &["restart"],
        &["logs"],
        &["service", "status"],
        &["mcp"],
        &["list"],
        &["init"],
        &["status"],
        &["save", "orders", "--from", "."],
        &["team", "create", "payments"],
    ];
    for command in commands {
        let told = alice.run(command)?.failed(2)?;
        ensure!(
            told.contains("not empty") && told.contains("--home"),
            "{command:?}: {told}"
        );
        let there: Vec<_> = fs::read_dir(alice.path())?.collect::<Result<_, _>>()?;
        ensure!(there.len() == 1, "{command:?}: {there:?}");
        ensure!(fs::read(&precious)? == b"precious", "{command:?}");
    }
    Ok(())
}

#[test]
fn a_home_and_secrets_never_enter_a_version() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let ticket = alice.invite(&[])?;
    let inside = alice.path().join("packs");
    for path in [alice.path(), alice.scratch(""), inside] {
        let told = alice
            .run(&["save", "orders", "--from", &text(&path), "--allow-secrets"])?
            .failed(12)?;
        ensure!(told.contains("podsync home"), "{told}");
    }
    let state = alice.scratch("state");
    fs::create_dir(&state)?;
    fs::write(state.join("notes.md"), format!("for bob: `{ticket}`"))?;
    let save = ["save", "orders", "--from", &text(&state)];
    let told = alice.run(&save)?.failed(15)?;
    ensure!(
        told.contains("notes.md") && told.contains("--allow-secrets"),
        "{told}"
    );
    ensure!(!told.contains(&ticket), "a message repeats no secret");
    let clean = alice.scratch("clean");
    fs::create_dir(&clean)?;
    fs::write(clean.join("notes.md"), "nothing")?;
    let message = format!("for bob: {}", ticket.to_uppercase());
    let said = ["save", "orders", "--from", &text(&clean), "-m", &message];
    let told = alice.run(&said)?.failed(15)?;
    ensure!(told.contains("the message has a ticket"), "{told}");
    alice
        .run(&[&save[..], &["--allow-secrets"]].concat())?
        .ok()?;
    Ok(())
}

/// Each command reports damage as such, and the commands that it names bring the team back.
#[test]
fn a_damaged_log_is_fetched_again_from_the_team() -> Result<()> {
    let (alice, mut bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    fill(&state, 3, MIB, 1)?;
    alice
        .run(&["save", "orders", "--share", "--from", &text(&state)])?
        .ok()?;
    bob.run(&["pull", "orders"])?.ok()?;
    bob.stop()?;
    let log = bob.path().join("log.redb");
    let whole = fs::read(&log)?;
    for damage in [
        Vec::new(),
        vec![0; whole.len()],
        whole[..whole.len() / 2].to_vec(),
    ] {
        fs::write(&log, &damage)?;
        for command in [
            &["list"][..],
            &["team", "members"],
            &["export", "orders", "out"],
        ] {
            let told = bob.run(command)?.failed(10)?;
            ensure!(told.contains("log.redb is damaged"), "{command:?}: {told}");
            ensure!(told.contains("podsync team join"), "{command:?}: {told}");
        }
        let doctor = bob.run(&["doctor"])?;
        ensure!(
            doctor.json.to_string().contains("log.redb is damaged"),
            "{doctor:?}"
        );
    }
    fs::rename(&log, bob.path().join("log.redb.damaged"))?;
    let ticket = alice.invite(&[])?;
    bob.start(&[&alice])?;
    bob.join(&ticket)?.ok()?;
    bob.run(&["pull", "orders"])?.ok()?;
    let out = bob.scratch("out");
    bob.run(&["export", "orders", &text(&out)])?.ok()?;
    same_tree(&state, &out)?;
    // Its own feed goes on.
    fs::write(out.join("more"), "of bob's")?;
    let shared = bob
        .run(&["save", "orders", "--share", "--from", &text(&out)])?
        .ok()?;
    assert_eq!(shared["reference"], "orders:2");
    Ok(())
}

#[test]
fn a_log_that_is_gone_is_damage_and_costs_no_pack() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let state = alice.scratch("state");
    fill(&state, 3, MIB, 1)?;
    alice
        .run(&["save", "orders", "--from", &text(&state)])?
        .ok()?;
    let packs = || -> Result<usize> { Ok(fs::read_dir(alice.path().join("packs"))?.count()) };
    let before = packs()?;
    ensure!(before > 0, "nothing was saved");
    let [log, aside, elsewhere] =
        ["log.redb", "log.redb.damaged", "../elsewhere"].map(|name| alice.path().join(name));
    fs::rename(&log, &elsewhere)?;
    for command in [&["list"][..], &["status"], &["verify"], &["doctor"]] {
        let told = alice.run(command)?;
        ensure!(told.code == Some(10), "{command:?}: {told:?}");
        let told = format!("{}{}", told.json, told.stderr);
        ensure!(told.contains("log.redb is damaged"), "{command:?}: {told}");
    }
    assert_eq!(packs()?, before);
    // It is lost, and so podsync begins anew. It is found after all.
    fs::write(&aside, "")?;
    for command in [&["list"][..], &["gc"], &["team", "create", "others"]] {
        alice.run(command)?;
        assert_eq!(packs()?, before, "{command:?}");
    }
    fs::remove_file(&aside)?;
    alice.run(&["gc"])?;
    assert_eq!(packs()?, before, "no teammate has told what is shared");
    fs::rename(&elsewhere, &log)?;
    let out = alice.scratch("out");
    alice.run(&["export", "orders", &text(&out)])?.ok()?;
    same_tree(&state, &out)
}

#[test]
fn what_was_found_damaged_is_not_called_held() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let state = alice.scratch("state");
    fill(&state, 1, MIB, 1)?;
    alice
        .run(&["save", "orders", "--from", &text(&state)])?
        .ok()?;
    ensure!(alice.run(&["list"])?.ok()?[0]["tips"][0]["held"] == true);
    for pack in fs::read_dir(alice.path().join("packs"))? {
        let pack = pack?.path();
        let mut bytes = fs::read(&pack)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&pack, bytes)?;
    }
    let verified = alice.run(&["verify"])?;
    ensure!(verified.code == Some(10), "{verified:?}");
    let list = alice.run(&["list"])?.ok()?;
    ensure!(list[0]["tips"][0]["held"] == false, "{list}");
    let shown = alice.run(&["show", "orders"])?.ok()?;
    ensure!(shown["version"]["held"] == false, "{shown}");
    let out = alice.scratch("out");
    let told = alice.run(&["export", "orders", &text(&out)])?.failed(10)?;
    ensure!(
        told.contains("are gone from this machine, or damaged"),
        "{told}"
    );
    Ok(())
}

#[test]
fn a_flipped_bit_in_the_log_is_told_in_plain_words() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.run(&["list"])?.ok()?;
    let log = alice.path().join("log.redb");
    let whole = fs::read(&log)?;
    let mut found = 0;
    for at in (1..24).map(|part| whole.len() / 24 * part) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&log, bytes)?;
        let output = alice.typed(&["list"])?.output()?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !told.contains("panicked") && !told.contains("RUST_BACKTRACE"),
            "at {at}: {told}"
        );
        if output.status.code() == Some(10) {
            ensure!(told.contains("log.redb is damaged"), "at {at}: {told}");
            found += 1;
        }
    }
    ensure!(found > 0, "some bytes hold the tree together");
    fs::write(&log, &whole[..whole.len() / 2])?;
    let told = alice.run(&["list"])?.failed(10)?;
    ensure!(
        told.contains("it ends too early") && !told.contains("layout"),
        "{told}"
    );
    Ok(())
}

#[test]
fn damaged_holdings_are_noted_anew() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let state = alice.scratch("state");
    fill(&state, 3, MIB, 1)?;
    alice
        .run(&["save", "orders", "--from", &text(&state)])?
        .ok()?;
    let held = alice.path().join("held.redb");
    fs::write(&held, "")?;
    let told = alice.run(&["list"])?.failed(10)?;
    ensure!(told.contains("held.redb is damaged"), "{told}");
    let doctor = alice.run(&["doctor"])?;
    ensure!(
        doctor.json.to_string().contains("held.redb is damaged"),
        "{doctor:?}"
    );
    fs::rename(&held, alice.path().join("held.redb.damaged"))?;
    let out = alice.scratch("out");
    alice.run(&["export", "orders", &text(&out)])?.ok()?;
    same_tree(&state, &out)
}

/// The way back that every command names needs no other device.
#[test]
fn damaged_records_of_packs_cost_no_version() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let state = alice.scratch("state");
    fill(&state, 3, MIB, 1)?;
    let save = ["save", "orders", "--from", &text(&state)];
    alice.run(&save)?.ok()?;
    alice.run(&["share", "orders"])?.ok()?;
    let other = alice.scratch("other");
    fill(&other, 3, MIB, 2)?;
    alice
        .run(&["save", "carts", "--from", &text(&other)])?
        .ok()?;
    let records = alice.path().join("blobs/blobs.db");
    let whole = fs::read(&records)?;
    let mut flipped = whole.clone();
    for byte in flipped[4096..].iter_mut().step_by(64) {
        *byte ^= 1;
    }
    for (number, damaged) in [flipped, whole[..whole.len() / 2].to_vec(), Vec::new()]
        .into_iter()
        .enumerate()
    {
        fs::write(&records, damaged)?;
        for command in [&["list"][..], &["verify"], &["doctor"]] {
            let told = alice.run(command)?;
            ensure!(told.code == Some(10), "{command:?}: {told:?}");
            let told = format!("{}{}", told.json, told.stderr);
            ensure!(told.contains("blobs.db is damaged"), "{command:?}: {told}");
            ensure!(told.contains("blobs.db.damaged"), "{command:?}: {told}");
        }
        let aside = records.with_extension(format!("db.damaged.{number}"));
        fs::rename(&records, aside)?;
        let doctor = alice.run(&["doctor"])?.json.to_string();
        ensure!(doctor.contains("it is gone"), "{doctor}");
        for repair in [&["verify"][..], &["verify", "--repair"]] {
            let verified = alice.run(repair)?.ok()?;
            assert_eq!(verified["broken"], serde_json::json!([]));
        }
        for (reference, state) in [("orders", &state), ("carts", &other)] {
            let out = alice.scratch(&format!("{reference}-{number}"));
            alice.run(&["export", reference, &text(&out)])?.ok()?;
            same_tree(state, &out)?;
        }
    }
    Ok(())
}

/// A home of an earlier podsync has the sealed manifests in `blobs.db` alone.
#[test]
fn a_repair_that_fails_loses_no_version() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let state = alice.scratch("state");
    fill(&state, 3, MIB, 1)?;
    let save = |pod: &str| -> Result<()> {
        let from = text(&state);
        alice.run(&["save", pod, "--from", &from])?.ok().map(drop)
    };
    save("orders")?;
    alice.run(&["share", "orders"])?.ok()?;
    save("carts")?;
    fs::remove_file(alice.path().join("blobs/blobs.db"))?;
    for pack in fs::read_dir(alice.path().join("packs"))? {
        let pack = pack?.path();
        if pack.metadata()?.len() < MIB as u64 {
            fs::remove_file(pack)?;
        }
    }
    let repaired = alice.run(&["verify", "--repair", "--wait", "1s"])?;
    ensure!(repaired.code == Some(10), "{repaired:?}");
    for broken in repaired.json["broken"].as_array().context("no list")? {
        // What only this device knew is sealed anew. The other is what the team was told of.
        let is_private = broken["reference"] == "carts:+1";
        ensure!(broken["repaired"] == is_private, "{broken}");
    }
    let again = alice.run(&["verify"])?;
    ensure!(
        again.json["broken"].as_array().map(Vec::len) == Some(1),
        "{again:?}"
    );
    alice.run(&["gc"])?;
    for pod in ["orders", "carts"] {
        let out = alice.scratch(&format!("{pod}-out"));
        alice.run(&["export", pod, &text(&out)])?.ok()?;
        same_tree(&state, &out)?;
    }
    Ok(())
}

#[test]
fn packs_that_are_gone_are_told_and_come_back() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let state = alice.scratch("state");
    fill(&state, 3, MIB, 1)?;
    alice
        .run(&["save", "orders", "--from", &text(&state)])?
        .ok()?;
    let (packs, aside) = (alice.path().join("packs"), alice.scratch("packs"));
    fs::rename(&packs, &aside)?;
    let doctor = alice.run(&["doctor"])?.json.to_string();
    ensure!(doctor.contains("packs is damaged"), "{doctor}");
    let list = alice.run(&["list"])?.ok()?;
    ensure!(list[0]["tips"][0]["held"] == false, "{list}");
    fs::remove_dir_all(&packs)?;
    fs::rename(&aside, &packs)?;
    let list = alice.run(&["list"])?.ok()?;
    ensure!(list[0]["tips"][0]["held"] == true, "{list}");
    let out = alice.scratch("out");
    alice.run(&["export", "orders", &text(&out)])?.ok()?;
    same_tree(&state, &out)
}

#[test]
fn a_damaged_key_is_told_as_such() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let identity = alice.path().join("identity");
    let mut key = fs::read(&identity)?;

    // The note beside the key is the damaged one.
    let note = alice.path().join("device");
    let mut noted = fs::read(&note)?;
    noted[20] = if noted[20] == b'a' { b'b' } else { b'a' };
    fs::write(&note, noted)?;
    let told = alice.run(&["list"])?.failed(10)?;
    ensure!(told.contains("device is damaged"), "{told}");
    ensure!(told.contains(&format!("rm {}", note.display())), "{told}");
    fs::remove_file(&note)?;
    alice.run(&["list"])?.ok()?;

    key[7] ^= 1;
    for damage in [Some(key), Some(Vec::new()), None] {
        match damage {
            Some(bytes) => fs::write(&identity, bytes)?,
            None => fs::remove_file(&identity)?,
        }
        for command in [
            &["list"][..],
            &["init"],
            &["team", "create", "others"],
            &["status"],
        ] {
            let told = alice.run(command)?.failed(10)?;
            ensure!(told.contains("identity is damaged"), "{told}");
        }
        let doctor = alice.run(&["doctor"])?;
        ensure!(
            doctor.json.to_string().contains("identity is damaged"),
            "{doctor:?}"
        );
    }
    Ok(())
}

/// podsync's notes are rewritten once they are removed.
#[test]
fn what_lies_in_the_way_in_a_home_is_told_with_the_way_back() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    for (file, garbage) in [
        ("format", &b"\xff\xfe"[..]),
        ("format", b""),
        ("device", b"\xff\xfe"),
        ("device", b""),
    ] {
        let path = alice.path().join(file);
        fs::write(&path, garbage)?;
        let told = alice.run(&["list"])?.failed(10)?;
        ensure!(told.contains(&format!("{file} is damaged")), "{told}");
        ensure!(told.contains(&format!("rm {}", path.display())), "{told}");
        fs::remove_file(&path)?;
        alice.run(&["list"])?.ok()?;
        ensure!(path.is_file(), "{file} was not written anew");
    }
    for folder in ["run", "tmp", "packs", "blobs"] {
        let path = alice.path().join(folder);
        let aside = alice.path().join("aside");
        fs::rename(&path, &aside)?;
        fs::write(&path, "a file")?;
        let told = alice.run(&["list"])?.failed(2)?;
        ensure!(
            told.contains("is not a folder") && told.contains(&format!("mv {}", path.display())),
            "{told}"
        );
        fs::remove_file(&path)?;
        fs::rename(&aside, &path)?;
    }
    let way_back = format!("mv {}/", alice.path().display());
    for file in [
        "log.redb",
        "log.replaced",
        "held.redb",
        "blobs/blobs.db",
        "packs.location",
        "lock",
        "run/holder",
    ] {
        behind_a_folder(&alice, file, || {
            let told = alice.run(&["list"])?.failed(10)?;
            ensure!(
                told.contains("it is a folder") && told.contains(&way_back),
                "{file}: {told}"
            );
            Ok(())
        })?;
    }
    for file in [
        "log.replaced",
        "packs.location",
        "daemon.log",
        "run/podsync.sock",
    ] {
        behind_a_folder(&alice, file, || {
            let found = alice.run(&["doctor"])?.json.to_string();
            ensure!(
                found.contains(file) && found.contains(&way_back),
                "{file}: {found}"
            );
            Ok(())
        })?;
    }
    alice.run(&["list"])?.ok().map(drop)
}

/// A pipe that nobody writes to has no end, and no command waits for one.
#[test]
fn a_pipe_in_place_of_a_file_of_the_home_hangs_no_command() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    for file in [
        "follows.json",
        "autosaves.json",
        "looked",
        "daemon.log",
        "config.lock",
    ] {
        let made = Command::new("mkfifo")
            .arg(alice.path().join(file))
            .status()?;
        ensure!(made.success(), "mkfifo failed");
    }
    let status = alice.run(&["status"])?.ok()?;
    let warned = status["warnings"].to_string();
    for file in ["follows.json", "autosaves.json"] {
        let way_back = format!("mv {}", alice.path().join(file).display());
        ensure!(
            warned.contains(file) && warned.contains("a pipe") && warned.contains(&way_back),
            "{file}: {status}"
        );
    }
    for command in [&["follow", "orders"][..], &["logs"]] {
        let told = alice.run(command)?.failed(10)?;
        ensure!(told.contains("a pipe"), "{command:?}: {told}");
    }
    let told = alice
        .run(&["config", "set", "notify", "false"])?
        .failed(10)?;
    ensure!(told.contains("config.lock: it is no file"), "{told}");
    // The time of the last look is kept anew.
    alice.run(&[])?.ok()?;
    alice.run(&["list"])?.ok().map(drop)
}

/// Does something while a folder stands in place of a file of the home.
fn behind_a_folder(home: &Home, file: &str, does: impl FnOnce() -> Result<()>) -> Result<()> {
    let (path, aside) = (home.path().join(file), home.path().join("aside"));
    let was_there = path.symlink_metadata().is_ok();
    if was_there {
        fs::rename(&path, &aside)?;
    }
    fs::create_dir(&path)?;
    does()?;
    fs::remove_dir(&path)?;
    if was_there {
        fs::rename(&aside, &path)?;
    }
    Ok(())
}

/// No static peer and no multicast: what the ticket says leads to its issuer.
#[test]
fn a_ticket_alone_leads_to_the_team() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let ticket = alice.invite(&[])?;
    ensure!(ticket.len() <= 200, "{} characters", ticket.len());
    let mut bob = Home::new("bob")?;
    bob.start(&[])?;
    let (begin, end) = ticket.split_at(60);
    let pasted = format!("Ticket: \"{}{end}\"", begin.to_uppercase());
    bob.join(&pasted)?.ok()?;
    let members = bob.run(&["team", "members"])?.ok()?;
    ensure!(members.to_string().contains("alice"), "{members}");
    Ok(())
}
