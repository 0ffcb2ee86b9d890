//! A user unit of systemd: its text, and what `systemctl --user` is asked for.
//!
//! Mount namespaces (`ProtectSystem=`, `PrivateTmp=`) are not used. The daemon reads what people save and writes
//! what they export, wherever that lies, and in a user unit they need user namespaces, which many systems deny.

use std::path::PathBuf;

use podsync_api::{ApiError, ErrorCode};

use super::{
    Plan, State,
    tool::{Said, Tool},
};
use crate::files::write_whole;

/// The unit, with `{home}` and `{program}` to be filled in.
const TEMPLATE: &str = include_str!("podsync.service");
/// What the line begins with that names the program.
const EXEC_START: &str = "ExecStart=";

pub(crate) struct Systemd {
    /// Where units of this user lie.
    folder: PathBuf,
    systemctl: Tool,
    loginctl: Tool,
}

impl Systemd {
    pub(super) fn of_this_user() -> Result<Self, ApiError> {
        use etcetera::BaseStrategy;
        let folders = etcetera::choose_base_strategy().map_err(|error| {
            let text = format!("podsync finds no folder for your settings: {error}");
            ApiError::new(ErrorCode::Invalid, text).hint("set HOME or XDG_CONFIG_HOME")
        })?;
        Ok(Self {
            folder: folders.config_dir().join("systemd/user"),
            systemctl: Tool::new("systemctl"),
            loginctl: Tool::new("loginctl"),
        })
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(unit(name))
    }

    pub(super) async fn install(&self, plan: &Plan<'_>) -> Result<bool, ApiError> {
        let (file, text) = (self.file(plan.name), text(plan));
        let before = std::fs::read_to_string(&file).ok();
        let differs = before.as_ref() != Some(&text);
        if differs {
            write_whole(&file, text.as_bytes()).map_err(|error| {
                let what = format!("podsync cannot write {}: {error}", file.display());
                ApiError::new(ErrorCode::Disk, what).hint("check the folder and its disk")
            })?;
        }
        let enabled = async {
            self.systemctl(&["daemon-reload"]).await?;
            self.systemctl(&["enable", &unit(plan.name)]).await
        };
        if let Err(error) = enabled.await {
            // A unit that no systemd knows of would be taken for a service.
            if before.is_none() {
                let _ = std::fs::remove_file(&file);
            }
            return Err(error);
        }
        Ok(differs)
    }

    pub(super) async fn uninstall(&self, name: &str) -> Result<(), ApiError> {
        self.systemctl(&["disable", "--now", &unit(name)]).await?;
        let file = self.file(name);
        std::fs::remove_file(&file).map_err(|error| {
            let text = format!("podsync cannot remove {}: {error}", file.display());
            ApiError::new(ErrorCode::Disk, text).hint("remove it by hand")
        })?;
        self.systemctl(&["daemon-reload"]).await?;
        // A unit that never failed has nothing to be forgotten.
        let _ = self.systemctl(&["reset-failed", &unit(name)]).await;
        Ok(())
    }

    pub(super) async fn start(&self, name: &str) -> Result<(), ApiError> {
        self.run(name, "start").await
    }

    pub(super) async fn stop(&self, name: &str) -> Result<(), ApiError> {
        self.systemctl(&["stop", &unit(name)]).await.map(drop)
    }

    pub(super) async fn restart(&self, name: &str) -> Result<(), ApiError> {
        self.run(name, "restart").await
    }

    async fn run(&self, name: &str, verb: &str) -> Result<(), ApiError> {
        // Five failed starts in a row don't keep a person's own from being tried.
        let _ = self.systemctl(&["reset-failed", &unit(name)]).await;
        self.systemctl(&[verb, &unit(name)]).await.map(drop)
    }

    pub(super) async fn look(&self, mut state: State) -> Result<State, ApiError> {
        let properties = "ActiveState,SubState,MainPID,UnitFileState,Result";
        let shown = self
            .systemctl(&["show", &unit(&state.name), "--property", properties])
            .await?;
        let property = |key: &str| {
            let mut lines = shown.lines().filter_map(|line| line.split_once('='));
            lines.find_map(|(name, value)| (name == key).then_some(value))
        };
        let active = property("ActiveState").unwrap_or_default();
        state.enabled = property("UnitFileState") == Some("enabled");
        state.running = active == "active";
        state.pid = property("MainPID")
            .and_then(|pid| pid.parse().ok())
            .filter(|pid| *pid != 0);
        state.failure = property("Result")
            .filter(|result| !state.running && !["", "success"].contains(result))
            .map(|result| format!("{active}, {result}"));
        state.lingers = self.lingers().await;
        Ok(state)
    }

