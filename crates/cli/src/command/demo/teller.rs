//! What the demo says: each act with its time, and what is waited for whenever that takes a while.
//!
//! On a terminal a spinner stands below the lines. Elsewhere a line says it, or a silence would look like an end.

use std::{
    cell::Cell,
    fmt::Display,
    pin::pin,
    time::{Duration, Instant},
};

use crate::output::{Printer, progress::Spinner, wrapped};

/// The longest time without a line.
const SILENCE: Duration = Duration::from_secs(2);

/// Says what happens, and when.
pub(super) struct Teller<'a> {
    spinner: Spinner<'a>,
    started: Instant,
    /// When the last line was said.
    said: Cell<Instant>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(printer: &'a Printer) -> Self {
        Self {
            spinner: Spinner::new(printer),
            started: Instant::now(),
            said: Cell::new(Instant::now()),
        }
    }

    pub(super) fn say(&self, text: impl Display) {
        let passed = self.started.elapsed().as_secs_f32();
        let lead = format!("{passed:6.2} s  ");
        self.spinner.note(wrapped(&lead, &text.to_string()));
        self.said.set(Instant::now());
    }

    /// Does something, and says meanwhile what it is.
    pub(super) async fn during<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        self.spinner.begin(what);
        let _ends = Ends(&self.spinner);
        let mut work = pin!(work);
        loop {
            let silent = tokio::time::sleep_until((self.said.get() + SILENCE).into());
            tokio::select! {
                done = &mut work => return done,
                () = silent, if !self.spinner.is_seen() => self.say(format_args!("... {what}")),
            }
        }
    }
}

/// Takes the spinner away, also where the work is interrupted.
struct Ends<'a>(&'a Spinner<'a>);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
