//! Autosaves: saves an instance's state as private versions at intervals, and restores it after a restart.
//!
//! An instance that doesn't run is no failure: people stop theirs. An instance that has just started is empty, and
//! an empty state is never saved.

pub(crate) mod list;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use podsync_api::{
    ApiError, AuthToken, Consent, ErrorCode,
    follow::{Autosave, AutosaveStopped, Autosaved, SaveBeforeStop, SavedBeforeStop, StopAutosave},
    pods,
};
use podsync_core::{
    PodName, TeamId, VersionId,
    engine::{Command, Engine},
};
use podsync_instance::Endpoint;
use podsync_store::Log;
use tokio::{sync::Notify, time::Instant};

use self::list::{Autosave as Saved, Autosaves, Autosaving, FILE, How, MAX_PODS};
use crate::{
    call::{Context, Handle},
    clock::now_ms,
    emulator::{connect, own_token},
    error::Failure,
    events::team_events::TeamEvents,
    node::handle::Node,
    persisted::Persisted,
    service::{
        choose::team_of,
        disk::usage,
        holdings::Holdings,
        save::{Save, Unasked},
    },
    tasks::Tasks,
};

/// How many autosaves of a pod are kept by default.
const KEPT: usize = 10;
/// Most autosaves of a pod that a user may keep.
const MAX_KEPT: usize = 1000;
/// The shortest interval. Each autosave reads the whole state, so with a shorter one an emulator would do little
/// else.
const MIN_EVERY_S: u64 = 5;
const MAX_EVERY_S: u64 = 30 * 24 * 60 * 60;
/// The message of an autosaved version.
const MESSAGE: &str = "autosave";

/// Saves instances.
pub(crate) struct Autosaver {
    pub(crate) node: Node,
    pub(crate) log: Log,
    pub(crate) autosaves: Persisted<Autosaves>,
    pub(crate) save: Arc<Save>,
    pub(crate) holdings: Holdings,
    pub(crate) team_events: TeamEvents,
    pub(crate) tasks: Tasks,
    /// Allows one autosave at a time.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// Signals that the list of autosaves has changed.
    pub(crate) changed: Notify,
}

/// The path of a home's list.
pub(crate) fn file(home: &Path) -> PathBuf {
    home.join(FILE)
}

impl Handle<Autosave> for Autosaver {
    async fn handle(
        self: Arc<Self>,
        call: Autosave,
        context: Arc<Context>,
    ) -> Result<Autosaved, Failure> {
        let team = team_of(&self.node, &context).await?;
        let how = sound(&call)?;
        // The instance isn't contacted: it may be started later.
        connect(&call.endpoint, None).await?;
        let pod = call.pod.clone();
        let set = self.autosaves.change(move |list| {
            let has_room = list.set(team, &pod, how);
            has_room.then(|| list.find(team, &pod).cloned()).flatten()
        });
        let Some(autosaving) = set.await? else {
            let text = format!("this home saves {MAX_PODS} pods by itself already");
            return Err(ApiError::new(ErrorCode::Invalid, text)
                .hint("end one of them with `podsync autosave POD --off`")
                .into());
        };
        self.changed.notify_one();
        let told = self.node.read(move |engine| told(engine, autosaving));
        told.await?.ok_or_else(Failure::left_team)
    }
}

impl Handle<StopAutosave> for Autosaver {
    async fn handle(
        self: Arc<Self>,
        call: StopAutosave,
        context: Arc<Context>,
    ) -> Result<AutosaveStopped, Failure> {
        let team = team_of(&self.node, &context).await?;
        let pod = call.pod.clone();
        let removed = self
            .autosaves
            .change(move |list| list.remove(team, &pod))
            .await?;
        let Some(removed) = removed else {
            let text = format!("there is no autosave of {}", call.pod);
            return Err(ApiError::new(ErrorCode::NotFound, text)
                .hint("`podsync status` lists the autosaves")
                .into());
        };
        self.changed.notify_one();
        let name = self.team_events.team_name(team).await;
        Ok(AutosaveStopped {
            team: name.ok_or_else(Failure::left_team)?,
            pod: call.pod,
            versions: removed.versions.len(),
        })
    }
}

