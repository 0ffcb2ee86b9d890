//! What the settings take, and how a wrong one is told.

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
    assert!(config.tls.is_some() && config.witness_key.is_some() && config.metrics_token.is_some());
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
fn what_could_not_work_is_refused() {
    let fine = team("bucket-a", 1);
    let url = "https://me:secret@hub.example";
    let named = told(&format!("public_urls = ['{url}']\n{fine}"));
    assert!(
        named.contains("line 1") && named.contains("no password"),
        "{named}"
    );
    assert!(!named.contains("secret"), "{named}");
    let url_in_array = format!("public_urls = [\n  '{url}',\n]\n{fine}");
    for (text, place) in [
        (format!("{fine}endpoint = '{url}'\n"), "line 5: endpoint: "),
        (
            format!("public_urls = '{url}'\n{fine}"),
            "line 1: public_urls: ",
        ),
        (format!("public_urls = ['{url}'\n{fine}"), "hub.toml"),
        (format!("{fine}endpoint = '{url}\n"), "hub.toml"),
        (
            format!("{fine}endpoint = ['{url}']\n"),
            "line 5: endpoint: ",
        ),
        (format!("{fine}endpiont = '{url}'\n"), "line 5"),
        (url_in_array, "line 2: a public address"),
    ] {
        let told = told(&text);
        assert!(told.contains(place), "{place}: {told}");
        assert!(!told.contains("secret"), "{told}");
    }
    let named = layered(&fine, &[("PUBLIC_URLS", url)])
        .unwrap_err()
        .to_string();
    assert!(!named.contains("secret"), "{named}");
    let number = "endpoint = 'http://127.0.0.1:9000'\n";
    let name = "endpoint = 'https://s3.example'\n";
    let host = "addressing = 'virtual-host'\n";
    for (text, line, words) in [
        (format!("{number}{host}"), 6, "choose `path`"),
        (
            format!("{name}public_{number}{host}"),
            7,
            "http://127.0.0.1:9000",
        ),
        (
            format!("public_{name}"),
            5,
            "public_endpoint needs endpoint",
        ),
    ] {
        let told = told(&format!("{fine}{text}"));
        let place = format!("hub.toml, line {line}: ");
        assert!(told.contains(&place) && told.contains(words), "{told}");
    }
    assert!(layered(&format!("{fine}{name}public_{name}{host}"), &[]).is_ok());
}

#[test]
fn one_file_for_certificate_and_key_is_told_where_it_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    let tls = "listen = '127.0.0.1:1'\n[tls]\ncertificate = '/tls.pem'\nkey = '/tls.pem'\n";
    std::fs::write(&file, tls).unwrap();
    for (key, line) in [("certificate", 3), ("key", 4)] {
        let error = TlsError {
            key,
            file: "/tls.pem".into(),
            why: "it is no PEM file".to_owned(),
        };
        let told = ConfigError::of_tls(&file, &error).to_string();
        assert!(
            told.contains(&format!("hub.toml, line {line}: {key} = ")),
            "{told}"
        );
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
    for (listen, word) in [("localhost:7640", "`localhost:7640`"), ("7640", "`7640`")] {
        let wrong = told(&format!("listen = '{listen}'\n{fine}"));
        for word in ["line 1", word, "IP:PORT"] {
            assert!(wrong.contains(word), "{word}: {wrong}");
        }
    }
    for (key, choices) in [
        ("confirm_uploads", "`where-needed`, `always`, `never`"),
        ("addressing", "`path`, `virtual-host`"),
    ] {
        for value in ["true", "'no'", "3"] {
            let wrong = told(&format!("{fine}{key} = {value}\n"));
            for word in ["line 5", key, choices] {
                assert!(wrong.contains(word), "{word}: {wrong}");
            }
        }
    }
    for url in ["ftp://hub.example", "hub.example", "no url"] {
        let wrong = told(&format!("public_urls = ['{url}']\n{fine}"));
        assert!(wrong.contains("line 1") && wrong.contains(url), "{wrong}");
    }
}
