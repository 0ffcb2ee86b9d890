//! The pool behind saving and rebuilding: one thread produces jobs, several work on them, and the
//! caller's thread takes the results in the order of the jobs.
//!
//! Both queues are bounded, so a slow side delays the others instead of filling memory. If one side
//! stops, the others notice at their next hand-over; nothing waits for ever.

use std::{
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

/// More workers than this gain nothing: reading and writing are each one thread.
pub(crate) const MAX_WORKERS: usize = 8;
/// Jobs that wait for a worker, and results that wait for their turn, for each worker.
const QUEUED_PER_WORKER: usize = 2;

/// The other side has stopped and reports the reason itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

/// Where the producer puts its jobs.
pub(crate) struct Jobs<J, R> {
    work: SyncSender<(J, SyncSender<R>)>,
    order: SyncSender<Receiver<R>>,
}

impl<J, R> Jobs<J, R> {
    /// Waits until there is room.
    pub(crate) fn push(&self, job: J) -> Result<(), Stopped> {
        let (result, turn) = sync_channel(1);
        self.order.send(turn).map_err(|_| Stopped)?;
        self.work.send((job, result)).map_err(|_| Stopped)
    }
}

/// Runs all three sides to their end and returns what the producer and the consumer returned.
///
/// `worker` makes one thread's own state; `work` uses it on a job.
pub(crate) fn in_order<J, R, W, P, E>(
    produce: impl FnOnce(Jobs<J, R>) -> P + Send,
    worker: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, J) -> R + Sync,
    mut consume: impl FnMut(R) -> Result<(), E>,
) -> (P, Result<(), E>)
where
    J: Send,
    R: Send,
    P: Send,
{
    let workers = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_WORKERS);
    let queued = workers * QUEUED_PER_WORKER;
    let (work_in, work_out) = sync_channel::<(J, SyncSender<R>)>(queued);
    let (order_in, order_out) = sync_channel::<Receiver<R>>(queued);
    let work_out = Mutex::new(work_out);

    thread::scope(|scope| {
        let producer = scope.spawn(move || {
            produce(Jobs {
                work: work_in,
                order: order_in,
            })
        });
        for _ in 0..workers {
            scope.spawn(|| {
                let mut state = worker();
                loop {
                    let next = work_out
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .recv();
                    let Ok((job, result)) = next else { break };
                    // A consumer that has stopped no longer wants it.
                    let _ = result.send(work(&mut state, job));
                }
            });
        }
        let mut consumed = Ok(());
        while let Ok(turn) = order_out.recv() {
            // A turn without a result: the producer stopped between its two hand-overs.
            let Ok(result) = turn.recv() else { break };
            consumed = consume(result);
            if consumed.is_err() {
                break;
            }
        }
        drop(order_out);
        let produced = match producer.join() {
            Ok(produced) => produced,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        (produced, consumed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        let mut seen = Vec::new();
        let (produced, consumed) = in_order(
            |jobs| (0..1000_u64).try_for_each(|job| jobs.push(job)),
            || (),
            |(), job| job * 2,
            |result| {
                seen.push(result);
                Ok::<_, ()>(())
            },
        );
        assert_eq!((produced, consumed), (Ok(()), Ok(())));
        assert_eq!(seen, (0..1000).map(|job| job * 2).collect::<Vec<_>>());
    }

    #[test]
    fn a_consumer_that_fails_stops_the_producer() {
        let (produced, consumed) = in_order(
            |jobs| {
                let mut pushed = 0_u64;
                while jobs.push(pushed).is_ok() {
                    pushed += 1;
                }
                pushed
            },
            || (),
            |(), job| job,
            |result| if result == 3 { Err("full") } else { Ok(()) },
        );
        assert!(produced >= 4);
        assert_eq!(consumed, Err("full"));
    }
}
