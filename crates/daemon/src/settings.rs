//! Settings: default < `config.toml` in the home < environment < flag. Unknown keys are refused.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use podsync_api::{ApiError, ErrorCode};
use podsync_core::PodName;
use podsync_net::NetConfig;
use serde::{Deserialize, Serialize};

/// The settings that environment variables may give: `PODSYNC_LISTEN`, `PODSYNC_PEERS`,
/// `PODSYNC_MDNS`, `PODSYNC_AUTO_SHARE`, `PODSYNC_AUTO_RESTORE`, `PODSYNC_DISK_BUDGET`, `PODSYNC_MIN_FREE`,
/// `PODSYNC_NOTIFY`. Others that begin alike (`PODSYNC_HOME`) mean something else.
const FROM_ENVIRONMENT: [&str; 8] = [
    "LISTEN",
    "PEERS",
    "MDNS",
    "AUTO_SHARE",
    "AUTO_RESTORE",
    "DISK_BUDGET",
    "MIN_FREE",
    "NOTIFY",
];

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    #[serde(skip)]
    pub(crate) home: PathBuf,
    /// Where to listen for peers. Empty: the default port on every interface, another where it is
    /// taken.
    pub(crate) listen: Vec<SocketAddr>,
    /// Peers that are always tried, as multiaddresses that end in `/p2p/ID`.
    pub(crate) peers: Vec<String>,
    /// Whether to look for teammates on the LAN.
    pub(crate) mdns: bool,
    /// Pods that are shared by every save.
    pub(crate) auto_share: BTreeSet<PodName>,
    /// Pods whose newest autosave an instance gets back when it has started.
    pub(crate) auto_restore: BTreeSet<PodName>,
    /// Bytes of packs and manifests to hold at most; 0 for no limit.
    pub(crate) disk_budget: ByteSize,
    /// Bytes of the disk to leave free; 0 for none but what podsync needs itself.
    pub(crate) min_free: ByteSize,
    /// Whether to show desktop notifications.
    pub(crate) notify: bool,
}

/// A number of bytes as people write it: `20GB`, `512MiB`, `0`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub struct ByteSize(pub u64);

/// A bare number is one too, as the environment gives it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

/// Units by their names in lower case; none is bytes.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

impl std::str::FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no size; write it as 20GB, 512MiB or 0");
        let text = text.trim();
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = unit.trim().to_ascii_lowercase();
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        let bytes = number.parse::<u64>().ok().ok_or_else(wrong)?;
        bytes.checked_mul(*factor).map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<Written> for ByteSize {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse(),
        }
    }
}

/// In the largest unit that says it exactly.
impl From<ByteSize> for String {
    fn from(ByteSize(bytes): ByteSize) -> Self {
        const LARGEST_FIRST: [(&str, u64); 6] = [
            ("TB", 1_000_000_000_000),
            ("GiB", 1 << 30),
            ("GB", 1_000_000_000),
            ("MiB", 1 << 20),
            ("MB", 1_000_000),
            ("KiB", 1 << 10),
        ];
        let fits = LARGEST_FIRST
            .iter()
            .find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
        match fits {
            Some((name, unit)) => format!("{}{name}", bytes / unit),
            None => bytes.to_string(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            home: PathBuf::new(),
            listen: Vec::new(),
            peers: Vec::new(),
            mdns: true,
            auto_share: BTreeSet::new(),
            auto_restore: BTreeSet::new(),
            disk_budget: ByteSize(0),
            min_free: ByteSize(0),
            notify: true,
        }
    }
}

/// What flags say.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub listen: Option<Vec<SocketAddr>>,
    pub peers: Option<Vec<String>>,
    pub mdns: Option<bool>,
}

impl Settings {
    /// Reads the settings of `home`.
    pub fn load(home: &Path, overrides: Overrides) -> Result<Self, ApiError> {
        let environment = FROM_ENVIRONMENT
            .iter()
            .filter_map(|key| {
                Some((
                    (*key).to_owned(),
                    std::env::var(format!("PODSYNC_{key}")).ok()?,
                ))
            })
            .collect();
        let mut settings = Self::layered(&home.join("config.toml"), environment)?;
        home.clone_into(&mut settings.home);
        settings.listen = overrides.listen.unwrap_or(settings.listen);
        settings.peers = overrides.peers.unwrap_or(settings.peers);
        settings.mdns = overrides.mdns.unwrap_or(settings.mdns);
        Ok(settings)
    }

