//! Watches this machine's addresses.
//!
//! A laptop that changes networks gets several addresses at once: changes close in time are reported as
//! one. A starting container brings a link-local address: those are ignored.

use std::{
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::StreamExt;
use if_watch::{IfEvent, tokio::IfWatcher};
use tokio::time::{Instant, Sleep, sleep_until};

/// Changes within this time are one.
const GATHERED_FOR: Duration = Duration::from_millis(300);
/// The system reports the initial addresses one by one. They are no change.
const AT_START: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The machine has lost an address. Reported at once.
    Lost(IpAddr),
    /// Addresses have changed and are now stable.
    Settled,
}

pub(crate) struct Interfaces {
    /// None if the system reports no changes.
    watcher: Option<IfWatcher>,
    started: Instant,
    settled: Option<Pin<Box<Sleep>>>,
}

impl Interfaces {
    pub(crate) fn new() -> Self {
        let watcher = IfWatcher::new().inspect_err(|error| {
            tracing::warn!(%error, "podsync can't watch this machine's addresses");
        });
        Self {
            watcher: watcher.ok(),
            started: Instant::now(),
            settled: None,
        }
    }

    /// The next change; never ends.
    pub(crate) async fn next(&mut self) -> Change {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Change> {
        if let Some(settled) = &mut self.settled
            && settled.as_mut().poll(context).is_ready()
        {
            self.settled = None;
            return Poll::Ready(Change::Settled);
        }
        while let Some(watcher) = &mut self.watcher {
            match watcher.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(event))) => {
                    if let Some(change) = self.take(event, context) {
                        return Poll::Ready(change);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "podsync can't read a change of this machine's addresses");
                }
                Poll::Ready(None) => self.watcher = None,
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    fn take(&mut self, event: IfEvent, context: &mut Context<'_>) -> Option<Change> {
        let (ip, lost) = match event {
            IfEvent::Up(net) => (net.addr(), false),
            IfEvent::Down(net) => (net.addr(), true),
        };
        let now = Instant::now();
        let at_start = !lost && now.duration_since(self.started) < AT_START;
        if is_local(ip) || at_start {
            return None;
        }
        tracing::info!(%ip, lost, "this machine's addresses have changed");
        let mut settled = Box::pin(sleep_until(now + GATHERED_FOR));
        // Wakes this task when the time is over.
        let _ = settled.as_mut().poll(context);
        self.settled = Some(settled);
        lost.then_some(Change::Lost(ip))
    }
}

/// Whether an address is valid only on this machine or one link.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
