//! A launchd agent of macOS: its plist, and what `launchctl` is asked for.
//!
//! An agent lives from its user's login to the logout. launchd can't report that an agent serves, so the
//! command that starts one waits for the daemon's socket to answer.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use podsync_api::{ApiError, ErrorCode};

use super::{
    Plan, State,
    tool::{Said, Tool},
};
use crate::files::write_whole;

/// The plist, with `{label}`, `{program}` and `{home}` to be filled in.
const TEMPLATE: &str = include_str!("podsync.plist");
/// Labels are names of domains, the other way round.
const LABEL_PREFIX: &str = "dev.podsync.";

pub(crate) struct Launchd {
    /// Where agents of this user lie.
    folder: PathBuf,
    /// The graphical session of this user.
    domain: String,
    launchctl: Tool,
}

impl Launchd {
    pub(super) fn of_this_user(home: &Path) -> Result<Self, ApiError> {
        let folder = etcetera::home_dir().map_err(|error| {
            ApiError::new(
                ErrorCode::Invalid,
                format!("podsync finds no home of yours: {error}"),
            )
            .hint("set HOME")
        })?;
        // The home belongs to its user. Before podsync makes it, look at the owner of the user's folder.
        let owner = home.metadata().or_else(|_| folder.metadata());
        let owner = owner.map_err(|error| {
            let text = format!("podsync cannot look at {}: {error}", folder.display());
            ApiError::new(ErrorCode::Disk, text).hint("check its permissions")
        })?;
        Ok(Self {
            folder: folder.join("Library/LaunchAgents"),
            domain: format!("gui/{}", owner.uid()),
            launchctl: Tool::new("launchctl"),
        })
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}.plist", label(name)))
    }

    pub(super) async fn install(&self, plan: &Plan<'_>) -> Result<bool, ApiError> {
        let (file, text) = (self.file(plan.name), text(plan));
        let differs = std::fs::read_to_string(&file).ok().as_ref() != Some(&text);
        if !differs {
            return Ok(false);
        }
        // launchd keeps the plist that it read: a changed one is read at the next bootstrap.
        if self.is_loaded(plan.name).await? {
            self.bootout(plan.name).await?;
        }
        write_whole(&file, text.as_bytes()).map_err(|error| {
            let what = format!("podsync cannot write {}: {error}", file.display());
            ApiError::new(ErrorCode::Disk, what).hint("check the folder and its disk")
        })?;
        Ok(true)
    }

    pub(super) async fn uninstall(&self, name: &str) -> Result<(), ApiError> {
        if self.is_loaded(name).await? {
            self.bootout(name).await?;
        }
        let file = self.file(name);
        std::fs::remove_file(&file).map_err(|error| {
            let text = format!("podsync cannot remove {}: {error}", file.display());
            ApiError::new(ErrorCode::Disk, text).hint("remove it by hand")
        })
    }

    pub(super) async fn start(&self, name: &str) -> Result<(), ApiError> {
        self.load(name).await?;
        self.run(&["kickstart", &self.target(name)]).await
    }

    /// The agent stays loaded. launchd doesn't restart an agent that ended without an error.
    pub(super) async fn stop(&self, name: &str) -> Result<(), ApiError> {
        if !self.is_loaded(name).await? {
            return Ok(());
        }
        self.run(&["kill", "SIGTERM", &self.target(name)]).await
    }

    pub(super) async fn restart(&self, name: &str) -> Result<(), ApiError> {
        self.load(name).await?;
        self.run(&["kickstart", "-k", &self.target(name)]).await
    }

    pub(super) async fn look(&self, mut state: State) -> Result<State, ApiError> {
        let said = self.print(&state.name).await?;
        state.enabled = said.ok;
        let field = |key: &str| {
            let mut lines = said
                .out
                .lines()
                .filter_map(|line| line.trim().split_once(" = "));
            lines.find_map(|(name, value)| (name == key).then_some(value))
        };
        state.running = field("state") == Some("running");
        state.pid = field("pid").and_then(|pid| pid.parse().ok());
        state.failure = field("last exit code")
            .filter(|code| !state.running && !["0", "(never exited)"].contains(code))
            .map(|code| format!("its last exit code is {code}"));
        Ok(state)
    }

    async fn load(&self, name: &str) -> Result<(), ApiError> {
        if self.is_loaded(name).await? {
            return Ok(());
        }
        let file = self.file(name);
        self.run(&["bootstrap", &self.domain, &file.to_string_lossy()])
            .await
    }

    async fn bootout(&self, name: &str) -> Result<(), ApiError> {
        self.run(&["bootout", &self.target(name)]).await
    }

    async fn is_loaded(&self, name: &str) -> Result<bool, ApiError> {
        Ok(self.print(name).await?.ok)
    }

    async fn print(&self, name: &str) -> Result<Said, ApiError> {
        self.launchctl.ask(["print", &self.target(name)]).await
    }

    async fn run(&self, arguments: &[&str]) -> Result<(), ApiError> {
        let said = self.launchctl.ask(arguments).await?;
        if said.ok {
            return Ok(());
        }
        let why = said.err.lines().next().unwrap_or("it gave no reason");
        let text = format!("`launchctl {}` failed: {why}", arguments.join(" "));
        Err(ApiError::new(ErrorCode::NoDaemon, text)
            .hint("log in to the Mac's own desktop, not only by ssh; or run `podsync daemon`"))
    }

    fn target(&self, name: &str) -> String {
        format!("{}/{}", self.domain, label(name))
    }
}

fn label(name: &str) -> String {
    format!("{LABEL_PREFIX}{name}")
}

fn text(plan: &Plan<'_>) -> String {
    TEMPLATE
        .replace("{label}", &escaped(&label(plan.name)))
        .replace("{program}", &escaped(plan.program))
        .replace("{home}", &escaped(plan.home))
}

/// The program that a plist of ours runs: the first of its arguments.
pub(super) fn program(text: &str) -> Option<String> {
    let (_, arguments) = text.split_once("<key>ProgramArguments</key>")?;
    let (_, rest) = arguments.split_once("<string>")?;
    let (program, _) = rest.split_once("</string>")?;
    Some(
        program
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&"),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests;
