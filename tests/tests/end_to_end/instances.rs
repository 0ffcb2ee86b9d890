//! Emulators that are missing, are other programs, or fail midway: each gets its own error, and
//! nothing is lost.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, process::Command};

use anyhow::{Context, Result, bail, ensure};
use podsync_tests::kit::{Conduct, FakeEmulator, Home, Member, fill, finish, zip};

use crate::share::alice_and_bob;

const INVALID: i32 = 2;
const NOT_FOUND: i32 = 3;
const UNCONFIRMED: i32 = 15;
const INSTANCE: i32 = 8;
const INCOMPATIBLE: i32 = 9;
const BAD_STATE: i32 = 12;
const NO_DAEMON: i32 = 14;
const INTERRUPTED: i32 = 130;
/// SIGABRT is no exit code of ours.
const NO_CODE: Option<i32> = None;

const STATE: &str = "GET /_localstack/pods/state";
const LOAD: &str = "POST /_localstack/pods?";

fn alice() -> Result<Home> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    Ok(alice)
}

fn state() -> Vec<u8> {
    zip(&[
        Member::stored("s3/buckets", &[1; 5000]),
        Member::stored("sqs/queues", &[2; 5000]),
    ])
}

fn save(home: &Home, emulator: &FakeEmulator) -> Result<podsync_tests::kit::Answer> {
    home.run(&["save", "orders", "--endpoint", &emulator.endpoint()])
}

fn nothing_saved(home: &Home) -> Result<()> {
    let pods = home.run(&["list"])?.ok()?;
    ensure!(pods.as_array().is_some_and(Vec::is_empty), "{pods}");
    Ok(())
}

#[test]
fn nobody_at_the_endpoint_and_aws_itself() -> Result<()> {
    let alice = alice()?;
    let message = alice
        .run(&["save", "orders", "--endpoint", "http://127.0.0.1:9"])?
        .failed(INSTANCE)?;
    ensure!(message.contains("127.0.0.1:9"), "{message}");
    for url in [
        "https://sqs.eu-west-1.amazonaws.com",
        "http://s3.amazonaws.com:4566",
    ] {
        let message = alice
            .run_with(&["save", "orders"], &[("AWS_ENDPOINT_URL", url)], None)?
            .failed(INVALID)?;
        ensure!(
            message.contains("amazonaws.com") && message.contains("AWS_ENDPOINT_URL"),
            "{message}"
        );
        ensure!(
            !message.contains("--endpoint:"),
            "nobody gave it: {message}"
        );
        let message = alice
            .run(&["save", "orders", "--endpoint", url])?
            .failed(INVALID)?;
        ensure!(message.contains("amazonaws.com"), "{message}");
    }
    nothing_saved(&alice)
}

/// One that comes out of order, and isn't kept while it comes.
#[test]
fn a_state_that_can_only_be_read_whole_is_asked_for_again() -> Result<()> {
    let alice = alice()?;
    let backwards = zip(&[
        Member::stored("sqs/queues", &[2; 5000]),
        Member::stored("s3/buckets", &[1; 5000]),
    ]);
    let emulator = FakeEmulator::start(&backwards)?;
    let saved = save(&alice, &emulator)?.ok()?;
    ensure!(saved["entries"] == 2, "{saved}");
    emulator.on(STATE, Conduct::Answer(200, state()));
    let again = save(&alice, &emulator)?.ok()?;
    ensure!(again["unchanged"] == true, "{again}");
    Ok(())
}

/// A name with a typo in it isn't a state without anything in it.
#[test]
fn a_service_that_the_instance_does_not_know_is_not_saved() -> Result<()> {
    let alice = alice()?;
    let emulator = FakeEmulator::start(&state())?;
    let endpoint = emulator.endpoint();
    let save = |services| {
        alice.run(&[
            "save",
            "orders",
            "--services",
            services,
            "--endpoint",
            &endpoint,
        ])
    };
    let message = save("s3,sqss")?.failed(INSTANCE)?;
    ensure!(message.contains("sqss"), "{message}");
    nothing_saved(&alice)?;
    save("s3")?.ok()?;
    Ok(())
}