    fn layered(file: &Path, environment: config::Map<String, String>) -> Result<Self, ApiError> {
        let wrong = |error: config::ConfigError| {
            ApiError::new(ErrorCode::Invalid, format!("settings: {error}")).hint(format!(
                "mend {}; docs/operations.md lists every key",
                file.display()
            ))
        };
        config::Config::builder()
            .add_source(
                config::File::from(file)
                    .format(config::FileFormat::Toml)
                    .required(false),
            )
            .add_source(
                config::Environment::default()
                    .source(Some(environment))
                    .try_parsing(true)
                    .list_separator(",")
                    .with_list_parse_key("listen")
                    .with_list_parse_key("peers")
                    .with_list_parse_key("auto_share")
                    .with_list_parse_key("auto_restore"),
            )
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(wrong)
    }

    /// Whether a save of this pod shares it unasked.
    pub(crate) fn shares_by_itself(&self, pod: &PodName) -> bool {
        self.auto_share.contains(pod)
    }

    /// Whether some instance gets its newest autosave back by itself.
    pub fn restores_by_itself(&self) -> bool {
        !self.auto_restore.is_empty()
    }

    /// The file that they can be changed in.
    pub fn file(&self) -> PathBuf {
        self.home.join("config.toml")
    }

    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# {error}"))
    }

    /// Addresses to listen at, and whether another port will do.
    pub(crate) fn listen_addresses(&self) -> (Vec<SocketAddr>, bool) {
        if self.listen.is_empty() {
            return (NetConfig::everywhere(podsync_net::DEFAULT_PORT), true);
        }
        (self.listen.clone(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layered(text: &str, environment: &[(&str, &str)]) -> Result<Settings, ApiError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        let environment = environment
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Settings::layered(&file, environment)
    }

    #[test]
    fn the_environment_beats_the_file() {
        let settings = layered(
            "mdns = true\nlisten = ['127.0.0.1:1']",
            &[("LISTEN", "127.0.0.1:2,127.0.0.1:3"), ("MDNS", "false")],
        )
        .unwrap();
        assert!(!settings.mdns);
        assert_eq!(
            settings.listen,
            [
                "127.0.0.1:2".parse().unwrap(),
                "127.0.0.1:3".parse().unwrap()
            ]
        );
    }

    #[test]
    fn pods_that_share_by_themselves_are_names_of_pods() {
        let settings = layered("", &[("AUTO_SHARE", "orders,billing")]).unwrap();
        let orders = "orders".parse().unwrap();
        assert!(settings.shares_by_itself(&orders));
        assert!(!settings.shares_by_itself(&"other".parse().unwrap()));
        let error = layered("auto_share = ['../x']", &[]).unwrap_err();
        assert!(error.message.contains("../x"), "{error}");
    }

    #[test]
    fn sizes_are_written_as_people_do() {
        let settings = layered("disk_budget = '20 GB'", &[("MIN_FREE", "512MiB")]).unwrap();
        assert_eq!(settings.disk_budget, ByteSize(20_000_000_000));
        assert_eq!(settings.min_free, ByteSize(512 << 20));
        assert_eq!(layered("disk_budget = 7", &[]).unwrap().disk_budget.0, 7);
        let number = layered("", &[("DISK_BUDGET", "1000")]).unwrap();
        assert_eq!(number.disk_budget, ByteSize(1000));
        for nonsense in ["much", "-1GB", "1.5GB", "20GBs", "99999999999TB", "GB"] {
            let text = format!("disk_budget = '{nonsense}'");
            let error = layered(&text, &[]).unwrap_err();
            assert!(error.message.contains("is no size"), "{error}");
        }
        for bytes in [0, 1, 1024, 20_000_000_000, 3 << 30, 12_345] {
            let text = String::from(ByteSize(bytes));
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = layered("mdsn = true", &[]).unwrap_err();
        assert!(error.message.contains("mdsn"), "{error}");
    }

    #[test]
    fn the_shipped_example_says_the_defaults() {
        let text = include_str!("../../../config/podsync.toml");
        assert_eq!(layered(text, &[]).unwrap(), Settings::default());
    }
}
