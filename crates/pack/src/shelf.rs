//! Reuses buffers: allocating memory anew for each batch costs as much as hashing it.

use std::sync::{Mutex, MutexGuard, PoisonError};

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

    fn buffers(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
