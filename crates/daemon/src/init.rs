//! A home before and between daemons: its key, and whether somebody holds it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use podsync_api::{ApiError, ErrorCode};
use podsync_core::{DeviceId, seal::SecretKey};
use podsync_store::Home;
use serde::{Deserialize, Serialize};

use crate::{error::Failure, paths::is_initialised};

/// An old daemon has this long to let go of the home.
const RELEASE_PATIENCE: Duration = Duration::from_secs(10);
const RELEASE_POLL: Duration = Duration::from_millis(50);

/// What `init` made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Initialised {
    pub home: PathBuf,
    pub device: DeviceId,
    /// There was a key before.
    pub already: bool,
}

/// Makes this device's key; does nothing where there is one.
pub fn init(home: &Path) -> Result<Initialised, ApiError> {
    let opened = Home::open(home, "podsync init").map_err(Failure::from)?;
    if let Some(seed) = opened.identity().map_err(Failure::from)? {
        return Ok(Initialised {
            home: opened.root().to_owned(),
            device: device(&seed),
            already: true,
        });
    }
    let seed = SecretKey::from_bytes(rand::random());
    opened.create_identity(&seed).map_err(Failure::from)?;
    Ok(Initialised {
        home: opened.root().to_owned(),
        device: device(&seed),
        already: false,
    })
}

/// Makes a home that was moved or copied here the original, on its owner's word that no other copy
/// runs any more.
pub fn adopt(home: &Path) -> Result<Initialised, ApiError> {
    if !is_initialised(home) {
        return Err(ApiError::new(
            ErrorCode::NotFound,
            format!("{} is not a home: it has no key", home.display()),
        )
        .hint("say where it is with --home, or make a new one with `podsync init`"));
    }
    let opened = Home::open_moved(home, "podsync init --moved").map_err(Failure::from)?;
    let seed = opened.identity().map_err(Failure::from)?.ok_or_else(|| {
        ApiError::new(
            ErrorCode::NotFound,
            format!("the key of {} is gone", home.display()),
        )
    })?;
    Ok(Initialised {
        home: opened.root().to_owned(),
        device: device(&seed),
        already: true,
    })
}

fn device(seed: &SecretKey) -> DeviceId {
    podsync_core::keys::DeviceSecret::from_seed(*seed.expose()).id()
}

/// Who holds `home`, where somebody does; nothing is made or changed.
pub fn holder(home: &Path) -> Result<Option<String>, ApiError> {
    if !is_initialised(home) {
        return Ok(None);
    }
    match Home::open(home, "podsync: looking for the process that holds the home") {
        Err(podsync_store::HomeError::InUse { holder, .. }) => Ok(Some(holder)),
        // What else is wrong with it is for those to tell who need it.
        Ok(_) | Err(_) => Ok(None),
    }
}

/// Waits until the process that holds `home` has let go of it.
pub async fn wait_until_free(home: &Path) -> Result<(), ApiError> {
    let deadline = tokio::time::Instant::now() + RELEASE_PATIENCE;
    loop {
        match Home::open(home, "podsync: waiting for the old daemon") {
            Ok(_) => return Ok(()),
            // A file lock can be tried or waited for without end, but not watched.
            Err(podsync_store::HomeError::InUse { .. })
                if tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(RELEASE_POLL).await;
            }
            Err(podsync_store::HomeError::InUse { holder, .. }) => {
                return Err(
                    ApiError::new(ErrorCode::Busy, format!("{holder} does not end"))
                        .hint("end it by its process id, then try again"),
                );
            }
            Err(error) => return Err(Failure::from(error).into()),
        }
    }
}
