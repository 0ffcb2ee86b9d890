//! The program itself, and a hub over the embedded S3 server.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use podsync_hub::{Teams, embedded::Embedded, s3::S3Bucket, serve::GRACE, testing::TestHub};
use reqwest::StatusCode;

use crate::kit::{Call, Feed, Team, client};

/// A running program, killed where a test fails.
pub(crate) struct Program(pub(crate) Child);

impl Program {
    fn dev(data: &std::path::Path, log: Stdio) -> (Self, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podsync-hub"));
        command.args([
            "dev",
            "--listen",
            "127.0.0.1:0",
            "--s3-listen",
            "127.0.0.1:0",
        ]);
        command.env("RUST_LOG", "trace").arg("--data").arg(data);
        Self::start(command.stderr(log))
    }

    /// Starts it; the address that it says it listens at.
    pub(crate) fn start(command: &mut Command) -> (Self, String) {
        let command = command.stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line.trim().rsplit(' ').next().unwrap().to_owned();
        (Self(child), url)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_program_serves_and_stops_when_it_is_told_to() {
    let data = tempfile::tempdir().unwrap();
    let (mut program, url) = Program::dev(data.path(), Stdio::null());
    for path in ["/v1/time", "/health/ready", "/openapi.json"] {
        let answer = client().get(format!("{url}{path}")).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}");
    }
    let told = Command::new("kill")
        .arg(program.0.id().to_string())
        .status();
    assert!(told.unwrap().success());
    let begun = Instant::now();
    let status = tokio::task::spawn_blocking(move || program.0.wait()).await;
    assert!(status.unwrap().unwrap().success());
    assert!(begun.elapsed() < GRACE + Duration::from_secs(5));
}

#[test]
fn a_failure_is_one_line_and_no_backtrace() {
    let told = Command::new(env!("CARGO_BIN_EXE_podsync-hub"))
        .args(["serve", "--config", "/no such/hub.toml"])
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("error: ") && said.contains("hub.toml"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_settings_file_without_a_team_is_told_apart_from_one_without_that_team() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("hub.toml");
    let said = |text: &str, arguments: &[&str]| {
        std::fs::write(&settings, text).unwrap();
        let told = Command::new(env!("CARGO_BIN_EXE_podsync-hub"))
            .args(arguments)
            .arg("--config")
            .arg(&settings)
            .output()
            .unwrap();
        assert_eq!(told.status.code(), Some(1));
        String::from_utf8(told.stderr).unwrap()
    };
    let key = folder.path().join("witness.key");
    podsync_hub::witness::create(&key).unwrap();
    let moved = format!(
        "public_urls = ['https://old.example']\nwitness_key = '{}'\n[[moved]]\nto = 'https://new.example'\n",
        key.display()
    );
    for command in ["check", "teams", "usage"] {
        let said = said(&moved, &[command]);
        assert!(
            said.contains("hub.toml has no [[teams]]"),
            "{command}: {said}"
        );
    }
    let served = Team::new().id();
    let other = Team::founded_by(1).id().to_string();
    let text =
        format!("[[teams]]\nteam = '{served}'\nbucket = 'payments'\nregion = 'eu-central-1'\n");
    let said = said(&text, &["usage", "--team", &other]);
    assert!(said.contains("no such team"), "{said}");
}

/// Each argument has a text, in the help and in that of each subcommand.
#[test]
fn the_help_has_a_text_for_everything() {
    let help = |command: &[&str]| {
        let told = Command::new(env!("CARGO_BIN_EXE_podsync-hub"))
            .args(command)
            .arg("--help")
            .output()
            .unwrap();
        assert!(told.status.success(), "{command:?}");
        String::from_utf8(told.stdout).unwrap()
    };
    help(&[]);
    for command in [
        "serve", "dev", "dev-keys", "gc", "check", "teams", "usage", "key",
    ] {
        let help = help(&[command]);
        let lines: Vec<_> = help.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let argument = line.trim_start();
            let is_argument = argument.starts_with("--") || argument.starts_with('<');
            let below = lines.get(at + 1).copied().unwrap_or_default();
            let has_text = argument.contains("  ") || below.starts_with("          ");
            assert!(!is_argument || has_text, "{command}: {line}\n{help}");
        }
    }
}

/// The libraries would log URLs and signatures if podsync let them.
#[tokio::test]
async fn the_program_logs_no_url_whatever_it_is_asked_to_log() {
    let data = tempfile::tempdir().unwrap();
    let log = data.path().join("log");
    let file = std::fs::File::create(&log).unwrap();
    let (program, url) = Program::dev(data.path(), file.into());
    let authority = url.strip_prefix("http://").unwrap();
    let team = Team::new();
    let post = podsync_api::hub::PostOperations {
        operations: team.operations.iter().map(Into::into).collect(),
    };
    let bytes = crate::kit::state("pack", 1);
    let id = crate::kit::object(podsync_api::hub::ObjectKind::Pack, &bytes);
    let founding = Call::post(team.id(), "membership", &post);
    let answer = founding
        .send_to(&url, &founding.signature_for(authority))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let uploading = crate::kit::upload(team.id(), 0, vec![id]);
    let signature = uploading.signature_for(authority);
    let response: podsync_api::hub::BatchResponse =
        uploading.send_to(&url, &signature).await.json();
    let Some(podsync_api::hub::Actions::Upload(action)) = &response.objects[0].actions else {
        panic!("no action");
    };
    assert_eq!(crate::kit::put(action, bytes).await.status, StatusCode::OK);
    drop(program);
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(
        text.contains(" audit: ") && text.contains("action=upload outcome=ok"),
        "{text}"
    );
    let (_, query) = action.href.split_once("X-Amz-Signature=").unwrap();
    let secrets = [
        &query[..32],
        "X-Amz-",
        "x-amz-",
        "AWS4-HMAC",
        "sig1=",
        "http://",
        "STATE-BYTES",
    ];
    for line in text.lines() {
        for secret in secrets {
            assert!(!line.contains(secret), "{line}");
        }
    }
}

#[tokio::test]
async fn a_settings_file_is_served_with_tls() {
    client(); // Installs a TLS provider.
    let folder = tempfile::tempdir().unwrap();
    let [settings, certificate, key] =
        ["hub.toml", "tls.crt", "tls.key"].map(|name| folder.path().join(name));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.key_pair.serialize_pem()).unwrap();
    let team = Team::new().id();
    let text = format!(
        "listen = '127.0.0.1:0'\npublic_urls = ['https://localhost']\n\
         [tls]\ncertificate = '{}'\nkey = '{}'\n\
         [[teams]]\nteam = '{team}'\nbucket = 'payments'\nregion = 'eu-central-1'\n\
         endpoint = 'http://127.0.0.1:9'\n",
        certificate.display(),
        key.display()
    );
    std::fs::write(&settings, text).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_podsync-hub"));
    program
        .stderr(Stdio::null())
        .arg("serve")
        .arg("--config")
        .arg(&settings);
    let (_program, address) = Program::start(&mut program);
    let port = address.rsplit(':').next().unwrap();
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .build()
        .unwrap();
    let url = format!("https://localhost:{port}");
    let info = client
        .get(format!("{url}/v1/teams/{team}"))
        .send()
        .await
        .unwrap();
    assert_eq!(info.status(), StatusCode::OK);
    // Nobody is at the bucket's address.
    let ready = client
        .get(format!("{url}/health/ready"))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let mut gc = Command::new(env!("CARGO_BIN_EXE_podsync-hub"));
    gc.args(["gc", "--dry-run", "--config"]).arg(&settings);
    let output = gc.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        words.contains("buckets that were not collected: 1"),
        "{words}"
    );
    let plain = crate::kit::client().get(format!("http://127.0.0.1:{port}/v1/time"));
    assert!(plain.send().await.is_err());
}

