//! What operators and load balancers ask: is the hub ready, how is each team's bucket, and the metrics.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use podsync_api::hub::HubErrorCode;
use tokio::time::timeout;
use tracing::Instrument;

use crate::{
    failure::Failure,
    health::{self, Asked, State as Condition, TeamHealth},
    hub::Hub,
};

/// How long a scrape waits for buckets: less than Prometheus waits for the hub.
const SCRAPE_PATIENCE: Duration = Duration::from_secs(8);

/// Ready while a bucket takes shares. A stranger must not learn which team's bucket doesn't.
pub(crate) async fn ready(State(hub): State<Arc<Hub>>) -> Result<StatusCode, Failure> {
    if health::can_serve(&team_health(&hub).await) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Failure::new(
        HubErrorCode::StorageUnavailable,
        "no team's bucket accepts shares; /health/teams and the log say why",
    ))
}

async fn team_health(hub: &Hub) -> Vec<TeamHealth> {
    let trial = hub.limits.trial;
    let teams = hub.teams.all().into_iter();
    let asked = teams.map(|team| Asked {
        team: team.id(),
        bucket: team.bucket().to_owned(),
        is_tried: {
            let team = team.clone();
            move |age| team.is_tried(age)
        },
        answers: {
            let span = team.span();
            async move { team.condition(trial).await }.instrument(span)
        },
    });
    let mut health = hub.health.of(asked.collect(), hub.limits.health).await;
    // One may have been taken out of the settings since.
    health.retain(|team| hub.teams.knows(&team.team));
    for team in &health {
        let ready = i64::from(team.state == Condition::Ready);
        let label = team.team.into();
        hub.metrics.team_ready.get_or_create(&label).set(ready);
    }
    health
}

pub(crate) async fn teams(State(hub): State<Arc<Hub>>, headers: HeaderMap) -> Response {
    if !hub.identity().guard.admits(&headers) {
        return not_shown();
    }
    Json(team_health(&hub).await).into_response()
}

pub(crate) async fn show_metrics(State(hub): State<Arc<Hub>>, headers: HeaderMap) -> Response {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    if !hub.identity().guard.admits(&headers) {
        return not_shown();
    }
    // Alerts go by what a scrape finds, so it looks as anyone who asks. What isn't known in time stays as it was.
    let _ = timeout(SCRAPE_PATIENCE, team_health(&hub)).await;
    for team in hub.teams.all() {
        team.note_usage(&hub.metrics);
        hub.metrics.begin(team.id());
    }
    ([(header::CONTENT_TYPE, TYPE)], hub.metrics.text()).into_response()
}

fn not_shown() -> Response {
    let words =
        "send `authorization: Bearer` with the token of `metrics_token` in the hub's settings\n";
    (StatusCode::FORBIDDEN, words).into_response()
}
