//! Errors of an instance, grouped by what the caller can do about them.
//!
//! Every variant but two leaves the instance as it was. [`Error::Interrupted`] doesn't, and says how
//! far the load came; [`Error::NoAnswer`] can't know what the request that it names has done.

use std::{fmt, io, path::PathBuf, time::Duration};

use podsync_core::manifest::Emulator;

use crate::{
    endpoint::{Endpoint, EndpointError},
    report::SaveFailure,
    runtime::Runtime,
    service::Service,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint cannot be used at all; AWS itself is among these.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),

    #[error("no emulator answers at {endpoint} ({reason})")]
    NotRunning { endpoint: Endpoint, reason: String },

    #[error("{endpoint} is not an emulator that podsync knows: it {found}")]
    NotAnEmulator { endpoint: Endpoint, found: String },

    #[error("{runtime} at {endpoint} cannot save or load its state: {}", runtime.reason())]
    NoStateEndpoints {
        endpoint: Endpoint,
        runtime: Runtime,
    },

    /// The state is whole, but not for this instance. Nothing was loaded.
    #[error(
        "{instance} at {endpoint} refuses a state {}: {message}; nothing was loaded",
        saved_by.as_ref().map_or("of unknown origin".to_owned(), |emulator| format!("saved by {emulator}"))
    )]
    Incompatible {
        endpoint: Endpoint,
        instance: Box<Emulator>,
        saved_by: Option<Emulator>,
        message: String,
    },

    /// The instance wants a token, or another one.
    #[error("{endpoint} refused {doing} (HTTP {status}{})", reason(message))]
    Refused {
        endpoint: Endpoint,
        doing: &'static str,
        status: u16,
        message: String,
    },

    #[error(
        "the state from {endpoint} broke off: {received} bytes came{}; nothing was saved",
        expected.map_or(String::new(), |expected| format!(" of {expected}"))
    )]
    Truncated {
        endpoint: Endpoint,
        received: u64,
        expected: Option<u64>,
    },

    #[error(
        "{endpoint} was silent for {} s during {doing}",
        after.as_secs_f32()
    )]
    Stalled {
        endpoint: Endpoint,
        doing: &'static str,
        after: Duration,
    },

    #[error("{what} of {endpoint} is larger than the {limit} bytes that podsync takes")]
    TooLarge {
        endpoint: Endpoint,
        what: &'static str,
        limit: u64,
    },

    /// A load that had begun and did not end. The instance may be half changed.
    #[error(transparent)]
    Interrupted(Box<Interruption>),

    #[error("{endpoint} hung up during {doing} and gave no answer ({reason})")]
    NoAnswer {
        endpoint: Endpoint,
        doing: &'static str,
        reason: String,
    },

    #[error("what {endpoint} sent as its state is no zip; nothing was saved")]
    NotAState { endpoint: Endpoint },

    #[error("{endpoint} could save nothing: {}", failures(failed))]
    NothingSaved {
        endpoint: Endpoint,
        failed: Vec<SaveFailure>,
    },

    /// The services that were asked for were never used in it.
    #[error(
        "the instance at {endpoint} holds nothing of {}, and nothing was saved",
        Service::list(services)
    )]
    NothingThere {
        endpoint: Endpoint,
        services: Vec<Service>,
    },

    /// It was restarted or replaced since the last check. Nothing was sent to the new one.
    #[error(
        "the instance at {endpoint} is not the one that it was a moment ago, and nothing was loaded into it"
    )]
    AnotherInstance { endpoint: Endpoint },

    #[error("{endpoint} has no service {service}")]
    UnknownService {
        endpoint: Endpoint,
        service: Service,
    },

    /// The instance refused or failed.
    #[error("{endpoint} failed at {doing} (HTTP {status}{})", reason(message))]
    Failed {
        endpoint: Endpoint,
        doing: &'static str,
        status: u16,
        message: String,
    },

    #[error("{endpoint} answered {doing} with {what}")]
    Unintelligible {
        endpoint: Endpoint,
        doing: &'static str,
        what: String,
    },

    #[error(
        "the state could not be kept in {} while it arrived ({error})",
        folder.display()
    )]
    Disk { folder: PathBuf, error: io::Error },

    /// The caller's own stream of the state failed, before the instance had all of it.
    #[error("the state could not be read to the end ({0}); nothing was loaded")]
    Source(io::Error),

    #[error("no secure connection can be set up ({0})")]
    Tls(String),
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Endpoint(error) => return error.hint(),
            Self::NotRunning { .. } => {
                "start LocalStack, or name a running one with --endpoint or AWS_ENDPOINT_URL"
                    .to_owned()
            }
            Self::NotAnEmulator { .. } => {
                "name a running LocalStack with --endpoint or AWS_ENDPOINT_URL".to_owned()
            }
            Self::NoStateEndpoints { runtime, .. } => runtime.way_out().to_owned(),
            Self::Incompatible { .. } => {
                "load it into the version that saved it or, if that is older, into a newer one"
                    .to_owned()
            }
            Self::Refused { .. } => {
                "set LOCALSTACK_AUTH_TOKEN to the token that the instance was started with"
                    .to_owned()
            }
            Self::Truncated { .. } => {
                "look whether the instance still runs, and save again".to_owned()
            }
            Self::Stalled { .. } => {
                "look into its log, restart it if it hangs, and try again".to_owned()
            }
            Self::TooLarge { .. } => "save fewer services at once with --services".to_owned(),
            Self::Interrupted(interruption) => interruption.hint().to_owned(),
            Self::NoAnswer { .. } => "it may be restarting: try again once it is up".to_owned(),
            Self::NotAState { .. } => {
                "update LocalStack or the companion plugin there, and save again".to_owned()
            }
            Self::NothingSaved { .. } => {
                "look into its log, or leave these services out with --services".to_owned()
            }
            Self::NothingThere { .. } => {
                "leave out --services to save all that runs, or use what is meant first".to_owned()
            }
            Self::AnotherInstance { .. } => "wait until it has started, then load again".to_owned(),
            Self::UnknownService { endpoint, .. } => {
                format!("{endpoint}/_localstack/health lists those that it has")
            }
            Self::Failed { .. } => "look into its log, and try again".to_owned(),
            Self::Unintelligible { .. } => {
                "update LocalStack or the companion plugin there".to_owned()
            }
            Self::Disk { .. } => {
                "free some space there or make it writable, and try again".to_owned()
            }
            Self::Source(..) => "pull the version again, and load again".to_owned(),
            Self::Tls(..) => "install the system's CA certificates".to_owned(),
        })
    }
}

