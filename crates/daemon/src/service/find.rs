//! Resolves a reference that a user typed to a version.

use std::{collections::BTreeSet, pin::pin, sync::Arc, time::Duration};

use podsync_api::{Ambiguity, ApiError, ErrorCode, Progress, Stage};
use podsync_core::{
    DeviceId, PodName, TeamId, VersionId,
    catalog::{PrivateVersion, Resolution, VersionRecord},
    engine::{Answer, Command, Engine, EngineError, Event},
    nearest::nearest,
    reference::{Reference, ReferenceError},
};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    call::Context,
    clock::now_ms,
    error::{Failure, api_error},
    hub::sync::HubSync,
    node::handle::Node,
    service::absent::Absent,
};

/// A version that a reference was resolved to.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    Shared(Box<VersionRecord>),
    Private(Box<PrivateVersion>),
}

impl Found {
    pub(crate) fn pod(&self) -> &PodName {
        match self {
            Self::Shared(record) => &record.publication.pod,
            Self::Private(version) => &version.pod,
        }
    }

    pub(crate) fn version(&self) -> VersionId {
        match self {
            Self::Shared(record) => record.version(),
            Self::Private(version) => version.version,
        }
    }
}

/// A version with its reference and its description for people.
pub(crate) struct Named {
    pub(crate) found: Found,
    pub(crate) reference: String,
    pub(crate) author: String,
}

/// How long after its start a daemon may still be learning what was shared while it was off.
pub(crate) const CATCHES_UP_WITHIN: Duration = Duration::from_secs(2);

/// How long a caller waits for a version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How long to wait for news of the version, and for a device that holds it.
    pub(crate) deadline: Instant,
    /// Whether to wait even if no reachable device knows of the version: it may be shared later.
    pub(crate) until_shared: bool,
    /// Whether the caller can say to wait longer.
    may_be_longer: bool,
}

impl Patience {
    pub(crate) fn new(wait_s: u64, until_shared: bool) -> Self {
        Self {
            deadline: Instant::now() + Duration::from_secs(wait_s),
            until_shared,
            may_be_longer: wait_s > 0 && !until_shared,
        }
    }

    /// For work that nobody can make wait longer.
    pub(crate) fn fixed(wait_s: u64) -> Self {
        Self {
            may_be_longer: false,
            ..Self::new(wait_s, false)
        }
    }
}

/// Which sources have reported what they know.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    members: usize,
    /// Whether the hub answered. `None` if the team has no hub.
    hub: Option<bool>,
}

impl Asked {
    fn has_answered(self) -> bool {
        self.members > 0 || self.hub == Some(true)
    }
}

/// If no source answered, nobody has said that the version doesn't exist: that is an outage. `hub` is why the team's
/// hub has told nothing.
fn nobody(error: ApiError, hub: Option<&str>) -> ApiError {
    let hub = hub.map_or_else(String::new, |why| format!(", and {why}"));
    let message = format!(
        "nobody could be asked: no teammate answered{hub}; as far as this device knows, {}",
        error.message
    );
    ApiError {
        code: ErrorCode::Unreachable,
        message,
        ..error
    }
}

/// Finds versions in the catalogs of this home's teams.
#[derive(Clone)]
pub(crate) struct Finder {
    pub(crate) device: DeviceId,
    pub(crate) node: Node,
    pub(crate) hubs: Arc<HubSync>,
    /// When the daemon started.
    pub(crate) started: Instant,
}

impl Finder {
    /// The version that `text` means.
    pub(crate) async fn resolve(&self, team: TeamId, text: &str) -> Result<Named, Failure> {
        let reference: Reference = text
            .parse()
            .map_err(|error: ReferenceError| api_error(ErrorCode::Invalid, &error, error.hint()))?;
        let pod = reference.pod().map(ToString::to_string);
        let named = self
            .node
            .read(move |engine| named(engine, team, &reference))
            .await??;
        let span = tracing::Span::current();
        span.record("pod", pod);
        span.record("version", named.found.version().short());
        Ok(named)
    }

