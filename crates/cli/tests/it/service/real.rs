//! A systemd of one user, private to the test: in a namespace of mounts where the machine runs none.

use std::{path::Path, process::Command};

use super::User;

const MANAGER: &str = "/usr/lib/systemd/systemd";

/// Starts a manager, does each of podsync's acts and ends the manager. Each answer goes to a file.
const SCRIPT: &str = r#"
set -u
[ -e /run/systemd/system ] || { mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/system; } || exit 77
SYSTEMD_LOG_TARGET=null "$MANAGER" --user & manager=$!
tries=0
until systemctl --user show-environment >/dev/null 2>&1; do
    kill -0 $manager 2>/dev/null && [ $tries -lt 300 ] || exit 77
    tries=$((tries + 1)); sleep 0.1
done
property() { systemctl --user show "$unit" --property="$1" --value; }
answer() { file=$1; shift; podsync --json "$@" > "$file.json" 2> "$file.err" || echo "$* exits with $?"; }
anew() { old=$1; tries=0; until new=$(property MainPID); [ "$(property ActiveState)" = active ] && [ "$new" != "$old" ]; do
    [ $tries -lt 600 ] || { echo "no other than $old runs"; return; }; tries=$((tries + 1)); sleep 0.1; done; }

podsync init > /dev/null
answer background restart
answer installed service install
unit=$(basename "$(ls "$XDG_CONFIG_HOME"/systemd/user/*.service)")
[ "$(property Type)" = notify ] || echo "Type: $(property Type)"
[ "$(property StatusText)$(property ActiveState)" = active ] || echo "it is $(property ActiveState)"
systemd-analyze --user security "$unit" --no-pager > security 2>&1

mkdir "$XDG_CONFIG_HOME/systemd/user/$unit.d"
printf '[Service]\nWatchdogSec=2\nRestartSec=0\n' > "$XDG_CONFIG_HOME/systemd/user/$unit.d/fast.conf"
systemctl --user daemon-reload
answer restarted service restart
pid=$(property MainPID); kill -KILL "$pid"; anew "$pid"
answer killed status
pid=$(property MainPID); kill -STOP "$pid"; anew "$pid"
answer hung status
systemctl --user show "$unit" --property=NRestarts --value > restarts
answer stopped service stop
[ "$(property ActiveState)/$(property Result)" = inactive/success ] || echo "stop: $(property ActiveState) $(property Result)"
answer started service start
answer uninstalled service uninstall
systemctl --user exit
wait $manager
"#;

#[test]
fn a_real_systemd_starts_watches_and_ends_it() {
    let not_run =
        |why: &str| eprintln!("NOT RUN: a_real_systemd_starts_watches_and_ends_it: {why}");
    if !Path::new(MANAGER).is_file() {
        return not_run("there is no systemd");
    }
    let user = User::new();
    let run = user.path("run");
    std::fs::create_dir(&run).unwrap();
    // Only the user's own folder may be open.
    std::fs::set_permissions(&run, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(user.path("script"), SCRIPT).unwrap();
    let booted = Path::new("/run/systemd/system").exists();
    let program = if booted { "env" } else { "unshare" };
    let mut command = Command::new(program);
    if !booted {
        command.args(["--mount", "--propagation", "private"]);
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command
        .args(["sh", "../script"])
        .current_dir(&run)
        .env_remove("CI")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("DBUS_SESSION_BUS_ADDRESS")
        .env("MANAGER", MANAGER)
        .env("PATH", format!("{}:{path}", user.path("bin").display()))
        .env("HOME", user.path(""))
        .env("XDG_CONFIG_HOME", user.path("config"))
        .env("XDG_RUNTIME_DIR", &run)
        .env("PODSYNC_HOME", user.home())
        .output();
    let Ok(output) = output else {
        return not_run("there is no unshare");
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    if matches!(output.status.code(), Some(77 | 1)) {
        return not_run(&format!("no manager starts here: {said}{err}"));
    }
    assert!(output.status.success() && said.is_empty(), "{said}{err}");
    let answer = |name: &str| -> serde_json::Value {
        let text = std::fs::read(run.join(format!("{name}.json"))).unwrap();
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{name}: {error}: {err}"))
    };
    let pid = |name: &str| answer(name)["pid"].as_u64().unwrap();
    let pids = [
        "background",
        "installed",
        "restarted",
        "killed",
        "hung",
        "started",
    ]
    .map(pid);
    assert!(pids.windows(2).all(|two| two[0] != two[1]), "{pids:?}");
    assert_eq!(answer("hung")["transient"], false);
    assert_eq!(answer("stopped")["running"], false);
    assert_eq!(answer("uninstalled")["installed"], false);
    let restarts = std::fs::read_to_string(run.join("restarts")).unwrap();
    assert_eq!(restarts.trim(), "2", "one was killed, one hung");
    let security = std::fs::read_to_string(run.join("security")).unwrap();
    eprintln!("{}", security.lines().last().unwrap_or_default());
}
