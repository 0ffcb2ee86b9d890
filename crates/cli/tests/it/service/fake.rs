use std::{os::unix::fs::PermissionsExt, process::Command};

use serde_json::Value;

use super::{User, json};

/// Starts what the unit says, and ends it by the id that it noted. It notes what it was asked, too.
const SYSTEMCTL: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >> asked
verb=$3 unit=$4
runs() { [ -e pid ] && kill -0 "$(cat pid)" 2>/dev/null; }
end() { runs && kill "$(cat pid)"; while runs; do sleep 0.05; done; rm -f pid; }
begin() { eval "$(sed -n 's/^ExecStart=//p' "../config/systemd/user/$unit") </dev/null >/dev/null 2>&1 &"; echo $! > pid; }
case $verb in
    start) runs || begin ;;
    restart) end; begin ;;
    stop | disable) end ;;
    show)
        if runs; then echo ActiveState=active; echo "MainPID=$(cat pid)"; else echo ActiveState=inactive; echo MainPID=0; fi
        echo UnitFileState=enabled; echo Result=success ;;
esac
exit 0
"#;

fn tool(user: &User, name: &str, script: &str) {
    let path = user.path("bin").join(name);
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn user() -> Option<User> {
    if cfg!(target_os = "macos") {
        eprintln!("NOT RUN: services of systemd: this is macOS");
        return None;
    }
    let user = User::new();
    tool(&user, "systemctl", SYSTEMCTL);
    tool(
        &user,
        "loginctl",
        "#!/bin/sh\necho \"loginctl $*\" >> \"$(dirname \"$0\")/asked\"\necho no\n",
    );
    Some(user)
}

#[test]
fn a_daemon_that_runs_is_taken_over_and_the_home_stays() {
    let Some(user) = user() else { return };
    user.run(&["init"]);
    let before = user.run(&["restart"])["pid"].as_u64();
    assert_eq!(user.daemon(), before);
    let installed = user.run(&["service", "install"]);
    assert_eq!(
        (&installed["running"], &installed["enabled"]),
        (&true.into(), &true.into())
    );
    let served = user.daemon();
    assert_eq!(installed["pid"].as_u64(), served);
    assert_ne!(served, before);

    user.run(&["service", "install"]);
    assert_eq!(user.daemon(), served, "nothing has changed");
    let restarted = user.run(&["service", "restart"]);
    assert_ne!(restarted["pid"].as_u64(), served);
    assert_eq!(user.run(&["service", "stop"])["running"], false);
    assert_eq!(user.daemon(), None);
    // A command that needs a daemon uses the service's.
    user.run(&["peers"]);
    let state = user.run(&["service", "status"]);
    assert_eq!(state["pid"].as_u64(), user.daemon());
    assert!(user.home().join("daemon.log").is_file());
    let logged = user.answer(&["logs"]);
    assert!(logged.status.success() && !logged.stdout.is_empty());

    let state = user.run(&["service", "uninstall"]);
    assert_eq!(state["installed"], false);
    assert_eq!(user.daemon(), None);
    assert!(user.home().join("identity").is_file());
    let again = user.answer(&["service", "start"]);
    assert_eq!(again.status.code(), Some(3), "{again:?}");
}

#[test]
fn an_upgraded_program_restarts_the_service() {
    let Some(user) = user() else { return };
    let before = user.run(&["service", "install"])["pid"].as_u64();
    assert_eq!(user.daemon(), before);
    let aside = user.path("bin/podsync-new");
    std::fs::copy(user.program(), &aside).unwrap();
    std::fs::rename(aside, user.program()).unwrap();
    let after = user.daemon();
    assert!(after.is_some() && after != before);
    let asked = std::fs::read_to_string(user.path("bin/asked")).unwrap();
    let started = asked
        .lines()
        .filter(|line| line.contains(" start ") || line.contains(" restart "));
    assert_eq!(started.count(), 2, "{asked}");
}

#[test]
fn each_home_has_a_service_and_the_default_one_has_the_plain_name() {
    let Some(user) = user() else { return };
    let other = user.run(&["service", "status"]);
    let name = other["name"].as_str().unwrap();
    assert!(name.starts_with("podsync-") && name.len() == 16, "{other}");
    let mut command = user.command(&["service", "status"]);
    command
        .env_remove("PODSYNC_HOME")
        .env("XDG_DATA_HOME", user.path("data"));
    let default = json(&command.output().unwrap());
    assert_eq!(
        (&default["name"], &default["installed"]),
        (&"podsync".into(), &false.into())
    );
}

#[test]
fn who_wants_it_lingers_and_a_systemctl_that_fails_is_told() {
    let Some(user) = user() else { return };
    let installed = user.answer(&["service", "install", "-y"]);
    assert!(installed.status.success(), "{installed:?}");
    let asked = std::fs::read_to_string(user.path("bin/asked")).unwrap();
    assert!(asked.contains("loginctl enable-linger"), "{asked}");
    user.run(&["service", "uninstall"]);

    tool(
        &user,
        "systemctl",
        "#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n",
    );
    let failed = user.answer(&["service", "install"]);
    assert_eq!(failed.status.code(), Some(14), "{failed:?}");
    let said = String::from_utf8_lossy(&failed.stdout);
    assert!(
        said.contains("No medium found") && said.contains("session of your own"),
        "{said}"
    );
    // A daemon that never was a service is not taken for one.
    assert_eq!(user.run(&["service", "status"])["installed"], false);
}

/// Waits for what the unit starts, and fails with it, as systemd does until the daemon serves.
const FAILING_JOB: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
case $3 in
    start | restart)
        eval "$(sed -n 's/^ExecStart=//p' "../config/systemd/user/$4") </dev/null >/dev/null 2>&1" && exit 0
        echo "Job for $4 failed because the control process exited with error code." >&2
        exit 1 ;;
