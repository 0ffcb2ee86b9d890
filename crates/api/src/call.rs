//! What makes a request a call, and the progress that a call reports.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Whether a call is about the whole home or one team; the team is part of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Home,
    Team,
}

/// One thing that the daemon can be asked.
pub trait Call: Serialize + DeserializeOwned + Send + Sync + 'static {
    type Answer: Serialize + DeserializeOwned + Send + 'static;
    const SCOPE: Scope;
    /// The last part of the path: `/v1/PATH`, or `/v1/teams/{team}/PATH`.
    const PATH: &'static str;

    /// The versions that the call names, as somebody typed them.
    fn references(&mut self) -> Vec<&mut String> {
        Vec::new()
    }
}

/// Names of the events in a streamed answer.
pub mod event {
    pub const PROGRESS: &str = "progress";
    pub const ANSWER: &str = "answer";
    pub const ERROR: &str = "error";
}

/// How far a call has come. `total` is unknown until the source says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    pub stage: Stage,
    /// Bytes done in this stage.
    pub done: u64,
    pub total: Option<u64>,
    /// Who hands over bytes right now, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    /// The service that the emulator is done with, and why it wasn't loaded if it wasn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<(String, Option<String>)>,
    /// What keeps it from going on and may pass by itself: it is tried again until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

impl Progress {
    pub fn new(stage: Stage, done: u64, total: Option<u64>) -> Self {
        Self {
            stage,
            done,
            total,
            providers: Vec::new(),
            service: None,
            waiting: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading from the emulator.
    Reading,
    /// Chunking, compressing and sealing.
    Packing,
    /// Making what was private shareable.
    Sharing,
    /// Looking for teammates who hold it.
    Finding,
    Pulling,
    /// Into the team's bucket.
    Uploading,
    /// Rebuilding the state.
    Rebuilding,
    /// The emulator takes it.
    Loading,
    /// Reading again what is held.
    Verifying,
}

macro_rules! call {
    ($request:ty => $answer:ty, $scope:ident, $path:literal $(, names $($reference:ident)+)?) => {
        impl crate::Call for $request {
            type Answer = $answer;
            const SCOPE: crate::Scope = crate::Scope::$scope;
            const PATH: &'static str = $path;
            $(
                fn references(&mut self) -> Vec<&mut String> {
                    vec![$(&mut self.$reference),+]
                }
            )?
        }
    };
}
pub(crate) use call;
