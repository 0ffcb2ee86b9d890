//! Following a pod: pulls what teammates share of it, and loads that into an instance if the user has set one.
//!
//! No user can be asked here. Where a command would ask, this publishes a failure and leaves the step to the user.

pub(crate) mod list;

use std::{sync::Arc, time::Duration};

use podsync_api::{
    ApiError, ErrorCode,
    events::{Event, Happened},
    follow::{Follow, Followed, LoadInto, Unfollow, Unfollowed},
    pods,
};
use podsync_core::{DeviceId, PodName, TeamId, VersionId, engine::Engine};
use podsync_instance::{Merge, ParseMergeError};
use tokio::sync::Notify;

use self::list::{FILE, Following, Follows, MAX_FOLLOWS};
use crate::{
    call::{Context, Handle},
    emulator::{connect, own_token},
    error::{Failure, Stopped},
    events::{Listener, team_events::TeamEvents},
    metered::Metered,
    node::handle::Node,
    persisted::Persisted,
    service::{
        choose::team_of,
        find::Patience,
        load::{Load, Over},
        pause::Pause,
        pull::{Pull, Wanted},
    },
    tasks::Tasks,
};

/// How long a pull waits for a device that has the version.
const PATIENCE_S: u64 = 20;
/// How soon a failed pull is tried again. It is tried earlier if a device that may have the version connects.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Pulls what teammates share.
pub(crate) struct Follower {
    pub(crate) device: DeviceId,
    pub(crate) node: Node,
    pub(crate) follows: Persisted<Follows>,
    pub(crate) pull: Arc<Pull>,
    pub(crate) load: Arc<Load>,
    pub(crate) team_events: TeamEvents,
    pub(crate) tasks: Tasks,
    pub(crate) pause: Arc<Pause>,
    pub(crate) metered: Arc<Metered>,
    /// Signals that the list of followed pods has changed.
    pub(crate) changed: Notify,
}

impl Handle<Follow> for Follower {
    async fn handle(
        self: Arc<Self>,
        call: Follow,
        context: Arc<Context>,
    ) -> Result<Followed, Failure> {
        let team = team_of(&self.node, &context).await?;
        if let Some(into) = &call.load {
            check_is_here(into).await?;
        }
        let (pod, load) = (call.pod.clone(), call.load.clone());
        let has_room = self
            .follows
            .change(move |list| list.follow(team, &pod, load))
            .await?;
        if !has_room {
            let text = format!("this home follows {MAX_FOLLOWS} pods already");
            return Err(ApiError::new(ErrorCode::Invalid, text)
                .hint("end one of them with `podsync unfollow POD`")
                .into());
        }
        self.changed.notify_one();
        let following = Following {
            team,
            pod: call.pod,
            load: call.load,
            seen: Vec::new(),
        };
        let followed = self.node.read(move |engine| followed(engine, following));
        followed.await?.ok_or_else(Failure::left_team)
    }
}

impl Handle<Unfollow> for Follower {
    async fn handle(
        self: Arc<Self>,
        call: Unfollow,
        context: Arc<Context>,
    ) -> Result<Unfollowed, Failure> {
        let team = team_of(&self.node, &context).await?;
        let pod = call.pod.clone();
        let was_followed = self
            .follows
            .change(move |list| list.unfollow(team, &pod))
            .await?;
        if !was_followed {
            let text = format!("{} is not followed", call.pod);
            return Err(ApiError::new(ErrorCode::NotFound, text)
                .hint("`podsync status` lists what is followed")
                .into());
        }
        let name = self.team_events.team_name(team).await;
        Ok(Unfollowed {
            team: name.ok_or_else(Failure::left_team)?,
            pod: call.pod,
        })
    }
}

/// Checks that automatic loads may go to this instance: only one on this machine is allowed.
async fn check_is_here(into: &LoadInto) -> Result<(), Failure> {
    let _: Merge = into
        .merge
        .parse()
        .map_err(|error: ParseMergeError| ApiError::new(ErrorCode::Invalid, error.to_string()))?;
    let instance = connect(&into.endpoint, None).await?;
    if instance.is_loopback() {
        return Ok(());
    }
    let text = format!(
        "{} is not on this machine, and podsync loads by itself only into an instance that is",
        into.endpoint
    );
    Err(ApiError::new(ErrorCode::Invalid, text)
        .hint("follow it without --load, and load each version with `podsync load REF --remote`")
        .into())
}

