//! Reuses buffers: allocating memory anew for each batch costs as much as hashing it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most spare buffers: about as many as are in use.
const LEN: usize = 16;

#[derive(Default)]
pub(crate) struct Shelf(Mutex<Vec<Vec<u8>>>);

impl Shelf {
    /// A spare buffer with old content, or an empty one.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.buffers().pop().unwrap_or_default()
    }

    pub(crate) fn give(&self, buffer: Vec<u8>) {
        let mut buffers = self.buffers();
        if buffers.len() < LEN {
            buffers.push(buffer);
        }
    }

    /// Lends a buffer: it comes back when the last one who reads it is done.
    pub(crate) fn lend(self: &Arc<Self>, buffer: Vec<u8>) -> Lent {
        Lent {
            buffer,
            shelf: Arc::clone(self),
        }
    }

    fn buffers(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer that returns to its shelf.
pub(crate) struct Lent {
    buffer: Vec<u8>,
    shelf: Arc<Shelf>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.shelf.give(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_lent_buffer_comes_back_after_its_last_reader() {
        let shelf = Arc::new(Shelf::default());
        let mut whole = Bytes::from_owner(shelf.lend(vec![7; 100]));
        let part = whole.split_to(10);
        drop(whole);
        assert!(shelf.take().is_empty());
        assert_eq!(part, [7; 10][..]);
        drop(part);
        assert_eq!(shelf.take(), vec![7; 100]);
    }
}
