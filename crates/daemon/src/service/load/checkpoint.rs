//! Checkpoints: the state of an instance before a load, kept as a private version for `undo`.

use std::sync::Arc;

use podsync_api::{ApiError, Consent, ErrorCode};
use podsync_core::{ContentHash, PodName, TeamId};
use podsync_instance::Instance;

use crate::{
    call::Context,
    error::Failure,
    locks::PodLocks,
    service::save::{
        capture::{Captured, Capturer},
        pack::{Packed, Packer},
    },
    versions::{Checkpoint, HeldVersion, Versions},
};

/// How many checkpoints of an instance are kept.
const CHECKPOINTS_KEPT: usize = 3;
/// The pod name of checkpoints. No catalog lists them.
const CHECKPOINT_POD: &str = "checkpoint";

/// Takes checkpoints.
pub(crate) struct Checkpoints {
    pub(crate) versions: Arc<Versions>,
    pub(crate) locks: Arc<PodLocks>,
    pub(crate) packer: Packer,
}

impl Checkpoints {
    /// Saves the instance's state as a checkpoint and returns its number. `None` if that failed and the call allows
    /// it.
    pub(crate) async fn take(
        &self,
        team: TeamId,
        instance: &Instance,
        optional: bool,
        context: &Arc<Context>,
    ) -> Result<Option<u64>, Failure> {
        match self.keep(team, instance, optional, context).await {
            Ok(number) => Ok(Some(number)),
            Err(failure) => {
                let error = ApiError::from(failure);
                if !optional || error.code == ErrorCode::Cancelled {
                    return Err(error.into());
                }
                tracing::warn!(%error, "loading without a checkpoint");
                Ok(None)
            }
        }
    }

    async fn keep(
        &self,
        team: TeamId,
        instance: &Instance,
        in_part: bool,
        context: &Arc<Context>,
    ) -> Result<u64, Failure> {
        let captured = Capturer {
            spool: self.packer.home.tmp(),
        }
        .capture_from(instance, &[])
        .await?;
        if !captured.failed.is_empty() && !in_part {
            return Err(incomplete(&captured).into());
        }
        let pod = CHECKPOINT_POD
            .parse()
            .map_err(|error: podsync_core::name::NameError| {
                ApiError::new(ErrorCode::Internal, error.to_string())
            })?;
        let _turn = self.locks.lock(team, &pod).await;
        let instance = identity(instance).await;
        let Packed::New { held, .. } = self
            .packer
            .pack(team, &pod, captured, String::new(), context)
            .await?
        else {
            return Err(
                ApiError::new(ErrorCode::Internal, "a checkpoint builds on nothing").into(),
            );
        };
        let number = self.versions.next_checkpoint();
        let mut kept: HeldVersion = *held;
        kept.checkpoint = Some(Checkpoint {
            number,
            instance: instance.clone(),
        });
        let versions = Arc::clone(&self.versions);
        tokio::task::spawn_blocking(move || {
            versions.put(team, kept)?;
            let all = versions.checkpoints(&instance);
            for (team, id, _) in all.iter().take(all.len().saturating_sub(CHECKPOINTS_KEPT)) {
                versions.remove(*team, *id)?;
            }
            Ok::<_, Failure>(())
        })
        .await??;
        Ok(number)
    }

    /// The content id of the instance's state now. `None` if the instance says that it is empty.
    pub(crate) async fn content_of(
        &self,
        team: TeamId,
        pod: &PodName,
        instance: &Instance,
        context: &Arc<Context>,
    ) -> Result<Option<ContentHash>, Failure> {
        let capturer = Capturer {
            spool: self.packer.home.tmp(),
        };
        let captured = capturer.capture_from(instance, &[]).await?;
        let is_empty = captured.is_empty;
        let content = self.packer.content_of(team, pod, captured, context).await?;
        Ok((!is_empty).then_some(content))
    }
}

/// Identifies the instance that answers: by its own id, or else by its address.
pub(crate) async fn identity(instance: &Instance) -> String {
    match instance.identity().await {
        Ok(Some(identity)) => identity.as_str().to_owned(),
        Ok(None) | Err(_) => instance.endpoint().to_string(),
    }
}

fn incomplete(captured: &Captured) -> ApiError {
    let first = captured
        .failed
        .first()
        .map_or_else(String::new, |(what, why)| format!(" ({what}: {why})"));
    ApiError::unconfirmed(
        Consent::WithoutCheckpoint,
        format!("what is in the instance can't all be kept{first}; nothing was loaded"),
    )
}

pub(crate) fn checkpoint_reference(number: u64) -> String {
    format!("{CHECKPOINT_POD}:+{number}")
}
