//! What the demo says: each act with its time, and what is waited for whenever that takes a while.
//!
//! On a terminal a spinner stands below the lines. Elsewhere a line says it, or a silence would look like an end.

use std::{
    fmt::Display,
    pin::pin,
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval_at};

use crate::output::{Printer, progress::Spinner};

/// Nobody wonders for less long.
const SILENCE: Duration = Duration::from_secs(2);

/// Says what happens, and when.
pub(super) struct Teller<'a> {
    printer: &'a Printer,
    spinner: Spinner<'a>,
    started: Instant,
}

impl<'a> Teller<'a> {
    pub(super) fn new(printer: &'a Printer) -> Self {
        Self {
            printer,
            spinner: Spinner::new(printer),
            started: Instant::now(),
        }
    }

    pub(super) fn say(&self, text: impl Display) {
        let passed = self.started.elapsed().as_secs_f32();
        self.spinner.note(format_args!("{passed:6.2} s  {text}"));
    }

    /// Does something, and says meanwhile what it is.
    pub(super) async fn during<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        self.spinner.begin(what);
        let _ends = Ends(&self.spinner);
        let mut work = pin!(work);
        let begun = tokio::time::Instant::now();
        let mut silences = interval_at(begun + SILENCE, SILENCE);
        silences.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = silences.tick(), if !self.spinner.is_seen() => {
                    let seconds = begun.elapsed().as_secs();
                    self.printer.note(format_args!("{:12}... {what}, for {seconds} s", ""));
                }
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
