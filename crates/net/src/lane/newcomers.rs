//! Connections to the lanes' port that have not authenticated yet. Their number is bounded.
//!
//! Anybody can open them. At the bound, the oldest connection of the address with the most is closed, so that
//! stalled connections make room for working ones.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// The most newcomers at once. Each holds a socket, and a handshake once it has sent a secret.
const MAX_NEWCOMERS: usize = 64;

#[derive(Debug, Clone, Default)]
pub(super) struct Newcomers(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    last_id: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    ip: IpAddr,
    ends: CancellationToken,
}

/// A newcomer's place, until it is dropped or has to make room.
#[derive(Debug)]
pub(super) struct Stay {
    id: u64,
    ends: CancellationToken,
    newcomers: Newcomers,
}

impl Newcomers {
    pub(super) fn enter(&self, ip: IpAddr) -> Stay {
        let ends = CancellationToken::new();
        let mut table = self.lock();
        table.make_room();
        table.last_id += 1;
        let id = table.last_id;
        let waiting = Waiting {
            ip,
            ends: ends.clone(),
        };
        table.waiting.insert(id, waiting);
        drop(table);
        Stay {
            id,
            ends,
            newcomers: self.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn make_room(&mut self) {
        if self.waiting.len() < MAX_NEWCOMERS {
            return;
        }
        let mut by_address: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for waiting in self.waiting.values() {
            *by_address.entry(waiting.ip).or_default() += 1;
        }
        let most = by_address.into_iter().max_by_key(|(_, count)| *count);
        // Ids grow, so the first one is the oldest.
        let mut its = self.waiting.iter();
        let oldest = its.find(|(_, waiting)| most.is_some_and(|(ip, _)| waiting.ip == ip));
        if let Some((id, _)) = oldest {
            let id = *id;
            if let Some(oldest) = self.waiting.remove(&id) {
                tracing::debug!(ip = %oldest.ip, "a newcomer makes room for another");
                oldest.ends.cancel();
            }
        }
    }
}

impl Stay {
    /// Runs `work` unless the newcomer has to make room first.
    pub(super) async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.ends.run_until_cancelled(work).await
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.newcomers.lock().waiting.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[tokio::test]
    async fn who_has_most_makes_room() {
        let newcomers = Newcomers::default();
        let one = newcomers.enter(ip(1));
        let mut many: Vec<_> = (0..MAX_NEWCOMERS - 1)
            .map(|_| newcomers.enter(ip(2)))
            .collect();
        assert!(many.iter().all(|stay| !stay.ends.is_cancelled()));
        let next = newcomers.enter(ip(3));
        assert!(many[0].ends.is_cancelled(), "the oldest of who has most");
        assert!(!one.ends.is_cancelled() && !next.ends.is_cancelled());
        assert_eq!(many[0].run(std::future::pending::<()>()).await, None);
        assert_eq!(one.run(async { 7 }).await, Some(7));
        many.clear();
        assert_eq!(newcomers.lock().waiting.len(), 2);
        drop((one, next));
        assert!(newcomers.lock().waiting.is_empty());
    }
}
