//! The GitHub Action in `config/github` and the install script beside it: the action's own steps run here,
//! with a real hub. Only the cache is GitHub's.

mod composite;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Conduct, FakeEmulator, Home, Hub, Member, Runner, binary, zip};

use self::composite::{Action, Machine, get};
use crate::bucket::alice_with;

const INVALID: i32 = 2;
const NOT_FOUND: i32 = 3;
const FORBIDDEN: i32 = 5;
const NO_EMULATOR: i32 = 8;
const TICKET: i32 = 13;

fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config")
}

fn action() -> Result<Action> {
    Action::read(&config().join("github").canonicalize()?)
}

fn state(seed: u8) -> Vec<u8> {
    zip(&[
        Member::stored("s3/buckets", &[seed; 5000]),
        Member::stored("sqs/queues", &[seed + 1; 5000]),
    ])
}

fn save(home: &Home, pod: &str, seed: u8) -> Result<()> {
    let source = FakeEmulator::start(&state(seed))?;
    let saved = home.run(&[
        "save",
        pod,
        "--share",
        "--wait",
        "--endpoint",
        &source.endpoint(),
    ])?;
    saved.ok().map(drop)
}

/// Alice, whose team has `base` and `orders:baseline` in its bucket, and a robot's token.
fn alice_and_a_token(hub: &Hub) -> Result<(Home, String)> {
    let alice = alice_with(hub)?;
    save(&alice, "orders", 3)?;
    alice.run(&["tag", "orders", "baseline"])?.ok()?;
    // It waits until the bucket has all of Alice's entries, the tag among them.
    save(&alice, "base", 1)?;
    let token = alice.token("ci")?;
    Ok((alice, token))
}

#[test]
fn the_action_loads_what_it_is_told_and_says_so() -> Result<()> {
    let hub = Hub::start()?;
    let (mut alice, token) = alice_and_a_token(&hub)?;
    alice.stop()?;
    let (action, machine) = (action()?, Machine::new()?);
    let target = FakeEmulator::start(&state(9))?;
    let (endpoint, program) = (target.endpoint(), binary()?.to_string_lossy().into_owned());
    let inputs = [
        ("token", token.as_str()),
        ("auto-load-pod", "base"),
        ("state-name", "orders:baseline"),
        ("merge", "service-merge"),
        ("max-age", ""),
        ("cache", "kept"),
        ("endpoint", &endpoint),
        ("binary", &program),
    ];
    let job = machine.run(&action, &inputs)?.ok()?;
    ensure!(job.errors.is_empty(), "{job:?}");
    ensure!(
        !job.log.contains(&token) && !job.summary.contains(&token),
        "the token is shown: {job:?}"
    );
    let base = job.log.find("Loaded base:1 by alice: s3, sqs");
    let orders = job.log.find("Loaded orders:1 by alice: s3, sqs");
    ensure!(base.is_some() && base < orders, "{job:?}");
    ensure!(job.output("load", "reference")? == "orders:1", "{job:?}");
    let loaded: serde_json::Value = serde_json::from_str(job.output("load", "loaded")?)?;
    let fetched = loaded[1]["pulled"]["fetched"].as_u64();
    ensure!(fetched > Some(0), "{loaded}");
    let row = job.summary.trim_end().lines().last().unwrap_or_default();
    for cell in ["| orders:baseline | orders:1 | alice |", " ago | 10 kB | "] {
        ensure!(row.contains(cell), "{cell} is not in {}", job.summary);
    }
    ensure!(
        row.contains(&format!("the bucket {} B", fetched.unwrap_or(0))),
        "{}",
        job.summary
    );
    let sent = target.posts();
    ensure!(
        sent.iter().filter(|line| line.contains("/pods?")).count() == 2,
        "{sent:?}"
    );

    // Restore the folder, as GitHub would.
    let again = machine.run(&action, &inputs)?.ok()?;
    ensure!(again.summary.contains("| 0 B | the cache |"), "{again:?}");
    let key = job.output("load", "cache-key")?;
    ensure!(again.output("load", "cache-key")? == key, "another key");
    ensure!(
        key.starts_with(job.output("check", "cache-prefix")?),
        "a key that the prefix does not find: {key}"
    );
    Ok(())
}

