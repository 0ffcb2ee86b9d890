//! Which team a call is about.

use podsync_api::{ApiError, ErrorCode};
use podsync_core::{TeamId, TeamName};

use crate::{call::Context, error::Failure, node::handle::Node};

/// The team that a path names: by name, or the only one there is.
pub(crate) async fn team_of(node: &Node, context: &Context) -> Result<TeamId, Failure> {
    let teams = node.read(|engine| {
        let named = |id: TeamId| Some((id, engine.membership(&id)?.state().name().clone()));
        engine.teams().filter_map(named).collect::<Vec<_>>()
    });
    choose(teams.await?, &context.team).map_err(Failure::from)
}

fn choose(mut teams: Vec<(TeamId, TeamName)>, wanted: &str) -> Result<TeamId, ApiError> {
    if wanted != podsync_api::TeamChoice::ONLY {
        teams.retain(|(id, name)| name.as_str() == wanted || id.to_string().starts_with(wanted));
    }
    match &teams[..] {
        [(id, _)] => Ok(*id),
        [] if wanted == podsync_api::TeamChoice::ONLY => Err(ApiError::new(
            ErrorCode::NotFound,
            "this home is not in a team yet",
        )
        .hint("create one with `podsync team create NAME`, or join one with `podsync team join`")),
        [] => Err(ApiError::new(
            ErrorCode::NotFound,
            format!("this home is not in a team {wanted}"),
        )
        .hint("`podsync status` lists its teams")),
        several => {
            let names: Vec<_> = several
                .iter()
                .map(|(id, name)| format!("{name} ({})", id.short()))
                .collect();
            Err(ApiError::new(
                ErrorCode::Ambiguous,
                format!("which team: {}?", names.join(", ")),
            )
            .hint("say which with --team NAME, or the beginning of its id"))
        }
    }
}
