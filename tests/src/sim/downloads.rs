//! Simulates downloads: ranges on their way from the bucket to a node.

use std::{ops::Range, time::Duration};

use podsync_core::{
    BlobId, TeamId, VersionId,
    engine::{FetchFailed, FetchId, Input},
    feed::BlobRef,
};

use super::{
    chance,
    happening::Happening,
    history::Violation,
    id::{Conduct, NodeId},
    node::Download,
    traffic::SILENCE,
    view,
    world::World,
};

/// Bytes that arrive together.
const PIECE_LEN: u64 = 2 << 20;

impl World {
    /// Puts a version's blobs into the bucket and tells all nodes.
    pub fn upload(
        &mut self,
        node: NodeId,
        team: TeamId,
        version: VersionId,
    ) -> Result<(), Violation> {
        let engine = self.node(node).engine.as_ref();
        let blobs: Vec<_> = engine
            .and_then(|engine| view::catalog(engine, team))
            .into_iter()
            .flat_map(view::versions)
            .filter(|record| record.version() == version)
            .flat_map(|record| record.packs().iter().copied().chain([record.manifest()]))
            .collect();
        self.store_in_bucket(team, &blobs);
        for node in self.nodes() {
            self.tell_of_bucket(node)?;
        }
        Ok(())
    }

    pub fn set_bucket_conduct(&mut self, conduct: Conduct) {
        self.bucket.conduct = conduct;
    }

    /// Sets how long each 2 MiB take.
    pub fn set_bucket_pace(&mut self, piece_takes: Range<Duration>) {
        self.bucket.piece_takes = piece_takes;
    }

    /// Bytes that the bucket has sent.
    pub fn bucket_sent(&self) -> u64 {
        self.bucket.sent
    }

    pub(super) fn store_in_bucket(&mut self, team: TeamId, blobs: &[BlobRef]) {
        let stored = self.bucket.blobs.entry(team).or_default();
        stored.extend(blobs.iter().map(|blob| blob.id));
    }

    /// Tells an engine what the bucket has, as a daemon does at its start and after each poll of
    /// the hub.
    pub(super) fn tell_of_bucket(&mut self, node: NodeId) -> Result<(), Violation> {
        for (team, blobs) in self.bucket.blobs.clone() {
            let blobs = blobs.into_iter().collect();
            self.feed(node, Input::BucketHas { team, blobs })?;
        }
        Ok(())
    }

    pub(super) fn download(
        &mut self,
        node: NodeId,
        fetch: FetchId,
        blob: BlobId,
        range: Range<u64>,
        total_len: u64,
    ) {
        let life = self.node(node).life;
        self.note(node, "downloads", None, fetch.0);
        let download = Download {
            blob,
            range,
            total_len,
            arrived: 0,
        };
        self.node_mut(node).downloads.insert(fetch, download);
        self.expect_bucket_piece(node, life, fetch);
        self.enter(SILENCE, Happening::DownloadGivenUp { node, life, fetch });
    }

    fn expect_bucket_piece(&mut self, node: NodeId, life: u32, fetch: FetchId) {
        let takes = self.bucket.piece_takes.clone();
        let takes = chance::time(&mut self.rng, &takes);
        self.enter(takes, Happening::BucketPiece { node, life, fetch });
    }

    pub(super) fn bucket_piece(
        &mut self,
        node: NodeId,
        life: u32,
        id: FetchId,
    ) -> Result<(), Violation> {
        let (conduct, home) = (self.bucket.conduct, &mut self.nodes[node.0]);
        let Some(download) = home.downloads.get_mut(&id).filter(|_| home.life == life) else {
            return Ok(());
        };
        if !self
            .bucket
            .blobs
            .values()
            .any(|blobs| blobs.contains(&download.blob))
        {
            return self.end_download(node, life, id, FetchFailed::Refused);
        }
        match conduct {
            Conduct::Liar => return self.end_download(node, life, id, FetchFailed::Liar),
            Conduct::Staller if download.arrived > 0 => return Ok(()),
            _ => {}
        }
        let len = download.range.end - download.range.start;
        let before = download.arrived;
        download.arrived = (before + PIECE_LEN).min(len);
        self.bucket.sent += download.arrived - before;
        let (bytes, start) = (download.arrived, download.range.start);
        let (blob, total_len) = (download.blob, download.total_len);
        home.store.put(blob, total_len, start..start + bytes);
        if bytes == len {
            home.downloads.remove(&id);
            return self.feed(node, Input::FetchDone { fetch: id });
        }
        self.expect_bucket_piece(node, life, id);
        self.feed(node, Input::FetchProgress { fetch: id, bytes })
    }

    pub(super) fn download_given_up(
        &mut self,
        node: NodeId,
        life: u32,
        id: FetchId,
    ) -> Result<(), Violation> {
        let stalls = self.bucket.conduct == Conduct::Staller;
        if stalls {
            return self.end_download(node, life, id, FetchFailed::Stalled);
        }
        Ok(())
    }

    fn end_download(
        &mut self,
        node: NodeId,
        life: u32,
        fetch: FetchId,
        why: FetchFailed,
    ) -> Result<(), Violation> {
        let home = self.node_mut(node);
        if home.life != life || home.downloads.remove(&fetch).is_none() {
            return Ok(());
        }
        self.note(node, "is not sent by the bucket", None, fetch.0);
        self.feed(node, Input::FetchFailed { fetch, why })
    }
}
