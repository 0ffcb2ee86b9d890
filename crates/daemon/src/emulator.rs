//! Connects to a running emulator by its URL.

use podsync_api::{ApiError, AuthToken, ErrorCode};
use podsync_instance::{Endpoint, Error, Instance, Runtime, Secret};
use serde::Serialize;

use crate::error::Failure;

/// Connects to the emulator at `url` with the caller's auth token.
pub(crate) async fn connect(url: &str, token: Option<&AuthToken>) -> Result<Instance, Failure> {
    let endpoint: Endpoint = url.parse().map_err(podsync_instance::Error::from)?;
    let token = token
        .map(|token| Secret::new(token.expose()))
        .transpose()
        .map_err(|error| ApiError::new(ErrorCode::Invalid, error.to_string()))?;
    Ok(Instance::connect(endpoint, token).await?)
}

/// The auth token in the daemon's own environment, for background work.
pub(crate) fn own_token() -> Option<AuthToken> {
    let token = std::env::var("LOCALSTACK_AUTH_TOKEN").ok()?;
    (!token.is_empty()).then(|| AuthToken::new(token))
}

/// Whether anything answers at `url`.
pub async fn answers(url: &str) -> Result<bool, ApiError> {
    let instance = connect(url, None).await?;
    let health = instance.health().await;
    Ok(!matches!(health, Err(Error::NotRunning { .. })))
}

/// Whether the emulator at `url` can be saved, where a demo or a hook only wants to know.
pub async fn can_be_saved(url: &str, token: Option<&AuthToken>) -> bool {
    match connect(url, token).await {
        Ok(instance) => instance.environment().await.is_ok(),
        Err(_) => false,
    }
}

/// What answers at an endpoint, by what it needs to save and load.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Answering {
    /// LocalStack with a licence.
    Licensed { emulator: String },
    /// Community LocalStack with the companion plugin of this version.
    Plugin { version: String },
    /// Community LocalStack alone.
    Bare { emulator: String },
}

/// Asks the emulator at `url` what it needs to save and load.
pub async fn what_answers(url: &str, token: Option<&AuthToken>) -> Result<Answering, ApiError> {
    let instance = connect(url, token).await?;
    match instance.environment().await {
        Ok(environment) => {
            let emulator = environment.emulator().to_string();
            Ok(match environment.plugin_version {
                Some(version) => Answering::Plugin { version },
                None => Answering::Licensed { emulator },
            })
        }
        Err(Error::NoStateEndpoints {
            runtime: runtime @ Runtime::LocalStack { .. },
            ..
        }) => Ok(Answering::Bare {
            emulator: runtime.to_string(),
        }),
        Err(error) => Err(Failure::from(error).into()),
    }
}

/// The port of an endpoint on this machine. `None` if it is on another machine, or no valid endpoint.
pub fn local_port(url: &str) -> Option<u16> {
    let endpoint: Endpoint = url.parse().ok()?;
    endpoint.is_loopback().then(|| endpoint.port())
}