    /// `None` if no logind answers.
    async fn lingers(&self) -> Option<bool> {
        let user = whoami::username().ok()?;
        let asked = ["show-user", &user, "--property", "Linger", "--value"];
        let said = self.loginctl.ask(asked).await.ok()?;
        match said.out.as_str() {
            "yes" => Some(true),
            "no" => Some(false),
            // logind forgets a user without a session who doesn't linger.
            _ => None,
        }
    }

    pub(super) async fn linger(&self) -> Result<(), ApiError> {
        let said = self.loginctl.ask(["enable-linger"]).await?;
        if said.ok {
            return Ok(());
        }
        Err(refused("loginctl enable-linger", &said)
            .hint("ask whoever runs this machine for `sudo loginctl enable-linger USER`"))
    }

    async fn systemctl(&self, arguments: &[&str]) -> Result<String, ApiError> {
        let asked = ["--user", "--no-pager"].iter().chain(arguments);
        let said = self.systemctl.ask(asked).await?;
        if said.ok {
            return Ok(said.out);
        }
        let command = [&["systemctl", "--user"], arguments].concat().join(" ");
        let hint = if said.err.contains("to bus") {
            "log in on this machine with a session of your own, not by `su` or `sudo`; or run `podsync daemon`"
        } else {
            "`podsync logs` may say why; `podsync daemon` shows the same failure in this terminal"
        };
        Err(refused(&command, &said).hint(hint))
    }
}

fn refused(command: &str, said: &Said) -> ApiError {
    let why = said.err.lines().next().unwrap_or("it gave no reason");
    ApiError::new(ErrorCode::NoDaemon, format!("`{command}` failed: {why}"))
}

fn unit(name: &str) -> String {
    format!("{name}.service")
}

fn text(plan: &Plan<'_>) -> String {
    TEMPLATE
        .replace("{description}", &escaped(plan.home))
        .replace("{program}", &quoted(plan.program))
        .replace("{home}", &quoted(plan.home))
}

/// The program that a unit of ours runs.
pub(super) fn program(text: &str) -> Option<String> {
    let rest = text
        .lines()
        .find_map(|line| line.strip_prefix(EXEC_START))?;
    let mut letters = rest.strip_prefix('"')?.chars();
    let mut program = String::new();
    loop {
        match letters.next()? {
            '"' => return Some(program),
            '\\' => program.push(letters.next()?),
            // Both are written twice.
            c @ ('%' | '$') => {
                letters.next()?;
                program.push(c);
            }
            c => program.push(c),
        }
    }
}

/// `%` begins a specifier wherever it stands.
fn escaped(text: &str) -> String {
    text.replace('%', "%%")
}

/// One word of a command line.
fn quoted(text: &str) -> String {
    let inner = escaped(text)
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('$', "$$");
    format!("\"{inner}\"")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn plan<'a>(home: &'a str, program: &'a str) -> Plan<'a> {
        Plan {
            name: "podsync",
            home,
            program,
        }
    }

    #[test]
    fn odd_paths_come_back_as_they_were() {
        for path in [
            "/usr/bin/podsync",
            r#"/o dd/100%/$HOME/"quoted"/back\slash/podsync"#,
            "/日本/podsync",
        ] {
            let text = text(&plan(path, path));
            assert_eq!(program(&text).as_deref(), Some(path), "{text}");
        }
    }

    /// systemd itself finds nothing wrong with the unit.
    #[test]
    fn systemd_takes_the_unit() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("a home/100%");
        std::fs::create_dir_all(&home).unwrap();
        let program = std::env::current_exe().unwrap();
        let text = text(&plan(home.to_str().unwrap(), program.to_str().unwrap()));
        let file = folder.path().join("podsync.service");
        std::fs::write(&file, text).unwrap();
        let verify = Command::new("systemd-analyze")
            .args(["--user", "--man=no", "verify"])
            .arg(&file)
            .env("XDG_RUNTIME_DIR", folder.path())
            .output();
        let Ok(verified) = verify else {
            eprintln!("NOT RUN: systemd_takes_the_unit: there is no systemd-analyze");
            return;
        };
        let said = String::from_utf8_lossy(&verified.stderr);
        if said.contains("Failed to initialize manager") {
            eprintln!("NOT RUN: systemd_takes_the_unit: {said}");
            return;
        }
        assert!(
            verified.status.success() && said.trim().is_empty(),
            "{said}"
        );
    }
}
