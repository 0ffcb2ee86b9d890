//! `podsync watch --json`, and when each of its lines came.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use podsync_api::events::{Event, Happened};

/// Lines that wait until somebody asks for them.
const LINES: usize = 1024;
/// After this time a missing line counts as a failure.
const PATIENCE: Duration = Duration::from_secs(120);

/// A watch that runs until it is dropped.
pub(super) struct Watch {
    child: Child,
    lines: Receiver<(Instant, String)>,
}

impl Watch {
    /// Starts it, and waits until it watches.
    pub(super) fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut notes = BufReader::new(child.stderr.take().context("no stderr")?);
        let mut note = String::new();
        while !note.contains("Watching") {
            note.clear();
            ensure!(notes.read_line(&mut note)? > 0, "the watch has ended");
        }
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let (sender, lines) = sync_channel(LINES);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// When the share of this number was printed.
    pub(super) fn shared(&self, number: u64) -> Result<Instant> {
        loop {
            let (at, line) = self
                .lines
                .recv_timeout(PATIENCE)
                .with_context(|| format!("no line for number {number}"))?;
            match serde_json::from_str::<Event>(&line)?.what {
                Happened::Shared(shared) if shared.number == number => return Ok(at),
                Happened::Shared(_) => {}
                other => bail!("{other:?} is no share"),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
