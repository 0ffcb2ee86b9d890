//! The hub's settings: default < file < environment < flag. Unknown keys are refused.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use podsync_api::hub::signature::authority;
use podsync_core::TeamId;
use reqwest::Url;
use serde::{Deserialize, Deserializer, de::Error};

use crate::{
    TeamSettings, Teams,
    gc::decide::Retention,
    s3::{Addressing, Credentials, Endpoint, S3Bucket, S3Settings},
    team::Confirm,
};

/// Where a hub listens unless it is told otherwise.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7640);
/// The settings that environment variables may give, such as `PODSYNC_HUB_LISTEN`.
const FROM_ENVIRONMENT: [&str; 3] = ["LISTEN", "PUBLIC_URLS", "WITNESS_KEY"];

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The addresses that members' daemons know this hub by: a request is signed for one of them.
    #[serde(default)]
    pub public_urls: Vec<String>,
    /// The file of the key that joins are witnessed with. Without one the hub witnesses none.
    #[serde(default)]
    pub witness_key: Option<PathBuf>,
    /// Without it the hub speaks plain HTTP, for a proxy in front of it.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    #[serde(default)]
    pub teams: Vec<TeamConfig>,
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A team and its bucket. The credentials are AWS's own chain of environment, profile and role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeamConfig {
    pub team: TeamId,
    pub bucket: String,
    pub region: String,
    /// AWS itself where there is none.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// What members reach the bucket by, where that isn't the hub's own way.
    #[serde(default)]
    pub public_endpoint: Option<String>,
    #[serde(default)]
    pub addressing: AddressingConfig,
    /// The most bytes of objects.
    #[serde(default)]
    pub quota_bytes: Option<u64>,
    /// How long what no version names any more stays, once the collector has seen that.
    #[serde(
        default,
        rename = "retention_hours",
        deserialize_with = "retention_of_hours"
    )]
    pub retention: Retention,
    /// When the hub hashes what was uploaded before a commit names it.
    #[serde(default)]
    pub confirm_uploads: Confirm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressingConfig {
    #[default]
    Path,
    VirtualHost,
}

/// Settings that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("settings: {0}; docs/hub.md and config/hub.toml list every key")]
    Unreadable(config::ConfigError),
    #[error("settings: {0}")]
    Wrong(String),
}

fn retention_of_hours<'de, D: Deserializer<'de>>(hours: D) -> Result<Retention, D::Error> {
    let seconds = u64::deserialize(hours)?.saturating_mul(3600);
    Retention::new(Duration::from_secs(seconds)).ok_or_else(|| {
        D::Error::custom(
            "retention_hours is 24 or more: what is uploaded meanwhile may still come to be named",
        )
    })
}

fn default_listen() -> SocketAddr {
    DEFAULT_LISTEN
}

impl Config {
    /// Reads `file` and the environment.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let environment = FROM_ENVIRONMENT
            .iter()
            .filter_map(|key| {
                let value = std::env::var(format!("PODSYNC_HUB_{key}")).ok()?;
                Some(((*key).to_owned(), value))
            })
            .collect();
        Self::layered(file, environment)
    }

    fn layered(file: &Path, environment: config::Map<String, String>) -> Result<Self, ConfigError> {
        let config: Self = config::Config::builder()
            .add_source(config::File::from(file).format(config::FileFormat::Toml))
            .add_source(
                config::Environment::default()
                    .source(Some(environment))
                    .try_parsing(true)
                    .list_separator(",")
                    .with_list_parse_key("public_urls"),
            )
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(ConfigError::Unreadable)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |what: String| Err(ConfigError::Wrong(what));
        if self.teams.is_empty() {
            return wrong("a hub needs a team: add a [[teams]] with its id and bucket".into());
        }
        let mut teams = BTreeSet::new();
        let mut buckets = BTreeSet::new();
        for team in &self.teams {
            if !teams.insert(team.team) {
                return wrong(format!("team {} stands there twice", team.team));
            }
            if !buckets.insert((&team.endpoint, &team.bucket)) {
                return wrong(format!(
                    "bucket {} is two teams': each needs its own",
                    team.bucket
                ));
            }
        }
        Ok(())
    }

    /// What requests may be signed for.
    pub fn authorities(&self) -> Result<Vec<String>, ConfigError> {
        if self.public_urls.is_empty() {
            return Err(ConfigError::Wrong(
                "public_urls has to name the address that members give to `podsync team set-hub`"
                    .into(),
            ));
        }
        let known = |text: &String| {
            let url: Option<Url> = text.parse().ok();
            url.filter(|url| matches!(url.scheme(), "http" | "https"))
                .and_then(|url| authority(&url))
                .ok_or_else(|| {
                    ConfigError::Wrong(format!("`{text}` in public_urls is no http(s) address"))
                })
        };
        self.public_urls.iter().map(known).collect()
    }

    /// The teams with their buckets, of which none has been asked anything yet.
    pub fn open_teams(&self) -> Result<Teams, ConfigError> {
        let opened = self.teams.iter().map(TeamConfig::open);
        Ok(Teams::only(opened.collect::<Result<Vec<_>, _>>()?))
    }
}

