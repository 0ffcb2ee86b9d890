//! Settings: default < `config.toml` in the home < environment < flag. Unknown keys are refused.

mod size;

use std::{
    collections::BTreeSet,
    fmt,
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use podsync_api::{ApiError, ErrorCode};
use podsync_core::{DeviceId, PodName};
use podsync_net::{Multiaddr, NetConfig, SpawnError, is_of_this_machine};
use podsync_store::{MEND_LINK, read_text, refuse_dangling};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Unexpected, Visitor},
};

pub use self::size::{ByteSize, Rate};
use crate::error::api_error;

/// More bytes than any settings take.
const MAX_LEN: u64 = 1 << 20;

/// The settings that environment variables may give: `PODSYNC_LISTEN`, `PODSYNC_PEERS`, `PODSYNC_MDNS`,
/// `PODSYNC_AUTO_SHARE`, `PODSYNC_AUTO_RESTORE`, `PODSYNC_DISK_BUDGET`, `PODSYNC_MIN_FREE`, `PODSYNC_NOTIFY`,
/// `PODSYNC_LIMIT_UP`, `PODSYNC_LIMIT_DOWN`. Other `PODSYNC_` variables, such as `PODSYNC_HOME`, are not settings.
const FROM_ENVIRONMENT: [&str; 10] = [
    "LISTEN",
    "PEERS",
    "MDNS",
    "AUTO_SHARE",
    "AUTO_RESTORE",
    "DISK_BUDGET",
    "MIN_FREE",
    "NOTIFY",
    "LIMIT_UP",
    "LIMIT_DOWN",
];

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    #[serde(skip)]
    pub(crate) home: PathBuf,
    /// Where to listen for peers. Empty: the default port on every interface, or another port if it is taken.
    pub(crate) listen: Vec<SocketAddr>,
    /// Peers that are always tried, as multiaddresses that end in `/p2p/ID`.
    pub(crate) peers: Vec<String>,
    /// Whether to look for teammates on the LAN.
    #[serde(deserialize_with = "yes_or_no")]
    pub(crate) mdns: bool,
    /// Pods that are shared by every save.
    pub(crate) auto_share: BTreeSet<PodName>,
    /// Pods whose newest autosave an instance gets back when it has started.
    pub(crate) auto_restore: BTreeSet<PodName>,
    /// Bytes of packs and manifests to hold at most; 0 for no limit.
    pub(crate) disk_budget: ByteSize,
    /// Bytes of the disk to leave free; 0 for only what podsync itself needs.
    pub(crate) min_free: ByteSize,
    /// Whether to show desktop notifications.
    #[serde(deserialize_with = "yes_or_no")]
    pub(crate) notify: bool,
    /// Bytes a second sent to peers and the bucket together; 0 for no limit.
    pub(crate) limit_up: Rate,
    /// Bytes a second fetched from them; 0 for no limit.
    pub(crate) limit_down: Rate,
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
            limit_up: Rate(0),
            limit_down: Rate(0),
        }
    }
}