    /// Resolves a reference, and waits for a version that isn't known here yet. Once all reachable sources have
    /// reported, only callers that wait for a future share wait on.
    pub(crate) async fn resolve_within(
        &self,
        team: TeamId,
        reference: &str,
        patience: Patience,
        context: &Context,
    ) -> Result<Named, Failure> {
        let began_ms = now_ms();
        let mut events = self.node.events();
        let mut asking = pin!(timeout_at(patience.deadline, self.ask_everybody(team)));
        let mut asked = None;
        loop {
            let error = match self.resolve(team, reference).await.map_err(ApiError::from) {
                Ok(named) => return Ok(named),
                Err(error) if error.code == ErrorCode::NotFound => error,
                Err(error) => return Err(error.into()),
            };
            // The removal may have been reported before this began to listen.
            self.check_is_member(team).await?;
            let absent = Absent::read(&self.node, self.device, team).await?;
            let nobody_else = absent.is_nobody_else;
            let has_told = asked.is_some_and(|asked: Asked| {
                asked.has_answered() && Instant::now() >= self.started + CATCHES_UP_WITHIN
            });
            if nobody_else || has_told && !patience.until_shared {
                return Err(absent.explain(error, !patience.may_be_longer).into());
            }
            context.report(&Progress {
                waiting: asked.and_then(|asked| absent.line(asked.hub)),
                ..Progress::new(Stage::Finding, 0, None)
            });
            loop {
                let event = tokio::select! {
                    answers = &mut asking, if asked.is_none() => {
                        asked = Some(answers.unwrap_or(Ok(Asked::default()))?);
                        break;
                    }
                    // A daemon that has just started isn't connected yet.
                    () = sleep_until(self.started + CATCHES_UP_WITHIN),
                        if asked.is_some() && Instant::now() < self.started + CATCHES_UP_WITHIN => break,
                    event = timeout_at(patience.deadline, events.recv()) => event,
                };
                match event {
                    // This device's own publications are news too: a restored home gets back what it had published.
                    Ok(
                        Ok(Event::VersionHeard { .. } | Event::VersionShared { .. })
                        | Err(RecvError::Lagged(_)),
                    ) => break,
                    Ok(Ok(Event::Expelled { team: of })) if of == team => {
                        self.check_is_member(team).await?;
                    }
                    Ok(Ok(_)) => {}
                    Ok(Err(RecvError::Closed)) | Err(_) => {
                        let error = match asked {
                            Some(asked) if asked.has_answered() => error,
                            _ => nobody(error, self.silent_hub(team, began_ms).await?.as_deref()),
                        };
                        return Err(absent.explain(error, !patience.may_be_longer).into());
                    }
                }
            }
        }
    }

    /// Names the most similar pods in the hint, if no team of this home has a pod of this name.
    pub(crate) async fn did_you_mean(
        &self,
        error: ApiError,
        pod: &PodName,
    ) -> Result<ApiError, Failure> {
        let pods = self.node.read(|engine| {
            let catalogs = engine.teams().filter_map(|team| engine.catalog(&team));
            let pods = catalogs.flat_map(|catalog| catalog.pods().into_iter().cloned());
            pods.collect::<BTreeSet<PodName>>()
        });
        Ok(with_nearest(error, pod, &pods.await?))
    }

    /// Why the team's hub has told nothing since then. `None` if it has, or the team has no hub.
    async fn silent_hub(&self, team: TeamId, since_ms: u64) -> Result<Option<String>, Failure> {
        if let Some(trouble) = self.hubs.trouble(team).await? {
            return Ok(Some(trouble));
        }
        let hub = self.hubs.hub(team).await?;
        let silent = hub.filter(|hub| hub.standing().heard_ms.is_none_or(|at| at < since_ms));
        Ok(silent.map(|hub| format!("the hub at {} does not answer", hub.url())))
    }

    /// Asks every connected member and the hub for their news.
    async fn ask_everybody(&self, team: TeamId) -> Result<Asked, Failure> {
        let refresh = self.node.command(Command::Refresh { team });
        let (members, hub) = tokio::join!(refresh, self.hubs.poll(team));
        let members = match members?? {
            Answer::Refreshed { members } => members,
            other => return Err(Failure::unexpected(&other)),
        };
        Ok(Asked { members, hub: hub? })
    }

