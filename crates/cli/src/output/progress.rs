//! One progress bar for whatever a call reports: bytes, rate, time left, providers.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use podsync_api::{Progress, Stage};

use super::{Printer, bytes, printable};

/// How often a line says how far it is where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(15);
/// How often a line says again why it waits. The reason is the same as before.
const REASON_EVERY: Duration = Duration::from_secs(5 * 60);

/// How often what waits is drawn, so that it is seen to be alive.
const TICK: Duration = Duration::from_millis(120);

pub(crate) struct Bar<'a> {
    printer: &'a Printer,
    bar: ProgressBar,
    stage: Option<Stage>,
    line: Option<Line>,
    spoken: Spoken,
}

impl<'a> Bar<'a> {
    pub(crate) fn new(printer: &'a Printer) -> Self {
        Self::on(target(printer), printer)
    }

    fn on(target: ProgressDrawTarget, printer: &'a Printer) -> Self {
        Self {
            printer,
            bar: ProgressBar::with_draw_target(None, target),
            stage: None,
            line: None,
            spoken: Spoken {
                waiting: None,
                told: Instant::now(),
            },
        }
    }

    pub(crate) fn show(&mut self, progress: &Progress) {
        let line = Line::of(progress);
        if self.stage != Some(progress.stage) {
            self.stage = Some(progress.stage);
            // Drawn as it is by the reset.
            self.bar.set_prefix(name(progress.stage));
            self.bar.set_style(line.style());
            self.bar.reset();
            if !self.bar.is_hidden() {
                self.bar.enable_steady_tick(TICK);
            }
        } else if self.line != Some(line) {
            self.bar.set_style(line.style());
        }
        self.line = Some(line);
        if let Some(total) = progress.total {
            self.bar.set_length(total);
        }
        self.bar.set_position(progress.done);
        if let Some((service, failure)) = &progress.service {
            let line = match failure {
                None => format!("loaded {service}"),
                Some(reason) => format!("{service} was not loaded: {reason}"),
            };
            self.bar.println(printable(&line));
        }
        let tells_lines = self.printer.tells_lines();
        if let Some(line) = self.spoken.next(progress, tells_lines, Instant::now()) {
            self.bar.suspend(|| self.printer.note(printable(&line)));
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

/// What was said in lines. A new reason to wait is told everywhere, all else only where there is no bar.
struct Spoken {
    /// The last reason.
    waiting: Option<String>,
    /// When the last line was printed.
    told: Instant,
}

impl Spoken {
    /// The line that is due now.
    fn next(&mut self, progress: &Progress, tells_lines: bool, now: Instant) -> Option<String> {
        let line = match &progress.waiting {
            Some(reason) if self.waiting.as_ref() != Some(reason) => {
                self.waiting = Some(reason.clone());
                reason.clone()
            }
            waiting => {
                let every = match waiting {
                    Some(_) => REASON_EVERY,
                    None => LINE_EVERY,
                };
                if !tells_lines || now.duration_since(self.told) < every {
                    return None;
                }
                waiting.clone().unwrap_or_else(|| in_words(progress))
            }
        };
        self.told = now;
        Some(line)
    }
}

/// Says what is waited for, and for how long by now, where nothing else is known of it.
pub(crate) struct Spinner<'a> {
    printer: &'a Printer,
    bar: ProgressBar,
}

impl<'a> Spinner<'a> {
    pub(crate) fn new(printer: &'a Printer) -> Self {
        let style = ProgressStyle::with_template("{elapsed:>7}    {spinner} {wide_msg}");
        let bar = ProgressBar::with_draw_target(None, target(printer));
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        // It is drawn from the first wait on.
        bar.finish_and_clear();
        Self { printer, bar }
    }

    /// Whether anybody sees it.
    pub(crate) fn is_seen(&self) -> bool {
        !self.bar.is_hidden()
    }

    pub(crate) fn begin(&self, what: &str) {
        self.bar.set_message(printable(what));
        self.bar.reset();
        if self.is_seen() {
            self.bar.enable_steady_tick(TICK);
        }
    }

    /// A line above it.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        self.bar.suspend(|| self.printer.note(text));
    }

    pub(crate) fn end(&self) {
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
    }
}

/// `uploading 12.00 MB of 100.00 MB`.
fn in_words(progress: &Progress) -> String {
    let (stage, done) = (name(progress.stage), bytes(progress.done));
    match progress.total {
        Some(total) => format!("{stage} {done} of {}", bytes(total)),
        None => format!("{stage} {done}"),
    }
}

/// For people alone.
fn target(printer: &Printer) -> ProgressDrawTarget {
    if printer.is_for_people() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}

/// What there is to say on the one line. Each fits 80 columns: who sends is cut off where that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Nothing but that it goes on.
    Stage,
    /// Bytes of nobody knows how many.
    Open,
    Known,
    /// The same, and who sends.
    Sent,
}

