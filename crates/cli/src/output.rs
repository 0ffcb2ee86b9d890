//! The one printer: the result on stdout, everything else on stderr.
//!
//! A reader that went away (`podsync list | head -1`) is no failure. A stdout that takes nothing is one.

pub(crate) mod ask;
mod layout;
pub(crate) mod logs;
pub(crate) mod progress;
pub(crate) mod terminal;
mod text;

use std::{
    fmt::Display,
    fs::File,
    io::{self, IsTerminal, Write},
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt, MetadataExt},
    },
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use podsync_api::{ApiError, ErrorCode};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
};
use serde::Serialize;

pub(crate) use self::{
    layout::{Column, field, full_table, table, wrapped},
    text::{ago, bytes, count, duration, is_harmless, printable},
};

pub(crate) struct Printer {
    json: bool,
    /// The command must not ask questions, even on a terminal.
    for_programs: bool,
    /// A result was printed. stdout may have only one document.
    printed: AtomicBool,
    /// The next step if a result can't be written whose command is done.
    unseen: Option<String>,
}

/// A secret that stdout did not take. It counts as a failure either way.
pub(crate) enum NotOnStdout {
    OnStderr(ApiError),
    /// The user has not seen it.
    Nowhere(ApiError),
}

impl From<NotOnStdout> for ApiError {
    fn from(not: NotOnStdout) -> Self {
        match not {
            NotOnStdout::OnStderr(error) => error.hint("podsync showed the secret on stderr"),
            NotOnStdout::Nowhere(error) => error.hint(
                "podsync took the secret back; check where the output goes, then run the command again",
            ),
        }
    }
}

impl Printer {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            for_programs: false,
            printed: AtomicBool::new(false),
            unseen: None,
        }
    }

    /// The same for a command that is done when it prints its result, with what to do if nobody can read that.
    pub(crate) fn after(self, unseen: Option<String>) -> Self {
        Self { unseen, ..self }
    }

    /// The same beside a thread that may be writing to stdout: failures go to stderr.
    pub(crate) fn on_stderr(self) -> Self {
        self.printed.store(true, Ordering::Relaxed);
        self
    }

    /// The same for a caller that answers no questions.
    pub(crate) fn for_programs(self) -> Self {
        Self {
            for_programs: true,
            ..self
        }
    }

    /// Progress bars and questions are for people at a terminal.
    pub(crate) fn is_for_people(&self) -> bool {
        !self.json && !self.for_programs && io::stderr().is_terminal()
    }

    /// Lines of progress are for people who read a log.
    fn tells_lines(&self) -> bool {
        !self.json && !self.for_programs && !io::stderr().is_terminal()
    }

    /// Prints the result: as JSON, or as the text that `text` makes.
    pub(crate) fn result<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), ApiError> {
        let out = self.shown(value, text);
        if out.is_empty() {
            return Ok(());
        }
        self.page(&out).map_err(|error| match &self.unseen {
            Some(next) => error.hint(next.clone()),
            None => error,
        })
    }

    /// Prints a result with a secret that is shown only once. If stdout fails, the secret goes to stderr. So it
    /// does, without a failure, if nobody reads stdout: a pipe without a reader, or /dev/null, which Rust also opens
    /// where stdout is closed.
    pub(crate) fn secret<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), NotOnStdout> {
        let out = self.shown(value, text);
        self.printed.store(true, Ordering::Relaxed);
        let failed = match write_line(&mut io::stdout().lock(), &out) {
            Ok(()) if !is_null(io::stdout()) => return Ok(()),
            Ok(()) => None,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Err(error) => Some(unwritten(&error)),
        };
        let shown = match is_null(io::stderr()) {
            true => Err(nowhere()),
            false => write_line(&mut io::stderr().lock(), &out).map_err(|error| unwritten(&error)),
        };
        match (failed, shown) {
            (None, Ok(())) => Ok(()),
            (Some(failed), Ok(())) => Err(NotOnStdout::OnStderr(failed)),
            (failed, Err(error)) => Err(NotOnStdout::Nowhere(failed.unwrap_or(error))),
        }
    }

    /// Prints one of many results: a line of JSON, or of text. False if the reader has closed stdout.
    pub(crate) fn line<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<bool, ApiError> {
        let out = if self.json {
            // This JSON is compact, so it has no newline.
            text::escaped(&serde_json::to_string(value).unwrap_or_default())
        } else {
            text::harmless(&text(value))
        };
        self.printed.store(true, Ordering::Relaxed);
        match write_line(&mut io::stdout().lock(), &out) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(unwritten(&error)),
        }
    }

    /// Text on stdout that is the same with and without `--json`.
    pub(crate) fn page(&self, text: &str) -> Result<(), ApiError> {
        self.printed.store(true, Ordering::Relaxed);
        match write_line(&mut io::stdout().lock(), text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritten(&error)),
            _ => Ok(()),
        }
    }

    fn shown<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> String {
        if self.json {
            json(value)
        } else {
            text::harmless(&text(value))
        }
    }

    /// Something on the way to the result.
    pub(crate) fn note(&self, text: impl Display) {
        // If stderr is closed, no warning can reach anybody.
        let _ = write_line(&mut io::stderr().lock(), &text::harmless(&text.to_string()));
    }

    pub(crate) fn warn(&self, text: impl Display) {
        self.note(format_args!("warning: {text}"));
    }

    /// The error with its next step; the exit code that belongs to it.
    pub(crate) fn fail(&self, error: &ApiError) -> ExitCode {
        if self.json {
            let body = json(&serde_json::json!({ "error": error }));
            let to_stdout = !self.printed.load(Ordering::Relaxed)
                && write_line(&mut io::stdout().lock(), &body).is_ok();
            if !to_stdout {
                let _ = write_line(&mut io::stderr().lock(), &body);
            }
        } else {
            self.note(format_args!("error: {}", error.message));
            if let Some(hint) = &error.hint {
                self.note(format_args!("  hint: {hint}"));
            }
        }
        ExitCode::from(error.code.exit_code())
    }
}

fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value)
        .unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    text::escaped(&text)
}

fn unwritten(error: &io::Error) -> ApiError {
    ApiError::new(
        ErrorCode::Disk,
        format!("podsync cannot write its result to stdout: {error}"),
    )
    .hint("check where the output goes, then run the command again")
}

fn nowhere() -> ApiError {
    ApiError::new(
        ErrorCode::Disk,
        "nobody reads stdout and stderr, and the result is a secret that podsync shows only once",
    )
}

/// Resolves once nobody can read any more what is printed, also if nothing is.
pub(crate) async fn nobody_reads() {
    let (unread, told) = tokio::sync::oneshot::channel();
    // The thread ends with the process: nothing else ends its wait.
    std::thread::spawn(move || {
        if is_unread(&io::stdout(), None) {
            let _ = unread.send(());
        }
    });
    if told.await.is_err() {
        std::future::pending().await
    }
}

/// Waits, for ever without a `patience`, until a stream is a pipe or a terminal whose other end is gone. If the system
/// can't say, somebody reads.
fn is_unread(stream: &impl AsFd, patience: Option<&Timespec>) -> bool {
    let mut streams = [PollFd::new(stream, PollFlags::empty())];
    retry_on_intr(|| poll(&mut streams, patience)).is_ok()
        && streams[0]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Whether a stream is /dev/null. Errors count as another file.
fn is_null(stream: impl AsFd) -> bool {
    let file = stream.as_fd().try_clone_to_owned().map(File::from);
    let Ok(file) = file.and_then(|file| file.metadata()) else {
        return false;
    };
    let null = std::fs::metadata("/dev/null");
    file.file_type().is_char_device() && null.is_ok_and(|null| null.rdev() == file.rdev())
}

fn write_line(out: &mut impl Write, text: &str) -> io::Result<()> {
    // One write, so that no lock in between can leave half a result.
    out.write_all(format!("{}\n", text.trim_end_matches('\n')).as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dev_null_counts_as_a_stream_that_shows_nothing() {
        let null = File::options().write(true).open("/dev/null").unwrap();
        assert!(is_null(null));
        assert!(!is_null(tempfile::tempfile().unwrap()));
        let zero = File::options().write(true).open("/dev/zero").unwrap();
        assert!(!is_null(zero));
    }

    #[test]
    fn a_pipe_whose_reader_is_gone_is_unread() {
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let (reader, writer) = io::pipe().unwrap();
        assert!(!is_unread(&writer, Some(&at_once)));
        drop(reader);
        assert!(is_unread(&writer, None));
        assert!(!is_unread(&tempfile::tempfile().unwrap(), Some(&at_once)));
    }
}