/// Settings given as flags.
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
        for (key, value) in &environment {
            Self::check_variable(key, value)?;
        }
        let text = read(file)?;
        let wrong = |error: config::ConfigError| {
            ApiError::new(ErrorCode::Invalid, format!("settings: {error}")).hint(format!(
                "mend {}; docs/operations.md lists every key",
                file.display()
            ))
        };
        let settings: Self = config::Config::builder()
            .add_source(config::File::from_str(&text, config::FileFormat::Toml))
            .add_source(source(environment))
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(wrong)?;
        // A variable was checked already, so what is wrong is the file's.
        settings.pinned().map_err(|error| {
            let text = format!("settings: `peers`: {}", error.message);
            let form = error.hint.unwrap_or_default();
            ApiError::new(ErrorCode::Invalid, text).hint(format!("mend {}: {form}", file.display()))
        })?;
        Ok(settings)
    }

    /// Refuses to listen at an address of another machine, before anything is made for a daemon that can't start.
    pub fn check_addresses(&self) -> Result<(), ApiError> {
        let mut addresses = self.listen.iter().copied();
        match addresses.find(|addr| !is_of_this_machine(addr.ip())) {
            None => Ok(()),
            Some(addr) => {
                let error = SpawnError::NoSuchAddress { addr };
                Err(api_error(ErrorCode::Invalid, &error, error.hint()))
            }
        }
    }

    /// Checks each variable alone, so that an error names the variable and not the file.
    fn check_variable(key: &str, value: &str) -> Result<(), ApiError> {
        let alone = config::Map::from([(key.to_owned(), value.to_owned())]);
        let read: Result<Self, _> = config::Config::builder()
            .add_source(source(alone))
            .build()
            .and_then(config::Config::try_deserialize);
        if read.is_ok_and(|settings| settings.pinned().is_ok()) {
            return Ok(());
        }
        let text = format!("the environment variable PODSYNC_{key} cannot be `{value}`");
        Err(
            ApiError::new(ErrorCode::Invalid, text).hint(match form(&key.to_lowercase()) {
                Some(form) => format!("set it to {form}, or unset it"),
                None => "docs/operations.md lists every setting".to_owned(),
            }),
        )
    }

    /// Parses a file's text alone, and refuses settings that a daemon couldn't start with.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let settings: Self = config::Config::builder()
            .add_source(config::File::from_str(text, config::FileFormat::Toml))
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|error| {
                ApiError::new(ErrorCode::Invalid, format!("settings: {error}"))
                    .hint("docs/operations.md lists every key")
            })?;
        settings.pinned()?;
        Ok(settings)
    }

    /// The devices to always stay connected to.
    pub(crate) fn pinned(&self) -> Result<Vec<(DeviceId, Multiaddr)>, ApiError> {
        let parsed = self.peers.iter().map(|peer| {
            let wrong = |what: String| {
                ApiError::new(ErrorCode::Invalid, format!("peer {peer:?} {what}"))
                    .hint("write it as /ip4/10.0.0.7/tcp/7637/p2p/12D3Koo...")
            };
            let address: Multiaddr = peer
                .parse()
                .map_err(|error| wrong(format!("is not a multiaddress: {error}")))?;
            podsync_net::split_address(address)
                .ok_or_else(|| wrong("names no device at its end".to_owned()))
        });
        parsed.collect()
    }

    /// Whether every save of this pod shares it.
    pub(crate) fn shares_by_itself(&self, pod: &PodName) -> bool {
        self.auto_share.contains(pod)
    }

    /// Whether some instance gets its newest autosave back by itself.
    pub fn restores_by_itself(&self) -> bool {
        !self.auto_restore.is_empty()
    }

    /// Most bytes to hold. `None` for no limit.
    pub(crate) fn budget(&self) -> Option<u64> {
        (self.disk_budget.0 > 0).then_some(self.disk_budget.0)
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

/// Reads the file, which need not be there. One that is there and can't be read is refused: a default may be what its
/// user forbids.
fn read(file: &Path) -> Result<String, ApiError> {
    let error = match read_text(file, MAX_LEN) {
        Ok(text) => return Ok(text),
        Err(error) => refuse_dangling(file).err().unwrap_or(error),
    };
    let (code, hint) = match error.kind() {
        // A link to nowhere is there. A home that is no folder is refused elsewhere.
        ErrorKind::NotFound if !file.is_symlink() => return Ok(String::new()),
        ErrorKind::NotFound => (ErrorCode::Disk, MEND_LINK),
        ErrorKind::NotADirectory => return Ok(String::new()),
        ErrorKind::InvalidInput => (
            ErrorCode::Invalid,
            "put a TOML file in its place, or remove it",
        ),
        _ => (ErrorCode::Disk, "check its permissions and its disk"),
    };
    let file = file.display();
    let text = format!("podsync cannot read its settings in {file}: {error}");
    Err(ApiError::new(code, text).hint(hint))
}

/// Takes `true` and `false`, and the 1 and 0 that stand for them. The library takes any number for true.
fn yes_or_no<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct YesOrNo;
    impl Visitor<'_> for YesOrNo {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true or false")
        }

        fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<bool, E> {
            match value {
                0 => Ok(false),
                1 => Ok(true),
                _ => Err(E::invalid_value(Unexpected::Signed(value), &self)),
            }
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<bool, E> {
            match i64::try_from(value) {
                Ok(value) => self.visit_i64(value),
                Err(_) => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
            }
        }
    }
    deserializer.deserialize_any(YesOrNo)
}

