//! Export: writes a version as a file or a folder.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::Arc,
};

use podsync_api::{Stage, pods};
use podsync_core::manifest::Container;
use podsync_pack::{RebuildError, Version};
use podsync_store::{Blobs, StoreError};

use crate::{
    call::{Context, Handle},
    error::Failure,
    meter::Meter,
    node::handle::Node,
    packs::HeldPacks,
    service::{
        choose::team_of,
        disk::evictor::Evictor,
        find::Patience,
        holdings::{Holdings, pack_ids},
        pull::{Pull, Wanted},
    },
};

/// Writes versions as files and folders.
pub(crate) struct Export {
    pub(crate) node: Node,
    pub(crate) blobs: Blobs,
    pub(crate) holdings: Holdings,
    pub(crate) pull: Arc<Pull>,
    pub(crate) evictor: Arc<Evictor>,
}

impl Handle<pods::Export> for Export {
    async fn handle(
        self: Arc<Self>,
        call: pods::Export,
        context: Arc<Context>,
    ) -> Result<pods::Exported, Failure> {
        let team = team_of(&self.node, &context).await?;
        let (held, pulled, pins) = self
            .pull
            .pull_to_read(
                team,
                Wanted::new(
                    &call.reference,
                    Patience::new(call.wait_s, call.until_shared),
                    call.sources,
                ),
                &context,
            )
            .await?;
        let manifest = held.manifest().map_err(Failure::damaged)?;
        let named = pack_ids(&manifest);
        let packs = HeldPacks::new(self.blobs.clone());
        let meter = Meter::new(
            Arc::clone(&context),
            Stage::Rebuilding,
            Some(manifest.state_len),
        );
        let path = call.to.clone();
        let as_zip = path
            .extension()
            .is_some_and(|extension| extension == "zip" || extension == "snapshot");
        let written = tokio::task::spawn_blocking(move || {
            let version = Version::new(&manifest, &packs);
            let written = match manifest.container {
                Container::File => write_new(&path, |out| version.to_file(out, &meter)),
                Container::Zip | Container::Folder if as_zip => {
                    write_new(&path, |out| version.to_zip(out, &meter))
                }
                Container::Zip | Container::Folder => version.to_folder(&path, &meter),
            };
            written.map_err(|error| about(&path, error))
        });
        let written = written.await.map_err(Failure::from)?;
        self.holdings.doubting(team, named, written).await?;
        drop(pins);
        self.evictor.keep_within_budget();
        Ok(pods::Exported {
            reference: pulled.reference.clone(),
            path: call.to,
            pulled,
        })
    }
}

/// Bytes written at once.
const BUFFER_LEN: usize = 1 << 20;

/// Writes a temporary file, and renames it once it is complete and synced.
fn write_new(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), RebuildError>,
) -> Result<(), RebuildError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => RebuildError::Exists {
            path: path.to_owned(),
        },
        _ => RebuildError::Target {
            path: path.to_owned(),
            source,
        },
    };
    if path.symlink_metadata().is_ok() {
        return Err(RebuildError::Exists {
            path: path.to_owned(),
        });
    }
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    let aside = tempfile::NamedTempFile::with_prefix_in(".podsync-", folder).map_err(failed)?;
    let mut out = BufWriter::with_capacity(BUFFER_LEN, aside);
    write(&mut out)?;
    let aside = out
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    aside.as_file().sync_all().map_err(failed)?;
    aside
        .persist_noclobber(path)
        .map_err(|error| failed(error.error))?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}

/// Names the target, which the user knows. What is being written has a temporary name.
fn about(target: &Path, error: RebuildError) -> Failure {
    let path = target.to_owned();
    match error {
        RebuildError::Output(source) | RebuildError::Target { source, .. } if is_full(&source) => {
            let (needed, free) = (0, None);
            StoreError::DiskFull { path, needed, free }.into()
        }
        RebuildError::Output(source) => RebuildError::Target { path, source }.into(),
        error => error.into(),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use podsync_api::ErrorCode;

    use super::*;

    #[test]
    fn a_target_that_cannot_be_written_is_no_failure_of_an_emulator() {
        let target = Path::new("/exported/orders.snapshot");
        let in_temporary_file = |kind: io::ErrorKind| RebuildError::Target {
            path: "/exported/.podsync-x7".into(),
            source: kind.into(),
        };
        for (error, says) in [
            (
                RebuildError::Output(io::ErrorKind::StorageFull.into()),
                "the disk is full: /exported/orders.snapshot",
            ),
            (
                in_temporary_file(io::ErrorKind::QuotaExceeded),
                "the disk is full: /exported/orders.snapshot",
            ),
            (
                RebuildError::Output(io::ErrorKind::PermissionDenied.into()),
                "`/exported/orders.snapshot` cannot be written",
            ),
        ] {
            let failure = about(target, error);
            let told = failure.api();
            assert_eq!(told.code, ErrorCode::Disk, "{told}");
            assert!(told.message.starts_with(says), "{told}");
            assert!(told.hint.is_some(), "{told}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_to_be_made() {
        let source = io::ErrorKind::NotFound.into();
        let failure = about(Path::new("nodir/state"), RebuildError::Output(source));
        let hint = failure.api().hint.as_deref().unwrap();
        assert!(hint.contains("make the folder"), "{hint}");
    }
}
