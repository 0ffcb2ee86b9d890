//! `podsync export`: a version as a file or a folder.

use std::path::PathBuf;

use clap::Args;
use clap_complete::ArgValueCompleter;
use podsync_api::{ApiError, pods};

use crate::{
    arguments::{Wait, absolute},
    call::call_over,
    complete,
    context::{Connection, Context, Needs},
    requirements::Requirements,
};

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Version: `orders`, `orders:3`, `orders:3@alice`, `orders:baseline` or `orders@1f3a9c`
    #[arg(add = ArgValueCompleter::new(complete::references))]
    pub(crate) reference: String,
    /// New `.snapshot` or `.zip` file, or new folder
    path: PathBuf,
    #[command(flatten)]
    pub(crate) wait: Wait,
    #[command(flatten)]
    requirements: Requirements,
}

pub(crate) async fn run(context: &Context, export: Export) -> Result<(), ApiError> {
    export.requirements.check(Some(&export.reference))?;
    let connection = Connection::open(context, Needs::Network).await?;
    let exported = export_over(&connection, export).await;
    connection.close().await;
    exported
}

async fn export_over(connection: &Connection<'_>, export: Export) -> Result<(), ApiError> {
    let reference = export
        .requirements
        .meant(connection, Some(export.reference), export.wait.time())
        .await?;
    let request = pods::Export {
        reference,
        to: absolute(export.path)?,
        wait_s: export.wait.time().as_secs(),
        until_shared: export.wait.is_until_shared(),
        sources: export.wait.sources(),
    };
    let exported = call_over(connection, &request).await?;
    let shown = connection.context.printer.result(&exported, |exported| {
        format!(
            "Wrote {} to {}.",
            exported.reference,
            exported.path.display()
        )
    });
    // The same command again would find the file.
    let path = exported.path.display();
    shown.map_err(|error| {
        error.hint(format!(
            "{path} is written all the same: don't export it again"
        ))
    })
}
