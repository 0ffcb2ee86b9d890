//! `podsync pull`: fetches a version's bytes from any provider. On request it takes exactly the locked
//! version, and fails if its view of the team is too old.

use clap::Args;
use clap_complete::ArgValueCompleter;
use podsync_api::{ApiError, ErrorCode, pods};

use crate::{
    arguments::Wait,
    call::call_over,
    command::load::{self, How},
    complete,
    context::{Connection, Context, Needs},
    output::{bytes, printable},
    requirements::Requirements,
};

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Version: `orders`, `orders:3`, `orders:3@alice`, `orders:baseline` or `orders@1f3a9c`. Optional with
    /// --frozen if the lock file has only one name
    #[arg(add = ArgValueCompleter::new(complete::references))]
    pub(crate) reference: Option<String>,
    /// Also load the version into the running emulator
    #[arg(long)]
    pub(crate) load: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
    #[command(flatten)]
    requirements: Requirements,
    #[command(flatten)]
    pub(crate) how: How,
}

pub(crate) async fn run(context: &Context, pull: Pull) -> Result<(), ApiError> {
    if !pull.load && pull.how.is_said() {
        return Err(ApiError::new(
            ErrorCode::Invalid,
            "these flags are only for a load, and --load is missing",
        )
        .hint("add --load, or remove the flags for a load"));
    }
    pull.requirements.check(pull.reference.as_deref())?;
    let connection = Connection::open(context, Needs::Network).await?;
    let pulled = pull_over(&connection, pull).await;
    connection.close().await;
    pulled
}

async fn pull_over(connection: &Connection<'_>, pull: Pull) -> Result<(), ApiError> {
    let reference = pull
        .requirements
        .meant(connection, pull.reference, pull.wait.time())
        .await?;
    if pull.load {
        let loaded = load::into_instance(connection, reference, pull.how, pull.wait).await?;
        connection.context.printer.result(&loaded, |loaded| {
            format!("{}\n{}", words(&loaded.pulled), load::words(loaded))
        })?;
        return load::account_for(&connection.context.printer, &loaded.failed);
    }
    let request = pods::Pull {
        reference,
        wait_s: pull.wait.time().as_secs(),
        until_shared: pull.wait.is_until_shared(),
        sources: pull.wait.sources(),
    };
    let pulled = call_over(connection, &request).await?;
    connection.context.printer.result(&pulled, words)
}

/// The last line says where the bytes came from.
pub(super) fn words(pulled: &pods::Pulled) -> String {
    let sources = if pulled.sources.is_empty() {
        "Nothing to download: this machine already has it.".to_owned()
    } else {
        let each = pulled
            .sources
            .iter()
            .map(|s| format!("{} from {}", bytes(s.bytes), printable(&s.name)));
        format!("Downloaded {}.", each.collect::<Vec<_>>().join(", "))
    };
    format!(
        "Pulled {} by {} ({}).\n{sources}",
        pulled.reference,
        printable(&pulled.author),
        bytes(pulled.state_len)
    )
}
