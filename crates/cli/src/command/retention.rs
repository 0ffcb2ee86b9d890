//! `podsync retention`: which versions the team keeps.

use std::time::Duration;

use clap::{Args, Subcommand};
use podsync_api::{
    ApiError, ErrorCode,
    retention::{self, Due, Rule},
};
use podsync_core::{PodName, retention::DEFAULT_GRACE};

use crate::{
    call::call,
    context::{Context, Needs},
    output::{ago, table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Retention {
    /// Say what is kept of a pod, or of all pods that have no rule of their own; for admins
    Set(Box<Set>),
    /// The rules, and what may go by them
    Show,
    /// Drop now what may go; a running daemon does so every hour
    Apply(Apply),
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The pod [default: all pods without a rule of their own]
    pod: Option<PodName>,
    /// Keep the newest so many versions
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Keep the newest version of each of the newest so many days that have any
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// Keep versions with a tag; they are unless --drop-tagged is said
    #[arg(long, conflicts_with = "drop_tagged")]
    keep_tagged: bool,
    /// Let go of versions with a tag like any other
    #[arg(long)]
    drop_tagged: bool,
    /// Keep every version that is younger than this [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    grace: Option<Duration>,
    /// Keep everything
    #[arg(long, conflicts_with_all = ["keep_last", "keep_daily", "keep_tagged", "drop_tagged", "grace", "unset"])]
    keep_all: bool,
    /// Take the rule away
    #[arg(long, conflicts_with_all = ["keep_last", "keep_daily", "keep_tagged", "drop_tagged", "grace"])]
    unset: bool,
    /// Only say what the rule would let go of
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(context: &Context, command: Retention) -> Result<(), ApiError> {
    match command {
        Retention::Set(set) => {
            let request = retention::SetRetention {
                pod: set.pod.clone(),
                rule: set.rule()?,
                dry_run: set.dry_run,
            };
            let retention = call(context, Needs::Network, &request).await?;
            context.printer.result(&retention, words);
        }
        Retention::Show => {
            let retention = call(context, Needs::Home, &retention::GetRetention {}).await?;
            context.printer.result(&retention, words);
        }
        Retention::Apply(apply) => {
            let request = retention::ApplyRetention {
                dry_run: apply.dry_run,
            };
            let applied = call(context, Needs::Network, &request).await?;
            context.printer.result(&applied, |applied| {
                let verb = if apply.dry_run {
                    "would drop"
                } else {
                    "dropped"
                };
                let mut text = format!("{verb} {} versions", applied.dropped.len());
                if !applied.dropped.is_empty() {
                    text = format!("{text}\n{}", due(&applied.dropped));
                }
                if !applied.left.is_empty() {
                    text.push_str(&format!(
                        "\n{} more may go, and are for their authors or an admin to drop",
                        applied.left.len()
                    ));
                }
                text
            });
        }
    }
    Ok(())
}

impl Set {
    fn rule(&self) -> Result<Rule, ApiError> {
        if self.keep_all {
            return Ok(Rule::KeepAll);
        }
        if self.unset {
            return Ok(Rule::Unset);
        }
        if self.keep_last.is_none() && self.keep_daily.is_none() {
            return Err(
                ApiError::new(ErrorCode::Invalid, "how many versions are to be kept?")
                    .hint("say --keep-last N, --keep-daily N or both; or --keep-all, or --unset"),
            );
        }
        Ok(Rule::Policy {
            last: self.keep_last,
            daily: self.keep_daily,
            tagged: !self.drop_tagged,
            grace_s: self.grace.unwrap_or(DEFAULT_GRACE).as_secs(),
        })
    }
}

fn words(retention: &retention::Retention) -> String {
    let mut text = if retention.rules.is_empty() {
        "the team has no rule: every version is kept until somebody drops it".to_owned()
    } else {
        let row = |said: &retention::Said| {
            [
                said.pod
                    .clone()
                    .unwrap_or_else(|| "(all others)".to_owned()),
                said.policy.clone(),
                said.unreadable.clone().unwrap_or_default(),
            ]
        };
        table(
            ["POD", "KEEPS", "NOT UNDERSTOOD"],
            retention.rules.iter().map(row),
        )
    };
    if !retention.due.is_empty() {
        text = format!("{text}\n\n{}", due(&retention.due));
    }
    text
}

fn due(due: &[Due]) -> String {
    let row = |due: &Due| {
        [
            due.reference.clone(),
            due.author.clone(),
            ago(due.created_ms),
            due.version.short(),
        ]
    };
    table(["MAY GO", "BY", "WHEN", "ID"], due.iter().map(row))
}
