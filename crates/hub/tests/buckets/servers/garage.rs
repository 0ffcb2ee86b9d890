//! Garage: a real server by others. It overwrites where `If-None-Match: *` says not to, and answers an
//! expired URL with 400.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Known, Running, Server, free_port, install_tls, settings, wait_until_up};

/// Names the program.
pub(crate) const VARIABLE: &str = "PODSYNC_TEST_GARAGE";
const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
const SECRET_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(crate) async fn start() -> Option<Server> {
    let program = PathBuf::from(std::env::var_os(VARIABLE)?);
    install_tls();
    let folder = tempfile::tempdir().unwrap();
    let (rpc, api) = (free_port(), free_port());
    let config = folder.path().join("garage.toml");
    std::fs::write(&config, configuration(folder.path(), rpc, api)).unwrap();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let child = Command::new(&program)
        .arg("-c")
        .arg(&config)
        .args(["server", "--single-node", "--default-bucket"])
        .env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY)
        .env("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY)
        .env("GARAGE_DEFAULT_BUCKET", "team-two")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut running = Running {
        child,
        _folder: folder,
    };
    wait_until_up(&mut running, &format!("http://127.0.0.1:{api}/")).await;
    let allowed = Command::new(&program)
        .arg("-c")
        .arg(&config)
        .args(["key", "allow", "--create-bucket", ACCESS_KEY])
        .output()
        .unwrap();
    assert!(
        allowed.status.success(),
        "{}",
        String::from_utf8_lossy(&allowed.stderr)
    );
    Some(Server {
        settings: settings(api, "garage", "team-one", (ACCESS_KEY, SECRET_KEY)),
        other_bucket: "team-two".to_owned(),
        known: Known {
            expired: 400,
            only_new: false,
            anonymous: 403,
            header_checked: true,
            region_checked: true,
            binds_bytes: true,
            ranged: 206,
            lacking: None,
            refusal_empties: false,
        },
        _running: Box::new(running),
    })
}

fn configuration(folder: &Path, rpc: u16, api: u16) -> String {
    let folder = folder.display();
    format!(
        r#"metadata_dir = "{folder}/meta"
data_dir = "{folder}/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"
rpc_secret = "{SECRET_KEY}"

[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:{api}"
root_domain = ".s3.garage.localhost"
"#
    )
}
