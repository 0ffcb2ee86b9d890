//! The companion plugin on its way into an emulator: a virtual environment, a container, a compose file.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{FakeEmulator, Home};

const NOT_FOUND: i32 = 3;
const INSTANCE: i32 = 8;
const UNCONFIRMED: i32 = 15;

/// An engine whose only container is this machine. It notes what it is asked to restart.
const ENGINE: &str = r#"#!/bin/sh
here=$(dirname "$0")
case $1 in
ps) [ -e "$here/running" ] ;;
inspect)
  [ -e "$here/running" ] || { echo 'Cannot connect to the engine' >&2; exit 1; }
  [ "$4" = emulator ] || { echo "no such object: $4" >&2; exit 1; }
  echo true ;;
exec)
  [ -e "$here/bare" ] && exit 127
  shift
  [ "$1" = --user ] && shift 2
  shift
  exec "$@" ;;
cp) cp -R "$2" "${3#*:}" ;;
restart) echo "$2" >> "$here/restarted" ;;
esac
"#;

#[test]
fn a_virtual_environment_gets_the_plugin_and_gives_it_back() -> Result<()> {
    let home = Home::uninitialised("alice")?;
    for (name, options) in [
        ("with-pip", &[][..]),
        ("without-pip", &["--without-pip"][..]),
    ] {
        let Some(python) = environment(&home.scratch(name), options)? else {
            return Ok(());
        };
        let python = text(&python);
        let plugin = |command| home.run(&["plugin", command, "--python", python]);
        ensure!(plugin("status")?.ok()?["installed"].is_null());
        ensure!(plugin("install")?.ok()?["result"] == "installed");
        // Once more: an upgrade does the same.
        ensure!(plugin("install")?.ok()?["result"] == "installed");
        let status = plugin("status")?.ok()?;
        ensure!(status["installed"] == status["carried"], "{status}");
        let entry_points = "from importlib.metadata import entry_points as e; \
                            [p.load for p in e(group='localstack.hooks.on_infra_start', name='podsync')][0]";
        ensure!(
            Command::new(python)
                .args(["-c", entry_points])
                .status()?
                .success()
        );
        plugin("remove")?.ok()?;
        ensure!(plugin("status")?.ok()?["installed"].is_null());
        let left = Command::new(python)
            .args(["-c", "import podsync_localstack"])
            .output()?;
        ensure!(!left.status.success(), "files of the plugin are left");
    }
    Ok(())
}

#[test]
fn a_python_that_cannot_take_it_is_told_and_left_alone() -> Result<()> {
    let home = Home::uninitialised("alice")?;
    let install = |python: &Path| home.run(&["plugin", "install", "--python", text(python)]);
    let message = install(Path::new("/nowhere/python"))?.failed(NOT_FOUND)?;
    ensure!(message.contains("cannot run"), "{message}");
    let message = install(Path::new("/bin/true"))?.failed(INSTANCE)?;
    ensure!(
        message.contains("does not answer as a Python does"),
        "{message}"
    );
    let Some(python) = environment(&home.scratch("licensed"), &["--without-pip"])? else {
        return Ok(());
    };
    fs::create_dir(packages(&python)?.join("localstack/pro"))?;
    let message = install(&python)?.failed(INSTANCE)?;
    ensure!(message.contains("for licences"), "{message}");
    fs::remove_dir_all(packages(&python)?.join("localstack"))?;
    let message = install(&python)?.failed(INSTANCE)?;
    ensure!(message.contains("no LocalStack in it"), "{message}");
    ensure!(!packages(&python)?.join("podsync_localstack").exists());
    Ok(())
}

/// LocalStack would go on with the copy that it finds first.
#[test]
fn a_copy_on_the_python_path_is_told_and_left_alone() -> Result<()> {
    let home = Home::uninitialised("alice")?;
    let Some(python) = environment(&home.scratch("shadowed"), &["--without-pip"])? else {
        return Ok(());
    };
    let older = home.scratch("older");
    let record = older.join("podsync_localstack-0.0.1.dist-info");
    fs::create_dir_all(&record)?;
    fs::write(
        record.join("METADATA"),
        "Metadata-Version: 2.1\nName: podsync-localstack\nVersion: 0.0.1\n",
    )?;
    let plugin = |command| {
        let arguments = ["plugin", command, "--python", text(&python)];
        home.run_with(&arguments, &[("PYTHONPATH", text(&older))], None)
    };
    for command in ["install", "remove"] {
        let message = plugin(command)?.failed(INSTANCE)?;
        ensure!(message.contains(text(&older)), "{message}");
    }
    ensure!(plugin("status")?.ok()?["installed"] == "0.0.1");
    ensure!(record.join("METADATA").is_file());
    ensure!(!packages(&python)?.join("podsync_localstack").exists());
    Ok(())
}

