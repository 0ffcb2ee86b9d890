//! Finds what keeps podsync from working on this machine, and says how to fix it. Changes nothing.
//!
//! It works with and without a daemon: it asks a running daemon, or else opens the home itself.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    os::unix::fs::FileTypeExt,
    path::Path,
    time::Duration,
};

use podsync_api::{
    ApiError, AuthToken, Client, ErrorCode, TeamChoice,
    node::{self, Finding},
};
use podsync_instance::Service;
use podsync_store::{Blobs, Home, HomeError, Log, MEND_LINK, refuse_dangling, shell_word};

use crate::{
    emulator::connect,
    error::Failure,
    paths::{check_may_be_home, is_initialised, socket_path},
    service::skew::{self, Judgement, Tolerance},
    settings::Settings,
};

const DISK: &str = "disk";
/// Free bytes below which nothing can be saved.
const LEAST_FREE: u64 = 256 << 20;
/// Free bytes below which a large state won't fit.
const GOOD_FREE: u64 = 4 << 30;
/// A statement from further ahead is not believed. One of a connected device may be an hour old.
const CLOCKS: Tolerance = Tolerance {
    ahead_s: 10 * 60,
    behind_s: 2 * 60 * 60,
};
/// The multicast group of mDNS.
const MDNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)), 0);
/// How long to wait for a packet that this machine sends to itself.
const ECHO_PATIENCE: Duration = Duration::from_secs(1);

/// Runs all checks, in the order in which to fix their findings.
pub async fn examine(
    settings: &Settings,
    endpoint: &str,
    token: Option<&AuthToken>,
) -> Vec<Finding> {
    let daemon = running(&settings.home).await;
    let mut findings = vec![home(settings, daemon.as_ref())];
    if is_initialised(&settings.home) {
        findings.push(disk(&settings.home));
    }
    findings.push(port(settings, daemon.as_ref()));
    findings.extend(teams(daemon.as_ref()));
    if settings.mdns {
        findings.push(multicast().await);
    }
    findings.push(match &daemon {
        Some(status) => clock(status),
        None => Finding::ok(
            "clock",
            "not compared with teammates' clocks: no daemon runs",
        ),
    });
    findings.extend(instance(endpoint, token).await);
    findings
}

async fn running(home: &Path) -> Option<node::Status> {
    let client = Client::new(&socket_path(home), TeamChoice::Only).ok()?;
    client.call(&node::GetStatus {}).await.ok()
}

fn home(settings: &Settings, daemon: Option<&node::Status>) -> Finding {
    const CHECK: &str = "home";
    let home = &settings.home;
    if !is_initialised(home) {
        if let Err(error) = check_may_be_home(home) {
            return Finding::failure(CHECK, error);
        }
        let error = ApiError::new(
            ErrorCode::NotFound,
            format!("{} is not a podsync home yet", home.display()),
        );
        return Finding::failure(
            CHECK,
            error.hint("create a team (`podsync team create NAME`), or join one (`podsync team join`): that makes this device's key"),
        );
    }
    match (Home::open(home, "podsync doctor"), daemon) {
        (Ok(opened), _) => match examine_files(&opened).and_then(|()| examine_ways(home)) {
            Ok(()) => match unseen_key(home) {
                Some(key) => Finding::warning(
                    CHECK,
                    format!(
                        "a team's recovery key was never shown: it is in {}",
                        key.display()
                    ),
                    "move the file to a safe place that is not on this machine",
                ),
                None => Finding::ok(CHECK, home.display().to_string()),
            },
            Err(error) => Finding::failure(CHECK, error.into()),
        },
        (Err(HomeError::InUse { .. }), Some(daemon))
            if daemon.version == env!("CARGO_PKG_VERSION") =>
        {
            if let Err(error) = Home::check_access(home) {
                return Finding::failure(CHECK, Failure::from(error).into());
            }
            let found = format!(
                "{}, held by the daemon (pid {})",
                home.display(),
                daemon.pid
            );
            Finding::ok(CHECK, found)
        }
        (Err(HomeError::InUse { .. }), Some(daemon)) => Finding::warning(
            CHECK,
            format!(
                "its daemon is podsync {}, this is {}",
                daemon.version,
                env!("CARGO_PKG_VERSION")
            ),
            "any command that needs teammates restarts it",
        ),
        (Err(error @ HomeError::InUse { .. }), None) => {
            let told = ApiError::from(Failure::from(error));
            let error = ApiError::new(told.code, format!("{}, which doesn't answer", told.message));
            Finding::failure(CHECK, error.hint("`podsync stop` ends it"))
        }
        (Err(error), _) => Finding::failure(CHECK, Failure::from(error).into()),
    }
}

