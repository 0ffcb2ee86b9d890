//! `podsync load` and `podsync undo`: a version into the running emulator, and back.

mod start;

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use podsync_api::{ApiError, Consent, ErrorCode, contents, pods};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    arguments::{Endpoint, Wait, Yes, auth_token},
    call::{call, call_agreed_over, call_over},
    command::diff,
    complete,
    context::{Connection, Context, Needs},
    output::{Printer, count, printable},
    requirements::Requirements,
};

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Version: `orders`, `orders:3`, `orders:3@alice`, `orders:baseline` or `orders@1f3a9c`
    #[arg(add = ArgValueCompleter::new(complete::references))]
    pub(crate) reference: String,
    #[command(flatten)]
    pub(crate) how: How,
    /// Show what would be added, changed and removed; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// If no emulator answers, start the one of the compose file here, or of lstk
    #[arg(long, conflicts_with = "dry_run")]
    start: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
    #[command(flatten)]
    requirements: Requirements,
}

/// Where a version is loaded, and the consents given beforehand.
#[derive(Debug, Args)]
pub(crate) struct How {
    #[command(flatten)]
    endpoint: Endpoint,
    /// How to combine the version with the emulator's current state
    #[arg(long, value_enum, default_value_t)]
    merge: Merge,
    /// Load only these services
    #[arg(long, value_delimiter = ',', value_name = "S3,SQS")]
    services: Vec<String>,
    #[command(flatten)]
    pub(crate) consents: LoadConsents,
}

/// Consents given beforehand, so that a load doesn't ask.
#[derive(Debug, Args)]
pub(crate) struct LoadConsents {
    /// Load even if the emulator's current state cannot be saved completely first
    #[arg(long)]
    pub(crate) without_checkpoint: bool,
    /// Load into an emulator on another machine
    #[arg(long)]
    remote: bool,
    /// Load a version of a device from which nothing was loaded here before
    #[arg(long)]
    new_signer: bool,
    #[command(flatten)]
    all: Yes,
}

/// LocalStack's merge strategies.
#[expect(clippy::enum_variant_names, reason = "the names are LocalStack's")]
#[derive(Debug, Clone, Copy, Default, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum Merge {
    /// Reset the emulator, then load
    Overwrite,
    /// Replace each service, account and region that the version has
    #[default]
    AccountRegionMerge,
    /// Merge single resources; the version wins
    ServiceMerge,
}

impl How {
    /// Whether the user gave a flag that only matters to a load.
    pub(super) fn is_said(&self) -> bool {
        self.consents.is_said() || !self.services.is_empty()
    }
}

impl LoadConsents {
    pub(super) fn is_yes(&self) -> bool {
        self.all.yes
    }

    fn is_said(&self) -> bool {
        self.is_yes() || !self.consents().is_empty()
    }

    pub(super) fn consents(&self) -> BTreeSet<Consent> {
        let said = [
            (self.without_checkpoint, Consent::WithoutCheckpoint),
            (self.remote, Consent::Remote),
            (self.new_signer, Consent::NewSigner),
        ];
        let said = said.into_iter().filter(|(said, _)| *said);
        said.map(|(_, consent)| consent).collect()
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
    load.requirements.check(Some(&load.reference))?;
    if load.start {
        start::ensure_runs(&context.printer, &load.how.endpoint.url).await?;
    }
    let connection = Connection::open(context, Needs::Network).await?;
    let loaded = load_over(&connection, load).await;
    connection.close().await;
    loaded
}

async fn load_over(connection: &Connection<'_>, load: Load) -> Result<(), ApiError> {
    let reference = load
        .requirements
        .meant(connection, Some(load.reference), load.wait.time())
        .await?;
    if load.dry_run {
        return dry_run(connection, reference, load.how, load.wait).await;
    }
    let loaded = into_instance(connection, reference, load.how, load.wait).await?;
    connection.context.printer.result(&loaded, words)?;
    account_for(&connection.context.printer, &loaded.failed)
}

/// Loads, and asks for the consents that are missing.
pub(super) async fn into_instance(
    connection: &Connection<'_>,
    reference: String,
    how: How,
    wait: Wait,
) -> Result<pods::Loaded, ApiError> {
    let request = pods::Load {
        reference,
        endpoint: how.endpoint.url,
        token: auth_token(),
        merge: how.merge.to_string(),
        services: how.services,
        wait_s: wait.time().as_secs(),
        until_shared: wait.is_until_shared(),
        sources: wait.sources(),
        consents: how.consents.consents(),
        once: false,
    };
    call_agreed_over(connection, request, how.consents.is_yes()).await
}

pub(super) fn words(loaded: &pods::Loaded) -> String {
    let mut text = format!("Loaded {}: {}.", loaded.reference, named(&loaded.applied));
    if let Some(checkpoint) = &loaded.checkpoint {
        text.push_str(&format!(
            "\nThe previous state is saved as {checkpoint}. `podsync undo` restores it."
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
    let request = contents::ForecastLoad {
        reference,
        endpoint: how.endpoint.url,
        token: auth_token(),
        merge: how.merge.to_string(),
        services: how.services,
        wait_s: wait.time().as_secs(),
        until_shared: wait.is_until_shared(),
    };
    let forecast = call_over(connection, &request).await?;
    connection.context.printer.result(&forecast, |forecast| {
        let heading = format!(
            "Loading {} into {} ({}, {})",
            forecast.reference, forecast.endpoint, printable(&forecast.emulator), forecast.merge
        );
        match &forecast.changes {
            Some(changes) if forecast.planned => format!("{heading}: {}", diff::words(changes)),
            Some(changes) => format!("{heading}: {}\n{UNPLANNED}", diff::words(changes)),
            None => format!(
                "{heading} is possible. podsync cannot tell what would change: the version or the emulator has no index of its resources."
            ),
        }
    })?;
    if forecast.failed.is_empty() {
        return Ok(());
    }
    for (service, reason) in &forecast.failed {
        connection.context.printer.warn(format_args!(
            "{} would not be loaded: {}",
            printable(service),
            printable(reason)
        ));
    }
    Err(ApiError::new(
        ErrorCode::Instance,
        format!(
            "{} would not be loaded",
            count(forecast.failed.len(), "service")
        ),
    )
    .hint("nothing was changed"))
}

/// Warns that the load may change other things than the forecast says.
const UNPLANNED: &str = "This compares two lists of resources. The instance has made no plan: it has no companion plugin, \
     it is not on this machine, or nothing of the signer's device was loaded here before.";

/// What puts a version to use. A folder's state fits no emulator.
pub(crate) fn command_for(version: &pods::Version) -> String {
    let is_folder = version.emulator.is_none() && version.services.is_empty();
    match is_folder {
        true => format!("podsync export {} FOLDER", version.reference),
        false => format!("podsync load {}", version.reference),
    }
}

pub(crate) async fn undo(context: &Context, undo: Undo) -> Result<(), ApiError> {
    let request = pods::Undo {
        endpoint: undo.endpoint.url,
        token: auth_token(),
    };
    let undone = call(context, Needs::Home, &request).await?;
    context.printer.result(&undone, |undone| {
        format!(
            "Restored {}: {}.",
            undone.checkpoint,
            named(&undone.applied)
        )
    })?;
    account_for(&context.printer, &undone.failed)
}

fn named(services: &[String]) -> String {
    match services {
        [] => "it contains no service".to_owned(),
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
        format!("{} not loaded", count(failed.len(), "service")),
    )
    .hint("`podsync undo` restores the previous state"))
}
