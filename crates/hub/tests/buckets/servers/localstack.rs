//! LocalStack's S3, with the signatures of URLs checked. It lets in requests without a signature, and checks
//! no signature in headers.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use podsync_hub::abilities::Ability;

use super::{Known, Running, Server, free_port, install_tls, settings, wait_until_up};

/// Names the Python that runs it.
pub(crate) const VARIABLE: &str = "PODSYNC_TEST_LOCALSTACK";

pub(crate) async fn start() -> Option<Server> {
    let python = PathBuf::from(std::env::var_os(VARIABLE)?);
    install_tls();
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/localstack/run.py");
    let child = Command::new(python)
        .arg(script)
        .env("LOCALSTACK_TEST_PORT", port.to_string())
        .env("LOCALSTACK_TEST_HOME", folder.path())
        .env("S3_SKIP_SIGNATURE_VALIDATION", "0")
        .env("SERVICES", "s3")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut running = Running {
        child,
        _folder: folder,
    };
    let health = format!("http://127.0.0.1:{port}/_localstack/health");
    wait_until_up(&mut running, &health).await;
    Some(Server {
        settings: settings(port, "us-east-1", "team-one", ("test", "test")),
        other_bucket: "team-two".to_owned(),
        known: Known {
            expired: 403,
            only_new: true,
            anonymous: 200,
            header_checked: false,
            region_checked: false,
            binds_bytes: true,
            ranged: 206,
            lacking: Some(&[Ability::Private]),
            refusal_empties: true,
        },
        _running: Box::new(running),
    })
}