#[test]
fn a_container_gets_it_after_a_yes_and_is_restarted() -> Result<()> {
    let home = Home::uninitialised("alice")?;
    let Some(python) = environment(&home.scratch("image"), &["--without-pip"])? else {
        return Ok(());
    };
    let engine = home.scratch("engine");
    fs::create_dir(&engine)?;
    for program in ["docker", "podman"] {
        fs::write(engine.join(program), ENGINE)?;
        fs::set_permissions(engine.join(program), fs::Permissions::from_mode(0o755))?;
    }
    let inside = python.parent().context("it lies in a folder")?;
    let path = format!("{}:{}:/usr/bin:/bin", engine.display(), inside.display());
    let plugin = |arguments: &[&str]| {
        let arguments = [&["plugin"], arguments].concat();
        home.run_with(&arguments, &[("PATH", &path)], None)
    };
    let message = plugin(&["install", "--container", "emulator"])?.failed(INSTANCE)?;
    ensure!(message.contains("engine does not answer"), "{message}");
    fs::write(engine.join("running"), "")?;
    let message = plugin(&["install", "--container", "other"])?.failed(NOT_FOUND)?;
    ensure!(message.contains("no container other"), "{message}");
    fs::write(engine.join("bare"), "")?;
    let message = plugin(&["install", "--container", "emulator", "--yes"])?.failed(INSTANCE)?;
    ensure!(message.contains("no Python in it"), "{message}");
    fs::remove_file(engine.join("bare"))?;
    let message = plugin(&["install", "--container", "emulator"])?.failed(UNCONFIRMED)?;
    ensure!(message.contains("loses the state"), "{message}");
    ensure!(!packages(&python)?.join("podsync_localstack").exists());

    plugin(&["install", "--container", "emulator", "--yes"])?.ok()?;
    let status = plugin(&["status", "--container", "emulator"])?.ok()?;
    ensure!(status["installed"] == status["carried"], "{status}");
    ensure!(fs::read_to_string(engine.join("restarted"))? == "emulator\n");
    plugin(&["remove", "--container", "emulator", "--yes"])?.ok()?;
    ensure!(plugin(&["status", "--container", "emulator"])?.ok()?["installed"].is_null());
    Ok(())
}

#[test]
fn an_emulator_that_needs_none_is_left_alone() -> Result<()> {
    let home = Home::uninitialised("alice")?;
    let emulator = FakeEmulator::start(&[])?;
    let answer = home
        .run(&["plugin", "install", "--endpoint", &emulator.endpoint()])?
        .ok()?;
    ensure!(
        answer["result"] == "not_needed" || answer["result"] == "already",
        "{answer}"
    );
    home.run(&["plugin", "install", "--endpoint", "http://127.0.0.1:1"])?
        .failed(INSTANCE)?;
    Ok(())
}

/// A virtual environment with something in it that is named as LocalStack is; none where no Python fits.
fn environment(folder: &Path, options: &[&str]) -> Result<Option<PathBuf>> {
    let base = std::env::var_os("PODSYNC_TEST_LOCALSTACK").unwrap_or_else(|| "python3".into());
    let fits = "import sys, venv; sys.exit(sys.version_info < (3, 13))";
    let asked = Command::new(&base).args(["-c", fits]).output();
    if !asked.is_ok_and(|output| output.status.success()) {
        eprintln!("NOT RUN: no Python 3.13 here (`cargo xtask test` sets PODSYNC_TEST_LOCALSTACK)");
        return Ok(None);
    }
    let made = Command::new(&base)
        .args(["-m", "venv"])
        .args(options)
        .arg(folder)
        .output()?;
    ensure!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let python = folder.join("bin/python");
    let emulator = packages(&python)?.join("localstack");
    fs::create_dir(&emulator)?;
    fs::write(emulator.join("__init__.py"), "")?;
    Ok(Some(python))
}

/// Where a Python keeps its packages.
fn packages(python: &Path) -> Result<PathBuf> {
    let ask = "import sysconfig; print(sysconfig.get_path('purelib'), end='')";
    let said = Command::new(python).args(["-c", ask]).output()?;
    Ok(String::from_utf8(said.stdout)?.into())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
