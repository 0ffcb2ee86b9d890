//! `podsync logs`: what the daemon wrote to `daemon.log`, also into the files before it.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::Path,
    pin::pin,
    time::{Duration, SystemTime},
};

use clap::Args;
use podsync_api::{ApiError, ErrorCode};

use crate::{
    context::Context,
    log::rolling::{self, time_of},
    output::nobody_reads,
};

/// Lines to show without `--since`.
const NEWEST: usize = 200;
/// A longer line is shown in parts.
const MAX_LINE_LEN: u64 = 64 << 10;
/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on with what the daemon writes from now on, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Show what was written in this time, such as 1h [default: the newest 200 lines]
    #[arg(long, value_name = "TIME", value_parser = crate::time::length)]
    since: Option<Duration>,
}

pub(crate) async fn run(context: &Context, logs: Logs) -> Result<(), ApiError> {
    let log = rolling::path(&context.home()?);
    let failed = |error: io::Error| {
        ApiError::new(
            ErrorCode::Disk,
            format!("podsync cannot read {}: {error}", log.display()),
        )
        .hint("check the file's permissions and its disk")
    };
    // The followed file is opened first, so that no line is lost between the two.
    let mut tail = Tail::at_end(&log).map_err(failed)?;
    let since = logs.since.map(|ago| {
        let now = SystemTime::now();
        now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)
    });
    let shown = match since {
        Some(since) => written_since(&log, since, tail.end()),
        None => newest(&log, tail.end()),
    };
    let shown = shown.map_err(failed)?;
    if tail.is_empty() && shown.is_empty() && !logs.follow {
        context.printer.note(format_args!(
            "There is no log yet: {} is written by a daemon in the background or a service.",
            log.display()
        ));
        return Ok(());
    }
    for line in shown {
        if !shown_line(context, &line)? {
            return Ok(());
        }
    }
    if !logs.follow {
        return Ok(());
    }
    let mut unread = pin!(nobody_reads());
    loop {
        for line in tail.more(&log).map_err(failed)? {
            if !shown_line(context, &line)? {
                return Ok(());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = context.stop.cancelled() => break,
            () = &mut unread => break,
        }
    }
    Ok(())
}

/// The end of the newest file, and what comes after it, also when the daemon begins another file.
pub(super) struct Tail {
    open: Option<(BufReader<File>, u64)>,
    /// A line whose end isn't written yet.
    begun: String,
}

impl Tail {
    pub(super) fn at_end(log: &Path) -> io::Result<Self> {
        let mut tail = Self {
            open: open(log)?,
            begun: String::new(),
        };
        if let Some((file, _)) = &mut tail.open {
            file.seek(SeekFrom::End(0))?;
        }
        Ok(tail)
    }

    fn is_empty(&self) -> bool {
        self.open.is_none()
    }

    /// The file and how long it was.
    fn end(&mut self) -> Option<(u64, u64)> {
        let (file, inode) = self.open.as_mut()?;
        Some((*inode, file.stream_position().ok()?))
    }

    pub(super) fn more(&mut self, log: &Path) -> io::Result<Vec<String>> {
        let mut lines = self.rest()?;
        let now = log.metadata().ok().map(|metadata| metadata.ino());
        if now.is_some() && now != self.open.as_ref().map(|(_, inode)| *inode) {
            // What the daemon wrote before it began the new file.
            lines.extend(self.rest()?);
            self.open = open(log)?;
            lines.extend(self.rest()?);
        }
        Ok(lines)
    }

    fn rest(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        let Some((file, _)) = &mut self.open else {
            return Ok(lines);
        };
        while let Some(part) = next(file)? {
            self.begun.push_str(&part);
            if self.begun.ends_with('\n') || self.begun.len() as u64 > MAX_LINE_LEN {
                lines.push(std::mem::take(&mut self.begun).trim_end().to_owned());
            }
        }
        Ok(lines)
    }
}

