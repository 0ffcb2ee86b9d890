//! `podsync service` with a fake `systemctl`, and with a real systemd of one user.

mod fake;
mod real;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// A home, and the folders of a user who has nothing else.
struct User {
    folder: tempfile::TempDir,
}

impl User {
    fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("podsync-it-")
            .tempdir()
            .unwrap();
        let user = Self { folder };
        std::fs::create_dir(user.home()).unwrap();
        // The daemon contacts nobody on the network.
        let settings = "listen = ['127.0.0.1:0']\nmdns = false\n";
        std::fs::write(user.home().join("config.toml"), settings).unwrap();
        for made in ["bin", "config"] {
            std::fs::create_dir(user.path(made)).unwrap();
        }
        let program = Path::new(env!("CARGO_BIN_EXE_podsync"));
        std::fs::hard_link(program, user.program())
            .or_else(|_| std::fs::copy(program, user.program()).map(drop))
            .unwrap();
        user
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn home(&self) -> PathBuf {
        self.path("home")
    }

    fn program(&self) -> PathBuf {
        self.path("bin/podsync")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(arguments)
            .arg("--json")
            .env_remove("CI")
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("PODSYNC_HOME", self.home())
            .stdin(Stdio::null());
        command
    }

    fn answer(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The result of a command that succeeds.
    fn run(&self, arguments: &[&str]) -> Value {
        json(&self.answer(arguments))
    }

    /// The process id of the daemon that answers; `None` if a command hosts its own.
    fn daemon(&self) -> Option<u64> {
        let status = self.run(&["status"]);
        (status["transient"] == false).then(|| status["pid"].as_u64().unwrap())
    }
}

/// Whatever a test leaves running ends with it.
impl Drop for User {
    fn drop(&mut self) {
        let _ = self.command(&["stop"]).output();
    }
}

fn json(output: &Output) -> Value {
    let err = String::from_utf8_lossy(&output.stderr);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{out} {err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out} {err}"))
}
