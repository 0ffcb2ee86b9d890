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
    de::{Error, Visitor},
};

use crate::{
    Confirm, TeamSettings, Teams,
    gc::decide::Retention,
    moved::Moved,
    s3::{Addressing, Credentials, Endpoint, EndpointError, S3Bucket, S3Settings},
    tls::TlsError,
};

/// Where a hub listens by default.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7640);
/// Environment variables of settings begin with it.
const PREFIX: &str = "PODSYNC_HUB_";

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default = "default_listen")]
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

impl<'de> Deserialize<'de> for PublicUrl {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        text.deserialize_str(PublicUrlVisitor)
    }
}

/// Settings that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{file} can't be read: {source}; name the settings with --config", file = .file.display())]
    Unreadable {
        file: PathBuf,
        source: std::io::Error,
    },
    /// Line, key and choices are the parser's own words.
    #[error("{file}: {error}docs/hub.md and config/hub.toml list every key", file = .file.display())]
    Malformed {
        file: PathBuf,
        error: toml::de::Error,
    },
    #[error("{file}, line {line}: {what}", file = .file.display())]
    Wrong {
        file: PathBuf,
        line: usize,
        what: String,
    },
    #[error("{variable} in the environment: {what}")]
    Environment { variable: String, what: String },
}

impl ConfigError {
    /// About the files of `[tls]`, where the settings name them.
    pub fn of_tls(file: &Path, error: &TlsError) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        Self::Wrong {
            file: file.to_owned(),
            line: last_line(&text, &error.file.to_string_lossy()),
            what: error.to_string(),
        }
    }
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
        let variables = std::env::vars()
            .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?.to_owned(), value)));
        Self::layered(file, &variables.collect())
    }

    fn layered(file: &Path, environment: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|source| ConfigError::Unreadable {
            file: file.to_owned(),
            source,
        })?;
        let mut config: Self = toml::from_str(&text).map_err(|error| ConfigError::Malformed {
            file: file.to_owned(),
            error,
        })?;
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
            self.listen = parsed.map_err(|_| {
                wrong(
                    "LISTEN",
                    format!("`{listen}` is not an address; write IP:PORT"),
                )
            })?;
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
    fn check(&self, text: &str) -> Result<(), (usize, String)> {
        if self.teams.is_empty() && self.moved.is_empty() {
            let what = "a hub needs a team: add a [[teams]] with its id and bucket";
            return Err((text.lines().count().max(1), what.to_owned()));
        }
        let mut teams = BTreeSet::new();
        let mut buckets = BTreeSet::new();
        for (number, team) in self.teams.iter().enumerate() {
            if !teams.insert(team.team) {
                let id = team.team.to_string();
                return Err((last_line(text, &id), format!("team {id} is listed twice")));
            }
            let server = team.endpoint.as_ref().map(ToString::to_string);
            if !buckets.insert((server, &team.bucket)) {
                let what = format!("two teams have bucket {}: each needs its own", team.bucket);
                return Err((last_line(text, &team.bucket), what));
            }
            if let Err(why) = team.place().check() {
                let key = match why {
                    EndpointError::Bucket(_) => "bucket",
                    EndpointError::Region(_) => "region",
                    EndpointError::Malformed(_) => "endpoint",
                };
                return Err((team_line(text, number, key), why.to_string()));
            }
        }
        self.check_moved(text)?;
        let tls = self.tls.iter();
        let files = tls.flat_map(|tls| [("certificate", &tls.certificate), ("key", &tls.key)]);
        for (key, file) in files {
            if let Err(error) = std::fs::File::open(file) {
                let what = format!("{key} = {} can't be read: {error}", file.display());
                return Err((last_line(text, &file.to_string_lossy()), what));
            }
        }
        Ok(())
    }

    fn check_moved(&self, text: &str) -> Result<(), (usize, String)> {
        let mut seen = BTreeSet::new();
        for MovedConfig { team, to } in &self.moved {
            let line = last_line(text, &to.authority);
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

/// The line of a key of the team of this number, counted from 1; that of its table if the key isn't found.
fn team_line(text: &str, number: usize, key: &str) -> usize {
    let mut lines = (1..).zip(text.lines().map(str::trim_start));
    let mut tables = lines
        .by_ref()
        .filter(|(_, line)| line.starts_with("[[teams]]"));
    let Some((table, _)) = tables.nth(number) else {
        return 1;
    };
    let mut own = lines.take_while(|(_, line)| !line.starts_with('['));
    let found = own.find(|(_, line)| line.starts_with(key));
    found.map_or(table, |(at, _)| at)
}

/// The last line with this text, counted from 1: of two that are the same, the one too many.
fn last_line(text: &str, wanted: &str) -> usize {
    let lines = text.lines().enumerate();
    let found = lines.filter(|(_, line)| line.contains(wanted)).last();
    found.map_or(1, |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/hub.toml");
    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/hub.md");

    fn layered(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.toml");
        std::fs::write(&file, text).unwrap();
        let environment = environment
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Config::layered(&file, &environment.collect())
    }

    fn told(text: &str) -> String {
        layered(text, &[]).unwrap_err().to_string()
    }

    fn team(bucket: &str, number: u8) -> String {
        let team = TeamId::from_bytes([number; 32]);
        format!("[[teams]]\nteam = '{team}'\nbucket = '{bucket}'\nregion = 'eu-west-1'\n")
    }

    #[test]
    fn the_shipped_example_parses() {
        let config = Config::layered(Path::new(EXAMPLE), &BTreeMap::new()).unwrap();
        assert_eq!(config.listen, DEFAULT_LISTEN);
        assert_eq!(config.authorities(), ["hub.example.com"]);
        assert!(!config.teams.is_empty());
        // The commented-out lines there parse too, and the page about the hub has every key.
        let text = std::fs::read_to_string(EXAMPLE).unwrap();
        let page = std::fs::read_to_string(PAGE).unwrap();
        for line in text.lines() {
            let line = line.strip_prefix("#: ").unwrap_or(line);
            if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
                assert!(page.contains(&format!("| `{key}` |")), "{key}");
            }
        }
        let all: String = text
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n")
            .collect();
        // Its certificate isn't here.
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tls.crt"), "").unwrap();
        std::fs::write(folder.path().join("tls.key"), "").unwrap();
        let here = folder.path().to_string_lossy();
        let config = layered(&all.replace("/etc/podsync-hub", &here), &[]).unwrap();
        let team = &config.teams[0];
        assert!(
            config.tls.is_some() && config.witness_key.is_some() && config.metrics_token.is_some()
        );
        assert!(team.endpoint.is_some() && team.public_endpoint.is_some());
        assert!(team.quota_bytes.is_some());
        assert_ne!(team.retention, Retention::default());
        assert!(config.moved.len() == 2 && config.moved().others.is_some());
        assert_eq!(team.addressing, AddressingConfig::VirtualHost);
    }

    #[test]
    fn the_environment_beats_the_file() {
        let text = format!("listen = '127.0.0.1:1'\n{}", team("bucket-a", 1));
        let environment = [
            ("LISTEN", "127.0.0.1:2"),
            ("PUBLIC_URLS", "https://a.example,http://b.example:81"),
        ];
        let config = layered(&text, &environment).unwrap();
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.authorities(), ["a.example", "b.example:81"]);
        let wrong = layered(&text, &[("LISTEN", "here")])
            .unwrap_err()
            .to_string();
        assert!(wrong.starts_with("PODSYNC_HUB_LISTEN"), "{wrong}");
    }

    #[test]
    fn wrong_settings_are_refused() {
        let fine = team("bucket-a", 1);
        assert!(layered(&fine, &[]).is_ok());
        assert!(layered(&format!("{fine}retention_hours = 24\n"), &[]).is_ok());
        for text in [
            String::new(),
            format!("colour = 'green'\n{fine}"),
            format!("{fine}colour = 'green'\n"),
            format!("{fine}{}", team("bucket-b", 1)),
            format!("{fine}{}", team("bucket-a", 2)),
            format!("listen = 'nowhere'\n{fine}"),
            fine.replace("0101", "zz"),
            format!("{fine}retention_hours = 23\n"),
        ] {
            assert!(layered(&text, &[]).is_err(), "{text}");
        }
    }

    #[test]
    fn a_hub_may_only_say_where_its_teams_are() {
        let head = "public_urls = ['https://old.example']\nwitness_key = 'key'\n";
        let all = "[[moved]]\nto = 'https://new.example'\n";
        let config = layered(&format!("{head}{all}"), &[]).unwrap();
        let anybody = TeamId::from_bytes([7; 32]);
        assert_eq!(config.moved().place(&anybody), Some("https://new.example"));
        let one = TeamId::from_bytes([1; 32]);
        let left = format!("[[moved]]\nteam = '{one}'\nto = 'https://left.example:81'\n");
        let config = layered(&format!("{head}{all}{left}"), &[]).unwrap();
        assert_eq!(config.moved().place(&one), Some("https://left.example:81"));
        for (text, why) in [
            (
                format!("public_urls = ['https://old.example']\n{all}"),
                "needs witness_key",
            ),
            (format!("{head}{all}{all}"), "two [[moved]]"),
            (format!("{head}{left}{left}"), "two addresses"),
            (
                format!("{head}{left}{}", team("bucket-a", 1)),
                "served here too",
            ),
            (
                format!("{head}{}", all.replace("new", "old")),
                "own address",
            ),
            (
                format!("{head}{}", all.replace("example'", "example/a'")),
                "it has a path",
            ),
        ] {
            let told = told(&text);
            assert!(told.contains(why) && told.contains("line "), "{told}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file_line_key_and_choices() {
        let fine = team("bucket-a", 1);
        let addressing = told(&format!("{fine}addressing = 'dns'\n"));
        for word in [
            "hub.toml",
            "line 5",
            "addressing",
            "`path`",
            "`virtual-host`",
        ] {
            assert!(addressing.contains(word), "{word}: {addressing}");
        }
        let url = told(&format!(
            "public_urls = [\n  'https://hub.example/podsync',\n]\n{fine}"
        ));
        for word in [
            "line 2",
            "hub.example/podsync",
            "it has a path",
            "https://HOST",
        ] {
            assert!(url.contains(word), "{word}: {url}");
        }
        let endpoint = told(&format!("{fine}endpoint = 's3.example.org'\n"));
        for word in ["line 5", "s3.example.org", "https://s3.example.org"] {
            assert!(endpoint.contains(word), "{word}: {endpoint}");
        }
        let tls = "[tls]\ncertificate = '/nowhere/tls.crt'\nkey = '/nowhere/tls.key'\n";
        let tls = told(&format!("{tls}{fine}"));
        for word in ["line 2", "certificate", "/nowhere/tls.crt"] {
            assert!(tls.contains(word), "{word}: {tls}");
        }
        let twice = told(&format!("{fine}{}", team("bucket-b", 1)));
        assert!(
            twice.contains("line 6") && twice.contains("twice"),
            "{twice}"
        );
        let bucket = told(&team("No_Bucket", 1));
        assert!(
            bucket.contains("line 3") && bucket.contains("3 to 63"),
            "{bucket}"
        );
        for wrong in ["", "eu central"] {
            let two = format!("{fine}{}", team("bucket-b", 2).replace("eu-west-1", wrong));
            let region = told(&two);
            assert!(
                region.contains("line 8") && region.contains("region"),
                "{region}"
            );
        }
        let unknown = told(&format!("{fine}colour = 'green'\n"));
        assert!(
            unknown.contains("line 5") && unknown.contains("colour"),
            "{unknown}"
        );
        let short = told(&fine.replace(&TeamId::from_bytes([1; 32]).to_string(), "01010101"));
        for word in ["line 2", "`01010101`", "64", "podsync status --json"] {
            assert!(short.contains(word), "{word}: {short}");
        }
        for url in ["ftp://hub.example", "hub.example", "no url"] {
            let wrong = told(&format!("public_urls = ['{url}']\n{fine}"));
            assert!(wrong.contains("line 1") && wrong.contains(url), "{wrong}");
        }
    }
}
