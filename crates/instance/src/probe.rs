//! Probes an endpoint: edition, versions, services, and which run of the instance it is.
//!
//! MiniStack answers `/_localstack/health` as LocalStack does, so health alone proves nothing; only
//! `/_localstack/pods/environment` shows that a state can be saved and loaded. The token is kept
//! back until health looks like LocalStack.

use std::{collections::BTreeMap, fmt};

use podsync_core::manifest::Emulator;
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    answer, error::Error, instance::Instance, printable::printable, runtime::Runtime,
    service::Service,
};

/// The most characters of a version or an edition; LocalStack's have some 20.
const MAX_VERSION_CHARS: usize = 64;

/// The edition of a LocalStack that was installed with pip.
const NO_EDITION: &str = "unknown";

/// The longest session id; LocalStack's are UUIDs.
const MAX_IDENTITY_LEN: usize = 128;

/// The answer of `/_localstack/health`. Invalid service names are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// `community`, `pro`, ...; empty where it isn't told.
    pub edition: String,
    pub version: String,
    /// Each service's status: `available`, `running`, `disabled`, `error`.
    pub services: BTreeMap<Service, String>,
}

/// What `/_localstack/pods/environment` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Environment {
    pub localstack_version: String,
    /// Whether a licence is active.
    pub pro: bool,
    /// The version of podsync's companion plugin, where that is what answers.
    pub plugin_version: Option<String>,
}

impl Environment {
    /// The emulator as manifests name it.
    pub fn emulator(&self) -> Emulator {
        Emulator {
            name: if self.pro {
                "localstack-pro"
            } else {
                "localstack"
            }
            .to_owned(),
            version: self.localstack_version.clone(),
        }
    }
}

/// One run of one instance: the same over requests and resets, another one after a restart.
///
/// It is LocalStack's session id, which is random per process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identity(String);

impl Identity {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Identity {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > MAX_IDENTITY_LEN || !text.bytes().all(plain) {
            return Err(
                "an instance's identity has 1 to 128 characters of a-z, A-Z, 0-9, `-`, `_` and `.`",
            );
        }
        Ok(Self(text))
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> String {
        identity.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[derive(Deserialize)]
struct RawHealth {
    services: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    edition: String,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
struct RawEnvironment {
    localstack_version: String,
    #[serde(default)]
    pro: bool,
    podsync_localstack_version: Option<String>,
}

#[derive(Deserialize)]
struct RawInfo {
    session_id: Option<String>,
}

impl Instance {
    /// Edition, version and services, from whatever emulator answers as LocalStack does.
    pub async fn health(&self) -> Result<Health, Error> {
        const DOING: &str = "asking for its health";
        let response = self.probe("/_localstack/health", DOING).await?;
        let status = response.status();
        let raw = match status {
            StatusCode::OK => {
                let idle = self.limits().idle;
                answer::json::<RawHealth>(response, self.endpoint(), DOING, idle).await
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                return Err(
                    answer::refusal(response, self.endpoint(), DOING, self.limits().idle).await,
                );
            }
            _ => Err(self.no_emulator(status)),
        };
        let raw = match raw {
            Ok(raw) => raw,
            Err(Error::Stalled {
                endpoint,
                doing,
                after,
            }) => {
                return Err(Error::Stalled {
                    endpoint,
                    doing,
                    after,
                });
            }
            Err(_) if self.is_moto().await => return Err(self.no_state_endpoints(Runtime::Moto)),
            Err(_) => return Err(self.no_emulator(status)),
        };
        Ok(Health {
            edition: match printable(&raw.edition, MAX_VERSION_CHARS) {
                edition if edition == NO_EDITION => String::new(),
                edition => edition,
            },
            version: printable(&raw.version, MAX_VERSION_CHARS),
            services: raw
                .services
                .into_iter()
                .filter_map(|(name, status)| {
                    let status = printable(status.as_str().unwrap_or_default(), MAX_VERSION_CHARS);
                    Some((Service::new(name).ok()?, status))
                })
                .collect(),
        })
    }

    /// The environment that can save and load here. Without one, an error that says what is
    /// missing.
    pub async fn environment(&self) -> Result<Environment, Error> {
        const DOING: &str = "asking for its environment";
        let health = self.health().await?;
        let request = self.authorized(self.get("/_localstack/pods/environment"));
        let response = self.answer(request, DOING, self.limits().idle).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                let runtime = if self.is_ministack().await {
                    Runtime::MiniStack
                } else {
                    Runtime::LocalStack {
                        edition: health.edition,
                        version: health.version,
                    }
                };
                return Err(self.no_state_endpoints(runtime));
            }
            _ => {
                return Err(
                    answer::refusal(response, self.endpoint(), DOING, self.limits().idle).await,
                );
            }
        }
        let raw: RawEnvironment =
            answer::json(response, self.endpoint(), DOING, self.limits().idle).await?;
        Ok(Environment {
            localstack_version: printable(&raw.localstack_version, MAX_VERSION_CHARS),
            pro: raw.pro,
            plugin_version: raw
                .podsync_localstack_version
                .map(|version| printable(&version, MAX_VERSION_CHARS)),
        })
    }

    /// The run of this instance. None if it isn't reported: two answers must not be taken for the
    /// same instance then.
    pub async fn identity(&self) -> Result<Option<Identity>, Error> {
        const DOING: &str = "asking who it is";
        let response = self.probe("/_localstack/info", DOING).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => {
                return Err(
                    answer::refusal(response, self.endpoint(), DOING, self.limits().idle).await,
                );
            }
        }
        let raw: RawInfo =
            answer::json(response, self.endpoint(), DOING, self.limits().idle).await?;
        Ok(raw.session_id.and_then(|id| Identity::try_from(id).ok()))
    }

    async fn is_ministack(&self) -> bool {
        self.answers_ok("/_ministack/health").await
    }

    async fn is_moto(&self) -> bool {
        self.answers_ok("/moto-api/data.json").await
    }

    async fn answers_ok(&self, path: &str) -> bool {
        let response = self.probe(path, "asking which emulator it is").await;
        response.is_ok_and(|response| response.status() == StatusCode::OK)
    }

    /// A small question without the token.
    async fn probe(&self, path: &str, doing: &'static str) -> Result<Response, Error> {
        self.answer(self.get(path), doing, self.limits().idle).await
    }

    fn no_emulator(&self, status: StatusCode) -> Error {
        let found = match status {
            StatusCode::OK => "doesn't tell its health as LocalStack does".to_owned(),
            _ => format!(
                "answers HTTP {} where LocalStack tells its health",
                status.as_u16()
            ),
        };
        Error::NotAnEmulator {
            endpoint: self.endpoint().clone(),
            found,
        }
    }

    pub(crate) fn no_state_endpoints(&self, runtime: Runtime) -> Error {
        Error::NoStateEndpoints {
            endpoint: self.endpoint().clone(),
            runtime,
        }
    }
}
