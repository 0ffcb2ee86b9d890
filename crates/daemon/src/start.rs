//! How a daemon starts and how it ends.
//!
//! Shutdown is a tree: calls are cancelled first, then the engine writes what it decided, then the
//! network says goodbye, then the store closes. Only then is the lock on the home let go.

use std::{
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use podsync_api::{ApiError, ErrorCode};
use podsync_core::{
    engine::{Engine, Record},
    keys::DeviceSecret,
    seal::SecretKey,
};
use podsync_net::{Net, NetConfig, Traffic};
use podsync_store::{Blobs, Home, Log};
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::Clock,
    daemon::{self, Daemon},
    earlier,
    error::{Failure, api_error},
    events::Events,
    gate::SharedGate,
    hub::state::{Hubs, placements::Placements},
    node,
    packs::held_inputs,
    paths::socket_path,
    server,
    service::pause::Pause,
    settings::Settings,
    shelf,
    tasks::Lifetime,
    token::Token,
    versions::Versions,
};

/// The grace period: how long a shutdown may take.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(4);
/// How much longer a command's own daemon may delete what an interrupted save wrote. A second interrupt ends it.
const TIDYING_GRACE: Duration = Duration::from_secs(24);
/// How long calls of a daemon that failed may take to end. Those that wait for the store never do.
const FAILED_GRACE: Duration = Duration::from_secs(1);

/// A daemon and what it takes to end it.
pub struct Running {
    daemon: Daemon,
    socket: PathBuf,
    server: tokio::task::JoinHandle<()>,
    engine: TaskTracker,
    engine_stop: CancellationToken,
    net_stop: CancellationToken,
}

/// Opens the home, starts the engine, the network and the control API.
pub async fn start(settings: Settings, lifetime: Lifetime) -> Result<Running, ApiError> {
    let opened = open_home(&settings, lifetime).map_err(ApiError::from)?;
    try_start(settings, lifetime, opened)
        .await
        .map_err(ApiError::from)
}

/// Starts a robot's runner for one command. It doesn't listen, and its home contains no key.
pub async fn start_robot(settings: Settings, token: &Token) -> Result<Running, ApiError> {
    // Robots keep no feed. So a cache that moves between machines isn't a copied device.
    let home = Home::open_moved(&settings.home, "a podsync runner").map_err(Failure::from)?;
    let opened = Opened {
        home,
        seed: token.seed().clone(),
        robot: true,
    };
    try_start(settings, Lifetime::Transient, opened)
        .await
        .map_err(ApiError::from)
}

/// An opened home, with its device's identity.
struct Opened {
    home: Home,
    seed: SecretKey,
    robot: bool,
}

fn open_home(settings: &Settings, lifetime: Lifetime) -> Result<Opened, Failure> {
    let home = Home::open(&settings.home, lifetime.purpose())?;
    let Some(seed) = home.identity()? else {
        return Err(ApiError::new(
            ErrorCode::NotFound,
            format!("{} has no key yet", home.root().display()),
        )
        .hint("make one with `podsync init`")
        .into());
    };
    Ok(Opened {
        home,
        seed,
        robot: false,
    })
}

/// The HTTP client says nothing of a proxy that it can't use.
fn warn_of_proxies() {
    for variable in podsync_bucket::unusable_proxies() {
        tracing::warn!(
            variable,
            "it names no proxy that podsync can use, so podsync reaches hubs without it; the form is http://HOST:PORT"
        );
    }
}

async fn try_start(
    settings: Settings,
    lifetime: Lifetime,
    opened: Opened,
) -> Result<Running, Failure> {
    let Opened { home, seed, robot } = opened;
    if lifetime == Lifetime::Service {
        warn_of_proxies();
    }
    let secret = DeviceSecret::from_seed(*seed.expose());
    let device = secret.id();
    let log = Log::open(&home)?;
    let blobs = Blobs::open(&home).await?;
    earlier::note_blobs(&log, &blobs).await?;
    let versions = Arc::new(Versions::load(log.clone())?);

    let clock = Clock::start();
    let pinned = settings.pinned()?;
    let engine = restored(secret, &log, &blobs, &versions, clock)?;

    let gate = Arc::new(SharedGate::default());
    let net_stop = CancellationToken::new();
    let (config, any_port) = net_config(&settings, robot);
    let pause = Arc::new(Pause::load(log.clone(), config.traffic.clone())?);
    let (net, net_events) = listen(&config, any_port, *seed.expose(), &blobs, &gate, &net_stop)?;
    let listening = Arc::default();
    let events = Events::new();
    let hubs = Arc::new(Hubs::new(
        DeviceSecret::from_seed(*seed.expose()),
        Placements::new(log.clone()),
        clock,
        events.clone(),
    ));
    let (engine_stop, engine_tasks) = (CancellationToken::new(), TaskTracker::new());
    let parts = node::Parts {
        engine,
        pinned,
        hubs: Arc::clone(&hubs),
        net: net.clone(),
        net_events,
        log: log.clone(),
        blobs: blobs.clone(),
        versions: Arc::clone(&versions),
        gate,
        clock,
        told: events.clone(),
        listening: Arc::clone(&listening),
        cancel: engine_stop.clone(),
    };
    let node = node::spawn(parts, &engine_tasks)?;
    engine_tasks.close();

    let (socket, root) = (socket_path(&settings.home), home.root().to_owned());
    let daemon = Daemon::new(daemon::Parts {
        settings,
        lifetime,
        robot,
        home,
        device,
        node,
        net,
        log,
        blobs,
        versions,
        hubs,
        events,
        listening,
        pause,
    });
    daemon.begin_upkeep();
    let server = serve(&daemon, &socket, &root)?;
    Ok(Running {
        daemon,
        socket,
        server,
        engine: engine_tasks,
        engine_stop,
        net_stop,
    })
}

