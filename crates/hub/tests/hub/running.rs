//! What changes under a hub that runs: settings, certificates, tokens, and a team's bucket that dies.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use podsync_core::TeamId;
use podsync_hub::{
    storage::memory::Fault,
    testing::{Options, TestHub},
};
use reqwest::StatusCode;

use crate::{
    kit::{Team, client},
    program::Program,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A settings file, and what it names.
pub(crate) struct Settings {
    folder: tempfile::TempDir,
}

impl Settings {
    pub(crate) fn new(teams: &[TeamId]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Self { folder };
        settings.write(teams);
        settings
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, teams: &[TeamId]) {
        let tls = [self.path("tls.crt"), self.path("tls.key")];
        let tls = if tls[0].exists() {
            format!(
                "[tls]\ncertificate = '{}'\nkey = '{}'\n",
                tls[0].display(),
                tls[1].display()
            )
        } else {
            String::new()
        };
        let token = self.path("token");
        let token = if token.exists() {
            format!("metrics_token = '{}'\n", token.display())
        } else {
            String::new()
        };
        let teams: String = teams
            .iter()
            .enumerate()
            .map(|(number, team)| {
                format!("[[teams]]\nteam = '{team}'\nbucket = 'bucket-{number}'\nregion = 'eu-central-1'\nendpoint = 'http://127.0.0.1:9'\n")
            })
            .collect();
        let text = format!(
            "listen = '127.0.0.1:0'\npublic_urls = ['https://localhost']\n{token}{tls}{teams}"
        );
        std::fs::write(self.path("hub.toml"), text).unwrap();
    }

    /// A new certificate and its key; what a client trusts then.
    fn certify(&self) -> reqwest::Certificate {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(self.path("tls.key"), made.key_pair.serialize_pem()).unwrap();
        std::fs::write(self.path("tls.crt"), made.cert.pem()).unwrap();
        reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
    }

    pub(crate) fn serve(&self) -> (Program, String) {
        client(); // Installs a TLS provider.
        let mut program = Command::new(env!("CARGO_BIN_EXE_podsync-hub"));
        let log = std::fs::File::create(self.path("log")).unwrap();
        program
            .stderr(Stdio::from(log))
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("NO_PROXY", "localhost,127.0.0.1")
            .args(["serve", "--config"])
            .arg(self.path("hub.toml"));
        let (program, address) = Program::start(&mut program);
        let port = address.rsplit(':').next().unwrap().to_owned();
        (program, port)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    /// Until the log has these words so many times.
    pub(crate) async fn told(&self, words: &str, times: usize) {
        let begun = Instant::now();
        while self.log().matches(words).count() < times {
            assert!(begun.elapsed() < PATIENCE, "{words}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(crate) fn hang_up(program: &Program) {
    let id = program.0.id().to_string();
    let told = Command::new("kill").args(["-HUP", &id]).status();
    assert!(told.unwrap().success());
}

async fn status(client: &reqwest::Client, url: &str) -> StatusCode {
    client.get(url).send().await.unwrap().status()
}

#[tokio::test]
async fn settings_are_read_again_and_bad_ones_are_refused() {
    let [one, two] = [Team::new().id(), Team::founded_by(1).id()];
    let settings = Settings::new(&[one]);
    let (mut program, port) = settings.serve();
    let info = |team| format!("http://127.0.0.1:{port}/v1/teams/{team}");
    let client = client();
    assert_eq!(status(&client, &info(one)).await, StatusCode::OK);
    assert_eq!(status(&client, &info(two)).await, StatusCode::NOT_FOUND);

    settings.write(&[one, two]);
    hang_up(&program);
    settings.told("the hub read the settings again", 1).await;
    assert_eq!(status(&client, &info(two)).await, StatusCode::OK);

    std::fs::write(settings.path("hub.toml"), "colour = 'green'\n").unwrap();
    hang_up(&program);
    settings.told("keeps the old ones", 1).await;
    assert!(settings.log().contains("colour"), "{}", settings.log());
    for team in [one, two] {
        assert_eq!(status(&client, &info(team)).await, StatusCode::OK);
    }

    settings.write(&[two]);
    hang_up(&program);
    settings.told("the hub read the settings again", 2).await;
    assert_eq!(status(&client, &info(one)).await, StatusCode::NOT_FOUND);
    assert_eq!(status(&client, &info(two)).await, StatusCode::OK);
    assert!(program.0.try_wait().unwrap().is_none(), "it ended");
}

#[tokio::test]
async fn what_needs_a_restart_is_told_as_long_as_it_differs_from_what_runs() {
    let team = Team::new().id();
    let settings = Settings::new(&[team]);
    let (program, _) = settings.serve();
    let file = settings.path("hub.toml");
    let started = std::fs::read_to_string(&file).unwrap();
    let other = started.replace("127.0.0.1:0", "127.0.0.1:1");
    for (number, (text, told)) in [(&other, 1), (&other, 2), (&started, 2)].iter().enumerate() {
        std::fs::write(&file, text).unwrap();
        hang_up(&program);
        settings
            .told("the hub read the settings again", number + 1)
            .await;
        let log = settings.log();
        let warnings = log.matches("change with a restart only").count();
        assert_eq!(warnings, *told, "{log}");
    }
}

#[tokio::test]
async fn a_hangup_while_the_hub_starts_does_not_end_it() {
    client(); // Installs a TLS provider.
    let settings = Settings::new(&[Team::new().id()]);
    let supervisor = settings.path("supervisor");
    let told = UnixDatagram::bind(&supervisor).unwrap();
    // A supervisor that takes nothing more holds the hub up, before it serves.
    let filling = UnixDatagram::unbound().unwrap();
    filling.set_nonblocking(true).unwrap();
    while filling.send_to(b"full", &supervisor).is_ok() {}
    let log = std::fs::File::create(settings.path("log")).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_podsync-hub"));
    program
        .stderr(Stdio::from(log))
        .env("NOTIFY_SOCKET", &supervisor)
        .args(["serve", "--config"])
        .arg(settings.path("hub.toml"));
    let (program, _) = Program::start(&mut program);
    hang_up(&program);
    let mut word = [0; 16];
    while told.recv(&mut word).unwrap() == b"full".len() {}
    assert!(word.starts_with(b"READY=1"), "{}", settings.log());
    // It reads the settings again, as it was told to.
    settings.told("the hub read the settings again", 1).await;
}

#[tokio::test]
async fn the_supervisor_and_the_metrics_tell_what_became_of_a_reload() {
    let token = "0123456789abcdef0123456789abcdef";
    let team = Team::new().id();
    let settings = Settings::new(&[]);
    std::fs::write(settings.path("token"), token).unwrap();
    settings.write(&[team]);
    let supervisor = settings.path("supervisor");
    let told = UnixDatagram::bind(&supervisor).unwrap();
    told.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_podsync-hub"));
    program
        .stderr(Stdio::null())
        .env("NOTIFY_SOCKET", &supervisor)
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("NO_PROXY", "127.0.0.1")
        .args(["serve", "--config"])
        .arg(settings.path("hub.toml"));
    let client = client(); // Installs a TLS provider.
    let (program, address) = Program::start(&mut program);
    let metrics = format!("http://{address}/metrics");
    let good = std::fs::read_to_string(settings.path("hub.toml")).unwrap();
    for (text, words, taken) in [
        ("colour = 'green'\n", "keeps the old settings: ", 0),
        (good.as_str(), "read the settings again; teams: 1", 1),
    ] {
        std::fs::write(settings.path("hub.toml"), text).unwrap();
        hang_up(&program);
        let mut word = [0; 4096];
        let said = loop {
            let len = told.recv(&mut word).unwrap();
            let said = String::from_utf8_lossy(&word[..len]).into_owned();
            if said.starts_with("STATUS=") {
                break said;
            }
        };
        assert!(said.contains(words), "{said}");
        assert_eq!(said.contains("colour"), taken == 0, "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        let shown = client.get(&metrics).bearer_auth(token).send().await;
        let shown = shown.unwrap().text().await.unwrap();
        let line = format!("podsync_hub_settings_taken {taken}\n");
        assert!(shown.contains(&line), "{shown}");
    }
}

#[tokio::test]
async fn a_pipe_or_a_device_in_place_of_a_file_holds_up_neither_requests_nor_the_stop() {
    let team = Team::new().id();
    let settings = Settings::new(&[]);
    std::fs::write(settings.path("token"), "0123456789abcdef0123456789abcdef").unwrap();
    settings.write(&[team]);
    let (mut program, port) = settings.serve();
    let file = settings.path("hub.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let pipe = settings.path("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let token = settings.path("token").display().to_string();
    let live = format!("http://127.0.0.1:{port}/health/live");
    for (number, other) in [pipe, PathBuf::from("/dev/zero")].iter().enumerate() {
        let other = other.display().to_string();
        std::fs::write(&file, text.replace(&token, &other)).unwrap();
        hang_up(&program);
        settings.told("keeps the old ones", number + 1).await;
        let words = format!("{other}: it is a device, a pipe or a socket");
        assert!(settings.log().contains(&words), "{}", settings.log());
        assert_eq!(status(&client(), &live).await, StatusCode::NO_CONTENT);
        let said = refused(&format!("witness_key = '{other}'\n{text}"), &[]);
        assert!(said.contains("line 1: witness_key: "), "{said}");
    }
    let id = program.0.id().to_string();
    let told = Command::new("kill").arg(&id).status();
    assert!(told.unwrap().success());
    let ended = tokio::task::spawn_blocking(move || program.0.wait()).await;
    assert!(ended.unwrap().unwrap().success());
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_a_broken_one_is_not() {
    client(); // Installs a TLS provider.
    let settings = Settings::new(&[]);
    let old = settings.certify();
    settings.write(&[Team::new().id()]);
    let (program, port) = settings.serve();
    let trusting = |root: reqwest::Certificate| {
        let client = reqwest::Client::builder().no_proxy();
        client.tls_certs_only([root]).build().unwrap()
    };
    let url = format!("https://localhost:{port}/v1/time");
    let reaches = async |root: &reqwest::Certificate| {
        let answer = trusting(root.clone()).get(&url).send().await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    };
    assert!(reaches(&old).await);

    std::fs::write(settings.path("tls.key"), "half a key").unwrap();
    hang_up(&program);
    settings.told("keeps the one before", 1).await;
    assert!(reaches(&old).await);

    // Without a signal: its files changed.
    let new = settings.certify();
    settings.told("the hub read the certificate again", 1).await;
    assert!(reaches(&new).await);
    assert!(!reaches(&old).await);
}

#[tokio::test]
async fn another_certificate_is_checked_when_the_settings_are_read_again() {
    client(); // Installs a TLS provider.
    let settings = Settings::new(&[]);
    settings.certify();
    settings.write(&[Team::new().id()]);
    let (program, _) = settings.serve();
    std::fs::write(settings.path("other.crt"), "garbage").unwrap();
    let file = settings.path("hub.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("tls.crt", "other.crt")).unwrap();
    hang_up(&program);
    settings.told("keeps the old ones", 1).await;
    let log = settings.log();
    let told = log.contains("hub.toml, line 4: certificate = ") && log.contains("other.crt");
    assert!(told, "{log}");
}

/// How `serve` ends by settings that it refuses, and `check` too.
fn refused(text: &str, environment: &[(&str, &str)]) -> String {
    let settings = Settings::new(&[]);
    std::fs::write(settings.path("hub.toml"), text).unwrap();
    let [said, checked] = ["serve", "check"].map(|command| {
        let told = Command::new(env!("CARGO_BIN_EXE_podsync-hub"))
            .args([command, "--config"])
            .arg(settings.path("hub.toml"))
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let said = String::from_utf8(told.stderr).unwrap();
        assert_eq!(told.status.code(), Some(1), "{said}");
        said
    });
    assert_eq!(said, checked);
    said
}

#[test]
fn a_file_that_the_settings_name_and_that_is_not_there_is_told_with_line_and_key() {
    let team = Team::new().id();
    let team = format!("[[teams]]\nteam = '{team}'\nbucket = 'payments'\nregion = 'eu-west-1'\n");
    let urls = "public_urls = ['https://localhost']\n";
    for (key, command) in [
        ("witness_key", "podsync-hub key"),
        ("metrics_token", "openssl rand"),
    ] {
        let said = refused(&format!("{urls}{key} = '/nowhere/file'\n{team}"), &[]);
        let place = format!("hub.toml, line 2: {key}: /nowhere/file");
        for part in [place.as_str(), command] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(said.matches("No such file").count(), 1, "{said}");
        let variable = format!("PODSYNC_HUB_{}", key.to_uppercase());
        let said = refused(
            &format!("{urls}{team}"),
            &[(variable.as_str(), "/nowhere/file")],
        );
        assert!(
            said.contains(&format!("{variable} in the environment")),
            "{said}"
        );
    }
    let said = refused(
        &format!("listen = '127.0.0.1:0'\npublic_urls = []\n{team}"),
        &[],
    );
    assert!(said.contains("hub.toml, line 2: public_urls: "), "{said}");
}

/// What `podsync-hub teams` says of a bucket behind a proxy, which a variable names.
fn listed_through(variable: &str, proxy: &str, endpoint: &str) -> Output {
    listed_past(variable, proxy, endpoint, "")
}

/// The same with a `NO_PROXY`.
fn listed_past(variable: &str, proxy: &str, endpoint: &str, past: &str) -> Output {
    let settings = Settings::new(&[]);
    let text = format!(
        "[[teams]]\nteam = '{}'\nbucket = 'payments'\nregion = 'eu-central-1'\nendpoint = '{endpoint}'\n",
        Team::new().id()
    );
    std::fs::write(settings.path("hub.toml"), text).unwrap();
    let mut teams = Command::new(env!("CARGO_BIN_EXE_podsync-hub"));
    teams
        .args(["teams", "--config"])
        .arg(settings.path("hub.toml"))
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env(variable, proxy)
        .env_remove("NO_PROXY")
        .env_remove("no_proxy");
    if !past.is_empty() {
        teams.env("NO_PROXY", past);
    }
    teams.output().unwrap()
}

/// A proxy that wants a password.
async fn refusing_proxy() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listener = listener.await.unwrap();
    let address = listener.local_addr().unwrap();
    let refusing = axum::Router::new().fallback(async || StatusCode::PROXY_AUTHENTICATION_REQUIRED);
    tokio::spawn(async move { axum::serve(listener, refusing).await });
    address
}

#[tokio::test]
async fn a_bucket_that_no_proxy_names_is_asked_past_the_proxy() {
    let proxy = format!("http://{}", refusing_proxy().await);
    for (past, by_proxy) in [("", true), ("s3.internal,127.0.0.1", false)] {
        let proxy = proxy.clone();
        let listed = tokio::task::spawn_blocking(move || {
            listed_past("HTTP_PROXY", &proxy, "http://127.0.0.1:9", past)
        });
        let said = String::from_utf8(listed.await.unwrap().stdout).unwrap();
        assert!(said.contains("bucket payments: "), "{said}");
        assert_eq!(said.contains("answers 407"), by_proxy, "{said}");
    }
}

#[tokio::test]
async fn a_proxy_that_asks_for_a_password_is_named_without_the_one_it_has() {
    let address = refusing_proxy().await;
    let proxy = format!("http://me:secret-word@{address}");
    let listed = tokio::task::spawn_blocking(move || {
        listed_through("HTTP_PROXY", &proxy, "http://s3.example")
    });
    let said = String::from_utf8(listed.await.unwrap().stdout).unwrap();
    let named = format!("the proxy http://{address}, which the environment names, answers 407");
    assert!(said.contains(&named), "{said}");
    assert!(!said.contains("secret-word"), "{said}");
}

#[test]
fn a_proxy_is_named_if_it_does_not_answer_and_refused_if_it_is_none() {
    let listed = |proxy: &str| listed_through("HTTPS_PROXY", proxy, "https://s3.example");
    let dead = String::from_utf8(listed("http://me:secret-word@127.0.0.1:9").stdout).unwrap();
    assert!(
        dead.contains("through the proxy http://127.0.0.1:9,"),
        "{dead}"
    );
    assert!(!dead.contains("secret-word"), "{dead}");
    let garbage = listed("garbage://x");
    let said = String::from_utf8(garbage.stderr).unwrap();
    assert_eq!(garbage.status.code(), Some(1), "{said}");
    assert!(said.contains("HTTPS_PROXY in the environment"), "{said}");
}

#[test]
fn a_wrong_certificate_or_key_is_told_with_its_file_line_and_key() {
    let settings = Settings::new(&[]);
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for (name, text, words) in [
        ("tls.crt", "garbage".to_owned(), "certificate = "),
        ("tls.key", encrypted.to_owned(), "its key is encrypted"),
        ("tls.key", "garbage".to_owned(), "it holds no private key"),
        ("tls.crt", other.cert.pem(), "it is not the key"),
    ] {
        settings.certify();
        std::fs::write(settings.path(name), text).unwrap();
        settings.write(&[Team::new().id()]);
        let text = std::fs::read_to_string(settings.path("hub.toml")).unwrap();
        let said = refused(&text, &[]);
        let file = settings.path(name).display().to_string();
        for part in ["hub.toml, line ", words, &file] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_told() {
    client(); // Installs a TLS provider.
    let settings = Settings::new(&[]);
    let mut ended = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    ended.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let ended = ended.self_signed(&key).unwrap();
    std::fs::write(settings.path("tls.key"), key.serialize_pem()).unwrap();
    std::fs::write(settings.path("tls.crt"), ended.pem()).unwrap();
    settings.write(&[Team::new().id()]);
    let (program, _) = settings.serve();
    settings.told("the certificate has ended", 1).await;
    hang_up(&program);
    settings.told("the certificate has ended", 2).await;
}

#[tokio::test]
async fn only_who_has_the_token_is_shown_teams_and_metrics() {
    let token = "0123456789abcdef0123456789abcdef";
    let settings = Settings::new(&[Team::new().id()]);
    let (program, port) = settings.serve();
    let get = async |path: &str, token: Option<&str>| {
        let request = client().get(format!("http://127.0.0.1:{port}{path}"));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.unwrap().status()
    };
    for path in ["/metrics", "/health/teams"] {
        assert_eq!(get(path, None).await, StatusCode::FORBIDDEN);
        assert_eq!(get(path, Some(token)).await, StatusCode::FORBIDDEN);
    }
    std::fs::write(settings.path("token"), token).unwrap();
    settings.write(&[Team::new().id()]);
    hang_up(&program);
    settings.told("the hub read the settings again", 1).await;
    for path in ["/metrics", "/health/teams"] {
        assert_eq!(get(path, None).await, StatusCode::FORBIDDEN);
        assert_eq!(
            get(path, Some("another-token-of-32-letters-more")).await,
            StatusCode::FORBIDDEN
        );
        assert_eq!(get(path, Some(token)).await, StatusCode::OK);
    }
    assert_eq!(get("/health/live", None).await, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn one_teams_dead_bucket_is_told_and_the_others_are_served() {
    let hub = TestHub::with(Options::default()).await.unwrap();
    let (one, two) = (Team::new(), Team::founded_by(1));
    for (team, number) in [(&one, 0), (&two, 1)] {
        let post = podsync_api::hub::PostOperations {
            operations: team.operations.iter().map(Into::into).collect(),
        };
        let posted = crate::kit::Call::post(team.id(), "membership", &post).by(number);
        assert_eq!(posted.send(&hub).await.status, StatusCode::OK);
    }
    hub.bucket(two.id()).fail(Fault::Unavailable);
    let url = |path: &str| format!("{}{path}", hub.url());
    assert_eq!(
        status(&client(), &url("/health/ready")).await,
        StatusCode::NO_CONTENT
    );
    let teams: serde_json::Value = client()
        .get(url("/health/teams"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let row = |team: TeamId| {
        let mut rows = teams.as_array().unwrap().iter();
        rows.find(|row| row["team"] == team.to_string()).unwrap()
    };
    assert_eq!(row(one.id())["state"], "ready");
    assert_eq!(row(two.id())["state"], "down");
    let reason = row(two.id())["reason"].as_str().unwrap();
    assert!(reason.contains("503 SlowDown"), "{reason}");
    // Further questions within seconds cost the buckets nothing.
    let before = hub.bucket(one.id()).seen().len();
    for _ in 0..20 {
        status(&client(), &url("/health/ready")).await;
    }
    assert_eq!(hub.bucket(one.id()).seen().len(), before);
}

/// What `podsync-hub teams` says of a bucket at this port, if these CAs are trusted.
fn listed(port: &str, trusted: Option<PathBuf>) -> String {
    let settings = Settings::new(&[]);
    let text = format!(
        "[[teams]]\nteam = '{}'\nbucket = 'payments'\nregion = 'eu-central-1'\nendpoint = 'https://localhost:{port}'\n",
        Team::new().id()
    );
    std::fs::write(settings.path("hub.toml"), text).unwrap();
    let mut teams = Command::new(env!("CARGO_BIN_EXE_podsync-hub"));
    teams
        .args(["teams", "--config"])
        .arg(settings.path("hub.toml"))
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("NO_PROXY", "localhost")
        .env_remove("SSL_CERT_FILE");
    if let Some(file) = trusted {
        teams.env("SSL_CERT_FILE", file);
    }
    String::from_utf8(teams.output().unwrap().stdout).unwrap()
}

#[test]
fn a_ca_of_ones_own_is_named_by_ssl_cert_file() {
    let server = Settings::new(&[]);
    server.certify();
    server.write(&[Team::new().id()]);
    let (_program, port) = server.serve();
    let listed = |trusted| listed(&port, trusted);
    let distrusted = listed(None);
    assert!(distrusted.contains("SSL_CERT_FILE"), "{distrusted}");
    // What is there is no S3 server, and is reached.
    let trusted = listed(Some(server.path("tls.crt")));
    assert!(trusted.contains("bucket payments: 404"), "{trusted}");
    let gone = listed(Some("/nowhere/ca.pem".into()));
    assert!(
        gone.contains("/nowhere/ca.pem, which SSL_CERT_FILE names, can't be read"),
        "{gone}"
    );
}

#[test]
fn a_server_that_shows_the_certificate_of_a_ca_is_told() {
    let server = Settings::new(&[]);
    let mut ca = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = ca.self_signed(&key).unwrap();
    std::fs::write(server.path("tls.key"), key.serialize_pem()).unwrap();
    std::fs::write(server.path("tls.crt"), ca.pem()).unwrap();
    server.write(&[Team::new().id()]);
    let (_program, port) = server.serve();
    let said = listed(&port, Some(server.path("tls.crt")));
    assert!(said.contains("with CA:FALSE"), "{said}");
}

#[test]
fn the_settings_lie_where_they_are_said_to() {
    // A hub that can't read them says the file, and ends.
    let out = Command::new(env!("CARGO_BIN_EXE_podsync-hub"))
        .args(["serve", "--config"])
        .arg(Path::new("/nowhere/hub.toml"))
        .output()
        .unwrap();
    assert!(!out.status.success());
    let words = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(words.contains("/nowhere/hub.toml"), "{words}");
}
