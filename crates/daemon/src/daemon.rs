//! What a daemon is made of: the services, each built of the parts that it uses.
//!
//! This is the only place that knows all of them. A service that needs another gets a handle to it here.

use std::sync::{Arc, Mutex};

use podsync_core::DeviceId;
use podsync_net::{Multiaddr, Net};
use podsync_store::{Blobs, Home, Log};
use tokio::time::Instant;

use crate::{
    hub::{bring::Uploads, state::Hubs, sync::HubSync},
    locks::PodLocks,
    node::handle::Node,
    service::{
        catalog::Catalog,
        contents::Inspect,
        disk::{Disk, evictor::Evictor, holders::Holders, survey::Surveyor, whereabouts::Locator},
        export::Export,
        find::Finder,
        holdings::Holdings,
        load::{
            Load, checkpoint::Checkpoints, forecast::Forecaster, last::LastLoads, signers::Signers,
        },
        machine::Machine,
        pull::{Pull, fetch::Fetcher},
        retention::Retention,
        save::{
            Save,
            pack::{Packer, Recorder},
        },
        share::Share,
        status::Status,
        team::{Team, robot::Robots},
        verify::{Verify, bucket::BucketVerifier},
    },
    settings::Settings,
    tasks::{Lifetime, Tasks},
    versions::Versions,
};

/// What services are built of.
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
    pub(crate) listening: Arc<Mutex<Vec<Multiaddr>>>,
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
    uploads: Arc<Uploads>,
    holdings: Holdings,
    /// Only a daemon that stays does upkeep by the hour: a command should do what it was told.
    stays: bool,
    pub(crate) tasks: Tasks,
    /// Held as long as the daemon runs: with it goes the lock on the home.
    _home: Arc<Home>,
    pub(crate) net: Net,
    pub(crate) blobs: Blobs,
}