#[test]
fn the_action_keeps_to_the_lock_file() -> Result<()> {
    let hub = Hub::start()?;
    let (alice, token) = alice_and_a_token(&hub)?;
    let locker = Runner::new(&token)?;
    locker.run(&["lock", "orders"])?.ok()?;
    save(&alice, "orders", 5)?;
    let (action, machine) = (action()?, Machine::new()?);
    let target = FakeEmulator::start(&state(9))?;
    let (endpoint, program) = (target.endpoint(), binary()?.to_string_lossy().into_owned());
    let job = |frozen: &str, pod: &str| {
        machine.run(
            &action,
            &[
                ("token", &token),
                ("state-name", pod),
                ("frozen", frozen),
                ("endpoint", &endpoint),
                ("binary", &program),
            ],
        )
    };
    let error = job("true", "orders")?.failed(NOT_FOUND)?;
    ensure!(error.contains("podsync.lock"), "{error}");
    fs::copy(
        locker.work().join("podsync.lock"),
        machine.workspace().join("podsync.lock"),
    )?;
    let locked = job("true", "orders")?.ok()?;
    ensure!(locked.output("load", "reference")? == "orders:1");
    let newest = job("false", "orders")?.ok()?;
    ensure!(newest.output("load", "reference")? == "orders:2");
    let before = target.posts().len();
    job("true", "base")?.failed(NOT_FOUND)?;
    ensure!(target.posts().len() == before, "something was loaded");
    Ok(())
}

#[test]
fn what_the_action_can_not_do_is_told_and_changes_nothing() -> Result<()> {
    let hub = Hub::start()?;
    let (_alice, token) = alice_and_a_token(&hub)?;
    let mut mallory = Home::new("mallory")?;
    mallory.found("others")?;
    mallory.start(&[])?;
    save_locally(&mallory, "theirs")?;
    let foreign = mallory.token("ci")?;
    let (action, machine) = (action()?, Machine::new()?);
    let target = FakeEmulator::start(&state(9))?;
    let (endpoint, program) = (target.endpoint(), binary()?.to_string_lossy().into_owned());
    let typo = token.replace("podsync", "podsinc");
    let nobody = "http://127.0.0.1:1";
    for (changed, code, says) in [
        (&[("token", "")][..], TICKET, "team invite --robot"),
        (&[("token", &typo)], TICKET, "token"),
        (
            &[("token", &foreign)],
            NOT_FOUND,
            "the team that has orders",
        ),
        (&[("state-action", "save")], FORBIDDEN, "only reads"),
        (&[("state-action", "keep")], INVALID, "Give `load`"),
        (&[("state-action", "")], INVALID, "nothing to load"),
        (&[("state-name", " ,\n")], INVALID, "nothing to load"),
        (&[("state-name", "unknown")], NOT_FOUND, "no pod is called"),
        (&[("state-name", "--help")], INVALID, "--help"),
        (&[("state-name", "$(touch ran)")], INVALID, "$(touch"),
        (&[("merge", "perhaps")], INVALID, "service-merge"),
        (
            &[("merge", "overwrite"), ("auto-load-pod", "base")],
            INVALID,
            "only the last of these",
        ),
        (&[("frozen", "perhaps")], INVALID, "`true` or `false`"),
        (&[("max-age", "soon")], INVALID, "soon"),
        (&[("endpoint", nobody)], NO_EMULATOR, "127.0.0.1:1"),
        (&[("binary", "/nowhere")], INVALID, "does not run here"),
        (
            &[("binary", ""), ("url", "http://example.com")],
            INVALID,
            "https://",
        ),
    ] {
        let mut inputs = vec![
            ("token", token.as_str()),
            ("state-name", "orders"),
            ("wait", "2s"),
            ("endpoint", &endpoint),
            ("binary", &program),
        ];
        inputs.retain(|(name, _)| !changed.iter().any(|(other, _)| name == other));
        inputs.extend(changed);
        let job = machine.run(&action, &inputs)?;
        ensure!(!job.log.contains(&token), "the token is shown: {job:?}");
        let error = job.failed(code).with_context(|| format!("{changed:?}"))?;
        ensure!(error.contains(says), "{changed:?}: {error}");
    }
    ensure!(target.posts().is_empty(), "something was loaded");
    ensure!(!machine.workspace().join("ran").exists(), "a name was run");

    // Versions loaded before the failing one are reported.
    let two = [
        ("token", token.as_str()),
        ("state-name", "orders, unknown"),
        ("wait", "2s"),
        ("endpoint", &endpoint),
        ("binary", &program),
    ];
    let job = machine.run(&action, &two)?;
    ensure!(job.summary.contains("**Failed:** unknown"), "{job:?}");
    let error = job.failed(NOT_FOUND)?;
    ensure!(error.contains("still there: orders:1"), "{error}");
    Ok(())
}

