//! Reads files beside the tasks that serve: a network disk may never answer.
//!
//! Nobody can end such a read. Who wants to read again waits for it, so it holds one thread and no more.

use std::time::Duration;

use tokio::{task::JoinError, time::timeout};

/// After how long the log tells of a disk that doesn't answer.
const LONG: Duration = Duration::from_secs(5);

/// Does what reads `files`, which the log names if it takes long.
pub async fn read<T: Send + 'static>(
    files: &str,
    reading: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let mut late = false;
    let read = read_within(LONG, reading, || {
        late = true;
        tracing::error!(
            "the disk of {files} doesn't answer; the hub serves with what it has, and goes on waiting"
        );
    });
    let read = read.await;
    if late {
        tracing::info!("the disk of {files} answers again");
    }
    read
}

async fn read_within<T: Send + 'static>(
    longest: Duration,
    reading: impl FnOnce() -> T + Send + 'static,
    tell: impl FnOnce(),
) -> Result<T, JoinError> {
    let mut reading = tokio::task::spawn_blocking(reading);
    match timeout(longest, &mut reading).await {
        Ok(read) => read,
        Err(_) => {
            tell();
            reading.await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    /// On one thread, which has to be free to tell of it.
    #[tokio::test]
    async fn a_disk_that_does_not_answer_holds_nothing_up_and_is_told() {
        let (answers, asked) = sync_channel(1);
        let tell = move || answers.send("answer").unwrap();
        let read = read_within(Duration::from_millis(10), move || asked.recv(), tell);
        assert_eq!(read.await.unwrap(), Ok("answer"));
    }

    #[tokio::test]
    async fn who_stops_waits_for_no_disk() {
        let (answers, asked) = sync_channel::<()>(1);
        let reading = read_within(Duration::from_millis(10), move || asked.recv(), || {});
        tokio::select! {
            _ = reading => panic!("nothing answers"),
            () = tokio::task::yield_now() => {}
        }
        // The runtime ends once the read does.
        drop(answers);
    }

    #[tokio::test]
    async fn a_disk_that_answers_is_not_told() {
        let read = read_within(Duration::from_secs(60), || 1, || panic!("it answered"));
        assert_eq!(read.await.unwrap(), 1);
    }
}
