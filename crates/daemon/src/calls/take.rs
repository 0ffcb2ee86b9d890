//! Where a state comes from: a folder or a file, or an emulator that still sends it while it is packed.

use std::{
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
};

use podsync_api::{ApiError, ErrorCode, Progress, Stage, pods};
use podsync_core::manifest::Source as Origin;
use podsync_instance::{Endpoint, Instance, SavingState, Secret, Service};
use podsync_pack::Source;
use tokio::task::JoinHandle;

use crate::{daemon::Daemon, failure::Failure, server::Context};

/// Holds the token of a licensed LocalStack.
const TOKEN_VARIABLE: &str = "LOCALSTACK_AUTH_TOKEN";

/// A state to be packed, and what is known of it.
pub(super) struct Taken {
    pub(super) source: Source,
    pub(super) origin: Origin,
    pub(super) failed: Vec<(String, String)>,
    /// What has to be received for `source` to become whole.
    pub(super) saving: Option<SavingState>,
}

impl Daemon {
    /// Opens the state where it lies, or asks the emulator for it.
    pub(super) async fn take(&self, call: &pods::Save) -> Result<Taken, Failure> {
        match &call.from {
            pods::StateSource::Path(path) => {
                let path = path.clone();
                let source = tokio::task::spawn_blocking(move || Source::open(&path)).await??;
                let origin = Origin {
                    emulator: None,
                    services: Vec::new(),
                };
                Ok(Taken {
                    source,
                    origin,
                    failed: Vec::new(),
                    saving: None,
                })
            }
            pods::StateSource::Endpoint(url) => {
                let instance = connect(url).await?;
                let services = call
                    .services
                    .iter()
                    .map(|name| name.parse())
                    .collect::<Result<Vec<Service>, _>>();
                let services = services
                    .map_err(|error| crate::failure::with_hint(ErrorCode::Invalid, &error))?;
                known(&instance, &services).await?;
                self.take_from(&instance, &services).await
            }
        }
    }

    /// Asks for the state; its bytes come while it is packed.
    pub(super) async fn take_from(
        &self,
        instance: &Instance,
        services: &[Service],
    ) -> Result<Taken, Failure> {
        let saving = instance.begin_save(services, &self.home.tmp()).await?;
        let failed = saving.failed.iter().map(|failure| {
            let what = failure
                .object
                .as_ref()
                .map_or_else(String::new, |object| format!(" {object}"));
            (format!("{}{what}", failure.service), failure.reason.clone())
        });
        let failed = failed.collect();
        let origin = Origin {
            emulator: Some(saving.emulator.clone()),
            services: saving.services.iter().map(ToString::to_string).collect(),
        };
        let arrived = saving.arrived();
        let file = arrived.file().map_err(podsync_pack::SourceError::Broken)?;
        let source = Source::arriving(file, Box::new(move |len| arrived.wait_for(len)));
        Ok(Taken {
            source,
            origin,
            failed,
            saving: Some(saving),
        })
    }
}

/// Refuses a name that the instance doesn't know: it would save nothing of it, and say nothing.
async fn known(instance: &Instance, services: &[Service]) -> Result<(), Failure> {
    if services.is_empty() {
        return Ok(());
    }
    let health = instance.health().await?;
    let unknown = services
        .iter()
        .find(|service| !health.services.is_empty() && !health.services.contains_key(*service));
    match unknown {
        None => Ok(()),
        Some(service) => Err(podsync_instance::Error::UnknownService {
            endpoint: instance.endpoint().clone(),
            service: service.clone(),
        }
        .into()),
    }
}

/// Receives what is being packed, if it isn't there yet, and waits for both. Nothing counts as packed that
/// wasn't received whole.
///
/// `hush` keeps the packing's own progress back as long as the received bytes are the better account.
pub(super) async fn beside<T>(
    saving: Option<SavingState>,
    mut packing: JoinHandle<Result<T, Failure>>,
    hush: &AtomicBool,
    context: &Context,
) -> Result<T, Failure> {
    let Some(saving) = saving else {
        return packing.await?;
    };
    hush.store(true, Ordering::Relaxed);
    let receiving = saving.receive(|done, total| {
        context.report(&Progress::new(Stage::Reading, done, total));
    });
    let mut receiving = pin!(receiving);
    tokio::select! {
        biased;
        received = &mut receiving => {
            hush.store(false, Ordering::Relaxed);
            // A state that broke off ends the packing too, and its own reason is the one to tell.
            let packed = packing.await?;
            received?;
            packed
        }
        packed = &mut packing => {
            let packed = packed??;
            receiving.await?;
            Ok(packed)
        }
    }
}

/// Connects to an emulator by what the user named.
pub(crate) async fn connect(url: &str) -> Result<Instance, Failure> {
    let endpoint: Endpoint = url.parse().map_err(podsync_instance::Error::from)?;
    let token = match std::env::var(TOKEN_VARIABLE) {
        Ok(token) if !token.is_empty() => Some(Secret::new(token).map_err(|error| {
            ApiError::new(ErrorCode::Invalid, format!("{TOKEN_VARIABLE}: {error}"))
        })?),
        _ => None,
    };
    Ok(Instance::connect(endpoint, token).await?)
}

/// Where a demo or a doctor only wants to know.
pub async fn can_be_saved(url: &str) -> bool {
    match connect(url).await {
        Ok(instance) => instance.environment().await.is_ok(),
        Err(_) => false,
    }
}
