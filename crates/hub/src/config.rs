//! The hub's settings: default < file < environment < flag. Unknown keys are refused.
//!
//! The hub refuses a wrong value where it reads it, so that the error has its file, line and key.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use podsync_api::hub::signature::authority;
use podsync_core::TeamId;
use reqwest::Url;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

use crate::{
    Confirm, TeamSettings, Teams,
    gc::decide::Retention,
    moved::Moved,
    regular,
    s3::{Addressing, Credentials, Endpoint, EndpointError, S3Bucket, S3Settings, unusable_proxy},
    tls::{Tls, TlsError},
};

/// Where a hub listens by default.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7640);
/// The most bytes of a settings file: a team takes some hundred.
const MAX_FILE_LEN: u64 = 4 << 20;
/// Environment variables of settings begin with it.
const PREFIX: &str = "PODSYNC_HUB_";

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default = "default_listen", deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// The addresses that members' daemons know this hub by: a request is signed for one of them.
    #[serde(default)]
    pub public_urls: Vec<PublicUrl>,
    /// The file of the key that joins are witnessed with. Without one the hub witnesses none.
    #[serde(default)]
    pub witness_key: Option<PathBuf>,
    /// The file of the token that `/metrics` and `/health/teams` are shown for. Without one they are shown to
    /// nobody.
    #[serde(default)]
    pub metrics_token: Option<PathBuf>,
    /// Without it the hub speaks plain HTTP, for a proxy in front of it.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    #[serde(default)]
    pub teams: Vec<TeamConfig>,
    /// Teams that are at another hub by now.
    #[serde(default)]
    pub moved: Vec<MovedConfig>,
}

/// Where a team's hub is now, or where those of all teams are that this one doesn't serve.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedConfig {
    #[serde(default, deserialize_with = "moved_team_id")]
    pub team: Option<TeamId>,
    pub to: PublicUrl,
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
    #[serde(deserialize_with = "team_id")]
    pub team: TeamId,
    pub bucket: String,
    pub region: String,
    /// Without it the server is AWS.
    #[serde(default)]
    pub endpoint: Option<Endpoint>,
    /// The URL by which members reach the bucket, if it differs from the hub's.
    #[serde(default)]
    pub public_endpoint: Option<Endpoint>,
    #[serde(default, deserialize_with = "addressing")]
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
    #[serde(default, deserialize_with = "confirm")]
    pub confirm_uploads: Confirm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressingConfig {
    #[default]
    Path,
    VirtualHost,
}

/// An address that members know the hub by, such as `https://hub.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    authority: String,
    secure: bool,
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('@') {
            // A password is repeated nowhere.
            let why = "a public address of a hub has no user name and no password; write https://HOST or https://HOST:PORT";
            return Err(why.to_owned());
        }
        let wrong = |why: &str| {
            format!(
                "`{text}` is not a public address of a hub: {why}; write https://HOST or https://HOST:PORT"
            )
        };
        let url: Url = text.parse().map_err(|_| wrong("it is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("it is neither http nor https"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has a path"));
        }
        let authority = authority(&url).ok_or_else(|| wrong("it names no host"))?;
        let secure = url.scheme() == "https";
        Ok(Self { authority, secure })
    }
}

/// Parses a text where it is read, so that the parser knows its line: also within an array.
impl Visitor<'_> for PublicUrlVisitor {
    type Value = PublicUrl;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address such as https://hub.example.com")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PublicUrl, E> {
        text.parse().map_err(E::custom)
    }
}

struct PublicUrlVisitor;

