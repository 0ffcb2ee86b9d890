//! Save: makes a private version of a state. It is durable before any event or answer names it.

pub(crate) mod capture;
pub(crate) mod pack;

use std::sync::Arc;

use podsync_api::{
    ApiError, Consent, ErrorCode,
    events::{Happened, VersionSaved},
    pods,
};
use podsync_core::{
    PodName, TeamId, VersionId,
    engine::{Answer, Command, SavePrivate},
    manifest::{MAX_MESSAGE_LEN, Manifest, PACK_TARGET_LEN},
};
use podsync_pack::SaveStats;
use podsync_store::Home;
use tokio::sync::OwnedMutexGuard;

use crate::{
    call::{Context, Handle},
    error::Failure,
    events::team_events::TeamEvents,
    hub::sync::HubSync,
    locks::PodLocks,
    node::handle::Node,
    service::{
        choose::team_of,
        disk::evictor::Evictor,
        find::Finder,
        save::{
            capture::Capturer,
            pack::{Packed, Packer},
        },
        share::{Newer, Share, but_shared},
        skew,
    },
    settings::Settings,
    versions::{HeldVersion, Versions},
};

/// Makes versions of states.
pub(crate) struct Save {
    pub(crate) settings: Arc<Settings>,
    pub(crate) node: Node,
    pub(crate) home: Arc<Home>,
    pub(crate) versions: Arc<Versions>,
    pub(crate) locks: Arc<PodLocks>,
    pub(crate) finder: Finder,
    pub(crate) packer: Packer,
    pub(crate) share: Arc<Share>,
    pub(crate) hubs: Arc<HubSync>,
    pub(crate) evictor: Arc<Evictor>,
    pub(crate) team_events: TeamEvents,
}

impl Handle<pods::Save> for Save {
    async fn handle(
        self: Arc<Self>,
        call: pods::Save,
        context: Arc<Context>,
    ) -> Result<pods::Saved, Failure> {
        let team = team_of(&self.node, &context).await?;
        if call.share {
            self.share.may_publish(team).await?;
        }
        let (mut saved, turn) = self.save_privately(team, &call, None, &context).await?;
        if call.share || self.settings.shares_by_itself(&call.pod) {
            self.share_saved(team, &mut saved, &call, turn, &context)
                .await?;
        }
        self.evictor.keep_within_budget();
        Ok(saved)
    }
}

/// The state is saved, whatever failed after that.
fn but_saved(saved: &pods::Saved, failure: Failure) -> Failure {
    let error = ApiError::from(failure);
    // The same call goes on once the user has agreed.
    if error.consent.is_some() {
        return error.into();
    }
    let done = match saved.unchanged {
        true => format!("{} is this state already, but", saved.reference),
        false => format!("Saved {}, but", saved.reference),
    };
    ApiError {
        message: format!("{done} {}", error.message),
        ..error
    }
    .into()
}

/// Refuses a message that is too long, or that has a secret in it.
fn check_message(call: &pods::Save) -> Result<(), ApiError> {
    let len = call.message.len();
    if len > MAX_MESSAGE_LEN {
        let text = format!("the message has {len} bytes, more than the {MAX_MESSAGE_LEN} allowed");
        return Err(ApiError::new(ErrorCode::Invalid, text)
            .hint("shorten it: what is longer belongs in a file of its own"));
    }
    match podsync_pack::secret_in(&call.message) {
        Some(what) if !call.allow_secrets => Err(ApiError::new(
            ErrorCode::Unconfirmed,
            format!(
                "the message has {what} in it, and everybody who gets the version could use it"
            ),
        )
        .hint("remove it from there; `podsync save --allow-secrets` saves it all the same")),
        _ => Ok(()),
    }
}

/// Options of a save that no user asked for just now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unasked {
    /// If the state still equals this version, no new version is made, whatever was pulled since.
    pub(crate) builds_on: Option<VersionId>,
}

impl Save {
    /// Makes a private version of a state. Returns it with the pod's lock. An empty instance is saved only with
    /// consent.
    pub(crate) async fn save_privately(
        &self,
        team: TeamId,
        call: &pods::Save,
        unasked: Option<Unasked>,
        context: &Arc<Context>,
    ) -> Result<(pods::Saved, OwnedMutexGuard<()>), Failure> {
        check_message(call)?;
        tracing::Span::current().record("pod", call.pod.as_str());
        let turn = self.locks.lock(team, &call.pod).await;
        // How much of the state is new shows only while it is read. Any change needs at least one pack.
        self.home
            .ensure_room(PACK_TARGET_LEN)
            .map_err(Failure::from)?;
        let mut captured = Capturer {
            spool: self.home.tmp(),
        }
        .capture(call)
        .await?;
        if let Some(Unasked { builds_on }) = unasked {
            if captured.is_empty {
                let error = ApiError::unconfirmed(
                    Consent::EmptyState,
                    "the instance says that there is nothing in it",
                );
                return Err(error.into());
            }
            captured.builds_on = builds_on;
        }
        let (failed, under_way) = (captured.failed.clone(), captured.under_way.clone());
        let packed = self
            .packer
            .pack(team, &call.pod, captured, call.message.clone(), context)
            .await?;
        let mut saved = match packed {
            Packed::Unchanged { version } => self.unchanged(team, version).await?,
            Packed::New {
                held,
                manifest,
                stats,
            } => self.list_private(team, *held, &manifest, stats).await?,
        };
        saved.failed = failed;
        saved.under_way = under_way;
        saved.warnings = skew::warnings(&self.node, team).await?;
        tracing::Span::current().record("version", saved.version.short());
        tracing::info!(
            unchanged = saved.unchanged,
            bytes = saved.state_len,
            "saved"
        );
        if !saved.unchanged {
            self.tell(team, call, &saved).await;
        }
        Ok((saved, turn))
    }

