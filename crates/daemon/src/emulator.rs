//! A running emulator, by what the user named.

use podsync_api::{ApiError, AuthToken, ErrorCode};
use podsync_instance::{Endpoint, Instance, Secret};

use crate::error::Failure;

/// Connects to the emulator at `url`, with the token of whoever asked for it.
pub(crate) async fn connect(url: &str, token: Option<&AuthToken>) -> Result<Instance, Failure> {
    let endpoint: Endpoint = url.parse().map_err(podsync_instance::Error::from)?;
    let token = token
        .map(|token| Secret::new(token.expose()))
        .transpose()
        .map_err(|error| ApiError::new(ErrorCode::Invalid, error.to_string()))?;
    Ok(Instance::connect(endpoint, token).await?)
}

/// Whether the emulator at `url` can be saved, where a demo or a hook only wants to know.
pub async fn can_be_saved(url: &str, token: Option<&AuthToken>) -> bool {
    match connect(url, token).await {
        Ok(instance) => instance.environment().await.is_ok(),
        Err(_) => false,
    }
}