/// A recovery key that `podsync team create` could not show.
fn unseen_key(home: &Path) -> Option<std::path::PathBuf> {
    let entries = home.read_dir().ok()?.filter_map(Result::ok);
    let mut keys = entries.filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("recovery-key-")
    });
    keys.next().map(|entry| entry.path())
}

/// Looks at every folder and file, and reads the key and the databases through.
fn examine_files(home: &Home) -> Result<(), Failure> {
    Home::check_access(home.root())?;
    home.identity()?;
    Log::examine(home)?;
    Ok(Blobs::examine(home)?)
}

/// Looks for what stands where a daemon writes its log and makes its socket.
fn examine_ways(home: &Path) -> Result<(), Failure> {
    let (log, socket) = (home.join("daemon.log"), socket_path(home));
    let is_other = |found: fs::Metadata| !found.file_type().is_socket();
    if let Err(error) = refuse_dangling(&log) {
        let text = format!("{}: {error}", log.display());
        return Err(ApiError::new(ErrorCode::Disk, text).hint(MEND_LINK).into());
    }
    let (path, what) = if log.is_dir() {
        (log, "is a folder, and the daemon writes its log there")
    } else if socket.symlink_metadata().is_ok_and(is_other) {
        (socket, "is no socket, and the daemon makes one there")
    } else {
        return Ok(());
    };
    let mut aside = path.as_os_str().to_owned();
    aside.push(".old");
    let text = format!("{} {what}", path.display());
    Err(ApiError::new(ErrorCode::Disk, text)
        .hint(format!(
            "move it away with `mv {} {}`",
            shell_word(&path),
            shell_word(Path::new(&aside))
        ))
        .into())
}

fn disk(home: &Path) -> Finding {
    match podsync_store::free_bytes(home) {
        Err(error) => Finding::failure(DISK, Failure::from(error).into()),
        Ok(free) => room(free),
    }
}

/// What so many free bytes are good for.
fn room(free: u64) -> Finding {
    const FIX: &str = "free some space, or `podsync drop` what isn't needed";
    if free < LEAST_FREE {
        let error = ApiError::new(ErrorCode::Disk, format!("{} MB are free", free / 1_000_000));
        return Finding::failure(DISK, error.hint(FIX));
    }
    let found = format!("{:.1} GB are free", free as f64 / 1e9);
    if free < GOOD_FREE {
        return Finding::warning(DISK, format!("{found}: a large state won't fit"), FIX);
    }
    Finding::ok(DISK, found)
}

/// Asks a daemon where it listens. If none runs, tries to bind the port.
fn port(settings: &Settings, daemon: Option<&node::Status>) -> Finding {
    const CHECK: &str = "port";
    if let Some(status) = daemon {
        return match &status.listening[..] {
            [] => Finding::warning(
                CHECK,
                "the daemon listens at no address: it meets only teammates that it dials itself",
                "see its log, `daemon.log` in the home",
            ),
            listening => Finding::ok(CHECK, listening.join(", ")),
        };
    }
    let (addresses, another_will_do) = settings.listen_addresses();
    for address in addresses {
        let Err(error) = TcpListener::bind(address) else {
            continue;
        };
        let found = format!("podsync can't listen at {address}: {error}");
        return if another_will_do {
            let fix = "podsync will use another port; open that one in firewalls, or free this one";
            Finding::warning(CHECK, found, fix)
        } else {
            let fix = "choose another with `podsync config set listen IP:PORT`";
            Finding::failure(CHECK, ApiError::new(ErrorCode::Busy, found).hint(fix))
        };
    }
    Finding::ok(CHECK, "free; no daemon runs, and commands start one")
}