/// One of some words, with what each means.
struct Choice<T: 'static>(&'static [(&'static str, T)]);

impl<T: Copy + 'static> Visitor<'_> for Choice<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        write!(f, "one of {}", words.join(", "))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let found = self.0.iter().find(|(word, _)| *word == text);
        match found {
            Some((_, value)) => Ok(*value),
            None => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

fn addressing<'de, D: Deserializer<'de>>(text: D) -> Result<AddressingConfig, D::Error> {
    text.deserialize_str(Choice(&[
        ("path", AddressingConfig::Path),
        ("virtual-host", AddressingConfig::VirtualHost),
    ]))
}

fn confirm<'de, D: Deserializer<'de>>(text: D) -> Result<Confirm, D::Error> {
    text.deserialize_str(Choice(&[
        ("where-needed", Confirm::WhereNeeded),
        ("always", Confirm::Always),
        ("never", Confirm::Never),
    ]))
}

fn listen<'de, D: Deserializer<'de>>(text: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(text)?;
    text.parse()
        .map_err(|_| D::Error::custom(no_address(&text)))
}

fn no_address(text: &str) -> String {
    format!("`{text}` is no address to listen at; write IP:PORT, such as 0.0.0.0:7640")
}

impl<'de> Deserialize<'de> for PublicUrl {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        text.deserialize_str(PublicUrlVisitor)
    }
}

/// Settings that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    // Not its `source`: who prints a chain of causes would say it twice.
    #[error("{file} can't be read: {error}; name the settings with --config", file = .file.display())]
    Unreadable {
        file: PathBuf,
        error: std::io::Error,
    },
    /// Line, key and choices are the parser's own words.
    #[error("{file}: {error}docs/hub.md and config/hub.toml list every key", file = .file.display())]
    Malformed {
        file: PathBuf,
        error: toml::de::Error,
    },
    #[error("{}: {what}", place(.file, .line))]
    Wrong {
        file: PathBuf,
        /// `None` if it is about what the file lacks.
        line: Option<usize>,
        what: String,
    },
    #[error("{variable} in the environment: {what}")]
    Environment { variable: String, what: String },
}

impl ConfigError {
    /// The parser's words, but for those that repeat a URL with a password.
    fn of_parser(file: &Path, text: &str, error: toml::de::Error) -> Self {
        let file = file.to_owned();
        if !error.to_string().contains('@') {
            return Self::Malformed { file, error };
        }
        let before = error.span().and_then(|span| text.get(..span.start));
        let number = before.map_or(0, |before| before.matches('\n').count());
        let line = text.split('\n').nth(number).unwrap_or_default();
        let key = line.split_once('=').map(|(key, _)| key.trim());
        let is_key = |key: &&str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            key.bytes().all(plain)
        };
        let key = key.filter(is_key);
        let why = match error.message() {
            secret if secret.contains('@') => {
                "its value can't be used, and is not repeated here because it may hold a password"
            }
            plain => plain,
        };
        Self::Wrong {
            file,
            line: before.map(|_| number + 1),
            what: key.map_or_else(|| why.to_owned(), |key| format!("{key}: {why}")),
        }
    }

    /// About the files of `[tls]`, where the settings name them.
    pub fn of_tls(file: &Path, error: &TlsError) -> Self {
        let text = regular::read_text(file, MAX_FILE_LEN).unwrap_or_default();
        Self::Wrong {
            file: file.to_owned(),
            line: line_of(&text, TLS, error.key),
            what: error.to_string(),
        }
    }

    /// About a key outside of tables, where its value is from: the environment or the file.
    pub fn of_key(file: &Path, key: &str, what: &str) -> Self {
        let variable = format!("{PREFIX}{}", key.to_uppercase());
        if std::env::var_os(&variable).is_some() {
            let what = what.to_owned();
            return Self::Environment { variable, what };
        }
        let text = regular::read_text(file, MAX_FILE_LEN).unwrap_or_default();
        Self::Wrong {
            file: file.to_owned(),
            line: line_of(&text, ROOT, key),
            what: format!("{key}: {what}"),
        }
    }
}

fn place(file: &Path, line: &Option<usize>) -> String {
    let file = file.display();
    line.map_or_else(|| file.to_string(), |line| format!("{file}, line {line}"))
}

fn retention_of_hours<'de, D: Deserializer<'de>>(hours: D) -> Result<Retention, D::Error> {
    let seconds = u64::deserialize(hours)?.saturating_mul(3600);
    Retention::new(Duration::from_secs(seconds)).ok_or_else(|| {
        D::Error::custom(
            "retention_hours is 24 or more: what is uploaded meanwhile may still come to be named",
        )
    })
}

/// Members see its beginning only, unless they ask for more.
fn team_id<'de, D: Deserializer<'de>>(text: D) -> Result<TeamId, D::Error> {
    let text = String::deserialize(text)?;
    text.parse::<TeamId>().map_err(|error| {
        D::Error::custom(format!(
            "{error}; a member's `podsync status --json` has the whole id as `teams[].id`"
        ))
    })
}

