//! A home before it has a daemon: its key.

use std::path::{Path, PathBuf};

use podsync_api::{ApiError, ErrorCode};
use podsync_core::{DeviceId, seal::SecretKey};
use podsync_store::Home;
use serde::{Deserialize, Serialize};

use crate::{error::Failure, paths::is_initialised};

/// What `init` made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Initialised {
    pub home: PathBuf,
    pub device: DeviceId,
    /// The home already had a key.
    pub already: bool,
}

/// Makes this device's key. Does nothing if there is one.
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

/// Declares a moved or copied home the original. Its owner vouches that no other copy runs.
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

/// A new home that can be removed again if the command that made it fails.
#[derive(Debug)]
pub struct NewHome(podsync_store::NewHome);

impl NewHome {
    /// `None` if there is a home already.
    pub fn at(home: &Path) -> Option<Self> {
        podsync_store::NewHome::at(home).map(Self)
    }

    /// Removes the home that was made there since. No process may hold it.
    pub fn take_back(self) -> Result<(), ApiError> {
        Ok(self.0.take_back().map_err(Failure::from)?)
    }
}
