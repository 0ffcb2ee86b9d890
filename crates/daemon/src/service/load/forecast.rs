//! What a load would change in an instance; nothing is changed.

use std::sync::Arc;

use podsync_api::{
    ApiError, ErrorCode,
    contents::{Forecast, ForecastLoad},
    pods::Sources,
};
use podsync_instance::{Merge, ParseMergeError, foresee};

use crate::{
    call::{Context, Handle},
    emulator::connect,
    error::Failure,
    node::handle::Node,
    service::{
        choose::team_of,
        contents::{Inspect, of_resources},
        find::Patience,
        load::fitting,
        pull::{Pull, Wanted},
    },
};

/// Foretells loads.
pub(crate) struct Forecaster {
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
        let (held, pulled) = self
            .pull
            .pull(
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
        let changes = match self.inspect.index(team, &manifest).await? {
            None => None,
            Some(version) => {
                // What else is in the instance matters only where a load would take it away.
                let services = match merge {
                    Merge::Overwrite => &[][..],
                    _ => &part.services,
                };
                let now = instance.contents(services).await.map_err(Failure::from)?;
                let version = version.of(&part.services);
                now.map(|now| of_resources(foresee(merge, &now, &version)))
            }
        };
        Ok(Forecast {
            reference: pulled.reference,
            endpoint: call.endpoint,
            emulator: environment.emulator().to_string(),
            merge: merge.to_string(),
            services: part.services.iter().map(ToString::to_string).collect(),
            changes,
        })
    }
}
