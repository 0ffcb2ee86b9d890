//! The service of a home: its daemon, kept running by this machine's own supervisor for as long as somebody is
//! logged in, and begun again after a crash. Nothing here needs root.
//!
//! Unit and plist are templates of ours. The crate service-manager has none with `Type=notify`, a watchdog or
//! hardening, so it would be handed both files whole.

mod launchd;
pub(crate) mod notify;
pub(crate) mod systemd;
mod tool;

use std::path::{Path, PathBuf};

use podsync_api::{ApiError, ErrorCode};
use podsync_core::BlobId;
use serde::Serialize;

use self::{launchd::Launchd, systemd::Systemd};

/// The service name for the default home. Other homes add a part of a hash.
const NAME: &str = "podsync";
/// Enough of a hash to tell one user's homes apart.
const NAME_HASH_LEN: usize = 8;

/// The service of one home, installed or not.
pub(crate) struct Service {
    home: PathBuf,
    name: String,
    supervisor: Supervisor,
}

/// What keeps services running on this machine.
enum Supervisor {
    Systemd(Systemd),
    Launchd(Launchd),
}

/// What a service is made from.
struct Plan<'a> {
    name: &'a str,
    home: &'a str,
    program: &'a str,
}

/// How a service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct State {
    pub(crate) name: String,
    /// The unit or plist.
    pub(crate) file: PathBuf,
    pub(crate) installed: bool,
    /// Whether it starts at login.
    pub(crate) enabled: bool,
    pub(crate) running: bool,
    pub(crate) pid: Option<u32>,
    /// The program that it runs.
    pub(crate) program: Option<PathBuf>,
    /// Whether it keeps running after its user's last logout; `None` if unknown.
    pub(crate) lingers: Option<bool>,
    /// What the supervisor reports about the last run, if it failed.
    pub(crate) failure: Option<String>,
}

impl Service {
    /// The service of `home`; `default` is the home of a command that names none.
    pub(crate) fn of(home: &Path, default: Option<&Path>) -> Result<Self, ApiError> {
        let name = if default == Some(home) {
            NAME.to_owned()
        } else {
            let hash = BlobId::of(home.as_os_str().as_encoded_bytes()).to_string();
            format!("{NAME}-{}", &hash[..NAME_HASH_LEN])
        };
        let supervisor = if cfg!(target_os = "macos") {
            Supervisor::Launchd(Launchd::of_this_user(home)?)
        } else {
            Supervisor::Systemd(Systemd::of_this_user()?)
        };
        Ok(Self {
            home: home.to_owned(),
            name,
            supervisor,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The unit or plist.
    pub(crate) fn file(&self) -> PathBuf {
        match &self.supervisor {
            Supervisor::Systemd(systemd) => systemd.file(&self.name),
            Supervisor::Launchd(launchd) => launchd.file(&self.name),
        }
    }

    pub(crate) fn is_installed(&self) -> bool {
        self.file().is_file()
    }

    /// The program that the installed service runs.
    pub(crate) fn program(&self) -> Option<PathBuf> {
        let text = std::fs::read_to_string(self.file()).ok()?;
        match &self.supervisor {
            Supervisor::Systemd(_) => systemd::program(&text),
            Supervisor::Launchd(_) => launchd::program(&text),
        }
        .map(PathBuf::from)
    }

    /// Writes the unit or plist and has it started at login; nothing is started now. Whether anything is different
    /// from before.
    pub(crate) async fn install(&self, program: &Path) -> Result<bool, ApiError> {
        let plan = Plan {
            name: &self.name,
            home: text_of(&self.home)?,
            program: text_of(program)?,
        };
        match &self.supervisor {
            Supervisor::Systemd(systemd) => systemd.install(&plan).await,
            Supervisor::Launchd(launchd) => launchd.install(&plan).await,
        }
    }

    /// Stops it and takes its file away.
    pub(crate) async fn uninstall(&self) -> Result<(), ApiError> {
        match &self.supervisor {
            Supervisor::Systemd(systemd) => systemd.uninstall(&self.name).await,
            Supervisor::Launchd(launchd) => launchd.uninstall(&self.name).await,
        }
    }

    /// Returns once the daemon serves, or says why it can't.
    pub(crate) async fn start(&self) -> Result<(), ApiError> {
        match &self.supervisor {
            Supervisor::Systemd(systemd) => systemd.start(&self.name).await,
            Supervisor::Launchd(launchd) => launchd.start(&self.name).await,
        }
    }

    pub(crate) async fn stop(&self) -> Result<(), ApiError> {
        match &self.supervisor {
            Supervisor::Systemd(systemd) => systemd.stop(&self.name).await,
            Supervisor::Launchd(launchd) => launchd.stop(&self.name).await,
        }
    }

    /// Starts it if it doesn't run.
    pub(crate) async fn restart(&self) -> Result<(), ApiError> {
        match &self.supervisor {
            Supervisor::Systemd(systemd) => systemd.restart(&self.name).await,
            Supervisor::Launchd(launchd) => launchd.restart(&self.name).await,
        }
    }

    pub(crate) async fn state(&self) -> Result<State, ApiError> {
        let state = State {
            name: self.name.clone(),
            file: self.file(),
            installed: self.is_installed(),
            enabled: false,
            running: false,
            pid: None,
            program: self.program(),
            lingers: None,
            failure: None,
        };
        if !state.installed {
            return Ok(state);
        }
        match &self.supervisor {
            Supervisor::Systemd(systemd) => systemd.look(state).await,
            Supervisor::Launchd(launchd) => launchd.look(state).await,
        }
    }

    /// Has the service go on after its user's last logout. Only systemd ends it there.
    pub(crate) async fn linger(&self) -> Result<(), ApiError> {
        match &self.supervisor {
            Supervisor::Systemd(systemd) => systemd.linger().await,
            Supervisor::Launchd(_) => Ok(()),
        }
    }
}

/// Unit and plist are text.
fn text_of(path: &Path) -> Result<&str, ApiError> {
    let text = path
        .to_str()
        .filter(|text| !text.contains(char::is_control));
    text.ok_or_else(|| {
        let what = format!("the path {path:?} can't stand in the file of a service");
        ApiError::new(ErrorCode::Invalid, what)
            .hint("choose a folder whose name is plain text, with --home or PODSYNC_HOME")
    })
}

/// This program, by a path that an upgrade doesn't change: package managers keep a link on PATH and replace what
/// it leads to.
pub(crate) fn this_program() -> Result<PathBuf, ApiError> {
    let program = std::env::current_exe().map_err(|error| {
        let text = format!("podsync does not find its own program file: {error}");
        ApiError::new(ErrorCode::Internal, text).hint("run it by its full path")
    })?;
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let linked = std::env::split_paths(&folders)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(NAME))
        .find(|path| is_same(path, &program));
    Ok(linked.unwrap_or(program))
}

/// Whether two paths lead to one file.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
