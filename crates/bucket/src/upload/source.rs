//! Sources of bytes for an upload: anything that can be reopened and read at an offset.

use std::{fmt, fs::File, io, os::unix::fs::FileExt, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;

/// Reads at an offset, all or nothing. It may block.
pub trait ReadAt: Send + Sync + 'static {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

impl ReadAt for Bytes {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let found = start.and_then(|start| self.get(start..start.checked_add(buffer.len())?));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl<F> ReadAt for F
where
    F: Fn(u64, &mut [u8]) -> io::Result<()> + Send + Sync + 'static,
{
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self(offset, buffer)
    }
}

type Open = dyn Fn() -> BoxFuture<'static, io::Result<Arc<dyn ReadAt>>> + Send + Sync;

/// A source that is opened when its turn comes, and again after a cut.
#[derive(Clone)]
pub struct Source(Arc<Open>);

impl Source {
    /// A source with its own opener.
    pub fn opened_by<F, R>(open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<R>> + Send + 'static,
        R: ReadAt,
    {
        Self(Arc::new(move || {
            let opening = open();
            Box::pin(async move {
                let reader: Arc<dyn ReadAt> = Arc::new(opening.await?);
                Ok(reader)
            })
        }))
    }

    pub fn bytes(bytes: Bytes) -> Self {
        Self::opened_by(move || std::future::ready(Ok(bytes.clone())))
    }

    /// A file, from its beginning.
    pub fn file(path: PathBuf) -> Self {
        Self::opened_by(move || {
            let path = path.clone();
            async move {
                let opened = tokio::task::spawn_blocking(move || File::open(path));
                opened.await.map_err(io::Error::other)?
            }
        })
    }

    pub(crate) async fn open(&self) -> io::Result<Arc<dyn ReadAt>> {
        (self.0)().await
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}
