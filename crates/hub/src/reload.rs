//! Settings that change under a running hub: SIGHUP has them read again.
//!
//! All of it is read and opened before anything is changed, so a bad file leaves the old settings in force.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use podsync_core::TeamId;

use crate::{
    Hub, Identity, TeamSettings,
    config::{Config, ConfigError, PublicUrl, TeamConfig, TlsConfig},
    guard::Guard,
    witness,
};

/// Why settings can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
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
            let what = "it has to name the address that members give to `podsync team set-hub`, such as https://hub.example.com";
            return Err(self.wrong("public_urls", what).into());
        }
        let witness = config.witness_key.as_deref().map(witness::read);
        let witness = witness.transpose();
        let witness = witness.map_err(|error| self.wrong("witness_key", &error.to_string()))?;
        let guard = config.metrics_token.as_deref().map(Guard::from_file);
        let guard = guard.transpose();
        let guard = guard.map_err(|error| self.wrong("metrics_token", &error.to_string()))?;
        let identity = Identity {
            authorities: config.authorities(),
            witness,
            guard: guard.unwrap_or_default(),
            moved: config.moved(),
        };
        Ok(Settings { config, identity })
    }

    /// Reads all that a hub starts with, also the TLS files.
    pub fn check(&self) -> Result<Config, ReloadError> {
        let Settings { config, .. } = self.read()?;
        if let Some(tls) = &config.tls {
            self.check_tls(tls)?;
        }
        Ok(config)
    }

    fn check_tls(&self, tls: &TlsConfig) -> Result<(), ConfigError> {
        let read = tls.files().read().map(drop);
        read.map_err(|error| ConfigError::of_tls(&self.file, &error))
    }

    fn wrong(&self, key: &str, what: &str) -> ConfigError {
        ConfigError::of_key(&self.file, key, what)
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

    /// Reads the settings again. A bad file changes nothing, and the log says what is wrong. In a line what became of
    /// it, for the supervisor.
    pub fn again(&mut self) -> String {
        let read = self.try_again();
        self.hub.metrics.settings_taken.set(i64::from(read.is_ok()));
        match read {
            Ok(()) => {
                let (file, teams) = (self.source.file.display(), self.config.teams.len());
                tracing::info!(%file, teams, "the hub read the settings again");
                format!("read the settings again; teams: {teams}")
            }
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the hub can't read the settings and keeps the old ones"
                );
                let why = error.to_string().replace('\n', " ");
                format!("keeps the old settings: {why}")
            }
        }
    }

    fn try_again(&mut self) -> Result<(), ReloadError> {
        let Settings { config, identity } = self.source.read()?;
        let (listen, tls) = &self.started;
        // The next start would end by them. Those in force are followed by their files.
        if let Some(named) = config
            .tls
            .as_ref()
            .filter(|named| tls.as_ref() != Some(*named))
        {
            self.source.check_tls(named)?;
        }
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
            let TeamConfig { team, bucket, .. } = team;
            tracing::info!(%team, bucket, "the hub no longer serves the team");
            self.hub.forget(*team);
        }
        for settings in opened {
            let (team, bucket) = (settings.team, settings.bucket.name());
            tracing::info!(%team, bucket, "the hub serves the team by new settings");
            self.hub.teams().put(settings);
        }
        self.hub.change_identity(identity);
        if config.listen != *listen || config.tls != *tls {
            tracing::warn!("`listen` and the names of TLS files change with a restart only");
        }
        self.config = config;
        Ok(())
    }
}