impl Daemon {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
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
            listening,
        } = parts;
        let (settings, home) = (Arc::new(settings), Arc::new(home));
        let (locks, tasks) = (Arc::new(PodLocks::default()), Tasks::default());
        let hubs = Arc::new(HubSync {
            device,
            lifetime,
            node: node.clone(),
            hubs,
        });
        let started = Instant::now();
        let finder = Finder {
            device,
            node: node.clone(),
            hubs: Arc::clone(&hubs),
            started,
        };
        let holdings = Holdings {
            node: node.clone(),
            log: log.clone(),
            blobs: blobs.clone(),
            versions: Arc::clone(&versions),
        };
        let holders = Holders {
            device,
            node: node.clone(),
            net: net.clone(),
        };
        let evictor = Arc::new(Evictor {
            settings: Arc::clone(&settings),
            home: Arc::clone(&home),
            node: node.clone(),
            log: log.clone(),
            versions: Arc::clone(&versions),
            locks: Arc::clone(&locks),
            holdings: holdings.clone(),
            surveyor: Surveyor {
                device,
                node: node.clone(),
                log: log.clone(),
                blobs: blobs.clone(),
                versions: Arc::clone(&versions),
                holders: holders.clone(),
            },
            hubs: Arc::clone(&hubs),
            tasks: tasks.clone(),
            turn: tokio::sync::Mutex::default(),
        });
        let fetcher = Fetcher {
            node: node.clone(),
            home: Arc::clone(&home),
            blobs: blobs.clone(),
            holdings: holdings.clone(),
            hubs: Arc::clone(&hubs),
            finder: finder.clone(),
        };
        let pull = Arc::new(Pull {
            node: node.clone(),
            log: log.clone(),
            blobs: blobs.clone(),
            versions: Arc::clone(&versions),
            locks: Arc::clone(&locks),
            hubs: Arc::clone(&hubs),
            finder: finder.clone(),
            holdings: holdings.clone(),
            fetcher: fetcher.clone(),
            evictor: Arc::clone(&evictor),
            started,
        });
        let recorder = Recorder {
            node: node.clone(),
            blobs: blobs.clone(),
            versions: Arc::clone(&versions),
        };
        let share = Arc::new(Share {
            device,
            node: node.clone(),
            net: net.clone(),
            home: Arc::clone(&home),
            blobs: blobs.clone(),
            versions: Arc::clone(&versions),
            locks: Arc::clone(&locks),
            finder: finder.clone(),
            holdings: holdings.clone(),
            hubs: Arc::clone(&hubs),
            recorder: recorder.clone(),
            tasks: tasks.clone(),
        });
        let packer = Packer {
            home: Arc::clone(&home),
            blobs: blobs.clone(),
            versions: Arc::clone(&versions),
            holdings: holdings.clone(),
            recorder,
            tasks: tasks.clone(),
        };
        let inspect = Inspect {
            node: node.clone(),
            blobs: blobs.clone(),
            finder: finder.clone(),
            holdings: holdings.clone(),
        };
        let team = Arc::new(Team {
            device,
            node: node.clone(),
            net: net.clone(),
            hubs: Arc::clone(&hubs),
            listening: Arc::clone(&listening),
        });
        Self {
            status: Arc::new(Status {
                device,
                lifetime,
                home: Arc::clone(&home),
                node: node.clone(),
                net: net.clone(),
                blobs: blobs.clone(),
                versions: Arc::clone(&versions),
                hubs: Arc::clone(&hubs),
                listening,
                tasks: tasks.clone(),
            }),
            machine: Arc::new(Machine {
                settings: Arc::clone(&settings),
            }),
            robots: Arc::new(Robots {
                robot,
                device,
                node: node.clone(),
                net: net.clone(),
                hubs: Arc::clone(&hubs),
                team: Arc::clone(&team),
            }),
            save: Arc::new(Save {
                settings,
                node: node.clone(),
                home: Arc::clone(&home),
                versions: Arc::clone(&versions),
                locks: Arc::clone(&locks),
                finder: finder.clone(),
                packer: packer.clone(),
                share: Arc::clone(&share),
                hubs: Arc::clone(&hubs),
                evictor: Arc::clone(&evictor),
            }),
            load: Arc::new(Load {
                robot,
                node: node.clone(),
                blobs: blobs.clone(),
                versions: Arc::clone(&versions),
                holdings: holdings.clone(),
                pull: Arc::clone(&pull),
                signers: Signers {
                    device,
                    node: node.clone(),
                    log: log.clone(),
                    finder: finder.clone(),
                },
                checkpoints: Checkpoints {
                    versions: Arc::clone(&versions),
                    locks: Arc::clone(&locks),
                    packer,
                },
                last: LastLoads { log: log.clone() },
                evictor: Arc::clone(&evictor),
            }),
            forecaster: Arc::new(Forecaster {
                robot,
                signers: Signers {
                    device,
                    node: node.clone(),
                    log: log.clone(),
                    finder: finder.clone(),
                },
                node: node.clone(),
                pull: Arc::clone(&pull),
                inspect: inspect.clone(),
            }),
            export: Arc::new(Export {
                node: node.clone(),
                blobs: blobs.clone(),
                holdings: holdings.clone(),
                pull: Arc::clone(&pull),
                evictor: Arc::clone(&evictor),
            }),
            catalog: Arc::new(Catalog {
                node: node.clone(),
                versions: Arc::clone(&versions),
                locks: Arc::clone(&locks),
                hubs: Arc::clone(&hubs),
                finder: finder.clone(),
                holdings: holdings.clone(),
                inspect: inspect.clone(),
                locator: Locator {
                    device,
                    node: node.clone(),
                    blobs: blobs.clone(),
                    holders,
                    hubs: Arc::clone(&hubs),
                },
                tasks: tasks.clone(),
            }),
            inspect: Arc::new(inspect),
            retention: Arc::new(Retention {
                node: node.clone(),
                locks,
                holdings: holdings.clone(),
                tasks: tasks.clone(),
            }),
            disk: Arc::new(Disk {
                node: node.clone(),
                log,
                versions: Arc::clone(&versions),
                finder: finder.clone(),
                evictor,
            }),
            verify: Arc::new(Verify {
                node: node.clone(),
                blobs: blobs.clone(),
                versions,
                finder: finder.clone(),
                holdings: holdings.clone(),
                pull: Arc::clone(&pull),
                bucket: BucketVerifier {
                    device,
                    node,
                    blobs: blobs.clone(),
                    finder,
                    fetcher,
                    hubs: Arc::clone(&hubs),
                },
                tasks: tasks.clone(),
            }),
            uploads: Arc::new(Uploads {
                sync: hubs,
                holdings: holdings.clone(),
                pull: Arc::clone(&pull),
                tasks: tasks.clone(),
            }),
            holdings,
            stays: lifetime == Lifetime::Service && !robot,
            tasks,
            _home: home,
            net,
            blobs,
            team,
            share,
            pull,
        }
    }

    /// Starts what is done unasked.
    pub(crate) fn begin_upkeep(&self) {
        self.tasks.spawn(self.holdings.clone().collect_garbage());
        self.tasks.spawn(Arc::clone(&self.uploads).keep_hubs());
        if self.stays {
            self.tasks
                .spawn(Arc::clone(&self.retention).keep_retention());
        }
    }
}
