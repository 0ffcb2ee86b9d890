//! What the demo says: each act with its time, and what is waited for whenever that takes a while.
//!
//! On a terminal a spinner stands below the lines. Elsewhere a line says it, or a silence would look like an end.

use std::{
    cell::Cell,
    fmt::Display,
    pin::pin,
    time::{Duration, Instant},
};

use crate::output::{Printer, progress::Spinner, terminal};

/// Columns before the words of a line.
const INDENT: usize = 10;
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
        let line = format!("{passed:6.2} s  {text}");
        match terminal::width() {
            Some(width) => self.spinner.note(wrapped(&line, width.into())),
            None => self.spinner.note(line),
        }
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

/// A line in lines of this many columns.
fn wrapped(line: &str, width: usize) -> String {
    let (mut text, mut column) = (String::new(), 0);
    for word in line.split_inclusive(' ') {
        let len = word.trim_end().chars().count();
        if column > INDENT && column + len > width {
            text.truncate(text.trim_end().len());
            text.push('\n');
            text.push_str(&" ".repeat(INDENT));
            column = INDENT;
        }
        text.push_str(word);
        column += word.chars().count();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_goes_on_below_its_words() {
        let line = "  4.54 s  carol still gets all of orders:3 from alice/laptop and bob/laptop";
        assert_eq!(
            wrapped(line, 50),
            "  4.54 s  carol still gets all of orders:3 from\n          alice/laptop and bob/laptop"
        );
        assert_eq!(wrapped("  0.40 s  short", 50), "  0.40 s  short");
    }
}