#[test]
fn answers_that_are_no_state() -> Result<()> {
    let alice = alice()?;
    let emulator = FakeEmulator::start(&state())?;
    for (conduct, code) in [
        (Conduct::Answer(404, b"no such path".to_vec()), INSTANCE),
        (Conduct::Answer(500, b"boom".to_vec()), INSTANCE),
        (
            Conduct::Answer(200, b"<html>login</html>".to_vec()),
            INSTANCE,
        ),
        (
            Conduct::BreakOff {
                promised: 20_000,
                sent: state(),
            },
            INSTANCE,
        ),
        (Conduct::Answer(200, state()[..9000].to_vec()), BAD_STATE),
        (
            Conduct::Answer(200, zip(&[Member::stored("../evil", b"x")])),
            BAD_STATE,
        ),
    ] {
        emulator.on(STATE, conduct.clone());
        let answer = save(&alice, &emulator)?;
        answer
            .failed(code)
            .with_context(|| format!("{conduct:?}"))?;
        nothing_saved(&alice)?;
    }
    emulator.on(
        "GET /_localstack/pods/environment",
        Conduct::Answer(404, Vec::new()),
    );
    let message = save(&alice, &emulator)?.failed(INSTANCE)?;
    ensure!(message.contains("plugin"), "{message}");
    emulator.on("GET /_localstack/health", Conduct::Answer(404, Vec::new()));
    save(&alice, &emulator)?.failed(INSTANCE)?;
    nothing_saved(&alice)
}

/// A silent instance gets its time; users may interrupt.
#[test]
fn waiting_for_a_silent_one_can_be_interrupted() -> Result<()> {
    let alice = alice()?;
    let emulator = FakeEmulator::start(&state())?;
    emulator.on(STATE, Conduct::Hang);
    let waiting = alice.spawn(&["save", "orders", "--endpoint", &emulator.endpoint()], &[])?;
    emulator.wait_for(STATE);
    let sent = Command::new("kill")
        .args(["-INT", &waiting.id().to_string()])
        .status()?;
    ensure!(sent.success());
    let answer = finish(waiting)?;
    let told = answer.failed(INTERRUPTED)?;
    ensure!(told.contains("podsync versions orders"), "{told}");
    nothing_saved(&alice)?;
    emulator.on(STATE, Conduct::Answer(200, state()));
    save(&alice, &emulator)?.ok()?;
    Ok(())
}

#[test]
fn a_daemon_that_is_stopped_in_mid_call_is_told_as_that() -> Result<()> {
    let mut alice = alice()?;
    alice.start(&[])?;
    let emulator = FakeEmulator::start(&state())?;
    emulator.on(STATE, Conduct::Hang);
    let waiting = alice.spawn(&["save", "orders", "--endpoint", &emulator.endpoint()], &[])?;
    emulator.wait_for(STATE);
    alice.run(&["stop"])?.ok()?;
    let told = finish(waiting)?.failed(NO_DAEMON)?;
    ensure!(
        told.contains("was stopped before it had answered"),
        "{told}"
    );
    nothing_saved(&alice)
}

/// Before and after the first byte goes to the instance.
#[test]
fn a_load_that_is_interrupted_says_whether_the_instance_was_touched() -> Result<()> {
    let alice = alice()?;
    let emulator = FakeEmulator::start(&state())?;
    save(&alice, &emulator)?.ok()?;
    let interrupted = |line: &str| -> Result<String> {
        emulator.forget();
        emulator.on(line, Conduct::Hang);
        let load = ["load", "orders", "--endpoint", &emulator.endpoint()];
        let loading = alice.spawn(&load, &[])?;
        emulator.wait_for(line);
        let sent = Command::new("kill")
            .args(["-INT", &loading.id().to_string()])
            .status()?;
        ensure!(sent.success());
        finish(loading)?.failed(INTERRUPTED)
    };
    let told = interrupted(LOAD)?;
    ensure!(
        told.contains("only a part") && told.contains("podsync undo"),
        "{told}"
    );
    let told = interrupted(STATE)?;
    ensure!(told.contains("not been sent anything"), "{told}");
    ensure!(!told.contains("undo"), "{told}");
    Ok(())
}