/// The network's configuration, and whether another port may be used if these are taken. A robot doesn't listen.
fn net_config(settings: &Settings, robot: bool) -> (NetConfig, bool) {
    let (listen, any_port) = if robot {
        (Vec::new(), false)
    } else {
        settings.listen_addresses()
    };
    let config = NetConfig {
        listen,
        mdns: settings.mdns,
        traffic: Traffic::limited(settings.limit_up.0, settings.limit_down.0),
    };
    (config, any_port)
}

/// Creates the engine with what the disk holds.
fn restored(
    secret: DeviceSecret,
    log: &Log,
    blobs: &Blobs,
    versions: &Versions,
    clock: Clock,
) -> Result<Engine, Failure> {
    let mut engine = Engine::new(secret, rand::random(), clock.now());
    restore(&mut engine, log, versions, clock)?;
    hold(&mut engine, blobs, versions, clock)?;
    drop_orphans(&engine, versions)?;
    Ok(engine)
}

/// Replays the log into the engine. Operations come first: they decide who is a member.
fn restore(
    engine: &mut Engine,
    log: &Log,
    versions: &Versions,
    clock: Clock,
) -> Result<(), Failure> {
    for team in log.teams()? {
        for stored in node::stored(log, team)? {
            match Record::open(stored) {
                Ok(Some(record)) => engine.restore(record),
                Ok(None) => {}
                Err(error) => {
                    // We wrote the log, but the disk may have damaged it. Records that don't verify are skipped.
                    versions.doubt();
                    tracing::error!(team = %team.short(), %error, "podsync leaves out a damaged record of the log");
                }
            }
        }
    }
    engine.start(clock.now());
    Ok(())
}

/// Forgets held versions that the catalog doesn't list: a crash came between the two, or teammates
/// dropped them.
fn drop_orphans(engine: &Engine, versions: &Versions) -> Result<(), Failure> {
    if versions.are_doubtful() {
        return Ok(());
    }
    for team in engine.teams() {
        let Some(catalog) = engine.catalog(&team) else {
            continue;
        };
        for (id, held) in versions.of_team(team) {
            let listed =
                catalog.version(&held.pod, &id).is_some() || catalog.private_version(&id).is_some();
            if held.checkpoint.is_none() && !listed {
                versions.remove(team, id)?;
            }
        }
    }
    Ok(())
}

/// Tells the engine which parts of each blob can be served.
fn hold(
    engine: &mut Engine,
    blobs: &Blobs,
    versions: &Versions,
    clock: Clock,
) -> Result<(), Failure> {
    for blob in versions.blobs().map_err(Failure::damaged)? {
        let holding = blobs.held(blob)?;
        let Some(holding) = holding.filter(|holding| blobs.is_there(blob, *holding)) else {
            tracing::warn!(blob = %blob.short(), "a held version's blob is missing; pull the version again");
            versions.note_held(blob, false);
            continue;
        };
        for input in held_inputs(blob, holding) {
            engine.handle(input, clock.now());
        }
    }
    Ok(())
}

fn listen(
    config: &NetConfig,
    any_port: bool,
    seed: [u8; 32],
    blobs: &Blobs,
    gate: &Arc<SharedGate>,
    stop: &CancellationToken,
) -> Result<(Net, tokio::sync::mpsc::Receiver<podsync_net::NetEvent>), Failure> {
    let spawn = |config: &NetConfig| {
        Net::spawn(
            config,
            seed,
            shelf::source(blobs),
            Arc::clone(gate) as _,
            stop.clone(),
        )
    };
    match spawn(config) {
        Err(podsync_net::SpawnError::Listen { addr, .. }) if any_port => {
            tracing::info!(%addr, "the address is in use; podsync listens on another port");
            let listen = config
                .listen
                .iter()
                .map(|addr| (addr.ip(), 0).into())
                .collect();
            spawn(&NetConfig {
                listen,
                ..config.clone()
            })
        }
        other => other,
    }
    .map_err(|error| {
        let code = match error {
            podsync_net::SpawnError::NoSuchAddress { .. } => ErrorCode::Invalid,
            _ => ErrorCode::Busy,
        };
        api_error(code, &error, error.hint()).into()
    })
}

