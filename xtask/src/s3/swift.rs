//! OpenStack's Swift with s3api: a proxy, one server each for objects, containers and accounts, and memcached.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{Running, ensure_debian, free_port, succeed, version};

const PACKAGES: [&str; 5] = [
    "swift-proxy",
    "swift-object",
    "swift-container",
    "swift-account",
    "memcached",
];
const RINGS: [&str; 3] = ["object", "container", "account"];
/// Of the proxy, in this order.
const FILTERS: [&str; 14] = [
    "catch_errors",
    "gatekeeper",
    "healthcheck",
    "proxy_logging",
    "memcache",
    "listing_formats",
    "bulk",
    "tempurl",
    "s3api",
    "tempauth",
    "slo",
    "dlo",
    "versioned_writes",
    "symlink",
];

pub(super) fn start() -> Result<Running> {
    ensure_debian(&PACKAGES, "swift-proxy-server")?;
    let mut running = Running::new("swift")?;
    let package = [
        "-W",
        "-f",
        "OpenStack Swift ${Version} (Debian)",
        "swift-proxy",
    ];
    running.version = version("dpkg-query", &package);
    // As tempauth spells an account and its user.
    running.keys = ("test:tester".to_owned(), "testing".to_owned());
    let folder = running.folder.path().to_path_buf();
    std::fs::create_dir_all(folder.join("node/disk"))?;
    std::fs::write(
        folder.join("swift.conf"),
        "[swift-hash]\nswift_hash_path_suffix = podsync\nswift_hash_path_prefix = podsync\n",
    )?;
    for ring in RINGS {
        let port = free_port()?;
        make_ring(&folder, ring, port)?;
        let file = folder.join(format!("{ring}-server.conf"));
        let text = format!(
            "{}devices = {}\nmount_check = false\n[pipeline:main]\npipeline = {ring}-server\n[app:{ring}-server]\nuse = egg:swift#{ring}\n",
            defaults(&folder, port),
            folder.join("node").display(),
        );
        std::fs::write(&file, text)?;
        running.spawn(Command::new(format!("swift-{ring}-server")).arg(file))?;
    }
    let cache = free_port()?;
    let cache_port = cache.to_string();
    running.spawn(Command::new("memcached").args([
        "-l",
        "127.0.0.1",
        "-p",
        &cache_port,
        "-u",
        "root",
    ]))?;
    let file = folder.join("proxy-server.conf");
    std::fs::write(&file, proxy(&folder, running.port, cache))?;
    running.spawn(Command::new("swift-proxy-server").arg(file))?;
    running.wait()?;
    Ok(running)
}

fn make_ring(folder: &Path, ring: &str, port: u16) -> Result<()> {
    let device = format!("r1z1-127.0.0.1:{port}/disk");
    for arguments in [
        &["create", "4", "1", "0"][..],
        &["add", &device, "1"],
        &["rebalance"],
    ] {
        let mut builder = Command::new("swift-ring-builder");
        builder.arg(folder.join(format!("{ring}.builder")));
        succeed(builder.args(arguments))?;
    }
    Ok(())
}

fn defaults(folder: &Path, port: u16) -> String {
    format!(
        "[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nswift_dir = {}\nworkers = 0\nuser = root\nlog_address = /nonexistent\n",
        folder.display()
    )
}

fn proxy(folder: &Path, port: u16, cache: u16) -> String {
    let mut text = format!(
        "{}[pipeline:main]\npipeline = {} proxy-server\n[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n",
        defaults(folder, port),
        FILTERS.join(" ")
    );
    for filter in FILTERS {
        let more = match filter {
            "memcache" => format!("memcache_servers = 127.0.0.1:{cache}\n"),
            "s3api" => "location = us-east-1\n".to_owned(),
            "tempauth" => "user_test_tester = testing .admin\n".to_owned(),
            "versioned_writes" => "allow_object_versioning = true\n".to_owned(),
            _ => String::new(),
        };
        text.push_str(&format!(
            "[filter:{filter}]\nuse = egg:swift#{filter}\n{more}"
        ));
    }
    text
}
