//! One progress bar for whatever a call reports: bytes, rate, time left, providers.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use podsync_api::{Progress, Stage};

use super::{Printer, bytes, printable};

/// How often a line says how far it is where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(15);

pub(crate) struct Bar<'a> {
    printer: &'a Printer,
    bar: ProgressBar,
    stage: Option<Stage>,
    waiting: Option<String>,
    /// When the last line was printed.
    told: Instant,
}

impl<'a> Bar<'a> {
    pub(crate) fn new(printer: &'a Printer) -> Self {
        let target = if printer.is_for_people() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            printer,
            bar: ProgressBar::with_draw_target(None, target),
            stage: None,
            waiting: None,
            told: Instant::now(),
        }
    }

    pub(crate) fn show(&mut self, progress: &Progress) {
        if self.stage != Some(progress.stage) {
            self.stage = Some(progress.stage);
            // Drawn as it is by the reset.
            self.bar.set_prefix(name(progress.stage));
            self.bar.set_style(style(progress.total.is_some()));
            self.bar.reset();
        }
        if let Some(total) = progress.total {
            self.bar.set_length(total);
            self.bar.set_style(style(true));
        }
        self.bar.set_position(progress.done);
        if let Some((service, failure)) = &progress.service {
            let line = match failure {
                None => format!("loaded {service}"),
                Some(reason) => format!("{service} was not loaded: {reason}"),
            };
            self.bar.println(printable(&line));
        }
        if let Some(reason) = progress.waiting.as_ref()
            && self.waiting.as_ref() != Some(reason)
        {
            // Without a terminal there is no bar, but the user still wants to know why it waits.
            let line = printable(reason);
            self.bar.suspend(|| self.printer.note(&line));
            self.waiting = Some(reason.clone());
            self.told = Instant::now();
        }
        if self.printer.tells_lines() && self.told.elapsed() >= LINE_EVERY {
            self.printer.note(line(progress));
            self.told = Instant::now();
        }
        self.bar
            .set_message(printable(&progress.providers.join(", ")));
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// `uploading 12.00 MB of 100.00 MB`.
fn line(progress: &Progress) -> String {
    let (stage, done) = (name(progress.stage), bytes(progress.done));
    match progress.total {
        Some(total) => format!("{stage} {done} of {}", bytes(total)),
        None => format!("{stage} {done}"),
    }
}

fn style(known: bool) -> ProgressStyle {
    let template = if known {
        "{prefix:>10} {bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} {msg}"
    } else {
        "{prefix:>10} {spinner} {decimal_bytes} {decimal_bytes_per_sec} {msg}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Reading => "reading",
        Stage::Packing => "packing",
        Stage::Sharing => "sharing",
        Stage::Finding => "finding",
        Stage::Pulling => "pulling",
        Stage::Uploading => "uploading",
        Stage::Rebuilding => "rebuilding",
        Stage::Loading => "loading",
        Stage::Verifying => "verifying",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is_where_there_is_no_bar() {
        let known = Progress::new(Stage::Uploading, 12_000_000, Some(100_000_000));
        assert_eq!(line(&known), "uploading 12.00 MB of 100.00 MB");
        let unknown = Progress::new(Stage::Reading, 1000, None);
        assert_eq!(line(&unknown), "reading 1.00 kB");
    }
}
