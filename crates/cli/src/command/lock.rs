//! `podsync lock`: which version each name stands for, in a file that is kept beside the code.

use std::path::PathBuf;

use clap::Args;
use clap_complete::ArgValueCompleter;
use podsync_api::{ApiError, ErrorCode, pods};

use crate::{
    arguments::Wait,
    call::call_over,
    complete,
    context::{Connection, Context, Needs},
    lockfile::{LockFile, lockable},
    output::{
        Column::{Name, Whole},
        ago, table,
    },
    requirements::LOCK_FILE,
};

#[derive(Debug, Args)]
pub(crate) struct Lock {
    /// Names to lock, such as `orders` or `orders:baseline` [default: all names in the file]
    #[arg(add = ArgValueCompleter::new(complete::references))]
    references: Vec<String>,
    /// Lock file. Other names in it stay unchanged
    #[arg(long, value_name = "FILE", default_value = LOCK_FILE)]
    file: PathBuf,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

pub(crate) async fn run(context: &Context, lock: Lock) -> Result<(), ApiError> {
    // Read first: if the file can't be replaced, there is no need to ask any teammate.
    let before = LockFile::read(&lock.file)?;
    let names: Vec<String> = match &before {
        Some(file) if lock.references.is_empty() => file.names().map(str::to_owned).collect(),
        _ => lock.references.clone(),
    };
    if names.is_empty() {
        return Err(ApiError::new(
            ErrorCode::Invalid,
            format!("{} contains no names to update", lock.file.display()),
        )
        .hint("name what to lock, such as orders, orders:3 or orders:baseline"));
    }
    for name in &names {
        lockable(name)?;
    }
    let connection = Connection::open(context, Needs::Network).await?;
    let locked = lock_over(&connection, &lock, before, &names).await;
    connection.close().await;
    let locked = locked?;
    context.printer.result(&locked, |locked| {
        let row = |(name, version): &(String, pods::Version)| {
            [
                name.clone(),
                version.reference.clone(),
                version.author.clone(),
                ago(version.created_ms),
                version.id.short(),
            ]
        };
        table(
            [
                Whole("NAME"),
                Whole("VERSION"),
                Name("BY"),
                Whole("WHEN"),
                Whole("ID"),
            ],
            locked.iter().map(row),
        )
    })?;
    context
        .printer
        .note(format_args!("Wrote {}.", lock.file.display()));
    Ok(())
}

async fn lock_over(
    connection: &Connection<'_>,
    lock: &Lock,
    before: Option<LockFile>,
    names: &[String],
) -> Result<Vec<(String, pods::Version)>, ApiError> {
    let mut file = before;
    let mut locked = Vec::new();
    for name in names {
        let request = pods::Resolve {
            reference: name.clone(),
            wait_s: lock.wait.time().as_secs(),
            until_shared: lock.wait.is_until_shared(),
        };
        let resolved = call_over(connection, &request).await?;
        let file = file.get_or_insert_with(|| LockFile::new(&lock.file, resolved.team));
        if file.team != resolved.team {
            return Err(ApiError::new(
                ErrorCode::Invalid,
                format!("{} belongs to another team", lock.file.display()),
            )
            .hint("choose the team with --team, or another file with --file"));
        }
        file.put(name, &resolved.version)?;
        locked.push((name.clone(), resolved.version));
    }
    if let Some(file) = file {
        file.write()?;
    }
    Ok(locked)
}
