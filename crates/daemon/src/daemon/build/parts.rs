//! Builds the parts that several services have.

use std::sync::Arc;

use super::Shared;
use crate::{
    reach::Reach,
    service::{
        disk::{holders::Holders, survey::Surveyor, whereabouts::Locator},
        load::{checkpoint::Checkpoints, signers::Signers},
        pull::fetch::Fetcher,
        save::pack::{Packer, Recorder},
        verify::bucket::BucketVerifier,
    },
};

impl Shared {
    pub(super) fn surveyor(&self) -> Surveyor {
        Surveyor {
            device: self.device,
            node: self.node.clone(),
            log: self.log.clone(),
            blobs: self.blobs.clone(),
            versions: Arc::clone(&self.versions),
            holders: self.holders(),
        }
    }

    pub(super) fn holders(&self) -> Holders {
        Holders {
            device: self.device,
            node: self.node.clone(),
            net: self.net.clone(),
        }
    }

    pub(super) fn locator(&self) -> Locator {
        Locator {
            device: self.device,
            node: self.node.clone(),
            blobs: self.blobs.clone(),
            holders: self.holders(),
            hubs: Arc::clone(&self.hubs),
        }
    }

    pub(super) fn fetcher(&self) -> Fetcher {
        Fetcher {
            node: self.node.clone(),
            home: Arc::clone(&self.home),
            blobs: self.blobs.clone(),
            holdings: self.holdings.clone(),
            hubs: Arc::clone(&self.hubs),
            finder: self.finder.clone(),
            pause: Arc::clone(&self.pause),
            reach: self.reach(),
        }
    }

    fn reach(&self) -> Reach {
        Reach {
            settings: Arc::clone(&self.settings),
            listening: Arc::clone(&self.listening),
        }
    }

    pub(super) fn recorder(&self) -> Recorder {
        Recorder {
            node: self.node.clone(),
            blobs: self.blobs.clone(),
            versions: Arc::clone(&self.versions),
        }
    }

    pub(super) fn packer(&self) -> Packer {
        Packer {
            home: Arc::clone(&self.home),
            blobs: self.blobs.clone(),
            versions: Arc::clone(&self.versions),
            holdings: self.holdings.clone(),
            recorder: self.recorder(),
            tasks: self.tasks.clone(),
        }
    }

    pub(super) fn signers(&self) -> Signers {
        Signers {
            device: self.device,
            node: self.node.clone(),
            log: self.log.clone(),
            finder: self.finder.clone(),
        }
    }

    pub(super) fn checkpoints(&self) -> Checkpoints {
        Checkpoints {
            versions: Arc::clone(&self.versions),
            locks: Arc::clone(&self.locks),
            packer: self.packer(),
        }
    }

    pub(super) fn bucket_verifier(&self) -> BucketVerifier {
        BucketVerifier {
            device: self.device,
            node: self.node.clone(),
            blobs: self.blobs.clone(),
            finder: self.finder.clone(),
            fetcher: self.fetcher(),
            hubs: Arc::clone(&self.hubs),
        }
    }
}