    /// Fails where this device was removed from the team.
    pub(crate) async fn check_is_member(&self, team: TeamId) -> Result<(), Failure> {
        let me = self.device;
        let checked = self.node.read(move |engine| {
            let roster = engine.roster(&team).ok_or(EngineError::UnknownTeam(team))?;
            match roster.is_member(&me) {
                true => Ok(()),
                false => Err(EngineError::Expelled(roster.name().clone())),
            }
        });
        Ok(checked.await??)
    }
}

fn named(engine: &Engine, team: TeamId, reference: &Reference) -> Result<Named, ApiError> {
    let catalog = engine
        .catalog(&team)
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "this home is no longer in that team"))?;
    match catalog.resolve(reference) {
        Resolution::Shared(record) => Ok(Named {
            reference: catalog.exact_reference(&record),
            author: record.author.to_string(),
            found: Found::Shared(record),
        }),
        Resolution::Private(version) => Ok(Named {
            reference: private_reference(&version),
            author: "you".to_owned(),
            found: Found::Private(version),
        }),
        Resolution::Path(path) => Err(ApiError::new(
            ErrorCode::Invalid,
            format!("{path} is a file or folder, not a version"),
        )
        .hint("save it first: `podsync save NAME --from PATH`")),
        Resolution::Ambiguous { exact } => Err(ApiError::ambiguous(Ambiguity {
            reference: reference.to_string(),
            exact,
        })),
        Resolution::NoPod { near, pods } => {
            let error = ApiError::new(
                ErrorCode::NotFound,
                format!("no pod is called {}", shown_pod(reference)),
            );
            Err(match (&near[..], pods.len()) {
                ([], 0) => error.hint("there is none: `podsync save NAME` makes one"),
                ([], _) => error.hint("`podsync list` shows all pods"),
                (near, _) => error.hint(format!("did you mean {}?", list(near))),
            })
        }
        Resolution::NoVersion { pod, near } => {
            let error = ApiError::new(
                ErrorCode::NotFound,
                format!("pod {pod} has no version `{reference}`"),
            );
            Err(if near.is_empty() {
                error.hint(format!("`podsync versions {pod}` lists them"))
            } else {
                error.hint(format!("there is {}", near.join(", ")))
            })
        }
    }
}

fn with_nearest(error: ApiError, pod: &PodName, pods: &BTreeSet<PodName>) -> ApiError {
    let near = nearest(pod.as_str(), pods.iter().map(PodName::as_str));
    if pods.contains(pod) || near.is_empty() {
        return error;
    }
    error.hint(format!("did you mean {}?", near.join(" or ")))
}

fn shown_pod(reference: &Reference) -> String {
    reference
        .pod()
        .map_or_else(|| reference.to_string(), ToString::to_string)
}

fn list(names: &[PodName]) -> String {
    names
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" or ")
}

pub(crate) fn private_reference(version: &PrivateVersion) -> String {
    Reference::Private {
        pod: version.pod.clone(),
        number: version.number,
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_answered_with_what_was_meant() {
        let pod = |name: &str| PodName::new(name).unwrap();
        let pods = BTreeSet::from([pod("orders"), pod("billing")]);
        let hint = |name| {
            let error = ApiError::new(ErrorCode::NotFound, "none here").hint("look");
            with_nearest(error, &pod(name), &pods).hint.unwrap()
        };
        assert_eq!(hint("ordres"), "did you mean orders?");
        assert_eq!(hint("orders"), "look", "it is a pod, and not here");
        assert_eq!(hint("zebra"), "look");
    }

    #[test]
    fn where_nobody_was_heard_it_is_an_outage_and_no_refusal() {
        let unknown = || {
            ApiError::new(ErrorCode::NotFound, "no pod is called ord").hint("did you mean orders?")
        };
        let away = Asked {
            members: 0,
            hub: Some(false),
        };
        assert!(!away.has_answered());
        let told = nobody(
            unknown(),
            Some("the hub at https://hub.example does not answer"),
        );
        assert_eq!(told.code, ErrorCode::Unreachable);
        assert_eq!(
            told.message,
            "nobody could be asked: no teammate answered, and the hub at https://hub.example does not answer; as far \
             as this device knows, no pod is called ord"
        );
        assert_eq!(told.hint.as_deref(), Some("did you mean orders?"));
        let told = nobody(unknown(), None);
        assert!(!told.message.contains("hub"), "{told}");
    }
}
