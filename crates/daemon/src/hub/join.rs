//! A newcomer asks a hub to let it into a team.

use std::sync::Arc;

use podsync_api::hub::{Base64, HubErrorCode, JoinByInvite};
use podsync_bucket::HubClientError;
use podsync_core::{
    TeamId,
    engine::{HubJoin, HubNews},
    membership::Operation,
};

use super::{Hubs, hear::open_all};

/// The answer of the first of these hubs that gives one.
pub(crate) async fn ask_to_join(
    hubs: &Hubs,
    team: TeamId,
    urls: Vec<String>,
    request: HubJoin,
) -> HubNews {
    let mut failed = HubNews::JoinFailed {
        why: "the ticket names no hub".to_owned(),
        is_final: true,
    };
    for url in urls {
        let client = match hubs.client(team, &url) {
            Ok(client) => client,
            Err(failure) => {
                failed = HubNews::JoinFailed {
                    why: failure.told().message.clone(),
                    is_final: true,
                };
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
            Err(error) => {
                failed = HubNews::JoinFailed {
                    is_final: is_final(&error),
                    why: error.to_string(),
                };
            }
        }
    }
    failed
}

/// Whether asking again wouldn't help.
fn is_final(error: &HubClientError) -> bool {
    error
        .refusal()
        .is_some_and(|refusal| refusal.code == HubErrorCode::InviteRefused)
}
