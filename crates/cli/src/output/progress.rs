//! One progress bar for whatever a call reports: bytes, rate, time left, providers.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use podsync_api::{Progress, Stage};

use super::{Printer, printable};

pub(crate) struct Bar<'a> {
    printer: &'a Printer,
    bar: ProgressBar,
    stage: Option<Stage>,
    waiting: Option<String>,
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
