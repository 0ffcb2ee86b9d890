//! Builds the services. Each has one function, which names exactly what the service uses.

mod parts;

use std::sync::{Arc, Mutex};

use podsync_core::DeviceId;
use podsync_net::{Multiaddr, Net};
use podsync_store::{Blobs, Home, Log};
use tokio::{sync::Notify, time::Instant};

use super::Parts;
use crate::{
    events::{
        hooks::Hooks,
        notify::{self, Notifier},
        serve::Streams,
        team_events::TeamEvents,
    },
    hub::{sync::HubSync, upload::Uploads},
    locks::PodLocks,
    metered::Metered,
    node::handle::Node,
    persisted::Persisted,
    program::Program,
    service::{
        autosave::{self, Autosaver, list::Autosaves},
        catalog::Catalog,
        contents::Inspect,
        disk::{Disk, evictor::Evictor},
        export::Export,
        find::Finder,
        follow::{self, Follower, list::Follows},
        holdings::Holdings,
        load::{Load, clean::CleanStates, forecast::Forecaster, last::LastLoads},
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
};

/// What several services share.
pub(super) struct Shared {
    settings: Arc<Settings>,
    lifetime: Lifetime,
    robot: bool,
    pub(super) home: Arc<Home>,
    device: DeviceId,
    node: Node,
    pub(super) net: Net,
    log: Log,
    pub(super) blobs: Blobs,
    versions: Arc<Versions>,
    listening: Arc<Mutex<Vec<Multiaddr>>>,
    locks: Arc<PodLocks>,
    pub(super) tasks: Tasks,
    started: Instant,
    hubs: Arc<HubSync>,
    finder: Finder,
    pub(super) holdings: Holdings,
    team_events: TeamEvents,
    follows: Persisted<Follows>,
    autosaves: Persisted<Autosaves>,
    pub(super) pause: Arc<Pause>,
    metered: Arc<Metered>,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        let started = Instant::now();
        let hubs = Arc::new(HubSync {
            device: parts.device,
            lifetime: parts.lifetime,
            node: parts.node.clone(),
            hubs: parts.hubs,
            traffic: parts.net.traffic().clone(),
        });
        let finder = Finder {
            device: parts.device,
            node: parts.node.clone(),
            hubs: Arc::clone(&hubs),
            started,
        };
        let holdings = Holdings {
            node: parts.node.clone(),
            log: parts.log.clone(),
            blobs: parts.blobs.clone(),
            versions: Arc::clone(&parts.versions),
        };
        let team_events = TeamEvents {
            node: parts.node.clone(),
            events: parts.events,
        };
        let root = parts.home.root();
        let (follows, autosaves) = (follow::file(root), autosave::file(root));
        Self {
            settings: Arc::new(parts.settings),
            lifetime: parts.lifetime,
            robot: parts.robot,
            home: Arc::new(parts.home),
            device: parts.device,
            node: parts.node,
            net: parts.net,
            log: parts.log,
            blobs: parts.blobs,
            versions: parts.versions,
            listening: parts.listening,
            locks: Arc::default(),
            tasks: Tasks::default(),
            started,
            hubs,
            finder,
            holdings,
            team_events,
            follows: Persisted::open(follows),
            autosaves: Persisted::open(autosaves),
            pause: parts.pause,
            metered: Arc::default(),
        }
    }

    /// Whether the daemon stays for longer than a command takes, on the machine of its device.
    pub(super) fn stays(&self) -> bool {
        self.lifetime == Lifetime::Service && !self.robot
    }

    pub(super) fn machine(&self) -> Machine {
        Machine {
            settings: Arc::clone(&self.settings),
        }
    }

    pub(super) fn status(&self) -> Status {
        Status {
            device: self.device,
            lifetime: self.lifetime,
            home: Arc::clone(&self.home),
            node: self.node.clone(),
            net: self.net.clone(),
            blobs: self.blobs.clone(),
            versions: Arc::clone(&self.versions),
            hubs: Arc::clone(&self.hubs),
            follows: self.follows.clone(),
            autosaves: self.autosaves.clone(),
            listening: Arc::clone(&self.listening),
            tasks: self.tasks.clone(),
            program: Program::of_this_process(),
            pause: Arc::clone(&self.pause),
            settings: Arc::clone(&self.settings),
            metered: Arc::clone(&self.metered),
        }
    }

    pub(super) fn team(&self) -> Team {
        Team {
            device: self.device,
            node: self.node.clone(),
            net: self.net.clone(),
            hubs: Arc::clone(&self.hubs),
            versions: Arc::clone(&self.versions),
            listening: Arc::clone(&self.listening),
        }
    }

    pub(super) fn robots(&self, team: &Arc<Team>) -> Robots {
        Robots {
            robot: self.robot,
            device: self.device,
            node: self.node.clone(),
            net: self.net.clone(),
            hubs: Arc::clone(&self.hubs),
            team: Arc::clone(team),
        }
    }

    pub(super) fn share(&self) -> Share {
        Share {
            device: self.device,
            node: self.node.clone(),
            net: self.net.clone(),
            home: Arc::clone(&self.home),
            blobs: self.blobs.clone(),
            versions: Arc::clone(&self.versions),
            locks: Arc::clone(&self.locks),
            finder: self.finder.clone(),
            holdings: self.holdings.clone(),
            hubs: Arc::clone(&self.hubs),
            recorder: self.recorder(),
            tasks: self.tasks.clone(),
        }
    }

    pub(super) fn save(&self, share: &Arc<Share>, evictor: &Arc<Evictor>) -> Save {
        Save {
            settings: Arc::clone(&self.settings),
            node: self.node.clone(),
            home: Arc::clone(&self.home),
            versions: Arc::clone(&self.versions),
            locks: Arc::clone(&self.locks),
            finder: self.finder.clone(),
            packer: self.packer(),
            share: Arc::clone(share),
            hubs: Arc::clone(&self.hubs),
            evictor: Arc::clone(evictor),
            team_events: self.team_events.clone(),
        }
    }

    pub(super) fn pull(&self, evictor: &Arc<Evictor>) -> Pull {
        Pull {
            node: self.node.clone(),
            log: self.log.clone(),
            blobs: self.blobs.clone(),
            versions: Arc::clone(&self.versions),
            locks: Arc::clone(&self.locks),
            hubs: Arc::clone(&self.hubs),
            finder: self.finder.clone(),
            holdings: self.holdings.clone(),
            fetcher: self.fetcher(),
            evictor: Arc::clone(evictor),
            team_events: self.team_events.clone(),
            started: self.started,
        }
    }

    pub(super) fn load(&self, pull: &Arc<Pull>, evictor: &Arc<Evictor>) -> Load {
        Load {
            robot: self.robot,
            node: self.node.clone(),
            blobs: self.blobs.clone(),
            versions: Arc::clone(&self.versions),
            holdings: self.holdings.clone(),
            pull: Arc::clone(pull),
            signers: self.signers(),
            checkpoints: self.checkpoints(),
            last: LastLoads {
                log: self.log.clone(),
            },
            clean: CleanStates {
                log: self.log.clone(),
            },
            follows: self.follows.clone(),
            evictor: Arc::clone(evictor),
            team_events: self.team_events.clone(),
        }
    }

    pub(super) fn forecaster(&self, pull: &Arc<Pull>) -> Forecaster {
        Forecaster {
            robot: self.robot,
            signers: self.signers(),
            node: self.node.clone(),
            pull: Arc::clone(pull),
            inspect: self.inspect(),
        }
    }

    pub(super) fn export(&self, pull: &Arc<Pull>, evictor: &Arc<Evictor>) -> Export {
        Export {
            node: self.node.clone(),
            blobs: self.blobs.clone(),
            holdings: self.holdings.clone(),
            pull: Arc::clone(pull),
            evictor: Arc::clone(evictor),
        }
    }

    pub(super) fn inspect(&self) -> Inspect {
        Inspect {
            node: self.node.clone(),
            blobs: self.blobs.clone(),
            finder: self.finder.clone(),
            holdings: self.holdings.clone(),
        }
    }

    pub(super) fn catalog(&self) -> Catalog {
        Catalog {
            node: self.node.clone(),
            versions: Arc::clone(&self.versions),
            locks: Arc::clone(&self.locks),
            hubs: Arc::clone(&self.hubs),
            finder: self.finder.clone(),
            holdings: self.holdings.clone(),
            inspect: self.inspect(),
            locator: self.locator(),
            team_events: self.team_events.clone(),
            tasks: self.tasks.clone(),
        }
    }

    pub(super) fn retention(&self) -> Retention {
        Retention {
            node: self.node.clone(),
            locks: Arc::clone(&self.locks),
            holdings: self.holdings.clone(),
            tasks: self.tasks.clone(),
        }
    }

    pub(super) fn disk(&self, evictor: &Arc<Evictor>) -> Disk {
        Disk {
            node: self.node.clone(),
            log: self.log.clone(),
            versions: Arc::clone(&self.versions),
            finder: self.finder.clone(),
            evictor: Arc::clone(evictor),
        }
    }

    pub(super) fn verify(&self, pull: &Arc<Pull>) -> Verify {
        Verify {
            node: self.node.clone(),
            blobs: self.blobs.clone(),
            versions: Arc::clone(&self.versions),
            finder: self.finder.clone(),
            holdings: self.holdings.clone(),
            pull: Arc::clone(pull),
            recorder: self.recorder(),
            bucket: self.bucket_verifier(),
            tasks: self.tasks.clone(),
        }
    }

    pub(super) fn uploads(&self, pull: &Arc<Pull>) -> Uploads {
        Uploads {
            sync: Arc::clone(&self.hubs),
            holdings: self.holdings.clone(),
            pull: Arc::clone(pull),
            team_events: self.team_events.clone(),
            tasks: self.tasks.clone(),
        }
    }

    pub(super) fn follower(&self, pull: &Arc<Pull>, load: &Arc<Load>) -> Follower {
        Follower {
            device: self.device,
            node: self.node.clone(),
            follows: self.follows.clone(),
            pull: Arc::clone(pull),
            load: Arc::clone(load),
            team_events: self.team_events.clone(),
            tasks: self.tasks.clone(),
            pause: Arc::clone(&self.pause),
            metered: Arc::clone(&self.metered),
            changed: Notify::new(),
        }
    }

    pub(super) fn autosaver(&self, save: &Arc<Save>) -> Autosaver {
        Autosaver {
            node: self.node.clone(),
            log: self.log.clone(),
            autosaves: self.autosaves.clone(),
            save: Arc::clone(save),
            holdings: self.holdings.clone(),
            team_events: self.team_events.clone(),
            tasks: self.tasks.clone(),
            turn: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(super) fn restorer(&self, load: &Arc<Load>) -> Restorer {
        Restorer {
            settings: Arc::clone(&self.settings),
            node: self.node.clone(),
            autosaves: self.autosaves.clone(),
            load: Arc::clone(load),
            finder: self.finder.clone(),
        }
    }

    pub(super) fn streams(&self) -> Streams {
        Streams::new(self.team_events.events.clone(), self.tasks.clone())
    }

    pub(super) fn hooks(&self) -> Hooks {
        Hooks {
            home: self.home.root().to_owned(),
            events: self.team_events.events.clone(),
            tasks: self.tasks.clone(),
        }
    }

    /// `None` if there is no desktop, or the settings turn notifications off.
    pub(super) fn notifier(&self) -> Option<Notifier> {
        let is_wanted = self.settings.notify && notify::has_desktop();
        is_wanted.then(|| Notifier {
            events: self.team_events.events.clone(),
            tasks: self.tasks.clone(),
        })
    }

    pub(super) fn evictor(&self) -> Evictor {
        Evictor {
            settings: Arc::clone(&self.settings),
            home: Arc::clone(&self.home),
            node: self.node.clone(),
            log: self.log.clone(),
            versions: Arc::clone(&self.versions),
            locks: Arc::clone(&self.locks),
            holdings: self.holdings.clone(),
            surveyor: self.surveyor(),
            hubs: Arc::clone(&self.hubs),
            team_events: self.team_events.clone(),
            tasks: self.tasks.clone(),
            turn: tokio::sync::Mutex::default(),
        }
    }
}
