//! Export: a version as a file or a folder.

use std::sync::Arc;

use podsync_api::{ApiError, Stage, pods};
use podsync_core::manifest::Container;
use podsync_pack::Version;

use crate::{
    daemon::Daemon,
    failure::Failure,
    packs::HeldPacks,
    report::Meter,
    server::{Context, Handle},
};

impl Handle<pods::Export> for Daemon {
    async fn handle(self: Arc<Self>, call: pods::Export, context: Arc<Context>) -> Result<pods::Exported, ApiError> {
        let team = self.team(&context).await?.id;
        let (held, pulled) = self.pull(team, &call.reference, call.wait_s, &context).await?;
        let manifest = held.manifest().map_err(Failure::damaged)?;
        let packs = HeldPacks::new(self.blobs.clone());
        let meter = Meter::new(Arc::clone(&context), Stage::Rebuilding, Some(manifest.state_len));
        let path = call.to.clone();
        let as_zip = path.extension().is_some_and(|extension| extension == "zip" || extension == "snapshot");
        tokio::task::spawn_blocking(move || {
            let version = Version::new(&manifest, &packs);
            match manifest.container {
                Container::File => version.to_file(&path, &meter),
                Container::Zip | Container::Folder if as_zip => version.to_zip_file(&path, &meter),
                Container::Zip | Container::Folder => version.to_folder(&path, &meter),
            }
        })
        .await
        .map_err(Failure::from)?
        .map_err(Failure::from)?;
        Ok(pods::Exported { reference: pulled.reference.clone(), path: call.to, pulled })
    }
}