impl Handle<SaveBeforeStop> for Autosaver {
    async fn handle(
        self: Arc<Self>,
        call: SaveBeforeStop,
        context: Arc<Context>,
    ) -> Result<SavedBeforeStop, Failure> {
        let stopping = endpoint(&call.endpoint)?;
        let mut saved = SavedBeforeStop::default();
        for autosaving in self.autosaves.get()?.pods {
            let how = &autosaving.how;
            if !how.on_stop || endpoint(&how.endpoint).ok().as_ref() != Some(&stopping) {
                continue;
            }
            let token = call.token.as_ref();
            let reference = self.save_one(&autosaving, token, &context).await?;
            saved.references.extend(reference);
        }
        Ok(saved)
    }
}

fn endpoint(url: &str) -> Result<Endpoint, Failure> {
    let parsed = url.parse::<Endpoint>();
    Ok(parsed.map_err(podsync_instance::Error::from)?)
}

fn sound(call: &Autosave) -> Result<How, ApiError> {
    let wrong = |what: String, hint: &str| Err(ApiError::new(ErrorCode::Invalid, what).hint(hint));
    if call.every_s.is_none() && !call.on_stop {
        return wrong(
            format!("podsync doesn't know when to save {}", call.pod),
            "add --every TIME, or --on-stop",
        );
    }
    if let Some(every) = call.every_s
        && !(MIN_EVERY_S..=MAX_EVERY_S).contains(&every)
    {
        return wrong(
            format!("podsync can't save every {every} s"),
            &format!("give --every between {MIN_EVERY_S}s and 30days"),
        );
    }
    let keep = call.keep.unwrap_or(KEPT);
    if !(1..=MAX_KEPT).contains(&keep) {
        return wrong(
            format!("podsync can't keep {keep} autosaves"),
            "give --keep between 1 and 1000",
        );
    }
    Ok(How {
        endpoint: call.endpoint.clone(),
        every_s: call.every_s,
        on_stop: call.on_stop,
        keep,
    })
}

/// The autosaves in the API's shape.
pub(crate) async fn all(
    node: &Node,
    autosaves: &Persisted<Autosaves>,
) -> Result<Vec<Autosaved>, Failure> {
    let list = autosaves.get()?;
    let read = node.read(move |engine| {
        let named = |autosaving| told(engine, autosaving);
        list.pods.into_iter().filter_map(named).collect::<Vec<_>>()
    });
    Ok(read.await?)
}

/// `None` if this home has left the team.
fn told(engine: &Engine, autosaving: Autosaving) -> Option<Autosaved> {
    let Autosaving {
        team,
        pod,
        how,
        versions,
    } = autosaving;
    Some(Autosaved {
        team: engine.roster(&team)?.name().clone(),
        pod,
        endpoint: how.endpoint,
        every_s: how.every_s,
        on_stop: how.on_stop,
        keep: how.keep,
        versions: versions.len(),
        newest_ms: versions.last().map(|newest| newest.saved_ms),
    })
}

/// When each pod is due.
type Due = BTreeMap<(TeamId, PodName), Instant>;

impl Autosaver {
    /// Saves what is due until the daemon stops. Only a long-running daemon runs this.
    pub(crate) async fn keep_saving(self: Arc<Self>) {
        let stop = self.tasks.stopping().clone();
        let saving = async {
            // An instance that already runs isn't saved at once: it may have started together with this daemon.
            let mut due = Due::new();
            self.plan(&mut due, |every| Instant::now() + every);
            loop {
                let next = due.values().min().copied();
                tokio::select! {
                    () = sleep_until(next) => self.save_due(&mut due).await,
                    () = self.changed.notified() => self.plan(&mut due, |_| Instant::now()),
                }
            }
        };
        let _: Option<()> = stop.run_until_cancelled(saving).await;
    }

    /// Updates the schedule from the list. A new autosave is first due after one interval.
    fn plan(&self, due: &mut Due, first: impl Fn(Duration) -> Instant) {
        let list = self.autosaves.get().unwrap_or_default();
        let periodic: BTreeMap<_, _> = list
            .pods
            .into_iter()
            .filter_map(|it| Some(((it.team, it.pod), it.how.every_s?)))
            .collect();
        due.retain(|pod, _| periodic.contains_key(pod));
        for (pod, every) in periodic {
            let every = Duration::from_secs(every);
            let at = due.entry(pod).or_insert_with(|| first(every));
            // The interval may have become shorter.
            *at = (*at).min(Instant::now() + every);
        }
    }

