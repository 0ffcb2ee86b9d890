//! Retention: the team's rules, which are signed settings, and their execution by the daemon.
//!
//! `core` decides which versions may go. A daemon drops those of its own member, or of everybody if that member is
//! an admin. Two daemons that drop the same version at once do no harm.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use podsync_api::{ApiError, Consent, ErrorCode, retention};
use podsync_core::{
    PodName, TeamId,
    catalog::{Catalog, VersionRecord},
    engine::{Command, Engine, EngineError},
    membership::{Role, Roster},
    retention::{self as core_retention, Policy},
};

use crate::{
    call::{Context, Handle},
    clock::now_ms,
    error::{self, Failure},
    locks::PodLocks,
    node::handle::Node,
    service::{choose::team_of, holdings::Holdings},
    tasks::Tasks,
};

/// How often a daemon looks for versions to drop.
const EVERY: Duration = Duration::from_secs(3600);
/// How long after its start the first round is: by then it has news of the last night.
const FIRST_AFTER: Duration = Duration::from_secs(120);
/// The most random delay of a round, so that several daemons learn of each other's drops.
const SPREAD: Duration = Duration::from_secs(300);
/// Most versions dropped in one round. The next round goes on.
const MAX_DROPS: usize = 256;
/// Most versions that a consent question names.
const MAX_NAMED: usize = 5;

/// Carries out the teams' retention rules.
pub(crate) struct Retention {
    pub(crate) node: Node,
    pub(crate) locks: Arc<PodLocks>,
    pub(crate) holdings: Holdings,
    pub(crate) tasks: Tasks,
}

impl Handle<retention::SetRetention> for Retention {
    async fn handle(
        self: Arc<Self>,
        call: retention::SetRetention,
        context: Arc<Context>,
    ) -> Result<retention::Retention, Failure> {
        let team = team_of(&self.node, &context).await?;
        let value = setting(&call.rule)?;
        if call.dry_run {
            let pod = call.pod.clone();
            return self
                .node
                .read(move |engine| preview(engine, team, pod.as_ref(), value.as_deref()))
                .await
                .map_err(Failure::from);
        }
        self.check_lets_go_of_nothing(team, &call, value.clone())
            .await?;
        let name = name_of(call.pod.as_ref());
        self.node
            .command(Command::SetSetting {
                team,
                name: name.clone(),
                value: value.clone(),
            })
            .await??;
        let (now, stands) = self
            .node
            .read(move |engine| {
                let stands = engine
                    .roster(&team)
                    .and_then(|roster| roster.setting(&name));
                (current(engine, team), stands == value.as_deref())
            })
            .await
            .map_err(Failure::from)?;
        if !stands {
            return Err(ApiError::new(
                ErrorCode::Invalid,
                "the team has as many settings as it may have, and this one was left out",
            )
            .hint("remove a pod's own rule with `podsync retention set POD --unset`")
            .into());
        }
        Ok(now)
    }
}

impl Handle<retention::GetRetention> for Retention {
    async fn handle(
        self: Arc<Self>,
        _: retention::GetRetention,
        context: Arc<Context>,
    ) -> Result<retention::Retention, Failure> {
        let team = team_of(&self.node, &context).await?;
        self.node
            .read(move |engine| current(engine, team))
            .await
            .map_err(Failure::from)
    }
}

impl Handle<retention::ApplyRetention> for Retention {
    async fn handle(
        self: Arc<Self>,
        call: retention::ApplyRetention,
        context: Arc<Context>,
    ) -> Result<retention::Applied, Failure> {
        let team = team_of(&self.node, &context).await?;
        self.retain(team, call.dry_run).await
    }
}

