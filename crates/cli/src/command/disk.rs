//! `podsync pin`, `unpin` and `gc`: what stays on this machine.

use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCompleter;
use podsync_api::{ApiError, Consent, disk};
use podsync_daemon::ByteSize;

use crate::{
    arguments::{DEFAULT_WAIT, Yes},
    call::call,
    complete,
    context::{Context, Needs},
    output::{
        Column::{Text, Whole},
        ago,
        ask::confirm,
        bytes, count, printable, table,
    },
};

#[derive(Debug, Args)]
pub(crate) struct Pin {
    /// Version, such as `orders:3`, `orders:baseline` or `orders:+1`
    #[arg(add = ArgValueCompleter::new(complete::references))]
    reference: String,
    /// How long to wait for the version to be shared [default: 20s for what a teammate knows already]
    #[arg(long, value_name = "TIME", value_parser = crate::time::length)]
    wait: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Show what would go; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Shrink to this size, such as 5GB [default: the setting `disk_budget`]
    #[arg(long, value_name = "SIZE")]
    budget: Option<ByteSize>,
    /// Also delete versions that nobody else is known to have
    #[arg(long)]
    only_copies: bool,
    #[command(flatten)]
    agree: Yes,
}

#[derive(Debug, Args)]
pub(crate) struct Unpin {
    /// Version, such as `orders:3`, `orders:baseline` or `orders:+1`
    #[arg(add = ArgValueCompleter::new(complete::references))]
    reference: String,
}

pub(crate) async fn pin(context: &Context, pin: Pin) -> Result<(), ApiError> {
    let request = disk::Pin {
        reference: pin.reference,
        pinned: true,
        wait_s: pin.wait.unwrap_or(DEFAULT_WAIT).as_secs(),
        until_shared: pin.wait.is_some(),
    };
    let version = call(context, Needs::Home, &request).await?;
    context.printer.result(&version, |version| {
        let reference = &version.reference;
        match version.held {
            true => format!("{reference} stays on this machine."),
            false => format!("{reference} will stay on this machine once you pull it."),
        }
    })
}

pub(crate) async fn unpin(context: &Context, unpin: Unpin) -> Result<(), ApiError> {
    let request = disk::Pin {
        reference: unpin.reference,
        pinned: false,
        wait_s: 0,
        until_shared: false,
    };
    let version = call(context, Needs::Home, &request).await?;
    context.printer.result(&version, |version| {
        format!("{} is no longer pinned.", version.reference)
    })
}

pub(crate) async fn gc(context: &Context, gc: Gc) -> Result<(), ApiError> {
    let mut request = disk::Collect {
        budget: gc.budget.map(|ByteSize(bytes)| bytes),
        dry_run: gc.dry_run,
        consents: gc
            .only_copies
            .then_some(Consent::OnlyCopies)
            .into_iter()
            .collect(),
    };
    let mut collected = call(context, Needs::Network, &request).await?;
    if lacks_consent(&collected, &request)
        && (gc.agree.yes
            || confirm(
                &context.printer,
                &only_copies(&collected),
                "Delete them anyway?",
            )
            .await
                == Some(true))
    {
        request.consents.insert(Consent::OnlyCopies);
        collected = call(context, Needs::Network, &request).await?;
    }
    context
        .printer
        .result(&collected, |collected| words(collected, gc.dry_run))?;
    if lacks_consent(&collected, &request) {
        return Err(ApiError::unconfirmed(
            Consent::OnlyCopies,
            only_copies(&collected),
        ));
    }
    Ok(())
}

fn lacks_consent(collected: &disk::Collected, request: &disk::Collect) -> bool {
    collected.over > 0
        && !collected.only_copies.is_empty()
        && !request.dry_run
        && !request.consents.contains(&Consent::OnlyCopies)
}

fn only_copies(collected: &disk::Collected) -> String {
    let each = collected.only_copies.iter().map(|version| {
        let who = if version.elsewhere.is_empty() {
            String::new()
        } else {
            format!(
                " ({} also has it, but may delete it because this machine has it)",
                version.elsewhere.join(", ")
            )
        };
        format!("{}{who}", version.reference)
    });
    let mut text = format!(
        "this machine holds {} more than the budget, but no other machine is sure to keep these versions: {}",
        bytes(collected.over),
        each.collect::<Vec<_>>().join(", ")
    );
    if let Some(why) = &collected.bucket_unknown {
        text.push_str(&format!(
            " (podsync could not ask the bucket: {})",
            printable(why)
        ));
    }
    text
}

fn words(collected: &disk::Collected, dry_run: bool) -> String {
    let (freed, after) = (bytes(collected.freed), bytes(collected.after));
    let verb = if dry_run { "Would free" } else { "Freed" };
    let mut text = match collected.budget {
        Some(budget) => format!("{verb} {freed}: {after} of {} in use.", bytes(budget)),
        None => format!("{verb} {freed}: {after} in use, without a disk budget."),
    };
    if collected.pinned > 0 && collected.over > 0 {
        let pinned = count(collected.pinned, "version");
        text.push_str(&format!(" Pinned: {pinned}."));
    }
    if !collected.evicted.is_empty() {
        let row = |version: &disk::Evicted| {
            [
                version.reference.clone(),
                bytes(version.bytes),
                ago(version.last_used_ms),
                version.elsewhere.join(", "),
            ]
        };
        text.push('\n');
        text.push_str(&table(
            [
                Whole("VERSION"),
                Whole("FREES"),
                Whole("LAST USED"),
                Text("ALSO AT"),
            ],
            collected.evicted.iter().map(row),
        ));
    }
    text
}

/// Nothing was left out, and nothing that had to go is still here.
#[cfg(test)]
mod tests {
    use podsync_api::ErrorCode;

    use super::*;

    fn kept(reference: &str, elsewhere: &[&str]) -> disk::Evicted {
        disk::Evicted {
            reference: reference.to_owned(),
            bytes: 1000,
            last_used_ms: 0,
            elsewhere: elsewhere.iter().map(|who| (*who).to_owned()).collect(),
        }
    }

    #[test]
    fn only_copies_are_named_and_asked_about() {
        let collected = disk::Collected {
            only_copies: vec![kept("orders:1", &[]), kept("orders:2", &["bob/laptop"])],
            over: 2000,
            ..disk::Collected::default()
        };
        let mut request = disk::Collect::default();
        assert!(lacks_consent(&collected, &request));
        let text = only_copies(&collected);
        assert!(
            text.contains("orders:1, orders:2 (bob/laptop also has it"),
            "{text}"
        );
        request.consents.insert(Consent::OnlyCopies);
        assert!(!lacks_consent(&collected, &request));
        let error = ApiError::unconfirmed(Consent::OnlyCopies, text);
        assert_eq!(error.code, ErrorCode::Unconfirmed);
        assert!(
            error
                .hint
                .is_some_and(|hint| hint.contains("--only-copies"))
        );
    }
}
