//! The home that a command is about. A command may also sit where there is nothing of it but its daemon's socket.

use std::path::{Path, PathBuf};

use etcetera::{AppStrategy, AppStrategyArgs};
use podsync_api::{ApiError, Client, ErrorCode, TeamChoice, node};
use podsync_daemon::{Overrides, Settings, socket_path};

use super::Context;

impl Context {
    /// The home that is meant: `--home`, `PODSYNC_HOME`, or the platform's data folder.
    pub(crate) fn home(&self) -> Result<PathBuf, ApiError> {
        let home = match &self.global.home {
            Some(home) => home.clone(),
            None => etcetera::choose_app_strategy(AppStrategyArgs {
                top_level_domain: "dev".to_owned(),
                author: "podsync".to_owned(),
                app_name: "podsync".to_owned(),
            })
            .map_err(|error| {
                ApiError::new(ErrorCode::Invalid, format!("no home folder: {error}"))
                    .hint("say where with --home or PODSYNC_HOME")
            })?
            .data_dir(),
        };
        std::path::absolute(&home).map_err(|error| {
            ApiError::new(ErrorCode::Invalid, format!("{}: {error}", home.display()))
        })
    }

    /// The settings of the home that is meant.
    pub(crate) fn settings(&self) -> Result<Settings, ApiError> {
        Settings::load(&self.home()?, Overrides::default())
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
        let made = podsync_daemon::init(&home)?;
        self.printer.note(format_args!(
            "made this device's key in {}",
            made.home.display()
        ));
        Ok(())
    }

    /// A client of the daemon that runs; none where none does.
    pub(crate) async fn running(&self) -> Result<Option<Client>, ApiError> {
        running(&self.home()?).await
    }
}

async fn running(home: &Path) -> Result<Option<Client>, ApiError> {
    let client = Client::new(&socket_path(home), TeamChoice::Only)?;
    Ok(answers(&client).await.map(|_| client))
}

pub(super) async fn answers(client: &Client) -> Option<node::Status> {
    client.call(&node::GetStatus {}).await.ok()
}

/// Only what runs a daemon needs the key.
pub(super) fn initialised(home: &Path) -> Result<(), ApiError> {
    if podsync_daemon::is_initialised(home) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::NotFound,
        format!("{} is no podsync home yet", home.display()),
    )
    .hint(if std::env::var_os("CI").is_some() {
        "a job needs none, but a robot's token as PODSYNC_TOKEN: `podsync team invite --robot` makes one"
    } else {
        "`podsync team create NAME` makes a team, `podsync team join` comes into one with a ticket"
    }))
}