#[tokio::test]
async fn a_hub_over_the_embedded_server_does_all_that_it_does_over_memory() {
    client(); // Installs a TLS provider.
    let data = tempfile::tempdir().unwrap();
    let embedded = Embedded::start(data.path(), "127.0.0.1:0".parse().unwrap());
    let embedded = Arc::new(embedded.await.unwrap());
    let teams = || {
        let buckets = embedded.clone();
        Teams::any(move |team| {
            let settings = buckets.bucket(&team.to_string()[..40]);
            Ok(Arc::new(S3Bucket::new(settings)?))
        })
    };
    let one = TestHub::of(teams()).await.unwrap();
    let two = TestHub::of(teams()).await.unwrap();
    let team = Team::at(&one).await;
    let mut feed = Feed::new(team.id(), 1);
    for round in 1..4 {
        feed.publish("a");
        feed.share(&one, round).await;
    }
    let path = format!("feeds/{}", feed.device());
    let page: podsync_api::hub::FeedPage = Call::get(team.id(), &path).send(&two).await.json();
    let newest_first: Vec<_> = feed.entries.iter().rev().cloned().collect();
    assert_eq!(page.entries, newest_first);
    let heads = Call::get(team.id(), "heads").by(2).send(&two).await;
    assert_eq!(heads.status, StatusCode::OK);
}
