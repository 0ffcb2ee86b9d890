//! Rate limits and the pause for blob transfers: over all peers together, and over the bucket, for which the
//! daemon uses this too.
//!
//! Transfers await [`Traffic::sent`] before they write and [`Traffic::received`] after they read. Both fail while
//! the device is paused, which ends the transfer.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

/// The burst after idle time. A smaller one would split one wait into many short ones.
const BURST: Duration = Duration::from_millis(250);

/// The lowest rate limit, in bytes a second. A peer cuts a stream on which nothing moves for 30 s, and all streams
/// that a device serves share the limit.
pub const MIN_RATE: u64 = 32_000;

/// The limits and counters of a device. Clones share them.
#[derive(Debug, Clone)]
pub struct Traffic(Arc<Directions>);

#[derive(Debug)]
struct Directions {
    up: Direction,
    down: Direction,
    paused: watch::Sender<bool>,
}

/// A token bucket. It stores the time at which everything let through so far is paid for.
#[derive(Debug)]
struct Direction {
    /// Bytes a second; none for no limit.
    rate: Option<f64>,
    paid: Mutex<Instant>,
    moved: AtomicU64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self::limited(0, 0)
    }
}

impl Traffic {
    /// At most this many bytes a second up and down; 0 for no limit.
    pub fn limited(up: u64, down: u64) -> Self {
        Self(Arc::new(Directions {
            up: Direction::new(up),
            down: Direction::new(down),
            paused: watch::Sender::new(false),
        }))
    }

    /// Waits until `len` bytes may be sent.
    pub async fn sent(&self, len: usize) -> io::Result<()> {
        self.pass(&self.0.up, len).await
    }

    /// Waits until `len` received bytes fit the limit, so that no more are read before.
    pub async fn received(&self, len: usize) -> io::Result<()> {
        self.pass(&self.0.down, len).await
    }

    /// Whether sending has a rate limit.
    pub(crate) fn limits_sending(&self) -> bool {
        self.0.up.rate.is_some()
    }

    /// Ends every transfer, or lets new ones begin.
    pub fn set_paused(&self, paused: bool) {
        self.0.paused.send_replace(paused);
    }

    pub fn is_paused(&self) -> bool {
        *self.0.paused.borrow()
    }

    /// Resolves when the device is paused.
    pub async fn paused(&self) {
        let mut paused = self.0.paused.subscribe();
        // `self` holds the sender, so it can't be gone.
        let _ = paused.wait_for(|paused| *paused).await;
    }

    /// Bytes sent and received so far.
    pub fn moved(&self) -> (u64, u64) {
        let read = |direction: &Direction| direction.moved.load(Ordering::Relaxed);
        (read(&self.0.up), read(&self.0.down))
    }

    async fn pass(&self, direction: &Direction, len: usize) -> io::Result<()> {
        if self.is_paused() {
            return Err(paused());
        }
        direction.moved.fetch_add(len as u64, Ordering::Relaxed);
        let Some(due) = direction.due(len) else {
            return Ok(());
        };
        tokio::select! {
            () = tokio::time::sleep_until(due) => Ok(()),
            () = self.paused() => Err(paused()),
        }
    }
}

impl Direction {
    fn new(rate: u64) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            reason = "no link is so fast that it matters"
        )]
        let bytes = rate as f64;
        Self {
            rate: (rate > 0).then_some(bytes),
            paid: Mutex::new(Instant::now()),
            moved: AtomicU64::new(0),
        }
    }

    /// When `len` more bytes may pass. None if they may pass now.
    fn due(&self, len: usize) -> Option<Instant> {
        let rate = self.rate?;
        #[expect(clippy::cast_precision_loss, reason = "a piece of a blob")]
        let cost = Duration::from_secs_f64(len as f64 / rate);
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        *paid = (*paid).max(now) + cost;
        let due = paid.checked_sub(BURST)?;
        (due > now).then_some(due)
    }
}

fn paused() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "this device is paused")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn all_that_moves_shares_one_rate_and_each_direction_has_its_own() {
        let traffic = Traffic::limited(MIB as u64, 0);
        let started = Instant::now();
        let each = (0..8).map(|_| {
            let traffic = traffic.clone();
            tokio::spawn(async move {
                for _ in 0..64 {
                    traffic.sent(MIB / 64).await.unwrap();
                    traffic.received(MIB).await.unwrap();
                }
            })
        });
        for stream in each.collect::<Vec<_>>() {
            stream.await.unwrap();
        }
        let took = started.elapsed();
        let least = Duration::from_secs(8) - BURST;
        assert!(
            (least..least + Duration::from_millis(50)).contains(&took),
            "{took:?}"
        );
        assert_eq!(traffic.moved(), (8 * MIB as u64, 512 * MIB as u64));
    }

    #[tokio::test(start_paused = true)]
    async fn who_rested_may_catch_up_by_a_burst_only() {
        let traffic = Traffic::limited(0, MIB as u64);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let started = Instant::now();
        for _ in 0..4 {
            traffic.received(MIB / 4).await.unwrap();
        }
        assert!(
            started.elapsed() >= Duration::from_millis(700),
            "{:?}",
            started.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_what_waits_and_what_would_begin() {
        let traffic = Traffic::limited(1, 1);
        let waits = tokio::spawn({
            let traffic = traffic.clone();
            async move { traffic.sent(MIB).await }
        });
        tokio::task::yield_now().await;
        traffic.set_paused(true);
        assert!(waits.await.unwrap().is_err());
        assert!(traffic.received(0).await.is_err());
        traffic.set_paused(false);
        traffic.received(0).await.unwrap();
    }
}
