//! Giving back disk space: blobs that no version on this machine needs any more.

use std::{collections::BTreeSet, sync::Arc};

use crate::{daemon::Daemon, failure::Failure};

impl Daemon {
    /// Deletes what no held version needs and nothing pins. A failure only leaves garbage.
    pub(crate) async fn collect_garbage(self: Arc<Self>) {
        let versions = Arc::clone(&self.versions);
        let live = || async move {
            let blobs = versions.blobs().map_err(Failure::damaged)?;
            Ok::<BTreeSet<_>, Failure>(blobs.into_keys().collect())
        };
        match self.blobs.collect(live).await {
            Ok(dead) if dead.is_empty() => {}
            Ok(dead) => tracing::info!(blobs = dead.len(), "deleted what nothing needs any more"),
            Err(error) => tracing::warn!(?error, "garbage was not collected; it is tried again at the next start"),
        }
    }
}