fn save_locally(home: &Home, pod: &str) -> Result<()> {
    let from = home.scratch("state");
    fs::create_dir(&from)?;
    fs::write(from.join("file"), "theirs")?;
    home.run(&["save", pod, "--share", "--from", &from.to_string_lossy()])?
        .ok()
        .map(drop)
}

/// A server with a release of one program, which is a script.
struct Release {
    server: FakeEmulator,
    name: String,
    program: Vec<u8>,
}

impl Release {
    fn of(version: &str) -> Result<Self> {
        let system = match std::env::consts::OS {
            "macos" => "apple-darwin",
            _ => "unknown-linux-gnu",
        };
        let name = format!("podsync-{}-{system}", std::env::consts::ARCH);
        let real = binary()?;
        let program = format!(
            "#!/bin/sh\n[ \"$1\" = --version ] && echo 'podsync {version}' && exit\nexec '{}' \"$@\"\n",
            real.display()
        );
        let release = Self {
            server: FakeEmulator::start(&[])?,
            name,
            program: program.into_bytes(),
        };
        release.has(&release.program);
        release.sums(&format!(
            "{}  {}\n",
            hash_of(&release.program)?,
            release.name
        ));
        Ok(release)
    }

    fn has(&self, program: &[u8]) {
        let answer = Conduct::Answer(200, program.to_vec());
        self.server.on(&format!("GET /{}", self.name), answer);
    }

    fn sums(&self, text: &str) {
        let answer = Conduct::Answer(200, text.as_bytes().to_vec());
        self.server.on("GET /SHA256SUMS", answer);
    }

    /// The output of the install script with these variables.
    fn install(&self, into: &Path, variables: &[(&str, &str)]) -> Result<Output> {
        let ended = Command::new("sh")
            .arg(config().join("install.sh"))
            .env_clear()
            .env("PATH", std::env::var("PATH")?)
            .env("HOME", into)
            .env("PODSYNC_BIN", into)
            .env("PODSYNC_URL", self.server.endpoint())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()?;
        Ok(ended)
    }
}

fn hash_of(bytes: &[u8]) -> Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), bytes)?;
    let either = "sha256sum \"$1\" 2>/dev/null || shasum -a 256 \"$1\"";
    let ended = Command::new("sh")
        .args(["-c", either, "-"])
        .arg(file.path())
        .output()?;
    let said = String::from_utf8(ended.stdout)?;
    Ok(said.split(' ').next().context("no hash")?.to_owned())
}

fn is_there(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").output();
    if asked.is_err() {
        println!("NOT RUN: there is no {program} here");
    }
    asked.is_ok()
}

