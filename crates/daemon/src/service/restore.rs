//! Restore: loads the newest autosave into an instance that was restarted.

use std::sync::Arc;

use podsync_api::{
    ApiError, ErrorCode,
    follow::{Restore, Restored},
    pods,
};
use podsync_core::{PodName, TeamId};
use podsync_instance::Endpoint;

use crate::{
    call::{Context, Handle},
    emulator::connect,
    error::Failure,
    node::handle::Node,
    persisted::Persisted,
    service::{
        autosave::list::{Autosave, Autosaves},
        choose::team_of,
        find::Finder,
        load::{Load, Over},
    },
    settings::Settings,
};

/// Restores instances from their autosaves.
pub(crate) struct Restorer {
    pub(crate) settings: Arc<Settings>,
    pub(crate) node: Node,
    pub(crate) autosaves: Persisted<Autosaves>,
    pub(crate) load: Arc<Load>,
    pub(crate) finder: Finder,
}

impl Handle<Restore> for Restorer {
    async fn handle(
        self: Arc<Self>,
        call: Restore,
        context: Arc<Context>,
    ) -> Result<Restored, Failure> {
        let nothing = Restored {
            saved_ms: None,
            version: None,
            loaded: None,
        };
        let by_itself = call.pod.is_none();
        if by_itself && !self.settings.restores_by_itself() {
            return Ok(nothing);
        }
        let team = team_of(&self.node, &context).await?;
        let pod = match call.pod.clone() {
            Some(pod) => pod,
            None => match self.by_setting(team, &call.endpoint)? {
                Some(pod) => pod,
                None => return Ok(nothing),
            },
        };
        let autosave = match self.newest(team, &pod, &call).await? {
            Some(autosave) => autosave,
            None if by_itself => return Ok(nothing),
            None => {
                let error = self.finder.did_you_mean(no_autosave(&pod), &pod).await?;
                return Err(error.into());
            }
        };
        let load = pods::Load {
            reference: format!("{pod}@{}", autosave.version),
            endpoint: call.endpoint,
            token: call.token,
            merge: call.merge,
            wait_s: 0,
            until_shared: false,
            sources: pods::Sources::Any,
            services: Vec::new(),
            consents: call.consents,
            once: call.once,
        };
        let loaded = self.load.load(team, load, Over::Anything, &context).await?;
        Ok(Restored {
            saved_ms: Some(autosave.saved_ms),
            version: Some(autosave.version),
            loaded: Some(loaded),
        })
    }
}

impl Restorer {
    /// The pod that is restored automatically into an instance. `None` if `auto_restore` names none of the pods
    /// that it is saved to.
    fn by_setting(&self, team: TeamId, endpoint: &str) -> Result<Option<PodName>, Failure> {
        let started: Endpoint = endpoint.parse().map_err(podsync_instance::Error::from)?;
        let is_of = |said: &str| said.parse::<Endpoint>().is_ok_and(|said| said == started);
        let list = self.autosaves.get()?;
        let mut named = list.pods.iter().filter(|it| {
            let is_named = self.settings.auto_restore.contains(&it.pod);
            it.team == team && is_named && is_of(&it.how.endpoint)
        });
        match (named.next(), named.next()) {
            (Some(first), Some(second)) => {
                let text = format!(
                    "`auto_restore` names {} and {}, and both are saved from {endpoint}",
                    first.pod, second.pod
                );
                Err(ApiError::new(ErrorCode::Ambiguous, text)
                    .hint("name one of them in the settings, or `podsync restore POD`")
                    .into())
            }
            (first, _) => Ok(first.map(|it| it.pod.clone())),
        }
    }

    async fn newest(
        &self,
        team: TeamId,
        pod: &PodName,
        call: &Restore,
    ) -> Result<Option<Autosave>, Failure> {
        let list = self.autosaves.get()?;
        let Some(autosaving) = list.find(team, pod) else {
            return Ok(None);
        };
        let instance = connect(&call.endpoint, call.token.as_ref()).await?;
        let run = instance.identity().await?;
        let run = run.as_ref().map(podsync_instance::Identity::as_str);
        Ok(autosaving.to_restore(run).cloned())
    }
}

fn no_autosave(pod: &PodName) -> ApiError {
    let text = format!("there is no autosave of {pod}");
    ApiError::new(ErrorCode::NotFound, text).hint(format!(
        "`podsync autosave {pod} --every 10m` makes some; `podsync versions {pod}` lists what was saved otherwise"
    ))
}
