//! Ports of this machine: one that is free, and one that a server begins to listen on.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

/// A server answers within this, or there is something wrong.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Until `child`, whose log is there, takes connections.
pub(super) fn wait_until_it_listens(child: &mut Child, port: u16, log: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = child.try_wait()? {
            let log = fs::read_to_string(log).unwrap_or_default();
            bail!("it ended at its start, {status}: {}", log.trim());
        }
        ensure!(Instant::now() < deadline, "nothing listens on port {port}");
        thread::sleep(POLL);
    }
    Ok(())
}
