//! Passes a state from the network to the thread that reads it.
//!
//! The network's own buffers are passed on, a few at a time: a slow reader slows the instance down instead of
//! filling memory or disk.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

/// Buffers on their way from the network. hyper's are at most some 400 KiB each.
const QUEUE_LEN: usize = 16;

/// A state that is being received, for a thread that reads it meanwhile. Reads wait for data still
/// to come. They fail if the state breaks off; the receiving side reports the reason.
#[derive(Debug)]
pub struct Arriving {
    buffers: mpsc::Receiver<Bytes>,
    current: Bytes,
    whole: Arc<AtomicBool>,
}

/// The other end of [`Arriving`]. Dropped before it was finished, the state broke off.
#[derive(Debug)]
pub struct Sending {
    buffers: mpsc::Sender<Bytes>,
    whole: Arc<AtomicBool>,
}

/// Makes both ends of the channel.
pub fn arriving() -> (Sending, Arriving) {
    let (sender, buffers) = mpsc::channel(QUEUE_LEN);
    let whole = Arc::new(AtomicBool::new(false));
    let sending = Sending {
        buffers: sender,
        whole: Arc::clone(&whole),
    };
    let arriving = Arriving {
        buffers,
        current: Bytes::new(),
        whole,
    };
    (sending, arriving)
}

impl Sending {
    /// Waits until there is room. False if the reader is gone; it reports the reason.
    pub(crate) async fn write(&self, buffer: Bytes) -> bool {
        self.buffers.send(buffer).await.is_ok()
    }

    /// Marks the state as complete and valid.
    pub(crate) fn finish(self) {
        self.whole.store(true, Ordering::Release);
    }
}

impl Read for Arriving {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !into.is_empty() {
            match self.buffers.blocking_recv() {
                Some(buffer) => self.current = buffer,
                None if self.whole.load(Ordering::Acquire) => return Ok(0),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let len = self.current.len().min(into.len());
        self.current.copy_to_slice(&mut into[..len]);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::spawn_blocking;

    use super::*;

    /// What a reader has after everything that `send` does.
    async fn read_of(send: impl AsyncFnOnce(Sending)) -> io::Result<Vec<u8>> {
        let (sending, mut arriving) = arriving();
        let reader = spawn_blocking(move || {
            let mut bytes = Vec::new();
            arriving.read_to_end(&mut bytes).map(|_| bytes)
        });
        send(sending).await;
        reader.await.unwrap()
    }

    #[tokio::test]
    async fn a_reader_has_every_byte_and_hears_of_the_end() {
        let read = read_of(async |sending| {
            for part in ["PK", "", "..", "!"] {
                assert!(sending.write(Bytes::from_static(part.as_bytes())).await);
            }
            sending.finish();
        });
        assert_eq!(read.await.unwrap(), b"PK..!");
    }

    #[tokio::test]
    async fn a_reader_never_takes_what_broke_off_for_whole() {
        let read = read_of(async |sending| {
            assert!(sending.write(Bytes::from_static(b"PK..")).await);
        });
        assert!(read.await.is_err());
    }

    #[tokio::test]
    async fn who_sends_hears_that_nobody_reads() {
        let (sending, arriving) = arriving();
        drop(arriving);
        assert!(!sending.write(Bytes::from_static(b"PK..")).await);
    }
}
