//! Runs a program for an event. The event is in its environment variables, and its run time is limited.
//!
//! The program has its own process group. At the time limit the whole group is ended, so that a shell's children
//! don't stay.

use std::{
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use podsync_api::{
    ApiError, ErrorCode,
    events::{Event, VARIABLES},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Most bytes of one run's output that go into the log.
const MAX_OUTPUT_LEN: u64 = 64 << 10;
/// How long to wait for the end of the output, which the program's children may hold open.
const OUTPUT_PATIENCE: Duration = Duration::from_millis(200);

/// A program, its name for errors, and its time limit.
pub struct Reaction<'a> {
    /// The command, with arguments and environment set.
    pub program: std::process::Command,
    pub name: &'a str,
    pub limit: Duration,
    /// The event's home. podsync commands in the program use the same one.
    pub home: &'a Path,
    pub says: Says,
}

/// Where a program's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// To this process's stderr.
    OnStderr,
    /// Line by line into the log.
    InTheLog,
}

impl Reaction<'_> {
    /// Runs the program to its end, or until its time is over or `stop` is cancelled.
    pub async fn run(self, event: &Event, stop: &CancellationToken) -> Result<(), ApiError> {
        let (name, limit, says) = (self.name.to_owned(), self.limit, self.says);
        let mut child = self.start(event).map_err(|error| {
            ApiError::new(
                ErrorCode::Invalid,
                format!("{name} cannot be run for `{}`: {error}", event.what.kind()),
            )
            .hint("check that it is there and can be executed")
        })?;
        let logged = match says {
            Says::OnStderr => None,
            Says::InTheLog => Some(log_output(&mut child, &name)),
        };
        let ended = tokio::select! {
            ended = timeout(limit, child.wait()) => ended,
            () = stop.cancelled() => {
                end(&mut child).await;
                let error = ApiError::new(ErrorCode::Cancelled, format!("{name} was ended half way"));
                return Err(error.hint("it is run again for the next event"));
            }
        };
        let Ok(ended) = ended else {
            end(&mut child).await;
            let text = format!(
                "{name} ran for more than {} s for `{}` and was ended",
                limit.as_secs(),
                event.what.kind()
            );
            return Err(ApiError::new(ErrorCode::Busy, text)
                .hint("have it start in the background what takes longer"));
        };
        if let Some(mut logged) = logged
            && timeout(OUTPUT_PATIENCE, &mut logged).await.is_err()
        {
            logged.abort();
        }
        judged(&name, event, ended)
    }

    fn start(self, event: &Event) -> io::Result<Child> {
        let mut command = Command::from(self.program);
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command
            .envs(event.variables())
            .env("PODSYNC_HOME", self.home)
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        match self.says {
            Says::OnStderr => command.stdout(io::stderr()).stderr(Stdio::inherit()),
            Says::InTheLog => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
        };
        command.spawn()
    }
}

fn judged(name: &str, event: &Event, ended: io::Result<ExitStatus>) -> Result<(), ApiError> {
    let kind = event.what.kind();
    let text = match ended {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => format!("{name} failed for `{kind}`: {status}"),
        Err(error) => format!("podsync lost track of {name} for `{kind}`: {error}"),
    };
    Err(ApiError::new(ErrorCode::Invalid, text)
        .hint("its own output says why; the event itself has happened all the same"))
}

/// Ends the program's process group. The program wasn't reaped yet, so its id can't have been reused.
async fn end(child: &mut Child) {
    if let Some(group) = child.id() {
        let group = format!("-{group}");
        let killed = Command::new("kill")
            .args(["-s", "KILL", "--", &group])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await;
        if let Err(error) = killed {
            tracing::warn!(%error, "`kill` cannot be run; only the program itself is ended");
        }
    }
    // It has ended already if its group was ended.
    let _ = child.kill().await;
}

fn log_output(child: &mut Child, name: &str) -> tokio::task::JoinHandle<()> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let name = name.to_owned();
    tokio::spawn(async move {
        tokio::join!(log_lines(out, &name), log_lines(err, &name));
    })
}

async fn log_lines(pipe: Option<impl AsyncRead + Unpin>, name: &str) {
    let Some(mut pipe) = pipe else { return };
    let mut lines = BufReader::new((&mut pipe).take(MAX_OUTPUT_LEN));
    let mut line = Vec::new();
    while let Ok(1..) = lines.read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line);
        // The output is escaped, so that it can't imitate lines of the log.
        tracing::info!(program = name, says = ?text.trim_end());
        line.clear();
    }
    drop(lines);
    // Output beyond the limit is still read, or the program would block.
    let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
}

#[cfg(test)]
mod tests {
    use podsync_api::events::{Happened, Missed};

    use super::*;

    fn event() -> Event {
        Event {
            id: Some("00000001-7".to_owned()),
            time_ms: 5,
            what: Happened::Missed(Missed {}),
        }
    }

    async fn run(script: &str, limit: Duration) -> Result<(), ApiError> {
        let mut program = std::process::Command::new("sh");
        program.args(["-c", script]);
        let reaction = Reaction {
            program,
            name: "the script",
            limit,
            home: Path::new("/nowhere"),
            says: Says::InTheLog,
        };
        reaction.run(&event(), &CancellationToken::new()).await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn it_hears_of_its_event_and_its_home_and_its_failure_is_told() {
        let check =
            "test \"$PODSYNC_EVENT/$PODSYNC_EVENT_ID/$PODSYNC_HOME\" = missed/00000001-7//nowhere";
        run(check, LONG).await.unwrap();
        let error = run("echo no >&2; exit 7", LONG).await.unwrap_err();
        assert!(error.message.contains("exit status: 7"), "{error}");
    }

    #[tokio::test]
    async fn whoever_takes_too_long_is_ended_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        // The child of the shell holds the pipe open until it is gone.
        let script = format!("(exec sleep 600) > '{}' & wait", fifo.display());
        let reading = tokio::fs::read(fifo);
        let (ended, read) = tokio::join!(run(&script, Duration::from_millis(300)), reading);
        assert_eq!(ended.unwrap_err().code, ErrorCode::Busy);
        assert!(read.unwrap().is_empty());
    }

    #[tokio::test]
    async fn output_without_end_or_that_is_held_open_holds_nothing_up() {
        run("head -c 1000000 /dev/zero", LONG).await.unwrap();
        run("(exec sleep 5) &", LONG).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_not_there_is_told() {
        let reaction = Reaction {
            program: std::process::Command::new("/nowhere/at/all"),
            name: "the hook",
            limit: LONG,
            home: Path::new("/nowhere"),
            says: Says::OnStderr,
        };
        let stop = CancellationToken::new();
        let error = reaction.run(&event(), &stop).await.unwrap_err();
        assert!(
            error.message.starts_with("the hook cannot be run"),
            "{error}"
        );
    }
}
