//! Ends a daemon whose blob store has stopped.
//!
//! Nothing mends such a store but a start, and calls would wait for it for ever.

use std::time::Duration;

use podsync_api::ApiError;
use podsync_store::{Blobs, StoreError};

use crate::{error::Failure, tasks::Tasks};

/// How often the daemon looks.
const INTERVAL: Duration = Duration::from_secs(30);

pub(crate) async fn keep_looking(blobs: Blobs, tasks: Tasks) {
    let found = first_failure(|| blobs.look());
    let Some(error) = tasks.stopping().run_until_cancelled(found).await else {
        return;
    };
    end(&tasks, error);
}

async fn first_failure<F>(look: impl Fn() -> F) -> StoreError
where
    F: Future<Output = Result<(), StoreError>>,
{
    loop {
        tokio::time::sleep(INTERVAL).await;
        if let Err(error) = look().await {
            return error;
        }
    }
}

fn end(tasks: &Tasks, error: StoreError) {
    let reason = ApiError::from(Failure::from(error));
    let hint = reason.hint.as_deref().unwrap_or_default();
    tracing::error!(target: "podsync", "the daemon ends: {}\n  hint: {hint}", reason.message);
    tasks.fail(reason);
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use podsync_api::ErrorCode;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_that_stops_ends_the_daemon_with_the_reason() {
        let path = std::path::PathBuf::from("/home/blobs/blobs.db");
        let looks = Cell::new(0);
        let look = || {
            looks.set(looks.get() + 1);
            std::future::ready(match looks.get() {
                3 => Err(StoreError::Stopped { path: path.clone() }),
                _ => Ok(()),
            })
        };
        let begun = tokio::time::Instant::now();
        let error = first_failure(look).await;
        assert_eq!(looks.get(), 3);
        assert!((3 * INTERVAL..4 * INTERVAL).contains(&begun.elapsed()));

        let tasks = Tasks::default();
        end(&tasks, error);
        assert!(tasks.stopping().is_cancelled());
        let reason = tasks.failure().unwrap();
        assert_eq!(reason.code, ErrorCode::Disk);
        assert!(reason.message.contains("blobs.db"), "{}", reason.message);
        let hint = reason.hint.as_deref().unwrap();
        assert!(hint.contains("start podsync again"), "{hint}");
    }
}
