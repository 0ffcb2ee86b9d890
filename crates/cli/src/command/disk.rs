//! `podsync pin`, `unpin` and `gc`: what stays on this machine.

use clap::Args;
use podsync_api::{ApiError, Consent, disk};
use podsync_daemon::ByteSize;

use crate::{
    arguments::Wait,
    call::call,
    context::{Context, Needs},
    output::{ago, ask::confirm, bytes, printable, table},
};

#[derive(Debug, Args)]
pub(crate) struct Pin {
    /// `orders:3`, `orders:baseline`, `orders:+1`
    reference: String,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Hold at most so much, such as 5GB [default: the setting `disk_budget`]
    #[arg(long, value_name = "SIZE")]
    budget: Option<ByteSize>,
    /// Give up also what nobody else is known to have
    #[arg(long)]
    only_copies: bool,
}

pub(crate) async fn pin(context: &Context, pin: Pin, pinned: bool) -> Result<(), ApiError> {
    let request = disk::Pin {
        reference: pin.reference,
        pinned,
        wait_s: if pinned { pin.wait.wait.as_secs() } else { 0 },
    };
    let version = call(context, Needs::Home, &request).await?;
    context.printer.result(&version, |version| {
        let reference = &version.reference;
        match (pinned, version.held) {
            (true, true) => format!("{reference} stays on this machine"),
            (true, false) => format!("{reference} stays on this machine once it is pulled"),
            (false, _) => format!("{reference} is pinned no more"),
        }
    });
    Ok(())
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
        && confirm(
            &context.printer,
            &only_copies(&collected),
            "Give them up all the same?",
        ) == Some(true)
    {
        request.consents.insert(Consent::OnlyCopies);
        collected = call(context, Needs::Network, &request).await?;
    }
    context
        .printer
        .result(&collected, |collected| words(collected, gc.dry_run));
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
                " ({} has it too, and counts on this machine)",
                version.elsewhere.join(", ")
            )
        };
        format!("{}{who}", version.reference)
    });
    let mut text = format!(
        "{} more than the budget is held, and the rest is kept by no other machine for sure: {}",
        bytes(collected.over),
        each.collect::<Vec<_>>().join(", ")
    );
    if let Some(why) = &collected.bucket_unknown {
        text.push_str(&format!(
            " (the bucket could not be asked: {})",
            printable(why)
        ));
    }
    text
}

fn words(collected: &disk::Collected, dry_run: bool) -> String {
    let (freed, would) = (
        bytes(collected.freed),
        if dry_run { "would be " } else { "" },
    );
    let mut text = match collected.budget {
        Some(budget) => format!(
            "{freed} {would}freed; {} held, of {} that may be",
            bytes(collected.after),
            bytes(budget)
        ),
        None => format!(
            "{freed} {would}freed; {} held, and there is no disk budget",
            bytes(collected.after)
        ),
    };
    if collected.pinned > 0 && collected.over > 0 {
        text.push_str(&format!("; {} pinned", collected.pinned));
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
            ["GONE", "FREES", "LAST USED", "ELSEWHERE"],
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
            text.contains("orders:1, orders:2 (bob/laptop has it too"),
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
