//! Keys that an operator rotates under a hub that runs.

use std::{
    fs::File,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use podsync_hub::embedded::{self, Embedded, REGION};
use reqwest::StatusCode;

use crate::{
    kit::{Team, client},
    program::Program,
    running::Settings,
};

const BUCKET: &str = "payments";
/// The file that they lie in.
const KEYS: &str = "credentials";
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn keys_that_were_rotated_are_read_again_without_a_restart() {
    let client = client(); // Installs a TLS provider.
    let data = tempfile::tempdir().unwrap();
    let server = Embedded::start(data.path(), "127.0.0.1:0".parse().unwrap());
    let server = server.await.unwrap();
    let (access_key, secret_key) = embedded::keys(data.path(), BUCKET).unwrap();
    let settings = Settings::new(&[]);
    let team = Team::new().id();
    let text = format!(
        "listen = '127.0.0.1:0'\npublic_urls = ['https://localhost']\n[[teams]]\nteam = '{}'\nbucket = '{BUCKET}'\nregion = '{REGION}'\nendpoint = 'http://{}'\n",
        team,
        server.address()
    );
    std::fs::write(settings.path("hub.toml"), text).unwrap();
    let file = settings.path(KEYS);
    let write = |secret: &str| {
        let text = format!(
            "[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret}\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    write(&"0".repeat(secret_key.len()));
    let log = File::create(settings.path("log")).unwrap();
    let mut hub = program(&settings, &["serve"]);
    let (mut hub, address) = Program::start(hub.stderr(Stdio::from(log)));
    let ready = format!("http://{address}/health/ready");
    let status = async || client.get(&ready).send().await.unwrap().status();
    assert_eq!(status().await, StatusCode::SERVICE_UNAVAILABLE);

    write(&secret_key);
    let begun = Instant::now();
    while status().await != StatusCode::NO_CONTENT {
        assert!(begun.elapsed() < PATIENCE, "{}", settings.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(hub.0.try_wait().unwrap().is_none(), "it ended");
    let log = settings.log();
    assert!(log.contains("reading them again"), "{log}");
    assert!(!log.contains(&secret_key), "{log}");

    // What operators ask of the same bucket.
    let team = team.to_string();
    let asked = [
        (
            vec!["check", "--team", team.as_str()],
            "write and read               ok",
        ),
        (
            vec!["usage"],
            "all                                      0 objects",
        ),
        (vec!["teams"], "no member came yet"),
    ];
    for (arguments, words) in asked {
        let mut asking = program(&settings, &arguments);
        let told = tokio::task::spawn_blocking(move || asking.output()).await;
        let told = told.unwrap().unwrap();
        let text = String::from_utf8([told.stdout, told.stderr].concat()).unwrap();
        assert!(told.status.success(), "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}

/// The hub with the keys of a profile, and no others.
fn program(settings: &Settings, arguments: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_podsync-hub"));
    for variable in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
    ] {
        program.env_remove(variable);
    }
    program
        .env("HOME", settings.path("home"))
        .env("AWS_CONFIG_FILE", settings.path("none"))
        .env("AWS_SHARED_CREDENTIALS_FILE", settings.path(KEYS))
        .env("NO_PROXY", "127.0.0.1")
        .args(arguments)
        .arg("--config")
        .arg(settings.path("hub.toml"));
    program
}
