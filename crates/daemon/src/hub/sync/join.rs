//! A newcomer asks a hub to let it into a team.

use std::{collections::VecDeque, sync::Arc};

use podsync_api::hub::{Base64, HubErrorCode, JoinByInvite};
use podsync_bucket::HubClientError;
use podsync_core::{
    TeamId,
    engine::{HubJoin, HubJoinFailure, HubNews},
    membership::Operation,
};

use super::poll::open_all;
use crate::hub::state::Hubs;

/// How many new addresses a newcomer asks at.
const MAX_MOVES: usize = 4;

/// The answer of the first of these hubs that gives one.
pub(crate) async fn ask_to_join(
    hubs: &Hubs,
    team: TeamId,
    urls: Vec<String>,
    request: HubJoin,
) -> HubNews {
    let mut failed = HubJoinFailure::NotConnected("the ticket names no hub".to_owned());
    let mut may_know = false;
    let (mut urls, mut moves) = (VecDeque::from(urls), 0);
    while let Some(url) = urls.pop_front() {
        // The engine asks again until the join's time is over, and then tells the last reason.
        let client = match hubs.client_of_one_try(team, &url) {
            Ok(client) => client,
            Err(failure) => {
                failed = HubJoinFailure::NotConnected(failure.api().message.clone());
                continue;
            }
        };
        let answer = match &request {
            HubJoin::Witness(request) => {
                let request = Base64::from(request);
                client.join(&JoinByInvite { request }).await
            }
            HubJoin::Fetch { known } => client.fetch_operations(known.clone()).await,
        };
        match answer {
            Ok(page) => {
                let open = move || open_all::<Operation>(&page.operations);
                let opened = tokio::task::spawn_blocking(open).await.unwrap_or_default();
                return HubNews::Operations(opened.into_iter().map(Arc::new).collect());
            }
            // A ticket doesn't say whose word to take for it. What is let in by is proved wherever it comes from.
            Err(HubClientError::Moved { to, .. }) if moves < MAX_MOVES => {
                moves += 1;
                urls.push_front(to);
            }
            Err(error) => {
                failed = why(&error);
                may_know |= matches!(failed, HubJoinFailure::NotReached(_));
            }
        }
    }
    HubNews::JoinFailed(match failed {
        HubJoinFailure::NotConnected(why) if may_know => HubJoinFailure::NotReached(why),
        failed => failed,
    })
}

/// Only errors in the hub's own format count as its answer. Any other answer at its address counts as an outage.
fn why(error: &HubClientError) -> HubJoinFailure {
    let text = error.to_string();
    match error {
        HubClientError::Refused { error, .. } if error.code == HubErrorCode::InviteRefused => {
            HubJoinFailure::Refused(text)
        }
        HubClientError::Unreachable { asked: false, .. } => HubJoinFailure::NotConnected(text),
        HubClientError::Unreachable { .. }
        | HubClientError::NotTheHub { .. }
        | HubClientError::Busy { .. }
        | HubClientError::BucketRefuses { .. }
        | HubClientError::Moved { .. }
        | HubClientError::Garbled { .. } => HubJoinFailure::NotReached(text),
        HubClientError::NotListed { .. }
        | HubClientError::RoleTooLow { .. }
        | HubClientError::QuotaExceeded { .. }
        | HubClientError::Refused { .. } => HubJoinFailure::NotYet(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_that_no_connection_reached_was_not_asked() {
        let unreachable = |asked| HubClientError::Unreachable {
            hub: "127.0.0.1:1".to_owned(),
            reason: "Connection refused".to_owned(),
            asked,
        };
        let told = "the hub at 127.0.0.1:1 can't be reached: Connection refused".to_owned();
        assert_eq!(
            why(&unreachable(false)),
            HubJoinFailure::NotConnected(told.clone())
        );
        assert_eq!(why(&unreachable(true)), HubJoinFailure::NotReached(told));
        // A proxy may have handed the request on.
        let by_a_proxy = HubClientError::NotTheHub {
            hub: "hub.example".to_owned(),
            status: 504,
            retry_after: None,
        };
        assert!(matches!(
            why(&by_a_proxy),
            HubJoinFailure::NotReached(why) if why.contains("status 504")
        ));
    }
}