/// How far an unfinished load came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the load into {endpoint} was interrupted ({reason}): {}", self.account())]
pub struct Interruption {
    pub endpoint: Endpoint,
    /// Services that the instance reported as loaded, in its order.
    pub applied: Vec<Service>,
    /// Services that it reported as failed.
    pub failed: Vec<Service>,
    pub reason: String,
    pub aftermath: Aftermath,
}

/// The state of the instance after an interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aftermath {
    /// The same run still answers, and keeps the applied services.
    Running,
    /// It was restarted: the applied services and the earlier state are gone, unless the instance
    /// persists its state itself.
    Restarted,
    /// Nothing answers any more.
    Gone,
    /// Something answers without an identity.
    Unknown,
}

impl Interruption {
    fn account(&self) -> String {
        let applied = match self.applied.as_slice() {
            [] => "no service was reported as loaded".to_owned(),
            services => format!("loaded by then: {}", Service::list(services)),
        };
        let failed = match self.failed.as_slice() {
            [] => String::new(),
            services => format!(", failed: {}", Service::list(services)),
        };
        let aftermath = match self.aftermath {
            Aftermath::Running | Aftermath::Unknown => "what was there before may be half replaced",
            Aftermath::Restarted => {
                "the instance was restarted meanwhile and most likely lost it all"
            }
            Aftermath::Gone => "the instance no longer answers",
        };
        format!("{applied}{failed}; {aftermath}")
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self.aftermath {
            Aftermath::Running | Aftermath::Unknown => {
                "`podsync undo` brings back what was there before; loading again finishes the load"
            }
            Aftermath::Restarted => "load again",
            Aftermath::Gone => "start the instance, then load again",
        }
    }
}

/// `: message`, or nothing where there is none.
fn reason(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

fn failures(failed: &[SaveFailure]) -> impl fmt::Display {
    let texts: Vec<_> = failed.iter().map(ToString::to_string).collect();
    if texts.is_empty() {
        "it gave no reason".to_owned()
    } else {
        texts.join("; ")
    }
}