/// The followed pods in the API's shape.
pub(crate) async fn all(
    node: &Node,
    follows: &Persisted<Follows>,
) -> Result<Vec<Followed>, Failure> {
    let list = follows.get()?;
    let read = node.read(move |engine| {
        let named = |following| followed(engine, following);
        list.pods.into_iter().filter_map(named).collect::<Vec<_>>()
    });
    Ok(read.await?)
}

/// `None` if this home has left the team.
fn followed(engine: &Engine, following: Following) -> Option<Followed> {
    let catalog = engine.catalog(&following.team)?;
    Some(Followed {
        team: engine.roster(&following.team)?.name().clone(),
        known: catalog.pods().contains(&following.pod),
        pod: following.pod,
        load: following.load,
    })
}

/// The versions of a pod that weren't handled yet.
#[derive(Default)]
struct News {
    /// Tips that other devices made.
    versions: Vec<VersionId>,
    /// The exact references of all tips, if there are several.
    forked: Option<Vec<String>>,
}

impl Follower {
    /// Pulls and loads until the daemon stops. Only a long-running daemon runs this.
    pub(crate) async fn keep_following(self: Arc<Self>) {
        let stop = self.tasks.stopping().clone();
        let _ = stop.run_until_cancelled(self.follow()).await;
    }

    /// Runs until the engine ends.
    async fn follow(&self) -> Result<(), Stopped> {
        let mut events = self.team_events.events.listen();
        loop {
            let is_whole = self.round().await?;
            self.wait_for_news(&mut events, is_whole).await;
        }
    }

    async fn wait_for_news(&self, events: &mut Listener, is_whole: bool) {
        loop {
            tokio::select! {
                event = events.next() => {
                    if self.is_news(&event, is_whole) {
                        return;
                    }
                }
                () = self.changed.notified() => return,
                () = tokio::time::sleep(AGAIN_AFTER), if !is_whole => return,
            }
        }
    }

    fn is_news(&self, event: &Event, is_whole: bool) -> bool {
        match &event.what {
            Happened::Shared(shared) => {
                let is_followed = |list: Follows| list.pods.iter().any(|it| it.pod == shared.pod);
                !shared.this_device && self.follows.get().is_ok_and(is_followed)
            }
            Happened::Missed(_) => true,
            // A device that has just connected may have a version that couldn't be pulled.
            Happened::Peer(peer) => peer.connected && !is_whole,
            _ => false,
        }
    }

    /// Checks every followed pod. Returns false if something has to be tried again.
    async fn round(&self) -> Result<bool, Stopped> {
        // An unreadable list is reported at the start and in the status.
        let list = self.follows.get().unwrap_or_default();
        if !list.pods.is_empty() && self.holds_back().await {
            return Ok(false);
        }
        let mut is_whole = true;
        for following in list.pods {
            is_whole &= self.catch_up(&following).await?;
        }
        Ok(is_whole)
    }

    /// Nothing is fetched in the background during a pause or over a metered connection.
    async fn holds_back(&self) -> bool {
        self.pause.state().is_some() || self.metered.is_metered().await
    }

    async fn catch_up(&self, following: &Following) -> Result<bool, Stopped> {
        let (team, pod) = (following.team, &following.pod);
        let news = self.news(following).await?;
        if news.versions.is_empty() {
            return Ok(true);
        }
        for version in &news.versions {
            if let Err(failure) = self.fetch(team, pod, *version).await {
                let reference = format!("{pod}@{}", version.short());
                let error = ApiError::from(failure);
                tracing::warn!(%reference, %error, "podsync could not pull a pod that it follows");
                self.team_events
                    .trouble(team, Some(pod), Some(&reference), &error)
                    .await;
                return Ok(false);
            }
        }
        if let Some(into) = &following.load {
            self.load(following, into, &news).await;
        }
        let (pod, versions) = (pod.clone(), news.versions);
        let noted = self
            .follows
            .change(move |list| list.note_seen(team, &pod, &versions));
        if let Err(failure) = noted.await {
            tracing::warn!(error = %failure.api(), "podsync looks at the pulled version again at the next start");
        }
        Ok(true)
    }

