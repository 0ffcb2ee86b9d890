//! A state on its way to the disk: an unlinked file, readable by its owner only.
//!
//! One blocking thread writes the very buffers that the network filled, while the network goes on
//! filling others. Nothing is synced: this file is a stopover and is gone after a crash.

use std::{
    fs::{File, Permissions},
    io::{self, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
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
    arrived: Announcing,
}

impl Spool {
    /// Begins a file in `folder`, which must exist. It has no name and mode 0600.
    pub(crate) async fn begin(folder: &Path) -> io::Result<Self> {
        let folder = folder.to_owned();
        let file = spawn_blocking(move || {
            let file = tempfile::tempfile_in(folder)?;
            // It is made with what the umask leaves; nobody can have opened it without a name.
            file.set_permissions(Permissions::from_mode(0o600))?;
            Ok::<_, io::Error>(file)
        });
        let mut file = file.await.map_err(io::Error::other)??;
        let reader = file.try_clone()?;
        let (queue, mut buffers) = mpsc::channel::<Bytes>(QUEUE_LEN);
        let arrived = Arc::new(Arrived::new(reader));
        let announced = Arc::clone(&arrived);
        let writer = spawn_blocking(move || {
            while let Some(buffer) = buffers.blocking_recv() {
                file.write_all(&buffer)?;
                announced.more(buffer.len() as u64);
            }
            file.rewind()?;
            Ok(file)
        });
        Ok(Self {
            queue,
            writer,
            arrived: Announcing(arrived),
        })
    }

    pub(crate) fn arrived(&self) -> Arc<Arrived> {
        Arc::clone(&self.arrived.0)
    }

    /// Waits until there is room. False once the writer has failed: [`Spool::finish`] says why.
    pub(crate) async fn write(&self, buffer: Bytes) -> bool {
        self.queue.send(buffer).await.is_ok()
    }

    /// The file with all that was written, at its start. Who reads it already still waits for
    /// [`Whole::announce`].
    pub(crate) async fn finish(self) -> io::Result<(File, Whole)> {
        drop(self.queue);
        let file = self.writer.await.map_err(io::Error::other)??;
        Ok((file, Whole(self.arrived)))
    }
}

/// A file that has all its bytes, and nobody was told yet.
pub(crate) struct Whole(Announcing);

impl Whole {
    pub(crate) fn announce(self) {
        self.0.0.end(End::Whole);
    }
}

/// Dropped without an end, it says that there will be none.
struct Announcing(Arc<Arrived>);

impl Drop for Announcing {
    fn drop(&mut self) {
        self.0.end(End::Broken);
    }
}

/// A state that is still being received, for who reads it meanwhile.
#[derive(Debug)]
pub struct Arrived {
    file: File,
    so_far: Mutex<SoFar>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy)]
struct SoFar {
    len: u64,
    end: Option<End>,
    /// What is waited for: who needs much isn't woken for each buffer.
    wanted: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Broken,
}

impl Arrived {
    fn new(file: File) -> Self {
        let so_far = SoFar {
            len: 0,
            end: None,
            wanted: 0,
        };
        Self {
            file,
            so_far: Mutex::new(so_far),
            changed: Condvar::new(),
        }
    }

    /// The file, to be read at positions: its own is where the next bytes go.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Blocks until `len` bytes are there, or all of them, and says how many are. An error if the
    /// state breaks off; the reason is with who receives it. One thread waits at a time.
    pub fn wait_for(&self, len: u64) -> io::Result<u64> {
        let waiting = |so_far: &mut SoFar| {
            so_far.wanted = len;
            so_far.end.is_none() && so_far.len < len
        };
        let so_far = self
            .changed
            .wait_while(self.so_far(), waiting)
            .unwrap_or_else(PoisonError::into_inner);
        match so_far.end {
            Some(End::Broken) => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(so_far.len),
        }
    }

    fn more(&self, len: u64) {
        let mut so_far = self.so_far();
        so_far.len += len;
        if so_far.len >= so_far.wanted {
            self.changed.notify_all();
        }
    }

    fn end(&self, end: End) {
        self.so_far().end.get_or_insert(end);
        self.changed.notify_all();
    }

    fn so_far(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn begun() -> Spool {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::begin(folder.path()).await.unwrap();
        assert!(spool.write(Bytes::from_static(b"PK..")).await);
        spool
    }

    #[tokio::test]
    async fn a_reader_hears_of_bytes_and_of_the_end() {
        let spool = begun().await;
        let arrived = spool.arrived();
        let first = Arc::clone(&arrived);
        let four = spawn_blocking(move || first.wait_for(4)).await.unwrap();
        assert_eq!(four.unwrap(), 4);
        let all = {
            let arrived = Arc::clone(&arrived);
            spawn_blocking(move || arrived.wait_for(u64::MAX))
        };
        let (_, whole) = spool.finish().await.unwrap();
        assert!(!all.is_finished());
        whole.announce();
        assert_eq!(all.await.unwrap().unwrap(), 4);
        assert_eq!(arrived.wait_for(9).unwrap(), 4);
    }

    #[tokio::test]
    async fn a_reader_never_waits_for_what_broke_off() {
        let spool = begun().await;
        let arrived = spool.arrived();
        let all = {
            let arrived = Arc::clone(&arrived);
            spawn_blocking(move || arrived.wait_for(u64::MAX))
        };
        drop(spool);
        assert!(all.await.unwrap().is_err());
        // Nor is it whole where it was received and then refused.
        let spool = begun().await;
        let arrived = spool.arrived();
        drop(spool.finish().await.unwrap());
        assert!(arrived.wait_for(1).is_err());
    }
}