impl Retention {
    /// Asks for consent if the new rule lets versions go that stay without it, or lets them go sooner: at once, or once
    /// its grace is over.
    async fn check_lets_go_of_nothing(
        &self,
        team: TeamId,
        call: &retention::SetRetention,
        value: Option<String>,
    ) -> Result<(), Failure> {
        if call.consents.contains(&Consent::LetGo) {
            return Ok(());
        }
        let pod = call.pod.clone();
        let news = self.node.read(move |engine| {
            let (roster, catalog) = (engine.roster(&team)?, engine.catalog(&team)?);
            let now = now_ms();
            let today = |pod: &PodName| core_retention::policy_of(roster, pod).ok().flatten();
            let then = |of: &PodName| policy_then(roster, of, pod.as_ref(), value.as_deref());
            let before: BTreeMap<_, _> = releases(catalog, today)
                .into_iter()
                .map(|(record, from_ms)| (record.version(), from_ms.max(now)))
                .collect();
            let mut news = Vec::new();
            for (record, from_ms) in releases(catalog, then) {
                let from_ms = from_ms.max(now);
                let before = before.get(&record.version());
                if before.is_none_or(|before| from_ms < *before) {
                    news.push((from_ms - now, catalog.exact_reference(record)));
                }
            }
            news.sort_by_key(|(wait_ms, _)| *wait_ms);
            Some(news)
        });
        match question(&news.await?.unwrap_or_default()) {
            None => Ok(()),
            Some(question) => Err(ApiError::unconfirmed(Consent::LetGo, question).into()),
        }
    }

    /// Drops every hour what the rules let go, until the daemon stops. Only a long-running daemon runs this.
    pub(crate) async fn keep_retention(self: Arc<Self>) {
        let spread = SPREAD.mul_f64(rand::random::<f64>());
        let mut rounds =
            tokio::time::interval_at(tokio::time::Instant::now() + FIRST_AFTER + spread, EVERY);
        loop {
            tokio::select! {
                () = self.tasks.stopping().cancelled() => return,
                _ = rounds.tick() => {}
            }
            let Ok(teams) = self
                .node
                .read(|engine| engine.teams().collect::<Vec<_>>())
                .await
            else {
                return;
            };
            for team in teams {
                match self.retain(team, false).await {
                    Ok(applied) if applied.dropped.is_empty() => {}
                    Ok(applied) => tracing::info!(
                        team = %team.short(),
                        versions = applied.dropped.len(),
                        "dropped versions that the team's retention lets go of"
                    ),
                    Err(error) => {
                        tracing::warn!(team = %team.short(), ?error, "podsync could not carry out retention")
                    }
                }
            }
        }
    }

    /// Drops the versions that may go and that this device may drop.
    async fn retain(&self, team: TeamId, dry_run: bool) -> Result<retention::Applied, Failure> {
        let due = self
            .node
            .read(move |engine| current(engine, team).due)
            .await?;
        let (ours, left): (Vec<_>, Vec<_>) = due.into_iter().partition(|due| due.ours);
        if dry_run {
            return Ok(retention::Applied {
                dropped: ours,
                left,
            });
        }
        let mut dropped = Vec::new();
        for due in ours.into_iter().take(MAX_DROPS) {
            if self.drop_if_due(team, &due).await? {
                dropped.push(due);
            }
        }
        if !dropped.is_empty() {
            self.holdings.collect_now().await?;
        }
        Ok(retention::Applied { dropped, left })
    }