fn moved_team_id<'de, D: Deserializer<'de>>(text: D) -> Result<Option<TeamId>, D::Error> {
    team_id(text).map(Some)
}

fn default_listen() -> SocketAddr {
    DEFAULT_LISTEN
}

impl Config {
    /// Reads `file` and the environment.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        if let Some(variable) = unusable_proxy(|name| std::env::var(name).ok()) {
            return Err(ConfigError::Environment {
                variable: variable.to_owned(),
                what: "it names no proxy that the hub can use; write http://HOST:PORT".to_owned(),
            });
        }
        let variables = std::env::vars()
            .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?.to_owned(), value)));
        Self::layered(file, &variables.collect())
    }

    fn layered(file: &Path, environment: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let text =
            regular::read_text(file, MAX_FILE_LEN).map_err(|error| ConfigError::Unreadable {
                file: file.to_owned(),
                error,
            })?;
        let parsed = toml::from_str(&text);
        let mut config: Self =
            parsed.map_err(|error| ConfigError::of_parser(file, &text, error))?;
        config.overlay(environment)?;
        let wrong = |(line, what)| ConfigError::Wrong {
            file: file.to_owned(),
            line,
            what,
        };
        config.check(&text).map_err(wrong)?;
        Ok(config)
    }

    fn overlay(&mut self, environment: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        let wrong = |name: &str, what: String| ConfigError::Environment {
            variable: format!("{PREFIX}{name}"),
            what,
        };
        let value = |name: &str| environment.get(name).map(String::as_str);
        if let Some(listen) = value("LISTEN") {
            let parsed = listen.parse();
            self.listen = parsed.map_err(|_| wrong("LISTEN", no_address(listen)))?;
        }
        if let Some(urls) = value("PUBLIC_URLS") {
            let urls = urls.split(',').map(|url| url.trim().parse());
            let urls = urls.collect::<Result<_, _>>();
            self.public_urls = urls.map_err(|what| wrong("PUBLIC_URLS", what))?;
        }
        if let Some(file) = value("WITNESS_KEY") {
            self.witness_key = Some(file.into());
        }
        if let Some(file) = value("METRICS_TOKEN") {
            self.metrics_token = Some(file.into());
        }
        Ok(())
    }

    /// Errors that concern more than one key: the line, and what is wrong there.
    fn check(&self, text: &str) -> Result<(), (Option<usize>, String)> {
        if self.teams.is_empty() && self.moved.is_empty() {
            let what = "a hub needs a team: add a [[teams]] with its id and bucket";
            return Err((None, what.to_owned()));
        }
        let mut teams = BTreeSet::new();
        let mut buckets = BTreeSet::new();
        for (number, team) in self.teams.iter().enumerate() {
            let line = |key| line_of(text, ("[[teams]]", number), key);
            if !teams.insert(team.team) {
                let what = format!("team {} is listed twice", team.team);
                return Err((line("team"), what));
            }
            let server = team.endpoint.as_ref().map(ToString::to_string);
            if !buckets.insert((server, &team.bucket)) {
                let what = format!("two teams have bucket {}: each needs its own", team.bucket);
                return Err((line("bucket"), what));
            }
            if team.public_endpoint.is_some() && team.endpoint.is_none() {
                let what = "public_endpoint needs endpoint: without that the bucket is at AWS, which members reach by its own address";
                return Err((line("public_endpoint"), what.to_owned()));
            }
            if let Err(why) = team.place().check() {
                let key = match why {
                    EndpointError::Bucket(_) => "bucket",
                    EndpointError::Region(_) => "region",
                    EndpointError::Malformed(_) | EndpointError::Secret => "endpoint",
                    EndpointError::Nameless(_) => "addressing",
                };
                return Err((line(key), why.to_string()));
            }
        }
        self.check_moved(text)?;
        let tls = self.tls.iter();
        let files = tls.flat_map(|tls| [("certificate", &tls.certificate), ("key", &tls.key)]);
        for (key, file) in files {
            if let Err(error) = regular::open(file) {
                let what = format!("{key} = {} can't be read: {error}", file.display());
                return Err((line_of(text, TLS, key), what));
            }
        }
        Ok(())
    }

    fn check_moved(&self, text: &str) -> Result<(), (Option<usize>, String)> {
        let mut seen = BTreeSet::new();
        for (number, MovedConfig { team, to }) in self.moved.iter().enumerate() {
            let line = line_of(text, ("[[moved]]", number), "to");
            if self.witness_key.is_none() {
                let what = "[[moved]] needs witness_key: members believe an address that the hub's key signed";
                return Err((line, what.to_owned()));
            }
            if !seen.insert(team) {
                let what = match team {
                    Some(team) => format!("team {team} moved to two addresses"),
                    None => {
                        "two [[moved]] name no team: one is for all that aren't listed".to_owned()
                    }
                };
                return Err((line, what));
            }
            if team.is_some_and(|team| self.teams.iter().any(|served| served.team == team)) {
                let what = "a team that moved is served here too: take one of the two out";
                return Err((line, what.to_owned()));
            }
            if self
                .public_urls
                .iter()
                .any(|own| own.authority == to.authority)
            {
                let what = format!("{to} is this hub's own address: a team moves to another one");
                return Err((line, what));
            }
        }
        Ok(())
    }

    /// Where teams are that this hub serves no more.
    pub fn moved(&self) -> Moved {
        let mut moved = Moved::default();
        for MovedConfig { team, to } in &self.moved {
            match team {
                Some(team) => drop(moved.teams.insert(*team, to.to_string())),
                None => moved.others = Some(to.to_string()),
            }
        }
        moved
    }

    /// What requests may be signed for.
    pub fn authorities(&self) -> Vec<String> {
        let urls = self.public_urls.iter();
        urls.map(|url| url.authority.clone()).collect()
    }

    /// The teams with their buckets, of which none has been asked anything yet.
    pub fn open_teams(&self) -> Result<Teams, String> {
        let opened = self.teams.iter().map(TeamConfig::open);
        Ok(Teams::only(opened.collect::<Result<Vec<_>, _>>()?))
    }
}

