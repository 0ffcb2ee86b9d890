//! Garage, as far as the suite of buckets starts it itself: here it gets one more bucket's worth of keys.

use std::process::Command;

use anyhow::{Context, Result};

use super::{Running, free_port, succeed, version};
use xtask::garage::program;

const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
const SECRET_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(super) fn start() -> Result<Running> {
    let program = program().context("Garage isn't here: `cargo xtask garage` builds it")?;
    let mut running = Running::new("garage")?;
    running.version = version(&program.to_string_lossy(), &["--version"]);
    running.region = "garage";
    running.keys = (ACCESS_KEY.to_owned(), SECRET_KEY.to_owned());
    let file = running.path("garage.toml");
    let (folder, rpc, port) = (running.folder.path().display(), free_port()?, running.port);
    let text = format!(
        "metadata_dir = '{folder}/meta'\ndata_dir = '{folder}/data'\ndb_engine = 'sqlite'\nreplication_factor = 1\nrpc_bind_addr = '127.0.0.1:{rpc}'\nrpc_public_addr = '127.0.0.1:{rpc}'\nrpc_secret = '{SECRET_KEY}'\n[s3_api]\ns3_region = 'garage'\napi_bind_addr = '127.0.0.1:{port}'\n"
    );
    std::fs::write(&file, text)?;
    running.spawn(
        Command::new(&program)
            .arg("-c")
            .arg(&file)
            .args(["server", "--single-node", "--default-bucket"])
            .env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY)
            .env("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY)
            .env("GARAGE_DEFAULT_BUCKET", "unused"),
    )?;
    running.wait()?;
    succeed(Command::new(&program).arg("-c").arg(&file).args([
        "key",
        "allow",
        "--create-bucket",
        ACCESS_KEY,
    ]))?;
    Ok(running)
}
