//! `podsync retention`: which versions the team keeps.

use std::{collections::BTreeSet, time::Duration};

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;
use podsync_api::{
    ApiError, ErrorCode, pods,
    retention::{self, Due, Rule},
};
use podsync_core::{
    PodName,
    retention::{DEFAULT_GRACE, KEEP_ALL, MAX_KEPT, Policy},
};

use crate::{
    arguments::Yes,
    call::{call, call_agreed},
    complete,
    context::{Context, Needs},
    output::{
        Column::{Name, Text, Whole},
        ago, count, duration, table,
    },
};

#[derive(Debug, Subcommand)]
pub(crate) enum Retention {
    /// Set the rule for a pod, or for all pods without their own rule (admins only)
    Set(Box<Set>),
    /// Show the rules, and the versions that they let go
    Show,
    /// Drop those versions now. A running daemon does this every hour
    Apply(Apply),
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Pod [default: all pods without their own rule]
    #[arg(add = ArgValueCandidates::new(complete::pods))]
    pod: Option<PodName>,
    /// Keep the newest N versions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_KEPT)))]
    keep_last: Option<u32>,
    /// Keep one version a day, the newest, for the last N days with versions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_KEPT)))]
    keep_daily: Option<u32>,
    /// Keep all versions with a tag (default)
    #[arg(long, conflicts_with = "drop_tagged")]
    keep_tagged: bool,
    /// Treat versions with a tag like any other version
    #[arg(long)]
    drop_tagged: bool,
    /// Keep all versions younger than this [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = crate::time::length)]
    grace: Option<Duration>,
    /// Keep all versions
    #[arg(long, conflicts_with_all = ["keep_last", "keep_daily", "keep_tagged", "drop_tagged", "grace", "unset"])]
    keep_all: bool,
    /// Remove the rule
    #[arg(long, conflicts_with_all = ["keep_last", "keep_daily", "keep_tagged", "drop_tagged", "grace"])]
    unset: bool,
    /// Show the rules as they would be, and which versions they would let go now; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    agree: Yes,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// Show which versions would go; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn run(context: &Context, command: Retention) -> Result<(), ApiError> {
    match command {
        Retention::Set(set) => {
            let request = retention::SetRetention {
                pod: set.pod.clone(),
                rule: set.rule()?,
                dry_run: set.dry_run,
                consents: BTreeSet::new(),
            };
            let retention = call_agreed(context, Needs::Network, request, set.agree.yes).await?;
            if let Some(pod) = &set.pod {
                warn_of_slip(context, pod).await?;
            }
            match set.dry_run {
                true => context.printer.result(&retention, foreseen),
                false => context.printer.result(&retention, words),
            }
        }
        Retention::Show => {
            let retention = call(context, Needs::Home, &retention::GetRetention {}).await?;
            context.printer.result(&retention, words)
        }
        Retention::Apply(apply) => {
            let request = retention::ApplyRetention {
                dry_run: apply.dry_run,
            };
            let applied = call(context, Needs::Network, &request).await?;
            context.printer.result(&applied, |applied| {
                let (verb, head) = if apply.dry_run {
                    ("Would drop", "WOULD DROP")
                } else {
                    ("Dropped", "DROPPED")
                };
                let mut text = format!("{verb} {}.", count(applied.dropped.len(), "version"));
                if !applied.dropped.is_empty() {
                    text = format!("{text}\n{}", due(head, &applied.dropped));
                }
                if !applied.left.is_empty() {
                    text.push_str(&format!(
                        "\n{} more may go. Only their authors or an admin can drop them.",
                        applied.left.len()
                    ));
                }
                text
            })
        }
    }
}

/// A rule may come before its pod, but an unknown name is more often a typing error.
async fn warn_of_slip(context: &Context, pod: &PodName) -> Result<(), ApiError> {
    let pods = call(context, Needs::Home, &pods::ListPods {}).await?;
    if pods.iter().all(|known| known.name != *pod) {
        context.printer.warn(format_args!(
            "no pod is called {pod}. `podsync list` shows all pods"
        ));
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
            return Err(ApiError::new(
                ErrorCode::Invalid,
                "the rule does not say how many versions to keep",
            )
            .hint("add --keep-last N, --keep-daily N or both; or --keep-all, or --unset"));
        }
        Ok(Rule::Policy {
            last: self.keep_last,
            daily: self.keep_daily,
            tagged: !self.drop_tagged,
            grace_s: self.grace.unwrap_or(DEFAULT_GRACE).as_secs(),
        })
    }
}

