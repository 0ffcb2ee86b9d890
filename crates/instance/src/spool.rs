//! A state on its way to the disk: an unlinked file, readable by its owner only.
//!
//! One blocking thread writes the very buffers that the network filled, while the network goes on
//! filling others. Nothing is synced: this file is a stopover and is gone after a crash.

use std::{
    fs::{File, Permissions},
    io::{self, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

/// Buffers between network and disk. hyper's are at most some 400 KiB each.
const QUEUE_LEN: usize = 16;

pub(crate) struct Spool {
    queue: mpsc::Sender<Bytes>,
    writer: JoinHandle<io::Result<File>>,
}

impl Spool {
    /// Begins a file in `folder`, which must exist. It has no name and mode 0600.
    pub(crate) fn begin(folder: &Path) -> Self {
        let (queue, mut buffers) = mpsc::channel::<Bytes>(QUEUE_LEN);
        let folder = folder.to_owned();
        let writer = spawn_blocking(move || {
            let mut file = tempfile::tempfile_in(folder)?;
            // It is made with what the umask leaves; nobody can have opened it without a name.
            file.set_permissions(Permissions::from_mode(0o600))?;
            while let Some(buffer) = buffers.blocking_recv() {
                file.write_all(&buffer)?;
            }
            file.rewind()?;
            Ok(file)
        });
        Self { queue, writer }
    }

    /// Waits until there is room. False once the writer has failed: [`Spool::finish`] says why.
    pub(crate) async fn write(&self, buffer: Bytes) -> bool {
        self.queue.send(buffer).await.is_ok()
    }

    /// The file with all that was written, at its start.
    pub(crate) async fn finish(self) -> io::Result<File> {
        drop(self.queue);
        self.writer.await.map_err(io::Error::other)?
    }
}
