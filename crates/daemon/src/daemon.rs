//! The daemon: its services, and what ends it.
//!
//! Only this file knows all services. A service that needs another gets a handle to it here. `build` has one
//! function for each service.

mod build;

use std::sync::{Arc, Mutex};

use podsync_core::DeviceId;
use podsync_net::{Multiaddr, Net};
use podsync_store::{Blobs, Home, Log};

use self::build::Shared;
use crate::{
    events::{Events, hooks::Hooks, notify::Notifier, serve::Streams},
    hub::{state::Hubs, upload::Uploads},
    metrics::Metrics,
    node::handle::Node,
    service::{
        autosave::Autosaver,
        catalog::Catalog,
        contents::Inspect,
        disk::Disk,
        export::Export,
        follow::Follower,
        holdings::Holdings,
        load::{Load, forecast::Forecaster},
        machine::Machine,
        pause::Pause,
        pull::Pull,
        restore::Restorer,
        retention::Retention,
        save::Save,
        share::Share,
        status::Status,
        team::{Team, robot::Robots},
        verify::Verify,
    },
    settings::Settings,
    tasks::{Lifetime, Tasks},
    versions::Versions,
    watchdog,
};

/// What services are built from.
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) lifetime: Lifetime,
    /// Whether this is a robot's runner: others hold the same key.
    pub(crate) robot: bool,
    pub(crate) home: Home,
    pub(crate) device: DeviceId,
    pub(crate) node: Node,
    pub(crate) net: Net,
    pub(crate) log: Log,
    pub(crate) blobs: Blobs,
    pub(crate) versions: Arc<Versions>,
    pub(crate) hubs: Arc<Hubs>,
    pub(crate) events: Events,
    pub(crate) listening: Arc<Mutex<Vec<Multiaddr>>>,
    pub(crate) pause: Arc<Pause>,
}

/// A daemon: its services, and what ends it.
pub(crate) struct Daemon {
    pub(crate) status: Arc<Status>,
    pub(crate) machine: Arc<Machine>,
    pub(crate) team: Arc<Team>,
    pub(crate) robots: Arc<Robots>,
    pub(crate) save: Arc<Save>,
    pub(crate) share: Arc<Share>,
    pub(crate) pull: Arc<Pull>,
    pub(crate) load: Arc<Load>,
    pub(crate) forecaster: Arc<Forecaster>,
    pub(crate) export: Arc<Export>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) inspect: Arc<Inspect>,
    pub(crate) retention: Arc<Retention>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) verify: Arc<Verify>,
    pub(crate) follower: Arc<Follower>,
    pub(crate) autosaver: Arc<Autosaver>,
    pub(crate) restorer: Arc<Restorer>,
    pub(crate) streams: Streams,
    hooks: Hooks,
    notifier: Option<Notifier>,
    pub(crate) pause: Arc<Pause>,
    pub(crate) metrics: Arc<Metrics>,
    uploads: Arc<Uploads>,
    holdings: Holdings,
    /// Only a long-running daemon does hourly upkeep. A command's own daemon does only what the command asks.
    stays: bool,
    pub(crate) tasks: Tasks,
    /// Held as long as the daemon runs. Dropping it releases the lock on the home.
    _home: Arc<Home>,
    pub(crate) net: Net,
    pub(crate) blobs: Blobs,
}

impl Daemon {
    pub(crate) fn new(parts: Parts) -> Self {
        let shared = Shared::new(parts);
        let evictor = Arc::new(shared.evictor());
        let pull = Arc::new(shared.pull(&evictor));
        let share = Arc::new(shared.share());
        let team = Arc::new(shared.team());
        let save = Arc::new(shared.save(&share, &evictor));
        let load = Arc::new(shared.load(&pull, &evictor));
        Self {
            status: Arc::new(shared.status()),
            machine: Arc::new(shared.machine()),
            robots: Arc::new(shared.robots(&team)),
            forecaster: Arc::new(shared.forecaster(&pull)),
            export: Arc::new(shared.export(&pull, &evictor)),
            catalog: Arc::new(shared.catalog()),
            inspect: Arc::new(shared.inspect()),
            retention: Arc::new(shared.retention()),
            disk: Arc::new(shared.disk(&evictor)),
            verify: Arc::new(shared.verify(&pull)),
            follower: Arc::new(shared.follower(&pull, &load)),
            autosaver: Arc::new(shared.autosaver(&save)),
            restorer: Arc::new(shared.restorer(&load)),
            streams: shared.streams(),
            hooks: shared.hooks(),
            notifier: shared.notifier(),
            uploads: Arc::new(shared.uploads(&pull)),
            save,
            load,
            team,
            share,
            pull,
            stays: shared.stays(),
            pause: shared.pause,
            metrics: Arc::default(),
            holdings: shared.holdings,
            tasks: shared.tasks,
            _home: shared.home,
            net: shared.net,
            blobs: shared.blobs,
        }
    }

    /// Starts the background work.
    pub(crate) fn begin_upkeep(&self) {
        self.tasks.spawn(self.holdings.clone().collect_garbage());
        self.tasks
            .spawn(Arc::clone(&self.uploads).keep_hubs_in_step());
        self.tasks.spawn(watchdog::keep_looking(
            self.blobs.clone(),
            self.tasks.clone(),
        ));
        let stop = self.tasks.stopping().clone();
        self.tasks.spawn(Arc::clone(&self.pause).keep(stop));
        if self.stays {
            self.tasks
                .spawn(Arc::clone(&self.retention).keep_retention());
            self.tasks
                .spawn(Arc::clone(&self.follower).keep_following());
            self.tasks.spawn(Arc::clone(&self.autosaver).keep_saving());
            self.tasks.spawn(self.hooks.clone().keep_running());
            if let Some(notifier) = self.notifier.clone() {
                self.tasks.spawn(notifier.keep_notifying());
            }
        }
    }
}
