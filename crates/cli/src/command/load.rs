//! `podsync load` and `podsync undo`: a version into the running emulator, and back.

use clap::{Args, ValueEnum};
use podsync_api::{ApiError, Consent, ErrorCode, contents, pods};

use crate::{
    arguments::{Endpoint, Wait},
    call::{call, call_over},
    command::diff,
    context::{Connection, Context, Needs},
    output::{Printer, ask::confirm, printable},
    requirements::Requirements,
};

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// `orders`, `orders:3`, `orders:3@alice`, `orders:baseline`, `orders@1f3a9c`
    reference: String,
    #[command(flatten)]
    how: How,
    /// Only say what would be added, changed and removed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
    #[command(flatten)]
    requirements: Requirements,
}

/// Where a version is loaded, and what was said yes to beforehand.
#[derive(Debug, Args)]
pub(crate) struct How {
    #[command(flatten)]
    endpoint: Endpoint,
    /// What happens to what is there
    #[arg(long, value_enum, default_value_t)]
    merge: Merge,
    /// Only these services
    #[arg(long, value_delimiter = ',', value_name = "S3,SQS")]
    services: Vec<String>,
    /// Load even where no complete checkpoint of what is there can be taken
    #[arg(long)]
    without_checkpoint: bool,
    /// Load into an emulator that isn't on this machine
    #[arg(long)]
    remote: bool,
    /// Load what was made on a device of which nothing was loaded here before
    #[arg(long)]
    new_signer: bool,
    /// Say yes to all three
    #[arg(long)]
    yes: bool,
}

/// LocalStack's merge strategies.
#[expect(clippy::enum_variant_names, reason = "the names are LocalStack's")]
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Merge {
    /// Reset, then load
    Overwrite,
    /// The version wins per service, account and region
    #[default]
    AccountRegionMerge,
    /// Per resource
    ServiceMerge,
}

impl How {
    /// Whether anything was said that only matters to a load.
    pub(super) fn is_said(&self) -> bool {
        self.without_checkpoint
            || self.remote
            || self.new_signer
            || self.yes
            || !self.services.is_empty()
    }
}

impl std::fmt::Display for Merge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.to_possible_value()
            .map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Undo {
    #[command(flatten)]
    endpoint: Endpoint,
}

pub(crate) async fn run(context: &Context, load: Load) -> Result<(), ApiError> {
    let connection = Connection::open(context, Needs::Network).await?;
    let loaded = load_over(&connection, load).await;
    connection.close().await;
    loaded
}

async fn load_over(connection: &Connection<'_>, load: Load) -> Result<(), ApiError> {
    let reference = load
        .requirements
        .meant(connection, Some(load.reference), load.wait.wait)
        .await?;
    if load.dry_run {
        return dry_run(connection, reference, load.how, load.wait).await;
    }
    let loaded = into_instance(connection, reference, load.how, load.wait).await?;
    connection.context.printer.result(&loaded, words);
    account_for(&connection.context.printer, &loaded.failed)
}

/// Loads, and asks for what has to be agreed to.
pub(super) async fn into_instance(
    connection: &Connection<'_>,
    reference: String,
    how: How,
    wait: Wait,
) -> Result<pods::Loaded, ApiError> {
    let consents = [
        (how.without_checkpoint, Consent::WithoutCheckpoint),
        (how.remote, Consent::Remote),
        (how.new_signer, Consent::NewSigner),
    ];
    let consents = consents
        .into_iter()
        .filter(|(said, _)| *said || how.yes)
        .map(|(_, consent)| consent);
    let mut request = pods::Load {
        reference,
        endpoint: how.endpoint.url,
        merge: how.merge.to_string(),
        services: how.services,
        wait_s: wait.wait.as_secs(),
        sources: wait.sources(),
        consents: consents.collect(),
        once: false,
    };
    loop {
        match call_over(connection, &request).await {
            Err(error) => request
                .consents
                .insert(consented(&connection.context.printer, error)?),
            Ok(loaded) => return Ok(loaded),
        };
    }
}

pub(super) fn words(loaded: &pods::Loaded) -> String {
    let mut text = format!("loaded {}: {}", loaded.reference, named(&loaded.applied));
    if let Some(checkpoint) = &loaded.checkpoint {
        text.push_str(&format!(
            "\nwhat was there is kept as {checkpoint}; `podsync undo` brings it back"
        ));
    }
    text
}

async fn dry_run(
    connection: &Connection<'_>,
    reference: String,
    how: How,
    wait: Wait,
) -> Result<(), ApiError> {
    let request = contents::Foresee {
        reference,
        endpoint: how.endpoint.url,
        merge: how.merge.to_string(),
        services: how.services,
        wait_s: wait.wait.as_secs(),
    };
    let forecast = call_over(connection, &request).await?;
    connection.context.printer.result(&forecast, |forecast| {
        let heading = format!(
            "loading {} into {} ({}, {})",
            forecast.reference, forecast.endpoint, printable(&forecast.emulator), forecast.merge
        );
        match &forecast.changes {
            Some(changes) => format!("{heading}: {}", diff::words(changes)),
            None => format!(
                "{heading}: fits; it isn't known what would change, since the version or the emulator has no index of its resources"
            ),
        }
    });
    Ok(())
}

/// What the daemon won't do unasked is asked here; an error where that is no, or nobody is there.
fn consented(printer: &Printer, error: ApiError) -> Result<Consent, ApiError> {
    let Some(consent) = error.consent else {
        return Err(error);
    };
    match confirm(printer, &error.message, "Load all the same?") {
        Some(true) => Ok(consent),
        Some(false) => Err(ApiError::new(ErrorCode::Cancelled, "nothing was loaded")),
        None => Err(error),
    }
}

pub(crate) async fn undo(context: &Context, undo: Undo) -> Result<(), ApiError> {
    let request = pods::Undo {
        endpoint: undo.endpoint.url,
    };
    let undone = call(context, Needs::Home, &request).await?;
    context.printer.result(&undone, |undone| {
        format!("put back {}: {}", undone.checkpoint, named(&undone.applied))
    });
    account_for(&context.printer, &undone.failed)
}

fn named(services: &[String]) -> String {
    match services {
        [] => "no service is in it".to_owned(),
        _ => services.join(", "),
    }
}

/// A service that wasn't loaded is no success, also where the others were.
pub(super) fn account_for(printer: &Printer, failed: &[(String, String)]) -> Result<(), ApiError> {
    if failed.is_empty() {
        return Ok(());
    }
    for (service, reason) in failed {
        printer.warn(format_args!(
            "{} was not loaded: {}",
            printable(service),
            printable(reason)
        ));
    }
    Err(ApiError::new(
        ErrorCode::Instance,
        format!("{} services were not loaded", failed.len()),
    )
    .hint("`podsync undo` puts back what was there before"))
}
