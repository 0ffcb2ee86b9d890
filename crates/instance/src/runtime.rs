//! Emulators that can neither save nor load a state, and what would help.

use std::fmt;

use serde::Serialize;

/// An emulator without state endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    LocalStack { edition: String, version: String },
    MiniStack,
    Moto,
}

impl Runtime {
    /// What makes saving and loading possible, for people.
    pub fn way_out(&self) -> &'static str {
        match self {
            Self::LocalStack { .. } => {
                "run `podsync plugin install`, then restart it; with a licence, start it with LOCALSTACK_AUTH_TOKEN instead"
            }
            Self::MiniStack => {
                "stop it, and save or load the folder that it keeps with PERSIST_STATE=1 (`podsync save --from FOLDER`, `podsync export REF FOLDER`), or use LocalStack"
            }
            Self::Moto => {
                "use LocalStack; `podsync plugin install` lets a community LocalStack save and load"
            }
        }
    }

    /// Why its state can't be saved or loaded.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::LocalStack { .. } => {
                "no licence is active there and podsync's companion plugin isn't installed"
            }
            Self::MiniStack => "MiniStack has no endpoint for that while it runs",
            Self::Moto => "moto keeps its state in memory only and has no endpoint for it",
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalStack { edition, version } => {
                f.write_str("LocalStack")?;
                [edition, version]
                    .into_iter()
                    .filter(|text| !text.is_empty())
                    .try_for_each(|text| write!(f, " {text}"))
            }
            Self::MiniStack => f.write_str("MiniStack"),
            Self::Moto => f.write_str("moto"),
        }
    }
}