esac
exit 0
"#;

#[test]
fn a_service_whose_daemon_cannot_start_says_why() {
    let Some(user) = user() else { return };
    user.run(&["init"]);
    let config = user.home().join("config.toml");
    std::fs::write(&config, "bogus = 1\n").unwrap();
    tool(&user, "systemctl", FAILING_JOB);
    for format in ["text", "json"] {
        for verb in ["install", "start", "restart"] {
            let mut command = user.command(&["service", verb]);
            let failed = command.env("PODSYNC_LOG_FORMAT", format).output().unwrap();
            assert_eq!(failed.status.code(), Some(14), "{failed:?}");
            let said: Value = serde_json::from_slice(&failed.stdout).unwrap();
            let message = said["error"]["message"].as_str().unwrap();
            let hint = said["error"]["hint"].as_str().unwrap();
            assert!(
                message.contains("bogus") && !message.contains("hint"),
                "{said}"
            );
            assert!(hint.contains("config.toml"), "{said}");
        }
    }
    let logged = user.answer(&["logs"]);
    assert!(String::from_utf8_lossy(&logged.stdout).contains("bogus"));

    // The log's older reasons are not taken for this one.
    tool(
        &user,
        "systemctl",
        "#!/bin/sh\necho 'Unit is masked.' >&2\nexit 1\n",
    );
    let failed = user.answer(&["service", "start"]);
    let said = String::from_utf8_lossy(&failed.stdout);
    assert!(said.contains("masked") && !said.contains("bogus"), "{said}");
    std::fs::remove_file(&config).unwrap();
}

#[test]
fn a_service_that_could_not_be_installed_leaves_no_key() {
    let Some(user) = user() else { return };
    tool(&user, "systemctl", "#!/bin/sh\nexit 1\n");
    let failed = user.answer(&["service", "install"]);
    assert_eq!(failed.status.code(), Some(14), "{failed:?}");
    // What was there before stays.
    let left = std::fs::read_dir(user.home()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["config.toml"]);
}

#[test]
fn what_cannot_be_asked_is_told() {
    let user = User::new();
    let mut command: Command = user.command(&["service", "install"]);
    command.env("PATH", user.path("bin"));
    let failed = command.output().unwrap();
    assert_eq!(failed.status.code(), Some(14), "{failed:?}");
}
