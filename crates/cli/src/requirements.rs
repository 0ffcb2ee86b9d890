//! What a version must be besides its name: the one that a lock file says, of a team that was heard of lately.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use podsync_api::{ApiError, ErrorCode, pods, team};

use crate::{context::Connection, lockfile::LockFile};

/// Where `podsync lock` writes.
pub(crate) const LOCK_FILE: &str = "podsync.lock";

/// What a version has to be, beside being called so.
#[derive(Debug, Args)]
pub(crate) struct Requirements {
    /// Take exactly the version that the lock file says
    #[arg(long)]
    frozen: bool,
    /// The lock file
    #[arg(long, value_name = "FILE", default_value = LOCK_FILE, requires = "frozen")]
    lock_file: PathBuf,
    /// Refuse if no teammate's device has said within this time what it knew
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    max_age: Option<Duration>,
}

impl Requirements {
    /// The reference to take: what was typed, or exactly what the lock file says that it is.
    pub(crate) async fn meant(
        &self,
        connection: &Connection<'_>,
        typed: Option<String>,
        wait: Duration,
    ) -> Result<String, ApiError> {
        let lock = if self.frozen {
            let file = LockFile::read(&self.lock_file)?.ok_or_else(|| self.no_lock_file())?;
            Some(file)
        } else {
            None
        };
        let typed = match (typed, &lock) {
            (Some(typed), _) => typed,
            (None, None) => {
                return Err(
                    ApiError::new(ErrorCode::Invalid, "which version is to be pulled?")
                        .hint("`podsync list` shows what there is"),
                );
            }
            (None, Some(lock)) => self.only_name(lock)?,
        };
        if let Some(max_age) = self.max_age {
            let request = team::CheckFresh {
                max_age_s: max_age.as_secs(),
                wait_s: wait.as_secs(),
            };
            connection.watch(&request).await?;
        }
        let Some(lock) = lock else { return Ok(typed) };
        let (exact, _) = lock.exact(&typed)?;
        let request = pods::Resolve {
            reference: exact.clone(),
            wait_s: wait.as_secs(),
        };
        match connection.watch(&request).await {
            Ok(resolved) if resolved.team == lock.team => Ok(exact),
            Ok(_) => Err(ApiError::new(
                ErrorCode::Invalid,
                format!("{} is another team's", self.lock_file.display()),
            )
            .hint("name the team with --team, or write the file anew with `podsync lock`")),
            Err(error) if error.code == ErrorCode::NotFound => Err(ApiError::new(
                ErrorCode::NotFound,
                format!(
                    "{} says that `{typed}` is {exact}, and the team has no such version: it was dropped, or \
                     nobody who was reached has heard of it",
                    self.lock_file.display()
                ),
            )
            .hint(format!("`podsync lock {typed}` takes what it is now"))),
            Err(error) => Err(error),
        }
    }

    fn only_name(&self, lock: &LockFile) -> Result<String, ApiError> {
        let mut names = lock.names();
        match (names.next(), names.next()) {
            (Some(name), None) => Ok(name.to_owned()),
            _ => Err(ApiError::new(
                ErrorCode::Invalid,
                format!("{} has not exactly one name", self.lock_file.display()),
            )
            .hint("say which of its names to pull")),
        }
    }

    fn no_lock_file(&self) -> ApiError {
        ApiError::new(
            ErrorCode::NotFound,
            format!("there is no {}", self.lock_file.display()),
        )
        .hint("write one with `podsync lock`, or say where it is with --lock-file")
    }
}
