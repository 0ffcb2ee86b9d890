//! Settings that change under a running hub: SIGHUP has them read again.
//!
//! All of it is read and opened before anything is changed, so a bad file leaves the old settings in force.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use podsync_core::TeamId;

use crate::{
    Hub, Identity, TeamSettings,
    config::{Config, ConfigError, PublicUrl, TeamConfig, TlsConfig},
    guard::Guard,
    witness::{self, WitnessError},
};

/// Why settings can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// Of the file that `metrics_token` names.
    #[error("metrics_token: {0}")]
    Token(io::Error),
    #[error("{}: public_urls has to name the address that members give to `podsync team set-hub`", .0.display())]
    NoPublicUrl(PathBuf),
    #[error("team {team}: {why}")]
    Team { team: TeamId, why: String },
}

/// Where settings come from: a file, and flags over it.
#[derive(Debug, Clone)]
pub struct Source {
    pub file: PathBuf,
    /// Beat those of the file, if there are any.
    pub public_urls: Vec<PublicUrl>,
    /// Beats that of the file.
    pub listen: Option<SocketAddr>,
}

/// What was read of it.
#[derive(Debug)]
pub struct Settings {
    pub config: Config,
    pub identity: Identity,
}

impl Source {
    pub fn read(&self) -> Result<Settings, ReloadError> {
        let mut config = Config::load(&self.file)?;
        if !self.public_urls.is_empty() {
            config.public_urls.clone_from(&self.public_urls);
        }
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        if config.public_urls.is_empty() {
            return Err(ReloadError::NoPublicUrl(self.file.clone()));
        }
        let witness = config.witness_key.as_deref().map(witness::read);
        let guard = config.metrics_token.as_deref().map(Guard::from_file);
        let identity = Identity {
            authorities: config.authorities(),
            witness: witness.transpose()?,
            guard: guard
                .transpose()
                .map_err(ReloadError::Token)?
                .unwrap_or_default(),
            moved: config.moved(),
        };
        Ok(Settings { config, identity })
    }
}

/// The settings in force.
#[derive(Debug)]
pub struct Reload {
    source: Source,
    config: Config,
    /// What only a restart changes, as the hub started with it.
    started: (SocketAddr, Option<TlsConfig>),
    hub: Arc<Hub>,
}

impl Reload {
    pub fn new(source: Source, config: Config, hub: Arc<Hub>) -> Self {
        Self {
            started: (config.listen, config.tls.clone()),
            source,
            config,
            hub,
        }
    }

    /// Reads the settings again. A bad file changes nothing, and the log says what is wrong.
    pub fn again(&mut self) {
        match self.try_again() {
            Ok(()) => {
                tracing::info!(file = %self.source.file.display(), teams = self.config.teams.len(), "the hub read the settings again")
            }
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the hub can't read the settings and keeps the old ones"
                );
            }
        }
    }

    fn try_again(&mut self) -> Result<(), ReloadError> {
        let Settings { config, identity } = self.source.read()?;
        let before = &self.config.teams;
        let changed = config.teams.iter().filter(|team| !before.contains(team));
        let opened: Vec<TeamSettings> = changed
            .map(|team| {
                let opened = team.open();
                opened.map_err(|why| ReloadError::Team {
                    team: team.team,
                    why,
                })
            })
            .collect::<Result<_, _>>()?;
        let stays = |team: &TeamConfig| config.teams.iter().any(|new| new.team == team.team);
        let gone = before.iter().filter(|team| !stays(team));
        for team in gone {
            tracing::info!(team = %team.team, "the hub no longer serves the team");
            self.hub.forget(team.team);
        }
        for settings in opened {
            tracing::info!(team = %settings.team, "the hub serves the team by new settings");
            self.hub.teams().put(settings);
        }
        self.hub.change_identity(identity);
        let (listen, tls) = &self.started;
        if config.listen != *listen || config.tls != *tls {
            tracing::warn!("`listen` and the names of TLS files change with a restart only");
        }
        self.config = config;
        Ok(())
    }
}