    async fn news(&self, following: &Following) -> Result<News, Stopped> {
        let (me, team) = (self.device, following.team);
        let (pod, seen) = (following.pod.clone(), following.seen.clone());
        let news = self.node.read(move |engine| {
            let catalog = engine.catalog(&team)?;
            let tips = catalog.tips(&pod);
            let new = tips
                .iter()
                .filter(|tip| tip.device() != me && !seen.contains(&tip.version()));
            Some(News {
                versions: new.map(|tip| tip.version()).collect(),
                forked: (tips.len() > 1).then(|| {
                    let exact = tips.iter().map(|tip| catalog.exact_reference(tip));
                    exact.collect()
                }),
            })
        });
        Ok(news.await?.unwrap_or_default())
    }

    async fn fetch(&self, team: TeamId, pod: &PodName, version: VersionId) -> Result<(), Failure> {
        let reference = format!("{pod}@{version}");
        let wanted = Wanted::new(&reference, Patience::fixed(PATIENCE_S), pods::Sources::Any);
        let (_, pulled) = self.pull.pull(team, wanted, &self.context()).await?;
        self.pull.evictor.used(team, pulled.version).await;
        self.pull.evictor.keep_within_budget();
        tracing::info!(
            reference = pulled.reference,
            "pulled a version of a pod that podsync follows"
        );
        Ok(())
    }

    /// No caller waits for this; it ends with the daemon.
    fn context(&self) -> Arc<Context> {
        let cancel = self.tasks.stopping().child_token();
        Arc::new(Context::new(String::new(), None, cancel))
    }

    /// Loads what was pulled. If the load needs the user's consent, publishes that instead.
    async fn load(&self, following: &Following, into: &LoadInto, news: &News) {
        let (team, pod) = (following.team, &following.pod);
        let outcome = match (&news.forked, news.versions.first()) {
            (None, Some(version)) => {
                let reference = format!("{pod}@{version}");
                self.load_one(team, reference, into).await
            }
            (Some(exact), _) => Err(ApiError::new(
                ErrorCode::Ambiguous,
                format!("{pod} has several newest versions: {}", exact.join(", ")),
            )),
            (None, None) => return,
        };
        let Err(error) = outcome else { return };
        let error = match error.code {
            // No emulator takes it, by hand neither.
            ErrorCode::BadState => error,
            _ => error.hint(format!(
                "it is on this machine and was not loaded: `podsync load {pod}` loads it, and asks what has to be asked"
            )),
        };
        tracing::warn!(%pod, %error, "podsync could not load a pod that it follows");
        self.team_events
            .trouble(team, Some(pod), None, &error)
            .await;
    }

    async fn load_one(
        &self,
        team: TeamId,
        reference: String,
        into: &LoadInto,
    ) -> Result<(), ApiError> {
        let call = pods::Load {
            reference,
            endpoint: into.endpoint.clone(),
            token: own_token(),
            merge: into.merge.clone(),
            wait_s: 0,
            until_shared: false,
            sources: pods::Sources::Any,
            services: Vec::new(),
            consents: Default::default(),
            // The daemon may have ended after the load and before recording it.
            once: true,
        };
        let loaded = self
            .load
            .load(team, call, Over::WhatIsSaved, &self.context())
            .await?;
        match loaded.failed.first() {
            None => Ok(()),
            Some((service, why)) => Err(ApiError::new(
                ErrorCode::Instance,
                format!("{} was loaded without {service}: {why}", loaded.reference),
            )),
        }
    }
}

/// The path of a home's list.
pub(crate) fn file(home: &std::path::Path) -> std::path::PathBuf {
    home.join(FILE)
}
