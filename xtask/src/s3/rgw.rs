//! Ceph's RGW: a monitor, one OSD that keeps all in memory, and the gateway.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{Running, ensure_debian, free_port, succeed, version};

const PACKAGES: [&str; 4] = ["radosgw", "ceph-mon", "ceph-osd", "ceph-common"];

pub(super) fn start() -> Result<Running> {
    ensure_debian(&PACKAGES, "radosgw")?;
    let mut running = Running::new("rgw")?;
    running.version = version("radosgw", &["--version"]);
    let monitor = format!("v2:127.0.0.1:{}", free_port()?);
    let (cluster, osd) = (uuid()?, uuid()?);
    let folder = running.folder.path().to_path_buf();
    for name in ["mon", "osd", "run", "rgw"] {
        std::fs::create_dir(folder.join(name))?;
    }
    std::fs::write(
        folder.join("ceph.conf"),
        configuration(&folder, &cluster, &monitor, running.port),
    )?;
    let ceph = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.arg("-c").arg(folder.join("ceph.conf"));
        command.args(arguments);
        command
    };
    let map = folder.join("monmap");
    let map_path = map.to_string_lossy();
    let addresses = format!("[{monitor}]");
    succeed(Command::new("monmaptool").args([
        "--create",
        "--clobber",
        "--fsid",
        &cluster,
        "--addv",
        "a",
        &addresses,
        &map_path,
    ]))?;
    succeed(&mut ceph(
        "ceph-mon",
        &["--mkfs", "-i", "a", "--monmap", &map_path],
    ))?;
    running.spawn(&mut ceph("ceph-mon", &["-i", "a", "-f"]))?;
    succeed(&mut ceph(
        "ceph",
        &["--connect-timeout", "60", "osd", "new", &osd],
    ))?;
    succeed(&mut ceph(
        "ceph-osd",
        &["-i", "0", "--mkfs", "--osd-uuid", &osd],
    ))?;
    running.spawn(&mut ceph("ceph-osd", &["-i", "0", "-f"]))?;
    succeed(&mut ceph(
        "ceph",
        &["osd", "crush", "add", "osd.0", "1.0", "root=default"],
    ))?;
    let user = [
        "user",
        "create",
        "--uid",
        "podsync",
        "--display-name",
        "podsync",
        "--access-key",
        &running.keys.0,
        "--secret-key",
        &running.keys.1,
    ];
    succeed(&mut ceph("radosgw-admin", &user))?;
    running.spawn(&mut ceph("radosgw", &["-n", "client.rgw", "-f"]))?;
    running.wait()?;
    Ok(running)
}

fn uuid() -> Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(text.trim().to_owned())
}

fn configuration(folder: &Path, cluster: &str, monitor: &str, port: u16) -> String {
    let folder = folder.display();
    // `secure`, the gateway's default, wants the keys that this cluster does without.
    format!(
        "[global]
fsid = {cluster}
mon host = {monitor}
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
ms bind ipv6 = false
ms mon client mode = crc
public addr = 127.0.0.1
cluster addr = 127.0.0.1
mon allow pool size one = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 17179869184
admin socket = {folder}/run/$name.asok
run dir = {folder}/run
log file = {folder}/$name.log
log to stderr = false
mon data = {folder}/mon
mon data avail crit = 1
osd data = {folder}/osd
rgw data = {folder}/rgw
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port}
"
    )
}