fn source(environment: config::Map<String, String>) -> config::Environment {
    config::Environment::default()
        .source(Some(environment))
        .try_parsing(true)
        .list_separator(",")
        .with_list_parse_key("listen")
        .with_list_parse_key("peers")
        .with_list_parse_key("auto_share")
        .with_list_parse_key("auto_restore")
}

/// The environment variable of a setting, which beats the file.
pub fn variable(key: &str) -> Option<String> {
    let name = key.to_uppercase();
    FROM_ENVIRONMENT
        .contains(&name.as_str())
        .then(|| format!("PODSYNC_{name}"))
}

/// Describes the form of a setting's value, for error messages.
pub fn form(key: &str) -> Option<&'static str> {
    Some(match key {
        "listen" => "IP:PORT, such as 0.0.0.0:7637, with commas between several",
        "peers" => {
            "a multiaddress such as /ip4/10.0.0.7/tcp/7637/p2p/12D3Koo..., with commas between several"
        }
        "mdns" | "notify" => "true or false",
        "auto_share" | "auto_restore" => "names of pods, with commas between them",
        "disk_budget" | "min_free" => "a size such as 20GB or 512MiB, or 0",
        "limit_up" | "limit_down" => "a rate of at least 32KB/s, such as 5MB/s, or 0 for no limit",
        _ => return None,
    })
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
    fn a_file_that_cannot_be_read_is_no_missing_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("latin"), b"peers = ['\xfc']").unwrap();
        std::fs::write(at("long"), vec![b'#'; MAX_LEN as usize + 1]).unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("loop"), at("loop")).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (file, code, why) in [
            (folder.path().to_owned(), ErrorCode::Invalid, "a folder"),
            (PathBuf::from("/dev/zero"), ErrorCode::Invalid, "a device"),
            (at("socket"), ErrorCode::Invalid, "a socket"),
            (at("latin"), ErrorCode::Invalid, "not UTF-8"),
            (at("long"), ErrorCode::Invalid, "larger than"),
            (at("link"), ErrorCode::Disk, "nowhere, which is not there"),
            (at("loop"), ErrorCode::Disk, "symbolic links"),
        ] {
            let error = Settings::layered(&file, config::Map::new()).unwrap_err();
            assert_eq!(error.code, code, "{error}");
            assert!(error.message.contains(why), "{error}");
            let path = file.display().to_string();
            assert!(error.message.contains(&path), "{error}");
        }
        let missing = Settings::layered(&at("nowhere"), config::Map::new());
        assert_eq!(missing.unwrap(), Settings::default());
    }

    #[test]
    fn a_number_is_no_yes() {
        for (value, means) in [("true", true), ("1", true), ("false", false), ("0", false)] {
            let settings = layered("", &[("NOTIFY", value), ("MDNS", value)]).unwrap();
            assert_eq!((settings.notify, settings.mdns), (means, means), "{value}");
        }
        for value in ["2", "-1", "1.5", "yes please", ""] {
            assert!(layered("", &[("NOTIFY", value)]).is_err(), "{value}");
            assert!(layered("", &[("MDNS", value)]).is_err(), "{value}");
        }
        assert!(layered("notify = 2", &[]).is_err());
        assert!(Settings::parse("mdns = 2").is_err());
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
    fn a_wrong_variable_is_told_by_its_name_and_value_with_the_form_it_takes() {
        let wrong = [
            ("LISTEN", "banana"),
            ("PEERS", "banana"),
            ("MDNS", "perhaps"),
            ("AUTO_SHARE", "../x"),
            ("AUTO_RESTORE", "../x"),
            ("DISK_BUDGET", "much"),
            ("MIN_FREE", "much"),
            ("NOTIFY", "perhaps"),
            ("LIMIT_UP", "1KB/s"),
            ("LIMIT_DOWN", "fast"),
        ];
        assert_eq!(wrong.map(|(key, _)| key), FROM_ENVIRONMENT);
        for (key, value) in wrong {
            let error = layered("", &[(key, value)]).unwrap_err();
            let told = format!("PODSYNC_{key} cannot be `{value}`");
            assert!(error.message.contains(&told), "{error}");
            let hint = error.hint.unwrap();
            assert!(hint.contains(form(&key.to_lowercase()).unwrap()), "{hint}");
            let named = variable(&key.to_lowercase());
            assert_eq!(named, Some(format!("PODSYNC_{key}")));
        }
    }

    #[test]
    fn the_least_rate_is_what_its_form_says() {
        assert_eq!(podsync_net::MIN_RATE / 1000, 32);
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
            assert!(error.message.contains("is not a size"), "{error}");
        }
        for bytes in [0, 1, 1024, 20_000_000_000, 3 << 30, 12_345] {
            let text = String::from(ByteSize(bytes));
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn rates_are_written_as_people_do() {
        let settings = layered("limit_up = '5 MB/s'", &[("LIMIT_DOWN", "1MiB")]).unwrap();
        assert_eq!(settings.limit_up, Rate(5_000_000));
        assert_eq!(settings.limit_down, Rate(1 << 20));
        assert_eq!(String::from(settings.limit_up), "5MB/s");
        assert_eq!(layered("limit_up = '0'", &[]).unwrap().limit_up, Rate(0));
        for nonsense in ["fast", "5MB/h", "-1", "1KB/s"] {
            let error = layered(&format!("limit_up = '{nonsense}'"), &[]).unwrap_err();
            assert!(error.message.contains(nonsense), "{error}");
        }
    }

    #[test]
    fn what_no_daemon_could_start_with_is_no_setting() {
        assert!(Settings::parse("mdns = false").is_ok());
        for wrong in [
            "mdns = 'perhaps'",
            "peers = ['/ip4/1.2.3.4']",
            "mdsn = true",
            "mdns = ",
        ] {
            assert!(Settings::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_peer_that_is_none_is_told_with_the_file_and_the_key() {
        let error = layered("peers = ['x']", &[]).unwrap_err();
        assert!(error.message.contains("`peers`"), "{error}");
        assert!(error.message.contains("is not a multiaddress"), "{error}");
        let hint = error.hint.unwrap();
        assert!(
            hint.contains("config.toml") && hint.contains("/p2p/"),
            "{hint}"
        );
        // What the environment says instead counts.
        let peer =
            "/ip4/10.0.0.7/tcp/7637/p2p/12D3KooWMQD1kdRGK5ZNoKecbvXwTjbWwYx6ktG8E2hVLz3jsW2M";
        let settings = layered("peers = ['x']", &[("PEERS", peer)]).unwrap();
        assert_eq!(settings.peers, [peer]);
    }

    /// 192.0.2.1 is for documentation: no machine has it.
    #[test]
    fn an_address_of_another_machine_is_refused_before_a_daemon_starts() {
        for mine in ["127.0.0.1:0", "127.0.0.1:7637,0.0.0.0:7637"] {
            let settings = layered("", &[("LISTEN", mine)]).unwrap();
            settings.check_addresses().unwrap();
        }
        let settings = layered("", &[("LISTEN", "127.0.0.1:1,192.0.2.1:999")]).unwrap();
        let error = settings.check_addresses().unwrap_err();
        assert_eq!(error.code, ErrorCode::Invalid);
        assert!(error.message.contains("no address 192.0.2.1"), "{error}");
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
