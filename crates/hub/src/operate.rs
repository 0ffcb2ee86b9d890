//! Operators' questions about the buckets of a settings file. The answers are lines for people.
//!
//! If a bucket doesn't answer, its line says so, and the next bucket is asked all the same.

use std::fmt::Write;

use tracing::Instrument;

use crate::{
    abilities,
    config::TeamConfig,
    spans,
    storage::{Storage, StorageError},
    stored::MEMBERSHIP,
    usage::Usage,
};

/// The lines, and how many teams' buckets have a problem.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub text: String,
    pub failed: usize,
}

impl Outcome {
    fn say(&mut self, line: &str) {
        // Writing to a string doesn't fail.
        let _ = writeln!(self.text, "{}", line.trim_end());
    }

    fn head(&mut self, team: &TeamConfig) {
        self.say(&format!("team {}, bucket {}", team.team, team.bucket));
    }
}

/// Tries what each bucket's server can do. A bucket through which a team can't share has a problem.
pub async fn check(teams: Vec<TeamConfig>) -> Outcome {
    let mut outcome = Outcome::default();
    for team in teams {
        outcome.head(&team);
        match tried(&team).instrument(span(&team)).await {
            Ok(seen) => {
                outcome.say(&abilities::table(&seen));
                outcome.failed += usize::from(!seen.suffice());
            }
            Err(error) => {
                outcome.say(&format!("the hub could not try anything: {error}"));
                outcome.failed += 1;
            }
        }
    }
    outcome
}

async fn tried(team: &TeamConfig) -> Result<std::sync::Arc<abilities::Abilities>, StorageError> {
    open(team)?.probe().await
}

/// The teams, and whether their buckets answer. A bucket that doesn't is reported, but is no failure.
pub async fn list(teams: Vec<TeamConfig>) -> Outcome {
    let mut outcome = Outcome::default();
    for team in teams {
        let server = team.endpoint.as_ref();
        let server = server.map_or_else(|| "AWS".to_owned(), ToString::to_string);
        let listed = async { open(&team)?.list(MEMBERSHIP, None).await };
        let state = match listed.instrument(span(&team)).await {
            Ok(page) if page.objects.is_empty() => "no member came yet".to_owned(),
            Ok(_) => "in use".to_owned(),
            Err(error) => error.to_string(),
        };
        outcome.say(&format!(
            "{}  {} at {server}  {state}",
            team.team, team.bucket
        ));
    }
    outcome
}

/// How many bytes each team stores.
pub async fn usage(teams: Vec<TeamConfig>) -> Outcome {
    let mut outcome = Outcome::default();
    for team in teams {
        outcome.head(&team);
        let counted = async { Usage::of(open(&team)?.as_ref()).await };
        match counted.instrument(span(&team)).await {
            Ok(usage) => outcome.say(&usage.table(team.quota_bytes)),
            Err(error) => {
                outcome.say(&format!("the hub knows nothing of it: {error}"));
                outcome.failed += 1;
            }
        }
    }
    outcome
}

fn span(team: &TeamConfig) -> tracing::Span {
    spans::of_team(&team.team, &team.bucket)
}

fn open(team: &TeamConfig) -> Result<std::sync::Arc<dyn Storage>, StorageError> {
    let opened = team.open();
    opened
        .map(|settings| settings.bucket)
        .map_err(|why| StorageError::Refused(why.into()))
}