#[test]
fn a_load_that_is_refused_or_breaks_off_says_what_became_of_it() -> Result<()> {
    let alice = alice()?;
    let emulator = FakeEmulator::start(&state())?;
    save(&alice, &emulator)?.ok()?;
    let load = || alice.run(&["load", "orders", "--endpoint", &emulator.endpoint()]);
    for (conduct, code) in [
        (Conduct::Answer(404, Vec::new()), INSTANCE),
        (
            Conduct::Answer(422, br#"{"error":{"message":"saved by 9.9"}}"#.to_vec()),
            INCOMPATIBLE,
        ),
        (
            Conduct::BreakOff {
                promised: 500,
                sent: b"{\"service\":\"s3\",\"status\":\"ok\"}\n".to_vec(),
            },
            INSTANCE,
        ),
    ] {
        emulator.on(LOAD, conduct.clone());
        let message = load()?
            .failed(code)
            .with_context(|| format!("{conduct:?}"))?;
        if matches!(conduct, Conduct::BreakOff { .. }) {
            ensure!(
                message.contains("s3") && message.contains("podsync undo"),
                "{message}"
            );
        } else {
            ensure!(
                !message.contains("podsync undo"),
                "nothing was touched: {message}"
            );
        }
    }
    emulator.on(
        LOAD,
        Conduct::Answer(
            201,
            b"{\"service\":\"s3\",\"status\":\"ok\"}\n{\"service\":\"sqs\",\"status\":\"error\",\"message\":\"no room\"}\n".to_vec(),
        ),
    );
    let answer = load()?;
    ensure!(answer.code == Some(INSTANCE), "{answer:?}");
    emulator.on(
        LOAD,
        Conduct::Answer(
            201,
            b"{\"service\":\"s3\",\"status\":\"ok\"}\n{\"service\":\"sqs\",\"status\":\"ok\"}\n"
                .to_vec(),
        ),
    );
    let undone = alice
        .run(&["undo", "--endpoint", &emulator.endpoint()])?
        .ok()?;
    ensure!(
        undone["failed"].as_array().is_some_and(Vec::is_empty),
        "{undone}"
    );
    load()?.ok()?;
    Ok(())
}

#[test]
fn an_older_instance_is_not_touched() -> Result<()> {
    let alice = alice()?;
    let emulator = FakeEmulator::start(&state())?;
    save(&alice, &emulator)?.ok()?;
    emulator.on(
        "GET /_localstack/pods/environment",
        Conduct::Answer(
            200,
            br#"{"localstack_version":"3.8.1","pro":false}"#.to_vec(),
        ),
    );
    let message = alice
        .run(&["load", "orders", "--endpoint", &emulator.endpoint()])?
        .failed(INCOMPATIBLE)?;
    ensure!(
        message.contains("3.8.1") && message.contains("4.14.0"),
        "{message}"
    );
    ensure!(emulator.posts().is_empty(), "{:?}", emulator.posts());
    Ok(())
}

#[test]
fn what_is_no_emulators_state_is_not_loaded() -> Result<()> {
    let alice = alice()?;
    let emulator = FakeEmulator::start(&state())?;
    let folder = alice.scratch("folder");
    fill(&folder, 1, 1000, 1)?;
    alice
        .run(&["save", "files", "--from", &folder.to_string_lossy()])?
        .ok()?;
    let message = alice
        .run(&["load", "files", "--endpoint", &emulator.endpoint()])?
        .failed(BAD_STATE)?;
    ensure!(message.contains("podsync export"), "{message}");
    ensure!(emulator.posts().is_empty());
    Ok(())
}

/// Killed between checkpoint and load: what was in the instance is kept, and comes back by `undo`.
#[test]
fn a_load_that_is_killed_leaves_its_checkpoint() -> Result<()> {
    let alice = alice()?;
    let emulator = FakeEmulator::start(&state())?;
    save(&alice, &emulator)?.ok()?;
    let arguments = ["load", "orders", "--endpoint", &emulator.endpoint()];
    let killed = alice.run_with(
        &arguments,
        &[("PODSYNC_ABORT_AT", "daemon::load::checkpointed")],
        None,
    )?;
    ensure!(killed.code == NO_CODE, "it was never reached: {killed:?}");
    ensure!(emulator.posts().is_empty(), "{:?}", emulator.posts());
    alice
        .run(&["undo", "--endpoint", &emulator.endpoint()])?
        .ok()?;
    ensure!(emulator.posts().len() == 1, "{:?}", emulator.posts());
    alice.run(&arguments)?.ok()?;
    Ok(())
}

/// An emulator runs what is in a state, so a device's first one needs a yes.
#[test]
fn the_first_state_of_a_device_is_asked_about() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let emulator = FakeEmulator::start(&state())?;
    for (home, pod) in [(&alice, "hers"), (&bob, "his")] {
        home.run(&["save", pod, "--share", "--endpoint", &emulator.endpoint()])?
            .ok()?;
    }
    let load = |pod: &str, more: &[&str]| {
        let endpoint = emulator.endpoint();
        bob.run(&[&["load", pod, "--endpoint", &endpoint], more].concat())
    };
    load("his", &[])?.ok()?;
    let posts = emulator.posts().len();
    let message = load("hers", &[])?.failed(UNCONFIRMED)?;
    ensure!(
        message.contains("alice") && message.contains("--new-signer"),
        "{message}"
    );
    ensure!(emulator.posts().len() == posts, "{:?}", emulator.posts());
    load("hers", &["--new-signer"])?.ok()?;
    load("hers", &[])?.ok()?;
    Ok(())
}