    /// Drops a version, unless another device has dropped it or somebody has tagged it meanwhile.
    async fn drop_if_due(&self, team: TeamId, due: &retention::Due) -> Result<bool, Failure> {
        let version = due.version;
        let still = self.node.read(move |engine| {
            let (roster, catalog) = (engine.roster(&team)?, engine.catalog(&team)?);
            core_retention::due(roster, catalog, now_ms())
                .into_iter()
                .find(|record| record.version() == version)
                .map(|record| record.publication.pod.clone())
        });
        let Some(pod) = still.await? else {
            return Ok(false);
        };
        let _turn = self.locks.lock(team, &pod).await;
        let drop = Command::Drop { team, pod, version };
        match self.node.command(drop).await? {
            Ok(_) => {}
            Err(EngineError::UnknownVersion { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        self.holdings.forget(team, version).await?;
        Ok(true)
    }
}

/// The setting's value for a rule. `None` removes the setting.
fn setting(rule: &retention::Rule) -> Result<Option<String>, ApiError> {
    match rule {
        retention::Rule::Policy {
            last,
            daily,
            tagged,
            grace_s,
        } => Policy::new(*last, *daily, *tagged, Duration::from_secs(*grace_s))
            .map(|policy| Some(policy.to_string()))
            .map_err(|error| error::api_error(ErrorCode::Invalid, &error, error.hint())),
        retention::Rule::KeepAll => Ok(Some(core_retention::KEEP_ALL.to_owned())),
        retention::Rule::Unset => Ok(None),
    }
}

/// The team's rules, and the versions that they let go now.
fn current(engine: &Engine, team: TeamId) -> retention::Retention {
    let (Some(roster), Some(catalog)) = (engine.roster(&team), engine.catalog(&team)) else {
        return retention::Retention {
            rules: Vec::new(),
            due: Vec::new(),
        };
    };
    let records = core_retention::due(roster, catalog, now_ms());
    retention::Retention {
        rules: rules_of(roster.settings()),
        due: records
            .into_iter()
            .map(|record| due(engine, team, record))
            .collect(),
    }
}

/// The setting that holds a pod's rule, or the team's.
fn name_of(pod: Option<&PodName>) -> String {
    pod.map_or_else(
        || core_retention::SETTING.to_owned(),
        core_retention::setting_of,
    )
}

/// The rules among the team's settings.
fn rules_of(settings: &BTreeMap<String, String>) -> Vec<retention::Said> {
    let rules = settings.iter().filter_map(|(name, value)| {
        let rest = name.strip_prefix(core_retention::SETTING)?;
        let pod = match rest.strip_prefix('.') {
            Some(pod) => Some(pod.to_owned()),
            None if rest.is_empty() => None,
            None => return None,
        };
        let unreadable = match value.as_str() {
            core_retention::KEEP_ALL => None,
            text => text.parse::<Policy>().err().map(|error| error.to_string()),
        };
        Some(retention::Said {
            pod,
            policy: value.clone(),
            unreadable,
        })
    });
    rules.collect()
}

/// The rules if `value` were the setting of `pod`, or of the team.
fn rules_then(
    settings: &BTreeMap<String, String>,
    pod: Option<&PodName>,
    value: Option<&str>,
) -> Vec<retention::Said> {
    let mut settings = settings.clone();
    match value {
        Some(value) => settings.insert(name_of(pod), value.to_owned()),
        None => settings.remove(&name_of(pod)),
    };
    rules_of(&settings)
}

fn due(engine: &Engine, team: TeamId, record: &VersionRecord) -> retention::Due {
    let me = engine.device();
    let ours = engine.roster(&team).is_some_and(|roster| {
        let mine = |member: &podsync_core::membership::MemberRecord| member.member == record.author;
        roster.may_publish(&me)
            && (roster.role(&me) == Some(Role::Admin) || roster.member(&me).is_some_and(mine))
    });
    retention::Due {
        reference: engine
            .catalog(&team)
            .map(|catalog| catalog.exact_reference(record))
            .unwrap_or_default(),
        version: record.version(),
        author: record.author.to_string(),
        created_ms: record.publication.created_ms,
        ours,
    }
}

/// The team's rules, and the versions that they would let go now, if a rule were set.
fn preview(
    engine: &Engine,
    team: TeamId,
    pod: Option<&PodName>,
    value: Option<&str>,
) -> retention::Retention {
    let mut then = current(engine, team);
    let (Some(roster), Some(catalog)) = (engine.roster(&team), engine.catalog(&team)) else {
        return then;
    };
    then.rules = rules_then(roster.settings(), pod, value);
    then.due = catalog
        .pods()
        .into_iter()
        .filter_map(|of| Some((of, policy_then(roster, of, pod, value)?)))
        .flat_map(|(pod, policy)| policy.lets_go(catalog, pod, now_ms()))
        .map(|record| due(engine, team, record))
        .collect();
    then
}

/// The policy of a pod if `value` were the setting of `pod`, or of the team.
fn policy_then(
    roster: &Roster,
    of: &PodName,
    pod: Option<&PodName>,
    value: Option<&str>,
) -> Option<Policy> {
    let own = core_retention::setting_of(of);
    let said = match pod {
        Some(pod) if pod == of => value.or_else(|| roster.setting(core_retention::SETTING)),
        Some(_) => roster
            .setting(&own)
            .or_else(|| roster.setting(core_retention::SETTING)),
        None => roster.setting(&own).or(value),
    };
    said.and_then(|text| text.parse().ok())
}

/// What these policies release sooner or later, each with the end of its grace in Unix milliseconds.
fn releases(
    catalog: &Catalog,
    policy: impl Fn(&PodName) -> Option<Policy>,
) -> Vec<(&VersionRecord, u64)> {
    let ruled = catalog.pods().into_iter();
    let ruled = ruled.filter_map(|pod| Some((pod, policy(pod)?)));
    ruled
        .flat_map(|(pod, policy)| policy.releases(catalog, pod))
        .collect()
}

/// What daemons would drop, and when. `news` are milliseconds to wait and references, the first to go first.
fn question(news: &[(u64, String)]) -> Option<String> {
    let ((first, _), (last, _)) = (news.first()?, news.last()?);
    let (first, last) = (in_time(*first), in_time(*last));
    let when = match first == last {
        true => format!(" {first}"),
        false => format!(", the first {first}, the last {last}"),
    };
    let named = news.iter().take(MAX_NAMED);
    let named: Vec<_> = named.map(|(_, reference)| reference.as_str()).collect();
    let more = match news.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "daemons would drop {} version{} by this rule{when}: {}{more}",
        news.len(),
        if news.len() == 1 { "" } else { "s" },
        named.join(", ")
    ))
}

/// Daemons look every hour.
fn in_time(wait_ms: u64) -> String {
    const HOUR_MS: u64 = 60 * 60 * 1000;
    match wait_ms.div_ceil(HOUR_MS) {
        0 => "within the hour".to_owned(),
        1 => "in an hour".to_owned(),
        hours @ 2..48 => format!("in {hours} hours"),
        hours => format!("in {} days", hours.div_ceil(24)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_shown_as_it_would_be_set() {
        let settings = |list: &[(&str, &str)]| {
            let list = list.iter();
            list.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let shown = |rules: Vec<retention::Said>| {
            let rules = rules.into_iter();
            rules
                .map(|rule| format!("{:?} {}", rule.pod, rule.policy))
                .collect::<Vec<_>>()
        };
        let orders: PodName = "orders".parse().unwrap();
        let today = settings(&[("hub.url", "https://hub"), ("retention", "last=3")]);
        let then = |pod, value| shown(rules_then(&today, pod, value));
        assert_eq!(then(None, Some("last=2")), ["None last=2"]);
        assert_eq!(
            then(Some(&orders), Some("daily=7")),
            ["None last=3", "Some(\"orders\") daily=7"]
        );
        assert_eq!(then(Some(&orders), None), ["None last=3"]);
        assert!(then(None, None).is_empty());
    }

    #[test]
    fn a_question_says_what_goes_and_when() {
        let hours = |n: u64| n * 60 * 60 * 1000;
        let news = |waits: &[u64]| {
            let news = waits.iter().enumerate();
            let news = news.map(|(n, wait)| (*wait, format!("orders:{n}")));
            question(&news.collect::<Vec<_>>())
        };
        assert_eq!(news(&[]), None);
        assert_eq!(
            news(&[0]).unwrap(),
            "daemons would drop 1 version by this rule within the hour: orders:0"
        );
        assert_eq!(
            news(&[0, hours(24) - 1]).unwrap(),
            "daemons would drop 2 versions by this rule, the first within the hour, the last in 24 hours: \
             orders:0, orders:1"
        );
        let later = news(&[hours(72); 7]).unwrap();
        assert!(later.contains("by this rule in 3 days: "), "{later}");
        assert!(later.ends_with("orders:4 and 2 more"), "{later}");
    }
}
