//! Opens the source of a state: a folder, a file, or an emulator that streams it while it is packed.

use std::{
    collections::BTreeSet,
    fs::DirEntry,
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
};

use podsync_api::{ApiError, Consent, ErrorCode, Progress, Stage, pods};
use podsync_core::{VersionId, manifest::Source as Origin};
use podsync_instance::{Instance, SaveFailure, SavingState, Sending, Service, arriving};
use podsync_pack::Source;
use tokio::task::JoinHandle;

use crate::{call::Context, emulator::connect, error::Failure};

/// A state to pack, and what is known of it.
pub(crate) struct Captured {
    pub(crate) source: Source,
    pub(crate) origin: Origin,
    pub(crate) failed: Vec<(String, String)>,
    pub(crate) under_way: Vec<pods::UnderWay>,
    /// The rest of the stream that `source` is read from.
    pub(crate) incoming: Option<Incoming>,
    /// Whether podsync's own secrets may be in it.
    pub(crate) allow_secrets: bool,
    /// The version that it continues. An unchanged state makes no new version. `None` means the newest version.
    pub(crate) builds_on: Option<VersionId>,
    /// Whether the instance says that it is empty.
    pub(crate) is_empty: bool,
}

/// A state that an emulator sends while it is packed.
pub(crate) struct Incoming {
    saving: SavingState,
    reader: Sending,
    instance: Instance,
    services: Vec<Service>,
}

/// How to ask for a state again, to have it whole before it is packed.
pub(crate) struct Retry {
    instance: Instance,
    services: Vec<Service>,
    /// The services that the first answer reported as failed.
    failed: Vec<SaveFailure>,
}

impl Incoming {
    pub(crate) fn retry(&self) -> Retry {
        Retry {
            instance: self.instance.clone(),
            services: self.services.clone(),
            failed: self.saving.failed.clone(),
        }
    }
}

/// Opens states where they lie.
pub(crate) struct Capturer {
    /// The folder for states that must be received whole before packing.
    pub(crate) spool: PathBuf,
}

impl Capturer {
    /// Opens the state where it lies, or asks the emulator for it.
    pub(crate) async fn capture(&self, call: &pods::Save) -> Result<Captured, Failure> {
        match &call.from {
            pods::StateSource::Path(path) => {
                check_services(call)?;
                let (path, consents) = (path.clone(), call.consents.clone());
                let opening = tokio::task::spawn_blocking(move || {
                    let source = Source::open(&path)?;
                    check_not_empty(&path, &source, &consents)?;
                    Ok::<_, Failure>(source)
                });
                let source = opening.await??;
                let origin = Origin {
                    emulator: None,
                    services: Vec::new(),
                };
                Ok(Captured {
                    source,
                    origin,
                    failed: Vec::new(),
                    under_way: Vec::new(),
                    incoming: None,
                    allow_secrets: call.allow_secrets,
                    builds_on: None,
                    is_empty: false,
                })
            }
            pods::StateSource::Endpoint(url) => {
                let instance = connect(url, call.token.as_ref()).await?;
                let services = call
                    .services
                    .iter()
                    .map(|name| name.parse())
                    .collect::<Result<Vec<Service>, _>>();
                let services = services
                    .map_err(|error| ApiError::new(ErrorCode::Invalid, error.to_string()))?;
                known(&instance, &services).await?;
                Ok(Captured {
                    allow_secrets: call.allow_secrets,
                    ..self.capture_from(&instance, &services).await?
                })
            }
        }
    }

    /// Asks for the state. Its bytes arrive while it is packed. A checkpoint takes everything that is there.
    pub(crate) async fn capture_from(
        &self,
        instance: &Instance,
        services: &[Service],
    ) -> Result<Captured, Failure> {
        let saving = instance.begin_save(services).await?;
        let is_empty = saving.is_empty;
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
        Ok(Captured {
            source: Source::arriving(zip, &self.spool),
            origin,
            failed,
            under_way,
            incoming: Some(Incoming {
                saving,
                reader,
                instance: instance.clone(),
                services: services.to_vec(),
            }),
            allow_secrets: true,
            builds_on: None,
            is_empty,
        })
    }

    /// Asks again, and receives the whole state into a file before packing.
    pub(crate) async fn capture_whole(
        &self,
        retry: Retry,
        context: &Context,
    ) -> Result<Captured, Failure> {
        let told = |done, total| context.report(&Progress::new(Stage::Reading, done, total));
        let Retry {
            instance,
            services,
            failed,
        } = retry;
        let saved = instance.save(&services, &self.spool, told).await?;
        if saved.failed != failed {
            let text = "what the instance can save changed during the save";
            return Err(ApiError::new(ErrorCode::Instance, text)
                .hint("save again")
                .into());
        }
        let origin = Origin {
            emulator: Some(saved.emulator),
            services: saved.services.iter().map(ToString::to_string).collect(),
        };
        let source = tokio::task::spawn_blocking(move || Source::from_instance(saved.file));
        Ok(Captured {
            source: source.await??,
            origin,
            failed: Vec::new(),
            under_way: Vec::new(),
            incoming: None,
            allow_secrets: true,
            builds_on: None,
            is_empty: false,
        })
    }
}

/// Refuses a service name that the instance doesn't know: the instance would silently save nothing for it.
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

/// Receives the state while it is packed, and waits for both. The result counts only if the state was received
/// whole.
///
/// `muted` hides the packing's own progress while the received bytes describe it better.
pub(crate) async fn receive_beside<T>(
    incoming: Option<Incoming>,
    mut packing: JoinHandle<Result<T, Failure>>,
    muted: &AtomicBool,
    context: &Context,
) -> Result<T, Failure> {
    let Some(Incoming {
        mut saving, reader, ..
    }) = incoming
    else {
        return packing.await?;
    };
    muted.store(true, Ordering::Relaxed);
    let receiving = saving.receive(reader, |done, total| {
        context.report(&Progress::new(Stage::Reading, done, total));
    });
    let mut receiving = pin!(receiving);
    tokio::select! {
        biased;
        received = &mut receiving => {
            muted.store(false, Ordering::Relaxed);
            // If receiving fails, the packing fails too. Report the reason of the receiving.
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

/// Only an emulator's state has services.
fn check_services(call: &pods::Save) -> Result<(), ApiError> {
    if call.services.is_empty() {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::Invalid,
        "podsync cannot save only some services of a folder or file",
    )
    .hint("leave out --services, or leave out --from to save a running emulator's state"))
}

/// A state without a byte is probably a wrong path or a failed download, so saving it needs consent.
fn check_not_empty(
    path: &Path,
    source: &Source,
    consents: &BTreeSet<Consent>,
) -> Result<(), ApiError> {
    let has_content = match source.folder() {
        Some(folder) => has_content(folder),
        None => source.len_hint() != Some(0),
    };
    if has_content || consents.contains(&Consent::EmptyState) {
        return Ok(());
    }
    Err(ApiError::unconfirmed(
        Consent::EmptyState,
        format!("there is nothing in {}", path.display()),
    ))
}

/// Whether there is anything below but folders and empty files. True also if a folder can't be read: reading it later
/// reports that.
fn has_content(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return true;
    };
    entries
        .into_iter()
        .any(|entry| is_content(entry).unwrap_or(true))
}

fn is_content(entry: io::Result<DirEntry>) -> io::Result<bool> {
    let entry = entry?;
    let kind = entry.file_type()?;
    if kind.is_dir() {
        return Ok(has_content(&entry.path()));
    }
    Ok(!kind.is_file() || entry.metadata()?.len() > 0)
}
