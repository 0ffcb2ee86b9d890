//! Where a state comes from: a folder or a file, or an emulator that still sends it while it is packed.

use std::{
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
};

use podsync_api::{ApiError, ErrorCode, Progress, Stage, pods};
use podsync_core::manifest::Source as Origin;
use podsync_instance::{
    Endpoint, Instance, SaveFailure, SavingState, Secret, Sending, Service, arriving,
};
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
    pub(super) under_way: Vec<pods::UnderWay>,
    /// What has to be received for `source` to become whole.
    pub(super) coming: Option<Coming>,
}

/// A state that an emulator sends while it is packed.
pub(super) struct Coming {
    saving: SavingState,
    reader: Sending,
    instance: Instance,
    services: Vec<Service>,
}

/// How to ask for a state again, to have it whole before it is packed.
pub(super) struct Again {
    instance: Instance,
    services: Vec<Service>,
    /// What was told not to be in it.
    failed: Vec<SaveFailure>,
}

impl Coming {
    pub(super) fn again(&self) -> Again {
        Again {
            instance: self.instance.clone(),
            services: self.services.clone(),
            failed: self.saving.failed.clone(),
        }
    }
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
                    under_way: Vec::new(),
                    coming: None,
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
        let saving = instance.begin_save(services).await?;
        let failed = saving.failed.iter().map(|failure| {
            let what = failure
                .object
                .as_ref()
                .map_or_else(String::new, |object| format!(" {object}"));
            (format!("{}{what}", failure.service), failure.reason.clone())
        });
        let failed = failed.collect();
        let under_way = saving.under_way.iter().map(|work| pods::UnderWay {
            service: work.service.to_string(),
            kind: work.kind.clone(),
            count: work.count,
        });
        let under_way = under_way.collect();
        let origin = Origin {
            emulator: Some(saving.emulator.clone()),
            services: saving.services.iter().map(ToString::to_string).collect(),
        };
        let (reader, zip) = arriving();
        Ok(Taken {
            source: Source::arriving(zip, &self.home.tmp()),
            origin,
            failed,
            under_way,
            coming: Some(Coming {
                saving,
                reader,
                instance: instance.clone(),
                services: services.to_vec(),
            }),
        })
    }

    /// Asks once more, and has the state in a file before any of it is packed.
    pub(super) async fn take_whole(
        &self,
        again: Again,
        context: &Context,
    ) -> Result<Taken, Failure> {
        let told = |done, total| context.report(&Progress::new(Stage::Reading, done, total));
        let Again {
            instance,
            services,
            failed,
        } = again;
        let saved = instance.save(&services, &self.home.tmp(), told).await?;
        if saved.failed != failed {
            let text = "what can be saved of the instance changed while it was saved";
            return Err(ApiError::new(ErrorCode::Instance, text)
                .hint("save again")
                .into());
        }
        let origin = Origin {
            emulator: Some(saved.emulator),
            services: saved.services.iter().map(ToString::to_string).collect(),
        };
        let source = tokio::task::spawn_blocking(move || Source::from_instance(saved.file));
        Ok(Taken {
            source: source.await??,
            origin,
            failed: Vec::new(),
            under_way: Vec::new(),
            coming: None,
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
    coming: Option<Coming>,
    mut packing: JoinHandle<Result<T, Failure>>,
    hush: &AtomicBool,
    context: &Context,
) -> Result<T, Failure> {
    let Some(Coming {
        mut saving, reader, ..
    }) = coming
    else {
        return packing.await?;
    };
    hush.store(true, Ordering::Relaxed);
    let receiving = saving.receive(reader, |done, total| {
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