/// What `--dry-run` shows: nothing of it is set.
fn foreseen(retention: &retention::Retention) -> String {
    let rules = if retention.rules.is_empty() {
        "The team would have no rule. It would keep every version until somebody drops it."
            .to_owned()
    } else {
        format!(
            "The team's rules would be:\n{}",
            rules("WOULD KEEP", &retention.rules)
        )
    };
    let goes = match retention.due.is_empty() {
        true => "No version would go now.".to_owned(),
        false => due("WOULD GO NOW", &retention.due),
    };
    format!("{rules}\n\n{goes}")
}

fn rules(keep: &str, rules: &[retention::Said]) -> String {
    let row = |said: &retention::Said| {
        [
            said.pod
                .clone()
                .unwrap_or_else(|| "(all other pods)".to_owned()),
            keeps(&said.policy),
            said.unreadable.clone().unwrap_or_default(),
        ]
    };
    let head = [Whole("POD"), Text(keep), Text("PROBLEM")];
    table(head, rules.iter().map(row))
}

fn words(retention: &retention::Retention) -> String {
    let mut text = if retention.rules.is_empty() {
        "The team has no rule. It keeps every version until somebody drops it.".to_owned()
    } else {
        rules("KEEPS", &retention.rules)
    };
    if !retention.due.is_empty() {
        text = format!("{text}\n\n{}", due("MAY GO", &retention.due));
    }
    text
}

/// What a policy keeps, for people. A policy that this podsync can't read is shown as it is.
fn keeps(policy: &str) -> String {
    if policy == KEEP_ALL {
        return "all versions".to_owned();
    }
    let Ok(read) = policy.parse::<Policy>() else {
        return policy.to_owned();
    };
    let mut kept = Vec::new();
    kept.extend(read.last.map(|last| format!("newest {last}")));
    kept.extend(read.daily.map(|daily| match daily.get() {
        1 => "one of the last day".to_owned(),
        days => format!("one a day for {days} days"),
    }));
    if read.tagged {
        kept.push("tagged".to_owned());
    }
    if !read.grace.is_zero() {
        kept.push(format!("younger than {}", duration(read.grace)));
    }
    kept.join(", ")
}

fn due(head: &str, due: &[Due]) -> String {
    let row = |due: &Due| {
        [
            due.reference.clone(),
            due.author.clone(),
            ago(due.created_ms),
            due.version.short(),
        ]
    };
    let head = [Whole(head), Name("BY"), Whole("WHEN"), Whole("ID")];
    table(head, due.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_set_is_not_told_as_set() {
        let said = |policy: &str| retention::Said {
            pod: None,
            policy: policy.to_owned(),
            unreadable: None,
        };
        let shown = |policies: &[&str]| {
            foreseen(&retention::Retention {
                rules: policies.iter().map(|policy| said(policy)).collect(),
                due: Vec::new(),
            })
        };
        let text = shown(&["last=3 grace=0"]);
        assert!(text.starts_with("The team's rules would be:\n"), "{text}");
        assert!(text.contains("WOULD KEEP"), "{text}");
        assert!(text.contains("newest 3"), "{text}");
        assert!(text.ends_with("No version would go now."), "{text}");
        assert!(shown(&[]).starts_with("The team would have no rule."));
    }

    #[test]
    fn what_a_rule_keeps_is_said_in_words() {
        for (policy, said) in [
            (
                "last=3 tagged grace=3600",
                "newest 3, tagged, younger than 60 minutes",
            ),
            ("last=3", "newest 3, younger than 24 hours"),
            ("daily=7 grace=0", "one a day for 7 days"),
            ("keep-all", "all versions"),
            ("weekly=3", "weekly=3"),
        ] {
            assert_eq!(keeps(policy), said);
        }
    }
}
