//! Records whose states were loaded here before. An emulator executes code in a state, so the first load from each
//! device needs consent.
//!
//! A device is known once a version that it made was loaded. A pull isn't enough.

use podsync_api::{ApiError, Consent};
use podsync_core::{DeviceId, TeamId, codec::Format};
use podsync_store::{Key, Log, Namespace, Record, StoreError};
use serde::{Deserialize, Serialize};

use crate::{
    error::Failure,
    node::handle::Node,
    service::find::{Finder, Found},
};

const SIGNERS: Namespace = Namespace::new("signers");

/// A device whose states are loaded here without asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownSigner {
    /// Unix milliseconds.
    since_ms: u64,
}

impl Format for KnownSigner {
    const NAME: &'static str = "known signer";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 16;
}

/// The devices whose states were loaded here.
pub(crate) struct Signers {
    pub(crate) device: DeviceId,
    pub(crate) node: Node,
    pub(crate) log: Log,
    pub(crate) finder: Finder,
}

impl Signers {
    /// The teammate's device that made a version. `None` if it was made here.
    pub(crate) async fn signer(
        &self,
        team: TeamId,
        reference: &str,
    ) -> Result<Option<DeviceId>, Failure> {
        let device = match self.finder.resolve(team, reference).await?.found {
            Found::Shared(record) => record.device(),
            _ => return Ok(None),
        };
        Ok((device != self.device).then_some(device))
    }

    /// Whether a version that this device made was loaded here before.
    pub(crate) async fn knows(&self, team: TeamId, device: DeviceId) -> Result<bool, Failure> {
        let log = self.log.clone();
        let known = tokio::task::spawn_blocking(move || log.get(&key(team, device))).await??;
        Ok(known.is_some())
    }

    /// Refuses a version of a device from which nothing was loaded here before.
    pub(crate) async fn check(
        &self,
        team: TeamId,
        device: DeviceId,
        reference: &str,
    ) -> Result<(), Failure> {
        if self.knows(team, device).await? {
            return Ok(());
        }
        let name = self.node.read(move |engine| {
            let record = engine.membership(&team)?.state().member(&device)?;
            Some(format!("{}'s device {}", record.member, record.label))
        });
        let name = name.await?.unwrap_or_else(|| "a device".to_owned());
        Err(ApiError::unconfirmed(
            Consent::NewSigner,
            format!(
                "{reference} was made on {name} ({}), nothing of that device was loaded here before, \
                 and an emulator runs what is in a state",
                device.short()
            ),
        )
        .into())
    }

    /// Records a device: from now on its states are loaded without asking.
    pub(crate) async fn remember(&self, team: TeamId, device: DeviceId) -> Result<(), Failure> {
        let since = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap_or_default();
        let signer = KnownSigner {
            since_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        };
        let log = self.log.clone();
        tokio::task::spawn_blocking(move || {
            if log.get(&key(team, device))?.is_none() {
                log.commit(&[Record::put(key(team, device), signer.encode())])?;
            }
            Ok::<_, StoreError>(())
        })
        .await??;
        Ok(())
    }
}

fn key(team: TeamId, device: DeviceId) -> Key {
    Key::Setting {
        namespace: SIGNERS,
        key: [&team.as_bytes()[..], device.as_bytes()].concat(),
    }
}