fn teams(daemon: Option<&node::Status>) -> Vec<Finding> {
    const CHECK: &str = "teams";
    let Some(status) = daemon else {
        return Vec::new();
    };
    let mut findings: Vec<_> = status
        .warnings
        .iter()
        .map(|warning| match warning.rsplit_once("; ") {
            Some((found, fix)) => Finding::warning(CHECK, found, fix),
            None => Finding::warning(CHECK, warning, "`podsync status` says more"),
        })
        .collect();
    let names: Vec<_> = status
        .teams
        .iter()
        .map(|team| team.name.to_string())
        .collect();
    findings.push(if names.is_empty() {
        Finding::warning(
            CHECK,
            "in none",
            "create one with `podsync team create NAME`, or join with `podsync team join`",
        )
    } else {
        let connected = devices(status.peers_connected);
        Finding::ok(
            CHECK,
            format!("{}; {connected} connected", names.join(", ")),
        )
    });
    findings
}

fn devices(connected: usize) -> String {
    match connected {
        1 => "1 teammate's device".to_owned(),
        _ => format!("{connected} teammates' devices"),
    }
}

/// Sends a packet to a group that this machine is in itself.
async fn multicast() -> Finding {
    const CHECK: &str = "multicast";
    let echo = tokio::task::spawn_blocking(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let IpAddr::V4(group) = MDNS.ip() else {
            return Ok(());
        };
        socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)?;
        socket.set_multicast_loop_v4(true)?;
        socket.set_multicast_ttl_v4(0)?;
        socket.set_read_timeout(Some(ECHO_PATIENCE))?;
        let sent: [u8; 16] = rand::random();
        socket.send_to(&sent, (group, socket.local_addr()?.port()))?;
        let mut heard = [0; 16];
        socket.recv_from(&mut heard).map(drop)
    });
    let error = match echo.await {
        Ok(Ok(())) => return Finding::ok(CHECK, "works on this machine"),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Finding::warning(
        CHECK,
        format!(
            "doesn't work here ({error}): podsync doesn't find teammates on this network by itself"
        ),
        "name one with `peers` in config.toml; podsync learns of the others from that one",
    )
}

/// Compares this clock with the times that teammates' devices signed.
fn clock(status: &node::Status) -> Finding {
    let clocks = status.teams.iter().flat_map(|team| &team.clocks);
    // A device may be in several teams.
    let clocks: BTreeMap<_, _> = clocks.map(|clock| (clock.device, clock.clone())).collect();
    compared(&clocks.into_values().collect::<Vec<_>>())
}

fn compared(clocks: &[node::Clock]) -> Finding {
    const CHECK: &str = "clock";
    match skew::judge(clocks, CLOCKS) {
        Judgement::Alike if clocks.is_empty() => Finding::ok(
            CHECK,
            "not compared with teammates' clocks: none has told its time",
        ),
        Judgement::Alike => Finding::ok(CHECK, "agrees with teammates' clocks"),
        Judgement::WrongHere { off, clocks } => {
            let how_far = skew::span(off.unsigned_abs());
            let direction = if off > 0 { "behind" } else { "ahead of" };
            let found =
                format!("{how_far} or more {direction} the clocks of {clocks} other devices");
            Finding::failure(
                CHECK,
                ApiError::new(ErrorCode::Invalid, found)
                    .hint("set this machine's clock, by NTP at best"),
            )
        }
        Judgement::WrongThere(off) => {
            let found: Vec<_> = off.iter().map(|clock| skew::both(clock)).collect();
            Finding::warning(
                CHECK,
                format!(
                    "{}. Other devices agree with this machine",
                    found.join("; ")
                ),
                "the clock there has to be set",
            )
        }
        Judgement::Undecided(clock) => Finding::warning(
            CHECK,
            format!(
                "{}. Too few devices can be compared to tell which one is right",
                skew::both(clock)
            ),
            "compare both with a clock that is right, and set the wrong one",
        ),
    }
}