fn open(log: &Path) -> io::Result<Option<(BufReader<File>, u64)>> {
    match podsync_daemon::open_regular(log) {
        Ok(file) => {
            let inode = file.metadata()?.ino();
            Ok(Some((BufReader::new(file), inode)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A line or a part of a long one; none at the end of what is there.
fn next(file: &mut BufReader<File>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    io::Read::take(file, MAX_LINE_LEN).read_until(b'\n', &mut line)?;
    Ok((!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned()))
}

fn newest(log: &Path, end: Option<(u64, u64)>) -> io::Result<VecDeque<String>> {
    let mut newest = VecDeque::with_capacity(NEWEST);
    each(log, end, |line| {
        if newest.len() == NEWEST {
            newest.pop_front();
        }
        newest.push_back(line);
    })?;
    Ok(newest)
}

/// Lines without a time belong to the one before.
fn written_since(
    log: &Path,
    since: SystemTime,
    end: Option<(u64, u64)>,
) -> io::Result<VecDeque<String>> {
    let mut lines = VecDeque::new();
    let mut is_in_time = false;
    each(log, end, |line| {
        if let Some(time) = time_of(&line) {
            is_in_time = time >= since;
        }
        if is_in_time {
            lines.push_back(line);
        }
    })?;
    Ok(lines)
}

/// Every line from the oldest on, up to the `end`.
fn each(log: &Path, end: Option<(u64, u64)>, mut take: impl FnMut(String)) -> io::Result<()> {
    for path in rolling::files(log) {
        let Some((mut file, inode)) = open(&path)? else {
            continue;
        };
        let is_last = end.is_some_and(|(last, _)| last == inode);
        while let Some(line) = next(&mut file)? {
            take(line.trim_end().to_owned());
            if is_last
                && end.is_some_and(|(_, len)| file.stream_position().is_ok_and(|at| at >= len))
            {
                break;
            }
        }
        if is_last {
            break;
        }
    }
    Ok(())
}

/// Prints a line of the log; whether anybody still reads.
fn shown_line(context: &Context, line: &str) -> Result<bool, ApiError> {
    let document = serde_json::json!({ "line": line });
    context.printer.line(&document, |_| line.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{io::Write, time::UNIX_EPOCH};

    use super::*;

    fn append(path: &Path, text: &str) {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn what_was_written_since_then_is_shown_from_all_files() {
        let folder = tempfile::tempdir().unwrap();
        let log = rolling::path(folder.path());
        append(
            &folder.path().join("daemon.log.1"),
            "2026-01-01T10:00:00.5Z  INFO old\n  more of it\n2026-01-01T11:00:00Z  INFO a\n  its second line\n",
        );
        append(
            &log,
            "{\"timestamp\":\"2026-01-01T12:00:00Z\",\"level\":\"INFO\"}\n",
        );
        let since = UNIX_EPOCH
            + humantime::parse_rfc3339("2026-01-01T10:30:00Z")
                .unwrap()
                .duration_since(UNIX_EPOCH)
                .unwrap();
        let end = Tail::at_end(&log).unwrap().end();
        let lines = written_since(&log, since, end).unwrap();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].ends_with("INFO a") && lines[1] == "  its second line");
        assert_eq!(newest(&log, end).unwrap().len(), 5);
    }

    #[test]
    fn a_followed_log_goes_on_in_the_next_file() {
        let folder = tempfile::tempdir().unwrap();
        let log = rolling::path(folder.path());
        append(&log, "before\n");
        let mut tail = Tail::at_end(&log).unwrap();
        append(&log, "one\nhal");
        assert_eq!(tail.more(&log).unwrap(), ["one"]);
        append(&log, "f\n");
        std::fs::rename(&log, folder.path().join("daemon.log.1")).unwrap();
        append(&log, "two\n");
        assert_eq!(tail.more(&log).unwrap(), ["half", "two"]);
        assert!(tail.more(&log).unwrap().is_empty());
    }

    #[test]
    fn a_log_that_comes_later_is_followed_too() {
        let folder = tempfile::tempdir().unwrap();
        let log = rolling::path(folder.path());
        let mut tail = Tail::at_end(&log).unwrap();
        assert!(tail.more(&log).unwrap().is_empty());
        append(&log, "first\n");
        assert_eq!(tail.more(&log).unwrap(), ["first"]);
    }
}