impl TlsConfig {
    pub fn files(&self) -> Tls {
        Tls {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
        }
    }
}

impl TeamConfig {
    /// The team with its bucket, which has not been asked anything yet.
    pub fn open(&self) -> Result<TeamSettings, String> {
        let bucket = S3Bucket::new(self.place());
        Ok(TeamSettings {
            team: self.team,
            bucket: Arc::new(bucket.map_err(|error| error.trouble().to_string())?),
            quota: self.quota_bytes,
            retention: self.retention,
            confirm: self.confirm_uploads,
        })
    }

    fn place(&self) -> S3Settings {
        S3Settings {
            endpoint: self.endpoint.clone(),
            public_endpoint: self.public_endpoint.clone(),
            region: self.region.clone(),
            bucket: self.bucket.clone(),
            addressing: match self.addressing {
                AddressingConfig::Path => Addressing::Path,
                AddressingConfig::VirtualHost => Addressing::VirtualHost,
            },
            credentials: Credentials::Chain,
            known: false,
        }
    }
}

/// The settings before the first table, and a table, by its header and its number among those with the same.
type Table = (&'static str, usize);
const ROOT: Table = ("", 0);
const TLS: Table = ("[tls]", 0);

/// The line of a key in a table, counted from 1; that of the table's header if it lacks the key.
fn line_of(text: &str, (header, number): Table, key: &str) -> Option<usize> {
    let mut lines = (1..).zip(text.lines().map(str::trim));
    let head = if header.is_empty() {
        None
    } else {
        let mut heads = lines.by_ref().filter(|(_, line)| line.starts_with(header));
        Some(heads.nth(number)?.0)
    };
    let is_key = |line: &str| {
        let name = line.split_once('=').map(|(name, _)| name.trim());
        name.is_some_and(|name| name.trim_matches(['"', '\'']) == key)
    };
    let mut own = lines.take_while(|(_, line)| !line.starts_with('['));
    let found = own.find(|(_, line)| is_key(line));
    found.map(|(at, _)| at).or(head)
}

#[cfg(test)]
mod tests;
