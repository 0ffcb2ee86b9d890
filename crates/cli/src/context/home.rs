//! The home that a command is about. A command may also run in a place that has only the socket of the home's
//! daemon.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use podsync_api::{ApiError, Client, ErrorCode, TeamChoice, node};
use podsync_daemon::{NewHome, Overrides, Settings, socket_path};
use tokio::time::timeout;

use super::Context;
use crate::{arguments::Global, place::home_at};

/// A daemon that takes longer to say how it is hangs, or was stopped.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);
/// The same for a command that ends the daemon.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

impl Context {
    /// The home that is meant: `--home`, `PODSYNC_HOME`, or the platform's data folder. A folder of something else
    /// is refused.
    pub(crate) fn home(&self) -> Result<PathBuf, ApiError> {
        let home = home_of(&self.global)?;
        // A sandbox may have only the socket of the home's daemon.
        if !socket_path(&home).exists() {
            podsync_daemon::check_may_be_home(&home)?;
        }
        Ok(home)
    }

    /// The settings of the home that is meant.
    pub(crate) fn settings(&self) -> Result<Settings, ApiError> {
        Settings::load(&self.home()?, Overrides::default())
    }

    /// Removes the home that a command is about to make. `None` if a home exists, or the command makes none.
    pub(crate) async fn new_home(&self) -> Result<Option<NewHome>, ApiError> {
        let home = self.home()?;
        if self.is_robot() || running(&home).await?.is_some() {
            return Ok(None);
        }
        Ok(NewHome::at(&home))
    }

    /// Makes this device's key where a new machine's first command needs it.
    pub(crate) async fn ensure_key(&self) -> Result<(), ApiError> {
        let home = self.home()?;
        if self.is_robot()
            || podsync_daemon::is_initialised(&home)
            || running(&home).await?.is_some()
        {
            return Ok(());
        }
        // Settings that no daemon can start with leave no key behind.
        self.settings()?.check_addresses()?;
        let made = podsync_daemon::init(&home)?;
        self.printer.note(format_args!(
            "Created this device's key in {}.",
            made.home.display()
        ));
        Ok(())
    }

    /// Writes a secret that could be shown nowhere to a new file of the home.
    pub(crate) fn keep_secret(&self, name: &str, secret: &str) -> Result<PathBuf, ApiError> {
        let home = self.home()?;
        let file = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .suffix(".txt")
            .tempfile_in(&home)
            .and_then(|mut file| {
                writeln!(file, "{secret}")?;
                file.as_file().sync_all()?;
                Ok(file)
            });
        let kept = file.and_then(|file| Ok(file.keep().map_err(|error| error.error)?.1));
        kept.map_err(|error| {
            ApiError::new(
                ErrorCode::Disk,
                format!("podsync cannot write to {}: {error}", home.display()),
            )
            .hint("check the disk and the folder's permissions")
        })
    }

    /// A client of the running daemon; `None` if no daemon runs.
    pub(crate) async fn running(&self) -> Result<Option<Client>, ApiError> {
        running(&self.home()?).await
    }

    /// Ends the home's daemon, waits for the end, and returns its process id; `None` if no daemon runs.
    pub(crate) async fn stop_daemon(&self) -> Result<Option<u32>, ApiError> {
        let home = self.home()?;
        let client = Client::new(&socket_path(&home), TeamChoice::Only)?;
        let Answer::Status(_) = ask(&client, STOP_PATIENCE).await else {
            // Its socket may be gone while it still runs, so look at the lock on the home.
            return podsync_daemon::end_daemon(&home).await;
        };
        let stopping = client.call(&node::Stop {}).await?;
        podsync_daemon::wait_until_free(&home).await?;
        Ok(Some(stopping.pid))
    }
}

/// The home that arguments mean.
pub(crate) fn home_of(global: &Global) -> Result<PathBuf, ApiError> {
    home_at(global.home.clone())
}

async fn running(home: &Path) -> Result<Option<Client>, ApiError> {
    let client = Client::new(&socket_path(home), TeamChoice::Only)?;
    Ok(status_of(home, &client).await?.map(|_| client))
}

/// The state of the daemon; `None` if none runs. It is an error if one runs and doesn't answer.
pub(super) async fn status_of(
    home: &Path,
    client: &Client,
) -> Result<Option<node::Status>, ApiError> {
    match ask(client, ANSWER_PATIENCE).await {
        Answer::Status(status) => Ok(Some(*status)),
        Answer::Nobody => Ok(None),
        Answer::Silence => Err(podsync_daemon::does_not_answer(home, ANSWER_PATIENCE)),
    }
}

/// The state of a daemon that answers.
pub(super) async fn answers(client: &Client) -> Option<node::Status> {
    match ask(client, ANSWER_PATIENCE).await {
        Answer::Status(status) => Some(*status),
        Answer::Nobody | Answer::Silence => None,
    }
}

enum Answer {
    Status(Box<node::Status>),
    /// Nobody listens, or what listens is no daemon of this version.
    Nobody,
    /// Somebody listens and says nothing.
    Silence,
}

async fn ask(client: &Client, patience: Duration) -> Answer {
    match timeout(patience, client.call(&node::GetStatus {})).await {
        Ok(Ok(status)) => Answer::Status(Box::new(status)),
        Ok(Err(_)) => Answer::Nobody,
        Err(_) => Answer::Silence,
    }
}

/// Only what runs a daemon needs the key.
pub(super) fn initialised(home: &Path) -> Result<(), ApiError> {
    if podsync_daemon::is_initialised(home) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::NotFound,
        format!("{} is not a podsync home", home.display()),
    )
    .hint(if std::env::var_os("CI").is_some() {
        "a CI job needs no home: set PODSYNC_TOKEN to a robot's token, which `podsync team invite --robot` prints"
    } else {
        "`podsync team create NAME` creates a team, `podsync team join` joins one with a ticket"
    }))
}