async fn instance(endpoint: &str, token: Option<&AuthToken>) -> Vec<Finding> {
    const CHECK: &str = "emulator";
    let asked = async {
        let instance = connect(endpoint, token).await?;
        let environment = instance.environment().await.map_err(Failure::from)?;
        let health = instance.health().await.map_err(Failure::from)?;
        Ok::<_, Failure>((environment, health))
    };
    let (environment, health) = match asked.await {
        Ok(answers) => answers,
        Err(error) => return vec![Finding::failure(CHECK, error.into())],
    };
    let by = match (&environment.plugin_version, environment.pro) {
        (Some(version), _) => format!("podsync's plugin {version}"),
        (None, true) => "a licence".to_owned(),
        (None, false) => "no licence said".to_owned(),
    };
    let found = format!(
        "{} at {endpoint} saves and loads ({by})",
        environment.emulator()
    );
    let broken: Vec<&Service> = health
        .services
        .iter()
        .filter(|(_, status)| *status == "error")
        .map(|(service, _)| service)
        .collect();
    let running = health
        .services
        .values()
        .filter(|status| matches!(status.as_str(), "available" | "running"))
        .count();
    let services = format!("{running} of {} there", health.services.len());
    let mut findings = vec![Finding::ok(CHECK, found)];
    findings.push(if broken.is_empty() {
        Finding::ok("services", services)
    } else {
        let names: Vec<_> = broken.iter().map(ToString::to_string).collect();
        Finding::warning(
            "services",
            format!("{services}; {} failed to start", names.join(", ")),
            "see the emulator's log",
        )
    });
    findings
}

#[cfg(test)]
mod tests {
    use podsync_api::node::Verdict;
    use podsync_core::DeviceId;

    use super::*;

    #[test]
    fn one_device_is_told_as_one() {
        assert_eq!(devices(1), "1 teammate's device");
        assert_eq!(devices(0), "0 teammates' devices");
    }

    #[test]
    fn little_room_is_a_warning_and_none_a_failure() {
        let verdict = |free| room(free).verdict;
        assert_eq!(verdict(0), Verdict::Failure);
        assert_eq!(verdict(LEAST_FREE - 1), Verdict::Failure);
        assert_eq!(verdict(LEAST_FREE), Verdict::Warning);
        assert_eq!(verdict(GOOD_FREE - 1), Verdict::Warning);
        assert_eq!(verdict(GOOD_FREE), Verdict::Ok);
    }

    /// A team of two can't tell whose clock is wrong.
    #[test]
    fn doctor_accuses_this_clock_only_if_most_others_do() {
        const HOUR: i64 = 60 * 60;
        let verdict = |ahead_s: &[i64]| {
            let clocks = ahead_s.iter().zip(1..).map(|(ahead_s, n)| node::Clock {
                device: DeviceId::from_bytes([n; 32]),
                name: format!("bob/{n}"),
                ahead_s: *ahead_s,
            });
            compared(&clocks.collect::<Vec<_>>())
        };
        for alike in [&[][..], &[0], &[600, -7200]] {
            assert_eq!(verdict(alike).verdict, Verdict::Ok, "{alike:?}");
        }
        let alone = verdict(&[-48 * HOUR]);
        assert_eq!(alone.verdict, Verdict::Warning);
        assert!(alone.found.contains("bob/1's clock says"), "{alone:?}");
        let third = verdict(&[48 * HOUR, 0]);
        assert_eq!(third.verdict, Verdict::Warning);
        assert!(third.found.contains("agree with this"), "{third:?}");
        let here = verdict(&[48 * HOUR, 49 * HOUR, 0]);
        assert_eq!(here.verdict, Verdict::Failure);
        assert!(here.found.contains("2 days or more behind"), "{here:?}");
        let early = verdict(&[-3 * HOUR, -3 * HOUR]);
        assert!(early.found.contains("ahead of"), "{early:?}");
    }

    #[tokio::test]
    async fn a_folder_that_is_no_home_and_an_endpoint_without_an_emulator_fail_with_their_fix() {
        podsync_net::install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            home: folder.path().join("home"),
            ..Settings::default()
        };
        let found = examine(&settings, "http://127.0.0.1:9", None).await;
        let failed: Vec<_> = found
            .iter()
            .filter(|finding| finding.verdict == Verdict::Failure)
            .collect();
        assert_eq!(failed.len(), 2, "{found:?}");
        assert!(
            failed[0]
                .fix
                .as_ref()
                .unwrap()
                .contains("podsync team create")
        );
        assert_eq!(failed[1].code, Some(ErrorCode::Instance));
        assert!(
            failed.iter().all(|finding| finding.fix.is_some()),
            "{found:?}"
        );
        assert!(!settings.home.exists(), "looking makes nothing");
    }
}