impl Line {
    fn of(progress: &Progress) -> Self {
        match progress.total {
            Some(_) if progress.providers.is_empty() => Self::Known,
            Some(_) => Self::Sent,
            None if progress.done == 0 => Self::Stage,
            None => Self::Open,
        }
    }

    fn style(self) -> ProgressStyle {
        let template = match self {
            Self::Stage => "{prefix:>10} {spinner} {wide_msg}",
            Self::Open => {
                "{prefix:>10} {spinner} {decimal_bytes} {decimal_bytes_per_sec} {wide_msg}"
            }
            Self::Known => {
                "{prefix:>10} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left"
            }
            Self::Sent => {
                "{prefix:>10} {bar:12} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left {wide_msg}"
            }
        };
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
    }
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
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use indicatif::TermLike;

    use super::*;

    const COLUMNS: u16 = 80;

    /// A terminal that keeps what was drawn.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<Vec<String>>>);

    impl Screen {
        fn draw(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push(text.to_owned());
            Ok(())
        }

        /// The last line that has something on it.
        fn last(&self) -> String {
            let drawn = self.0.lock().unwrap();
            let full = drawn.iter().rev().find(|text| !text.trim().is_empty());
            full.cloned().unwrap_or_default()
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            COLUMNS
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.draw(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.draw(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a bar shows of it.
    fn drawn(progress: &Progress) -> String {
        let (screen, printer) = (Screen::default(), Printer::new(false));
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let mut bar = Bar::on(target, &printer);
        bar.show(progress);
        bar.bar.tick();
        screen.last()
    }

    #[test]
    fn a_bar_fits_80_columns_and_says_total_and_time_left() {
        let long = "alice/workstation-in-the-office, bob/laptop, carol/laptop";
        let providers = [Vec::new(), vec![long.to_owned()]];
        for (providers, total) in providers.into_iter().zip([987_650_000_000, 999_990_000]) {
            let shown = drawn(&Progress {
                providers,
                ..Progress::new(Stage::Rebuilding, 123_450_000, Some(total))
            });
            assert!(shown.chars().count() <= COLUMNS.into(), "{shown}");
            assert!(
                shown.contains("rebuilding") && shown.contains("left"),
                "{shown}"
            );
            assert!(shown.contains("123.45 MB/"), "{shown}");
        }
        let open = drawn(&Progress::new(Stage::Packing, 123_450_000, None));
        assert!(
            open.contains("123.45 MB") && !open.contains("left"),
            "{open}"
        );
        let nothing_yet = drawn(&Progress::new(Stage::Finding, 0, None));
        assert!(!nothing_yet.contains("0 B"), "{nothing_yet}");
    }

    #[test]
    fn what_waits_says_why_and_not_how_far_it_is() {
        let begin = Instant::now();
        let mut spoken = Spoken {
            waiting: None,
            told: begin,
        };
        let waiting = |why: &str| Progress {
            waiting: Some(why.to_owned()),
            ..Progress::new(Stage::Uploading, 0, None)
        };
        let mut said = Vec::new();
        for tenth in 0..6_000 {
            let progress = match tenth {
                0..5_400 => waiting("waiting: connection refused"),
                5_400..5_500 => waiting("waiting: the hub does not answer"),
                _ => Progress::new(Stage::Uploading, 1000, Some(2000)),
            };
            let now = begin + Duration::from_millis(100) * tenth;
            said.extend(spoken.next(&progress, true, now));
        }
        assert_eq!(
            said,
            [
                "waiting: connection refused",
                "waiting: connection refused",
                "waiting: the hub does not answer",
                "uploading 1.00 kB of 2.00 kB",
                "uploading 1.00 kB of 2.00 kB",
                "uploading 1.00 kB of 2.00 kB",
            ]
        );
        // A bar shows the rest.
        let later = begin + Duration::from_secs(3600);
        let again = waiting("waiting: the hub does not answer");
        assert_eq!(spoken.next(&again, false, later), None);
        let other = waiting("waiting: connection refused");
        assert!(spoken.next(&other, false, later).is_some());
    }

    #[test]
    fn a_line_says_how_far_it_is_where_there_is_no_bar() {
        let known = Progress::new(Stage::Uploading, 12_000_000, Some(100_000_000));
        assert_eq!(in_words(&known), "uploading 12.00 MB of 100.00 MB");
        let unknown = Progress::new(Stage::Reading, 1000, None);
        assert_eq!(in_words(&unknown), "reading 1.00 kB");
    }
}