/// Hooks run at each start, and again: once a run of the emulator has the version it is left alone.
#[test]
fn a_hook_loads_the_pinned_version_once() -> Result<()> {
    let alice = alice()?;
    let emulator = FakeEmulator::start(&state())?;
    save(&alice, &emulator)?.ok()?;
    let endpoint = emulator.endpoint();
    let hook = |reference: &str| {
        let variables = [("PODSYNC_LOAD", reference), ("AWS_ENDPOINT_URL", &endpoint)];
        alice.run_with(&["run-hook", "ready", "--timeout", "5s"], &variables, None)
    };
    hook("")?.ok()?;
    ensure!(emulator.posts().is_empty(), "nothing is pinned");
    let first = hook("orders")?.ok()?;
    ensure!(first["already"] == false, "{first}");
    ensure!(emulator.posts().len() == 1, "{:?}", emulator.posts());
    let again = hook("orders")?.ok()?;
    ensure!(again["already"] == true, "{again}");
    ensure!(emulator.posts().len() == 1, "{:?}", emulator.posts());
    alice.run(&["undo", "--endpoint", &endpoint])?.ok()?;
    let after = hook("orders")?.ok()?;
    ensure!(after["already"] == false, "it was undone: {after}");
    emulator.on(
        "GET /_localstack/info",
        Conduct::Answer(200, br#"{"session_id":"another-run"}"#.to_vec()),
    );
    let restarted = hook("orders")?.ok()?;
    ensure!(
        restarted["already"] == false,
        "another run of it: {restarted}"
    );
    hook("nothing")?.failed(NOT_FOUND)?;
    Ok(())
}

/// Several versions and files are one start: in order, each once, and what is wrong is told before any is loaded.
#[test]
fn a_hook_loads_several_versions_and_files_in_order() -> Result<()> {
    let alice = alice()?;
    let emulator = FakeEmulator::start(&state())?;
    save(&alice, &emulator)?.ok()?;
    let base = alice.scratch("base.zip");
    fs::write(&base, zip(&[Member::stored("s3/buckets", &[3; 5000])]))?;
    let base = base.to_string_lossy().into_owned();
    alice.run(&["save", "base", "--from", &base])?.ok()?;
    let folder = alice.scratch("init-pods.d");
    fs::create_dir(&folder)?;
    let file = zip(&[Member::stored("sqs/queues", &[4; 5000])]);
    fs::write(folder.join("10-queues.snapshot"), file)?;
    fs::write(folder.join("20-again"), "orders # by name\n")?;

    let (endpoint, folder) = (emulator.endpoint(), folder.to_string_lossy().into_owned());
    let hook = |load: &str, merge: &str| {
        let variables = [
            ("PODSYNC_LOAD", load),
            ("PODSYNC_INIT_PODS", &folder),
            ("PODSYNC_MERGE", merge),
            ("AWS_ENDPOINT_URL", &endpoint),
        ];
        let mut command = alice.typed(&["run-hook", "ready", "--timeout", "5s"])?;
        let output = command.envs(variables).output()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        anyhow::Ok((output.status.code(), text))
    };
    for (load, merge, code, says) in [
        (
            "base, orders:0",
            "service-merge",
            INVALID,
            "not a version number",
        ),
        (
            "base, orders",
            "overwrite",
            INVALID,
            "only the last of these 4",
        ),
    ] {
        let (found, text) = hook(load, merge)?;
        ensure!(found == Some(code) && text.contains(says), "{text}");
        ensure!(emulator.posts().is_empty(), "{:?}", emulator.posts());
    }

    let (code, text) = hook("base, orders", "service-merge")?;
    ensure!(code == Some(0), "{text}");
    let lines = [
        "Loaded base:+1",
        "Loaded orders:+1",
        "Loaded 10-queues:+1",
        "already has orders:+1",
    ];
    let places: Option<Vec<_>> = lines.iter().map(|line| text.find(line)).collect();
    ensure!(places.is_some_and(|places| places.is_sorted()), "{text}");
    let posts = emulator.posts();
    ensure!(posts.len() == 3, "{posts:?}");
    ensure!(
        posts
            .iter()
            .all(|post| post.contains("merge=service-merge")),
        "{posts:?}"
    );
    // Run again for the same start, it leaves everything alone.
    let (code, text) = hook("base, orders", "service-merge")?;
    ensure!(
        code == Some(0) && text.matches("already has").count() == 4,
        "{text}"
    );
    ensure!(emulator.posts().len() == 3, "{:?}", emulator.posts());
    // A load by hand may replace what the hook loaded.
    alice
        .run(&["load", "base", "--endpoint", &endpoint])?
        .ok()?;
    let (code, text) = hook("orders, nothing", "account-region-merge")?;
    ensure!(code == Some(NOT_FOUND), "{text}");
    ensure!(text.contains("still there: orders:+1"), "{text}");
    Ok(())
}

/// An engine that says what it is asked for. Whoever reads that starts the emulator.
const ENGINE: &str = "\
#!/bin/sh
[ -z \"$LSTK_EXT_CONTEXT\" ] || exit 9
echo \"$@\" > \"${0%/*}/asked\"
";

#[test]
fn a_load_starts_the_emulator_of_the_compose_file() -> Result<()> {
    let alice = alice()?;
    let file = alice.scratch("orders.zip");
    fs::write(&file, state())?;
    alice
        .run(&["save", "orders", "--from", &file.to_string_lossy()])?
        .ok()?;
    let (project, engine) = (alice.scratch("project"), alice.scratch("engine"));
    for folder in [&project, &engine] {
        fs::create_dir(folder)?;
    }
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let load = || {
        let mut command = alice.typed(&["load", "orders", "--start", "--endpoint", &endpoint])?;
        let output = command
            .env("PATH", &engine)
            .env("LSTK_EXT_CONTEXT", "it holds the token of LocalStack")
            .current_dir(&project)
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        anyhow::Ok((output.status.code(), text))
    };
    let compose = project.join("compose.yaml");
    fs::write(&compose, "services:\n  web:\n    image: nginx\n")?;
    let (code, text) = load()?;
    ensure!(
        code == Some(INSTANCE)
            && text
                .contains("no service in it has an image of LocalStack, and lstk is not installed"),
        "{text}"
    );
    ensure!(!text.contains("Starting"), "nothing was started: {text}");
    fs::write(
        &compose,
        "services:\n  aws:\n    image: localstack/localstack:4.14.0\n",
    )?;
    let (code, text) = load()?;
    ensure!(
        code == Some(INSTANCE) && text.contains("neither docker nor podman"),
        "{text}"
    );

    let docker = engine.join("docker");
    fs::write(&docker, ENGINE)?;
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755))?;
    let asked = engine.join("asked");
    ensure!(Command::new("mkfifo").arg(&asked).status()?.success());
    let starts = std::thread::spawn(move || {
        let asked = fs::read_to_string(&asked)?;
        anyhow::Ok((asked, FakeEmulator::start_at(port, &state())?))
    });
    let (code, text) = load()?;
    ensure!(code == Some(0), "{text}");
    let Ok(started) = starts.join() else {
        bail!("the emulator did not start");
    };
    let (asked, emulator) = started?;
    ensure!(
        asked.starts_with("compose --file /") && asked.ends_with("/compose.yaml up --detach aws\n"),
        "{asked}"
    );
    ensure!(emulator.posts().len() == 1, "{:?}", emulator.posts());
    // One that answers is left alone.
    fs::remove_file(&docker)?;
    let (code, text) = load()?;
    ensure!(code == Some(0), "{text}");
    ensure!(emulator.posts().len() == 2, "{:?}", emulator.posts());
    Ok(())
}

