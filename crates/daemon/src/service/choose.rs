//! Finds the team that a call is about.

use podsync_api::{ApiError, ErrorCode};
use podsync_core::{TeamId, TeamName};

use crate::{call::Context, error::Failure, node::handle::Node};

/// The team that a path names, or the home's only team.
pub(crate) async fn team_of(node: &Node, context: &Context) -> Result<TeamId, Failure> {
    let teams = node.read(|engine| {
        let known = |id: TeamId| {
            let roster = engine.roster(&id)?;
            Some(Known {
                id,
                name: roster.name().clone(),
                is_member: roster.is_member(&engine.device()),
            })
        };
        engine.teams().filter_map(known).collect::<Vec<_>>()
    });
    choose(teams.await?, &context.team).map_err(Failure::from)
}

/// A team that this home knows.
struct Known {
    id: TeamId,
    name: TeamName,
    /// False after this device left or was removed.
    is_member: bool,
}

fn choose(mut teams: Vec<Known>, wanted: &str) -> Result<TeamId, ApiError> {
    if wanted != podsync_api::TeamChoice::ONLY {
        teams
            .retain(|team| team.name.as_str() == wanted || team.id.to_string().starts_with(wanted));
    }
    if teams.iter().any(|team| team.is_member) {
        // A team that this device has left is meant only if no current team has the name.
        teams.retain(|team| team.is_member);
    }
    match &teams[..] {
        [team] => Ok(team.id),
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
                .map(|team| format!("{} ({})", team.name, team.id.short()))
                .collect();
            Err(ApiError::new(
                ErrorCode::Ambiguous,
                format!("which team: {}?", names.join(", ")),
            )
            .hint("say which with --team NAME, or the beginning of its id"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: u8, name: &str, is_member: bool) -> Known {
        Known {
            id: TeamId::from_bytes([id; 32]),
            name: name.parse().unwrap(),
            is_member,
        }
    }

    #[test]
    fn a_team_that_was_left_is_no_candidate() {
        let teams = || vec![known(1, "foo", false), known(2, "bar", true)];
        let only = podsync_api::TeamChoice::ONLY;
        assert_eq!(choose(teams(), only).unwrap(), TeamId::from_bytes([2; 32]));
        let left = choose(teams(), "foo").unwrap();
        assert_eq!(left, TeamId::from_bytes([1; 32]));
        // The only team is chosen though this device has left it. The call then says so.
        choose(vec![known(1, "foo", false)], only).unwrap();
        let mut two = teams();
        two.push(known(3, "new", true));
        let error = choose(two, only).unwrap_err();
        assert_eq!(error.code, ErrorCode::Ambiguous);
        assert!(!error.message.contains("foo"), "{error}");
    }
}
