//! `podsync pull`: a version's bytes, from whoever holds them; exactly the one that was locked, of a
//! world that is new enough, where that is asked for.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use podsync_api::{ApiError, ErrorCode, pods, team};

use crate::{
    arguments::Global,
    command::{
        call_over,
        load::{self, How},
    },
    connect::{Connection, Needs},
    lockfile::LockFile,
    output::{Printer, bytes, printable},
};

/// How long to wait for the version and its holders before giving up, in seconds.
const DEFAULT_WAIT: &str = "20s";
/// Where `podsync lock` writes.
pub(super) const LOCK_FILE: &str = "podsync.lock";

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// `orders`, `orders:3`, `orders:3@alice`, `orders:baseline`, `orders@1f3a9c`; may be left out
    /// with --frozen where the lock file has one name
    reference: Option<String>,
    /// Then load it into the running emulator
    #[arg(long)]
    load: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
    #[command(flatten)]
    exactly: Exactly,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// How long to wait for a teammate who holds it
    #[arg(long, value_name = "TIME", default_value = DEFAULT_WAIT, value_parser = humantime::parse_duration)]
    pub(crate) wait: Duration,
    /// Where its bytes may come from
    #[arg(long, value_enum, default_value_t)]
    source: Source,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Source {
    /// Teammates first; the team's bucket for what they don't have or don't send
    #[default]
    Any,
    /// Teammates only
    Peers,
    /// The team's bucket only
    Bucket,
}

impl Wait {
    pub(crate) fn sources(&self) -> pods::Sources {
        match self.source {
            Source::Any => pods::Sources::Any,
            Source::Peers => pods::Sources::Peers,
            Source::Bucket => pods::Sources::Bucket,
        }
    }
}

/// What a version has to be, beside being called so.
#[derive(Debug, Args)]
pub(crate) struct Exactly {
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

pub(crate) async fn run(global: &Global, printer: &Printer, pull: Pull) -> Result<(), ApiError> {
    if !pull.load && pull.how.is_said() {
        return Err(ApiError::new(
            ErrorCode::Invalid,
            "nothing is loaded, so there is nothing to say about how",
        )
        .hint("add --load, or leave the flags of a load out"));
    }
    let connection = Connection::open(global, printer, Needs::Network).await?;
    let pulled = pull_over(&connection, printer, pull).await;
    connection.close().await;
    pulled
}

async fn pull_over(connection: &Connection, printer: &Printer, pull: Pull) -> Result<(), ApiError> {
    let reference = pull
        .exactly
        .meant(connection, printer, pull.reference, pull.wait.wait)
        .await?;
    if pull.load {
        let loaded =
            load::into_instance(connection, printer, reference, pull.how, pull.wait).await?;
        printer.result(&loaded, |loaded| {
            format!("{}\n{}", words(&loaded.pulled), load::words(loaded))
        });
        return load::account_for(printer, &loaded.failed);
    }
    let request = pods::Pull {
        reference,
        wait_s: pull.wait.wait.as_secs(),
        sources: pull.wait.sources(),
    };
    let pulled = call_over(connection, printer, &request).await?;
    printer.result(&pulled, words);
    Ok(())
}

impl Exactly {
    /// The reference to take: what was typed, or exactly what the lock file says that it is.
    pub(super) async fn meant(
        &self,
        connection: &Connection,
        printer: &Printer,
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
            connection.watch(printer, &request).await?;
        }
        let Some(lock) = lock else { return Ok(typed) };
        let (exact, _) = lock.exact(&typed)?;
        let request = pods::Resolve {
            reference: exact.clone(),
            wait_s: wait.as_secs(),
        };
        match connection.watch(printer, &request).await {
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

/// The last line says where the bytes came from.
pub(super) fn words(pulled: &pods::Pulled) -> String {
    let sources = if pulled.sources.is_empty() {
        "nothing had to travel: it is all here".to_owned()
    } else {
        let each = pulled
            .sources
            .iter()
            .map(|s| format!("{} from {}", bytes(s.bytes), printable(&s.name)));
        each.collect::<Vec<_>>().join(", ")
    };
    format!(
        "pulled {} by {} ({})\n{sources}",
        pulled.reference,
        printable(&pulled.author),
        bytes(pulled.state_len)
    )
}
