//! How many calls run at once, and when the last one is over.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

#[derive(Clone)]
pub(super) struct Calls {
    places: Arc<Semaphore>,
    count: u32,
}

impl Calls {
    pub(super) fn new(count: u32) -> Self {
        let places = Arc::new(Semaphore::new(count as usize));
        Self { places, count }
    }

    /// A place, which the call holds while it runs.
    pub(super) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.acquire().await.ok()
    }

    /// Waits until nothing runs.
    pub(super) async fn over(&self) {
        let _ = self.places.acquire_many(self.count).await;
    }
}
