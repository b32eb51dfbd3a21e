//! What a person sees while a rescan runs.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use lazaret_core::UploadId;
use lazaret_pipeline::{RescanProgress, Rescanned};
use tokio::time::Instant;

use super::{MAX_DETAIL, is_named, words};
use crate::output;

/// How often a line is written where no terminal shows a bar.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A bar on a terminal, else a line now and then, and a line for each object that is not clean, all on the standard error
/// stream.
pub(super) struct Told {
    bar: ProgressBar,
    on_terminal: bool,
    dry_run: bool,
    last_line: Instant,
}

impl Told {
    pub(super) fn new(dry_run: bool) -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        let style = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} objects {per_sec} {eta} {msg}");
        let bar = match style {
            Ok(style) if on_terminal => ProgressBar::new(0).with_style(style),
            Ok(_) | Err(_) => ProgressBar::hidden(),
        };
        Self { bar, on_terminal, dry_run, last_line: Instant::now() }
    }

    pub(super) fn tell(&mut self, progress: &RescanProgress, upload: UploadId, found: &Rescanned) {
        let counts = &progress.counts;
        if is_named(found) {
            let (outcome, detail) = words(found, self.dry_run);
            let line = format!("{upload} {outcome}: {}", output::plain(&detail, MAX_DETAIL));
            self.bar.suspend(|| anstream::eprintln!("{line}"));
        }
        let not_checked = counts.failed + counts.unscannable;
        if self.on_terminal {
            // Where it began behind an upload, or others publish meanwhile, the total is no more than a guess.
            self.bar.set_length(progress.total.max(counts.seen));
            self.bar.set_position(counts.seen);
            self.bar.set_message(format!("{} revoked, {not_checked} not checked", counts.revoked));
        } else if self.last_line.elapsed() >= LINE_EVERY {
            let (seen, total, revoked) = (counts.seen, progress.total, counts.revoked);
            anstream::eprintln!("{seen} of {total} objects, {revoked} revoked, {not_checked} not checked");
            self.last_line = Instant::now();
        }
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