    async fn save_due(&self, due: &mut Due) {
        let list = self.autosaves.get().unwrap_or_default();
        for autosaving in list.pods {
            let key = (autosaving.team, autosaving.pod.clone());
            let Some(every) = autosaving.how.every_s else {
                continue;
            };
            if due.get(&key).is_none_or(|at| *at > Instant::now()) {
                continue;
            }
            let cancel = self.tasks.stopping().child_token();
            let context = Arc::new(Context::new(String::new(), None, cancel));
            let token = own_token();
            let saved = self.save_one(&autosaving, token.as_ref(), &context).await;
            if let Err(failure) = saved {
                let error = ApiError::from(failure);
                tracing::warn!(pod = %autosaving.pod, %error, "an autosave failed");
                let (team, pod) = (autosaving.team, &autosaving.pod);
                self.team_events
                    .trouble(team, Some(pod), None, &error)
                    .await;
            }
            due.insert(key, Instant::now() + Duration::from_secs(every));
        }
    }

    /// Saves the state and returns its version. `None` if the instance doesn't run or is empty.
    async fn save_one(
        &self,
        autosaving: &Autosaving,
        token: Option<&AuthToken>,
        context: &Arc<Context>,
    ) -> Result<Option<String>, Failure> {
        let _turn = self.turn.lock().await;
        let (team, pod) = (autosaving.team, &autosaving.pod);
        let instance = connect(&autosaving.how.endpoint, token).await?;
        let run = match instance.identity().await {
            Ok(run) => run.map(String::from),
            Err(podsync_instance::Error::NotRunning { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let call = pods::Save {
            pod: pod.clone(),
            message: MESSAGE.to_owned(),
            from: pods::StateSource::Endpoint(autosaving.how.endpoint.clone()),
            token: token.cloned(),
            services: Vec::new(),
            share: false,
            durable: false,
            consents: Default::default(),
            allow_secrets: false,
        };
        let unasked = Unasked {
            builds_on: self.newest(team, pod)?,
        };
        let saved = self
            .save
            .save_privately(team, &call, Some(unasked), context)
            .await;
        let saved = match saved {
            Ok((saved, _)) => saved,
            Err(failure) if failure.api().consent == Some(Consent::EmptyState) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        if !saved.unchanged {
            let saved = Saved {
                version: saved.version,
                saved_ms: now_ms(),
                run,
            };
            let noted = pod.clone();
            let gone = self
                .autosaves
                .change(move |list| list.note(team, &noted, saved));
            self.drop_all(team, gone.await?).await?;
        }
        if let Some((service, why)) = saved.failed.first() {
            let text = format!("{} lacks {service}: {why}", saved.reference);
            let error = ApiError::new(ErrorCode::Instance, text)
                .hint("`podsync save` says all that can't be saved");
            self.team_events
                .trouble(team, Some(pod), None, &error)
                .await;
        }
        Ok(Some(saved.reference))
    }

    /// The list may have changed since it was read.
    fn newest(&self, team: TeamId, pod: &PodName) -> Result<Option<VersionId>, Failure> {
        let list = self.autosaves.get()?;
        let versions = list.find(team, pod).map(|it| it.versions.as_slice());
        Ok(versions.unwrap_or_default().last().map(|it| it.version))
    }

    /// Deletes private versions, except those that the user has shared or pinned meanwhile.
    async fn drop_all(&self, team: TeamId, versions: Vec<VersionId>) -> Result<(), Failure> {
        let mut is_any_gone = false;
        for version in versions {
            let log = self.log.clone();
            let pinned = tokio::task::spawn_blocking(move || usage::is_pinned(&log, team, version));
            let is_private = self.node.read(move |engine| {
                let catalog = engine.catalog(&team);
                catalog.is_some_and(|catalog| catalog.private_version(&version).is_some())
            });
            if pinned.await?? || !is_private.await? {
                continue;
            }
            let forget = Command::ForgetPrivate { team, version };
            self.node.command(forget).await??;
            self.holdings.forget(team, version).await?;
            is_any_gone = true;
        }
        if is_any_gone {
            self.holdings.collect_now().await?;
        }
        Ok(())
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