impl TeamConfig {
    /// The team with its bucket, which has not been asked anything yet.
    pub fn open(&self) -> Result<TeamSettings, ConfigError> {
        let wrong = |error: &dyn std::fmt::Display| {
            ConfigError::Wrong(format!("team {}: {error}", self.team))
        };
        let endpoint = |text: &Option<String>| {
            let parsed = text.as_deref().map(str::parse::<Endpoint>).transpose();
            parsed.map_err(|error| wrong(&error))
        };
        let bucket = S3Bucket::new(S3Settings {
            endpoint: endpoint(&self.endpoint)?,
            public_endpoint: endpoint(&self.public_endpoint)?,
            region: self.region.clone(),
            bucket: self.bucket.clone(),
            addressing: match self.addressing {
                AddressingConfig::Path => Addressing::Path,
                AddressingConfig::VirtualHost => Addressing::VirtualHost,
            },
            credentials: Credentials::Chain,
            known: false,
        });
        Ok(TeamSettings {
            team: self.team,
            bucket: Arc::new(bucket.map_err(|error| wrong(&error))?),
            quota: self.quota_bytes,
            retention: self.retention,
            confirm: self.confirm_uploads,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/hub.toml");

    fn layered(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.toml");
        std::fs::write(&file, text).unwrap();
        let environment = environment
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Config::layered(&file, environment.collect())
    }

    fn team(bucket: &str, number: u8) -> String {
        let team = TeamId::from_bytes([number; 32]);
        format!("[[teams]]\nteam = '{team}'\nbucket = '{bucket}'\nregion = 'eu-west-1'\n")
    }

    #[test]
    fn the_shipped_example_parses() {
        let config = Config::layered(Path::new(EXAMPLE), config::Map::new()).unwrap();
        assert_eq!(config.listen, DEFAULT_LISTEN);
        assert_eq!(config.authorities().unwrap(), ["hub.example.com"]);
        assert!(!config.teams.is_empty());
        // What is commented out there parses too.
        let text = std::fs::read_to_string(EXAMPLE).unwrap();
        let all: String = text
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n")
            .collect();
        let config = layered(&all, &[]).unwrap();
        let team = &config.teams[0];
        assert!(config.tls.is_some() && config.witness_key.is_some());
        assert!(team.endpoint.is_some() && team.public_endpoint.is_some());
        assert!(team.quota_bytes.is_some());
        assert_ne!(team.retention, Retention::default());
        assert_eq!(team.addressing, AddressingConfig::VirtualHost);
    }

    #[test]
    fn the_environment_beats_the_file() {
        let text = format!("listen = '127.0.0.1:1'\n{}", team("a", 1));
        let environment = [
            ("LISTEN", "127.0.0.1:2"),
            ("PUBLIC_URLS", "https://a.example,http://b.example:81"),
        ];
        let config = layered(&text, &environment).unwrap();
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.authorities().unwrap(), ["a.example", "b.example:81"]);
    }

    #[test]
    fn wrong_settings_are_refused() {
        let fine = team("a", 1);
        assert!(layered(&fine, &[]).is_ok());
        assert!(layered(&format!("{fine}retention_hours = 24\n"), &[]).is_ok());
        for text in [
            String::new(),
            format!("colour = 'green'\n{fine}"),
            format!("{fine}colour = 'green'\n"),
            format!("{fine}{}", team("b", 1)),
            format!("{fine}{}", team("a", 2)),
            format!("listen = 'nowhere'\n{fine}"),
            fine.replace("0101", "zz"),
            format!("{fine}retention_hours = 23\n"),
        ] {
            assert!(layered(&text, &[]).is_err(), "{text}");
        }
        assert!(layered(&fine, &[]).unwrap().authorities().is_err());
        for url in ["ftp://hub.example", "hub.example", "no url"] {
            let text = format!("public_urls = ['{url}']\n{fine}");
            assert!(layered(&text, &[]).unwrap().authorities().is_err());
        }
    }
}