#[test]
fn a_release_is_installed_by_its_hash_or_not_at_all() -> Result<()> {
    if !is_there("curl") {
        return Ok(());
    }
    let release = Release::of("9.8.7")?;
    let folder = tempfile::tempdir()?;
    let into = folder.path().join("bin");
    let ended = release.install(&into, &[("PODSYNC_VERSION", "9.8.7")])?;
    ensure!(ended.status.success(), "{ended:?}");
    let installed = into.join("podsync");
    ensure!(fs::read(&installed)? == release.program, "other bytes");
    ensure!(fs::metadata(&installed)?.permissions().mode() & 0o777 == 0o755);

    let refused = |variables: &[(&str, &str)], says: &str| {
        let ended = release.install(&into, variables)?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(
            !ended.status.success() && said.contains(says),
            "{says}: {ended:?}"
        );
        ensure!(fs::read(&installed)? == release.program, "it was replaced");
        ensure!(fs::read_dir(&into)?.count() == 1, "something was left");
        Ok(())
    };
    refused(&[("PODSYNC_VERSION", "9.8.6")], "not podsync 9.8.6")?;
    refused(
        &[("PODSYNC_VERSION", "../x"), ("PODSYNC_URL", "")],
        "no version",
    )?;
    refused(&[("PODSYNC_SHA256", &"0".repeat(64))], "should have 000")?;
    refused(&[("PODSYNC_SHA256", "latest")], "64 hexadecimal")?;
    refused(&[("PODSYNC_URL", "http://example.com")], "https://")?;
    // Where nobody listens.
    refused(
        &[("PODSYNC_URL", "http://127.0.0.1:1")],
        "could not be downloaded",
    )?;

    let fake = folder.path().join("fake");
    fs::create_dir(&fake)?;
    fs::write(fake.join("uname"), "#!/bin/sh\necho riscv64\n")?;
    fs::set_permissions(fake.join("uname"), fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", fake.display(), std::env::var("PATH")?);
    refused(&[("PATH", &path)], "no program for riscv64")?;

    release.has(b"\x7fELF of another machine");
    refused(&[], "should have")?;
    let sum = hash_of(b"\x7fELF of another machine")?;
    release.sums(&format!("{sum}  {}\n", release.name));
    refused(&[], "does not run on this machine")?;
    release.sums(&format!("{sum}  podsync-m68k-unknown-linux-gnu\n"));
    refused(&[], "no program for this machine")?;
    release.sums("<html>Not here</html>");
    refused(&[], "has no line for")?;
    release
        .server
        .on("GET /SHA256SUMS", Conduct::Answer(404, Vec::new()));
    refused(&[], "could not be downloaded")
}

#[test]
fn the_action_installs_a_release_and_loads_with_it() -> Result<()> {
    if !is_there("curl") {
        return Ok(());
    }
    let hub = Hub::start()?;
    let (_alice, token) = alice_and_a_token(&hub)?;
    let release = Release::of("9.8.7")?;
    let (action, machine) = (action()?, Machine::new()?);
    let target = FakeEmulator::start(&state(9))?;
    let (endpoint, url) = (target.endpoint(), release.server.endpoint());
    let inputs = [
        ("token", token.as_str()),
        ("state-name", "orders"),
        ("endpoint", &endpoint),
        ("url", &url),
        ("version", "9.8.7"),
    ];
    let job = machine.run(&action, &inputs)?.ok()?;
    ensure!(job.log.contains("Installed podsync 9.8.7"), "{job:?}");
    ensure!(job.output("load", "reference")? == "orders:1");
    release.sums(&format!("{}  {}\n", "0".repeat(64), release.name));
    let error = machine.run(&action, &inputs)?.failed(1)?;
    ensure!(error.contains("should have 000"), "{error}");
    ensure!(target.posts().len() == 1, "something was loaded");
    Ok(())
}

#[test]
fn the_page_about_ci_has_every_input() -> Result<()> {
    let page = fs::read_to_string(config().join("../docs/ci.md"))?;
    let inputs = action()?.inputs()?;
    for name in inputs.keys() {
        ensure!(
            page.contains(&format!("| `{name}` |")),
            "{name} is not there"
        );
    }
    // Actions of others are named by a version.
    for step in action()?.steps()? {
        let other = get(&step, "uses");
        ensure!(other.is_none_or(|other| other.contains('@')));
    }
    Ok(())
}

#[test]
fn linters_find_nothing_in_the_action() -> Result<()> {
    let scripts = ["check", "install", "load", "messages"];
    if is_there("shellcheck") {
        let ended = Command::new("shellcheck")
            .args(["-x", "-P", "SCRIPTDIR", "../install.sh"])
            .args(scripts.map(|name| format!("{name}.sh")))
            .current_dir(config().join("github"))
            .output()?;
        ensure!(ended.status.success(), "{ended:?}");
    }
    if is_there("actionlint") {
        // It reads an action through a workflow that uses it: the first example of the page.
        let page = fs::read_to_string(config().join("../docs/ci.md"))?;
        let example = page.split("```yaml\n").nth(1).context("no example")?;
        let example = example.split("```").next().unwrap_or_default();
        let folder = tempfile::tempdir()?;
        let workflow = folder.path().join(".github/workflows/test.yml");
        fs::create_dir_all(workflow.parent().context("no folder")?)?;
        fs::create_dir(folder.path().join(".git"))?;
        std::os::unix::fs::symlink(config().canonicalize()?, folder.path().join("config"))?;
        let here = example.replace("podsync/podsync/config/github@v1", "./config/github");
        ensure!(here != example, "the example doesn't use the action");
        fs::write(&workflow, here)?;
        let ended = Command::new("actionlint")
            .current_dir(folder.path())
            .output()?;
        ensure!(ended.status.success(), "{ended:?}");
    }
    Ok(())
}