    /// Shares what was just saved. The pod's turn ends before the wait for the bucket.
    async fn share_saved(
        &self,
        team: TeamId,
        saved: &mut pods::Saved,
        call: &pods::Save,
        turn: OwnedMutexGuard<()>,
        context: &Arc<Context>,
    ) -> Result<(), Failure> {
        let shared = async {
            let newer = self.newer_than(team, saved, call).await?;
            let is_older = newer.is_some();
            let reference = &saved.reference;
            let shared = self.share.share(team, reference, is_older, context).await?;
            Ok::<_, Failure>((newer, shared))
        };
        let (newer, mut shared) = shared.await.map_err(|failure| but_saved(saved, failure))?;
        saved.warnings.extend(newer.map(|newer| newer.warning()));
        drop(turn);
        shared.durable = self
            .hubs
            .bring_to_bucket(team, call.durable, context)
            .await
            .map_err(|failure| but_shared("Saved and shared", &shared, failure))?;
        saved.reference.clone_from(&shared.reference);
        saved.version = shared.version;
        saved.shared = Some(shared);
        Ok(())
    }

    async fn tell(&self, team: TeamId, call: &pods::Save, saved: &pods::Saved) {
        let told = |name| {
            Happened::Saved(VersionSaved {
                team: name,
                pod: call.pod.clone(),
                reference: saved.reference.clone(),
                version: saved.version,
                message: call.message.clone(),
                state_len: saved.state_len,
                new_len: saved.new_len,
            })
        };
        self.team_events.publish(team, told).await;
    }

    /// A state that equals an earlier version counts as saved then. The team may have a newer one.
    async fn newer_than(
        &self,
        team: TeamId,
        saved: &pods::Saved,
        call: &pods::Save,
    ) -> Result<Option<Newer>, Failure> {
        if !saved.unchanged {
            return Ok(None);
        }
        let same = self.share.finder.resolve(team, &saved.reference).await?;
        self.share
            .newer_than(team, &same.found, &call.consents)
            .await
    }

    async fn unchanged(&self, team: TeamId, version: VersionId) -> Result<pods::Saved, Failure> {
        let held = self.versions.get(team, version).ok_or_else(|| {
            ApiError::new(
                ErrorCode::NotFound,
                "the version that holds this state was dropped meanwhile",
            )
        })?;
        let manifest = held.manifest().map_err(Failure::damaged)?;
        let reference = self.reference_of(team, held.pod.clone(), version).await?;
        Ok(pods::Saved {
            reference,
            version,
            unchanged: true,
            state_len: manifest.state_len,
            entries: manifest.entry_count,
            new_len: 0,
            failed: Vec::new(),
            under_way: Vec::new(),
            shared: None,
            warnings: Vec::new(),
        })
    }

    async fn reference_of(
        &self,
        team: TeamId,
        pod: PodName,
        version: VersionId,
    ) -> Result<String, Failure> {
        let text = format!("{pod}@{version}");
        Ok(self.finder.resolve(team, &text).await?.reference)
    }

    async fn list_private(
        &self,
        team: TeamId,
        held: HeldVersion,
        manifest: &Manifest,
        stats: SaveStats,
    ) -> Result<pods::Saved, Failure> {
        fail::fail_point!("daemon::save::held");
        let command = SavePrivate {
            team,
            pod: held.pod.clone(),
            version: held.id(),
            manifest: held.sealed.blob,
            message: manifest.message.clone(),
            services: manifest.source.services.clone(),
            emulator: manifest.source.emulator.clone(),
            created_ms: manifest.created_ms,
            state_len: manifest.state_len,
            entry_count: manifest.entry_count,
        };
        let listed = self
            .node
            .command(Command::SavePrivate(Box::new(command)))
            .await;
        if !matches!(listed, Ok(Ok(_))) {
            let (versions, id) = (Arc::clone(&self.versions), held.id());
            tokio::task::spawn_blocking(move || versions.remove(team, id)).await??;
            self.packer.holdings.collect_now().await?;
        }
        match listed?? {
            Answer::Saved { number, version } => Ok(pods::Saved {
                reference: format!("{}:+{number}", held.pod),
                version,
                unchanged: false,
                state_len: manifest.state_len,
                entries: manifest.entry_count,
                new_len: stats.sealed_new,
                failed: Vec::new(),
                under_way: Vec::new(),
                shared: None,
                warnings: Vec::new(),
            }),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(error: ApiError) -> ApiError {
        let saved = pods::Saved {
            reference: "orders:3".to_owned(),
            version: VersionId::from_bytes([1; 32]),
            unchanged: false,
            state_len: 1,
            entries: 1,
            new_len: 1,
            failed: Vec::new(),
            under_way: Vec::new(),
            shared: None,
            warnings: Vec::new(),
        };
        ApiError::from(but_saved(&saved, error.into()))
    }

    #[test]
    fn a_share_that_fails_after_the_save_says_that_the_state_is_saved() {
        let error = ApiError::new(ErrorCode::Disk, "the disk is full").hint("delete something");
        let told = failed(error.clone());
        assert_eq!(told.message, "Saved orders:3, but the disk is full");
        assert_eq!((told.code, told.hint), (error.code, error.hint));
    }

    #[test]
    fn a_question_stays_as_it_is() {
        let question = ApiError::unconfirmed(Consent::EmptyState, "it is empty");
        assert_eq!(failed(question.clone()), question);
    }
}
