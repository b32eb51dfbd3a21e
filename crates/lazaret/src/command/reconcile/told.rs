//! What a person sees while a reconciliation runs.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use lazaret_pipeline::Progress;
use tokio::time::Instant;

use crate::output;

/// How often a line is written where no terminal shows a bar.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How much of a key is shown.
const MAX_KEY: usize = 60;

/// A bar on a terminal, else a line now and then; both on the standard error stream. How many objects there are is known
/// at the end only.
pub(super) struct Told {
    bar: ProgressBar,
    on_terminal: bool,
    last_line: Instant,
}

impl Told {
    pub(super) fn new() -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        let style = ProgressStyle::with_template("{spinner} {human_pos} objects {per_sec} {msg}");
        let bar = match style {
            Ok(style) if on_terminal => ProgressBar::new_spinner().with_style(style),
            Ok(_) | Err(_) => ProgressBar::hidden(),
        };
        Self { bar, on_terminal, last_line: Instant::now() }
    }

    pub(super) fn tell(&mut self, progress: &Progress) {
        let counts = &progress.counts;
        let place = || progress.last.as_ref().map(|key| output::plain(key.as_str(), MAX_KEY)).unwrap_or_default();
        if self.on_terminal {
            self.bar.set_position(counts.seen);
            self.bar.set_message(format!("{} asked for, at {}", counts.requested, place()));
        } else if self.last_line.elapsed() >= LINE_EVERY {
            anstream::eprintln!("{} objects, {} asked for, at {}", counts.seen, counts.requested, place());
            self.last_line = Instant::now();
        }
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
