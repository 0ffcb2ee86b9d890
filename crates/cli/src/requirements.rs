//! What a version must fulfil besides its name: it matches the lock file, and the view of the team is recent.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use podsync_api::{ApiError, ErrorCode, node, pods, team};

use crate::{context::Connection, lockfile::LockFile};

/// Where `podsync lock` writes.
pub(crate) const LOCK_FILE: &str = "podsync.lock";

/// What a version must fulfil besides its name.
#[derive(Debug, Args)]
pub(crate) struct Requirements {
    /// Use exactly the version from the lock file
    #[arg(long)]
    frozen: bool,
    /// Lock file
    #[arg(long, value_name = "FILE", default_value = LOCK_FILE, requires = "frozen")]
    lock_file: PathBuf,
    /// Fail if what this machine knows of the team is older. A teammate's daemon signs a statement each hour
    #[arg(long, value_name = "TIME", value_parser = crate::time::length)]
    max_age: Option<Duration>,
}

impl Requirements {
    /// Fails where the command line and the lock file by themselves name no version: nobody has to be asked.
    pub(crate) fn check(&self, typed: Option<&str>) -> Result<(), ApiError> {
        self.locked(typed.map(str::to_owned)).map(drop)
    }

    /// The reference that is meant, and the lock file that has it.
    fn locked(&self, typed: Option<String>) -> Result<(String, Option<LockFile>), ApiError> {
        if !self.frozen {
            let typed = typed.ok_or_else(|| {
                ApiError::new(
                    ErrorCode::Invalid,
                    "the command does not say which version to use",
                )
                .hint("`podsync list` shows the pods")
            })?;
            return Ok((typed, None));
        }
        let lock = LockFile::read(&self.lock_file)?.ok_or_else(|| self.no_lock_file())?;
        let typed = match typed {
            Some(typed) => typed,
            None => self.only_name(&lock)?,
        };
        lock.exact(&typed)?;
        Ok((typed, Some(lock)))
    }

    /// The reference to use: the typed one, or the exact one in the lock file.
    pub(crate) async fn meant(
        &self,
        connection: &Connection<'_>,
        typed: Option<String>,
        wait: Duration,
    ) -> Result<String, ApiError> {
        let (typed, lock) = self.locked(typed)?;
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
            until_shared: false,
        };
        match connection.watch(&request).await {
            Ok(resolved) if resolved.team == lock.team => Ok(exact),
            Ok(_) => Err(ApiError::new(
                ErrorCode::Invalid,
                format!("{} belongs to another team", self.lock_file.display()),
            )
            .hint("choose the team with --team, or move the file away and write a new one with `podsync lock`")),
            Err(error)
                if error.code == ErrorCode::NotFound
                    && connection.watch(&node::GetStatus {}).await?.teams.is_empty() =>
            {
                Err(error)
            }
            Err(error) if error.code == ErrorCode::NotFound => Err(ApiError::new(
                ErrorCode::NotFound,
                format!(
                    "{} locks `{typed}` to {exact}, but the team does not have this version. Somebody dropped it, or \
                     no device that podsync reached knows it",
                    self.lock_file.display()
                ),
            )
            .hint(format!("`podsync lock {typed}` locks the current version"))),
            Err(error) => Err(error),
        }
    }

    fn only_name(&self, lock: &LockFile) -> Result<String, ApiError> {
        let mut names = lock.names();
        match (names.next(), names.next()) {
            (Some(name), None) => Ok(name.to_owned()),
            _ => Err(ApiError::new(
                ErrorCode::Invalid,
                format!(
                    "{} does not have exactly one name",
                    self.lock_file.display()
                ),
            )
            .hint("say which of its names to use")),
        }
    }

    fn no_lock_file(&self) -> ApiError {
        ApiError::new(
            ErrorCode::NotFound,
            format!("{} does not exist", self.lock_file.display()),
        )
        .hint("write one with `podsync lock`, or choose another file with --lock-file")
    }
}