#[test]
fn the_doctor_names_what_fails_and_its_fix() -> Result<()> {
    let mut alice = alice()?;
    let emulator = FakeEmulator::start(&state())?;
    let doctor = |home: &Home, endpoint: &str| home.run(&["doctor", "--endpoint", endpoint]);
    let verdict = |findings: &serde_json::Value, check: &str| {
        let found = findings
            .as_array()?
            .iter()
            .find(|finding| finding["check"] == check)?;
        Some(found["verdict"].as_str()?.to_owned())
    };
    alice.start(&[])?;
    let sound = doctor(&alice, &emulator.endpoint())?.ok()?;
    for check in ["home", "port", "clock", "emulator", "services"] {
        ensure!(
            verdict(&sound, check).as_deref() == Some("ok"),
            "{check}: {sound}"
        );
    }
    // Which verdict depends on the machine.
    ensure!(verdict(&sound, "disk").is_some(), "{sound}");
    alice.stop()?;
    emulator.on(
        "GET /_localstack/pods/environment",
        Conduct::Answer(404, Vec::new()),
    );
    let answer = doctor(&alice, &emulator.endpoint())?;
    ensure!(answer.code == Some(INSTANCE), "{answer:?}");
    ensure!(
        verdict(&answer.json, "emulator").as_deref() == Some("failure"),
        "{answer:?}"
    );
    ensure!(
        answer.json.to_string().contains("podsync plugin install"),
        "a bare 404 is explained: {answer:?}"
    );

    let mode = |mode: &str| Command::new("chmod").arg(mode).arg(alice.path()).status();
    ensure!(mode("777")?.success());
    let answer = doctor(&alice, &emulator.endpoint())?;
    ensure!(answer.code == Some(INVALID), "{answer:?}");
    ensure!(answer.json.to_string().contains("chmod 700"), "{answer:?}");
    ensure!(mode("700")?.success());
    Ok(())
}

#[test]
fn a_daemon_is_stopped_by_a_command() -> Result<()> {
    let mut alice = alice()?;
    ensure!(
        alice.run(&["stop"])?.code == Some(0),
        "none runs, and that is fine"
    );
    alice.start(&[])?;
    alice.run(&["stop"])?.ok()?;
    alice.run(&["list"])?.ok()?;
    ensure!(alice.stop()? == Some(0));
    Ok(())
}