fn serve(
    daemon: &Daemon,
    socket: &Path,
    home: &Path,
) -> Result<tokio::task::JoinHandle<()>, Failure> {
    let failed = |error: std::io::Error| {
        ApiError::new(
            ErrorCode::Disk,
            format!("cannot listen at {}: {error}", socket.display()),
        )
        .hint(match error.kind() {
            io::ErrorKind::InvalidInput => "choose a home whose path is shorter".to_owned(),
            io::ErrorKind::AddrInUse => {
                format!("{} is no socket: remove it", socket.display())
            }
            _ => {
                "choose a home that you may write to, on a file system that has sockets".to_owned()
            }
        })
    };
    let folder = socket.parent().unwrap_or(socket);
    own_folder(folder, home).map_err(failed)?;
    remove_socket(socket).map_err(failed)?;
    let listener = UnixListener::bind(socket).map_err(failed)?;
    std::fs::set_permissions(socket, PermissionsExt::from_mode(0o600)).map_err(failed)?;
    let router = server::router(daemon);
    let stop = daemon.tasks.stopping().clone();
    Ok(tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "the control API stopped");
        }
    }))
}

/// Makes a folder that only we can use. Its parent may be writable by others, who could put a folder or link there
/// first.
fn own_folder(folder: &Path, home: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let metadata = folder.symlink_metadata()?;
    if !metadata.is_dir() || metadata.uid() != home.metadata()?.uid() {
        let what = format!("{} is a link or belongs to another user", folder.display());
        return Err(io::Error::other(what));
    }
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700))
}

/// We hold the home's lock, so the process that left this socket is gone. Any other kind of file is not ours to
/// remove.
fn remove_socket(socket: &Path) -> io::Result<()> {
    match socket.symlink_metadata() {
        Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(socket),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Running {
    /// Resolves at SIGTERM, SIGINT or a stop call. A signal counts from this call on.
    pub fn told_to_stop(&self) -> impl Future<Output = ()> {
        let signals = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        );
        let tasks = &self.daemon.tasks;
        async move {
            let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
                tracing::error!("podsync can't listen for signals and stops");
                return;
            };
            tokio::select! {
                _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
                _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
                () = tasks.stopping().cancelled() => {
                    if tasks.failure().is_none() {
                        tracing::info!("asked to stop");
                    }
                }
            }
        }
    }

    /// Whether the engine still answers: a daemon whose loop hangs serves nobody.
    pub async fn responds(&self) -> bool {
        self.daemon.status.node.read(|_| ()).await.is_ok()
    }

    /// Why the daemon ends by itself, if it does. Its log says so, too.
    pub fn failure(&self) -> Option<ApiError> {
        self.daemon.tasks.failure().cloned()
    }

    /// Ends the daemon; returns once everything is on the disk and the home is free.
    pub async fn stop(self) {
        let Self {
            daemon,
            socket,
            server,
            engine,
            engine_stop,
            net_stop,
        } = self;
        daemon.tasks.begin_stop();
        let has_failed = daemon.tasks.failure().is_some();
        let calls = async {
            daemon.tasks.finished().await;
            let _ = server.await;
        };
        let graceful = async {
            if has_failed {
                let _ = tokio::time::timeout(FAILED_GRACE, calls).await;
            } else {
                calls.await;
            }
            engine_stop.cancel();
            engine.wait().await;
            net_stop.cancel();
            daemon.net.stopped().await;
            // A store that has stopped can't be closed.
            if !has_failed && let Err(error) = daemon.blobs.shutdown().await {
                tracing::warn!(%error, "the store did not close cleanly; podsync repairs it at the next start");
            }
        };
        let mut graceful = pin!(graceful);
        let ended = tokio::time::timeout(SHUTDOWN_GRACE, &mut graceful).await;
        if ended.is_err() {
            if daemon.status.lifetime == Lifetime::Transient {
                // The next command may be days away.
                let _ = tokio::time::timeout(TIDYING_GRACE, daemon.tasks.tidied()).await;
            }
            tracing::warn!(
                "some tasks did not end in time; everything that podsync acknowledged is on the disk"
            );
        }
        // If this fails the socket stays, and the next daemon removes it.
        let _ = remove_socket(&socket);
    }
}
