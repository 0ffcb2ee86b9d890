//! Computes what a load would change in an instance. Changes nothing.

use std::sync::Arc;

use podsync_api::{
    ApiError, ErrorCode,
    contents::{Changes, Forecast, ForecastLoad},
    pods::Sources,
};
use podsync_core::TeamId;
use podsync_instance::{Contents, Instance, Merge, ParseMergeError, forecast};

use crate::{
    call::{Context, Handle},
    emulator::connect,
    error::Failure,
    node::handle::Node,
    service::{
        choose::team_of,
        contents::{Inspect, of_resources},
        find::Patience,
        holdings::pack_ids,
        load::{
            fitting::{self, Part},
            post::{self, StateLoad},
            signers::Signers,
        },
        pull::{Pull, Wanted},
    },
};

/// Computes what loads would change.
pub(crate) struct Forecaster {
    /// Whether this is a robot's runner. It has no record of signers: the person who gave it the token trusts the
    /// team.
    pub(crate) robot: bool,
    pub(crate) signers: Signers,
    pub(crate) node: Node,
    pub(crate) pull: Arc<Pull>,
    pub(crate) inspect: Inspect,
}

impl Handle<ForecastLoad> for Forecaster {
    async fn handle(
        self: Arc<Self>,
        call: ForecastLoad,
        context: Arc<Context>,
    ) -> Result<Forecast, Failure> {
        let team = team_of(&self.node, &context).await?;
        let merge: Merge = call.merge.parse().map_err(|error: ParseMergeError| {
            ApiError::new(ErrorCode::Invalid, error.to_string())
        })?;
        let (held, pulled, _pins) = self
            .pull
            .pull_to_read(
                team,
                Wanted::new(
                    &call.reference,
                    Patience::new(call.wait_s, call.until_shared),
                    Sources::Any,
                ),
                &context,
            )
            .await?;
        let manifest = Arc::new(held.manifest().map_err(Failure::damaged)?);
        fitting::loadable(&manifest, &pulled.reference)?;
        let instance = connect(&call.endpoint, call.token.as_ref()).await?;
        let part = fitting::part(&manifest, &call.services, merge)?;
        let environment = fitting::fits(&manifest, &part, &instance).await?;
        let mut plan = None;
        // The instance unpickles the state to make a plan, as for a load.
        if instance.is_loopback() && self.trusts(team, &pulled.reference).await? {
            let load = StateLoad {
                reference: &pulled.reference,
                manifest: (*manifest).clone(),
                part: part.clone(),
                merge,
                meant: None,
            };
            let named = pack_ids(&manifest);
            let asked = post::ask(&self.inspect.blobs, &instance, load, &context).await;
            plan = self.inspect.holdings.doubting(team, named, asked).await?;
        }
        let planned = plan.is_some();
        let (changes, failed) = match plan {
            Some(plan) => (Some(of_resources(plan.changes)), plan.failed),
            None => {
                let version = self.inspect.index(team, &manifest).await?;
                let changes = compared(&instance, version, &part, merge).await?;
                (changes, Vec::new())
            }
        };
        let failed = failed
            .into_iter()
            .map(|(service, message)| (service.to_string(), message))
            .collect();
        Ok(Forecast {
            planned,
            failed,
            reference: pulled.reference,
            endpoint: call.endpoint,
            emulator: environment.emulator().to_string(),
            merge: merge.to_string(),
            services: part.services.iter().map(ToString::to_string).collect(),
            changes,
        })
    }
}

impl Forecaster {
    /// Whether a load would go ahead without asking about the version's author.
    async fn trusts(&self, team: TeamId, reference: &str) -> Result<bool, Failure> {
        match self.signers.signer(team, reference).await? {
            Some(signer) if !self.robot => self.signers.knows(team, signer).await,
            _ => Ok(true),
        }
    }
}

/// Compares the resource lists of both sides. The result is only as good as the lists.
async fn compared(
    instance: &Instance,
    version: Option<Contents>,
    part: &Part,
    merge: Merge,
) -> Result<Option<Changes>, Failure> {
    let Some(version) = version else {
        return Ok(None);
    };
    // Other resources of the instance matter only if a load would remove them.
    let services = match merge {
        Merge::Overwrite => &[][..],
        _ => &part.services,
    };
    let now = instance.contents(services).await?;
    let version = version.of(&part.services);
    Ok(now.map(|now| of_resources(forecast(merge, &now, &version))))
}
