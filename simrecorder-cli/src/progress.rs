//! The progress of a long operation, on standard error if it is a terminal.

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use simrecorder::{CopyProgress, DrainProgress, VerifyProgress};

/// A line that is rewritten again and again, and erased at the end.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        Self(bar.with_style(style("{wide_msg} {prefix}")))
    }

    pub(crate) fn show_copy(&self, progress: &CopyProgress) {
        if progress.record_total == 0 {
            return self.0.set_message(format!("{}: reading", progress.key));
        }
        if self.0.length() == Some(0) {
            self.0.reset_eta();
            self.0
                .set_style(style("{percent:>3} % {wide_msg} {prefix} {eta} left"));
        }
        self.0.set_length(progress.record_total);
        self.0.set_position(progress.record_count);
        self.show_rate(progress.bytes);
        self.0.set_message(progress.to_string());
    }

    pub(crate) fn show_verify(&self, progress: &VerifyProgress) {
        self.0.set_message(progress.to_string());
    }

    pub(crate) fn show_drain(&self, progress: &DrainProgress) {
        self.show_rate(progress.bytes);
        self.0.set_message(progress.to_string());
    }

    pub(crate) fn show_records(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
        self.0.set_message(format!("{done} of {total} records"));
    }

    fn show_rate(&self, bytes: u64) {
        let seconds = self.0.elapsed().as_secs_f64().max(0.001);
        let rate = HumanBytes((bytes as f64 / seconds) as u64);
        self.0.set_prefix(format!("{rate}/s"));
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
