//! One line of a diagnosis.

use comfy_table::{Cell, Color};
use serde::Serialize;

use crate::{failure, output};

/// The longest detail, in characters: some of it is what servers said.
const MAX_DETAIL: usize = 600;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    /// It works, and something about it should be known.
    Warning,
    Failed,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    /// What was tried.
    pub(super) check: String,
    pub(super) status: Status,
    pub(super) detail: String,
    /// What to do, where that is known.
    pub(super) advice: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: impl Into<String>, detail: impl AsRef<str>) -> Self {
        Self::new(check, Status::Ok, detail, None)
    }

    pub(super) fn warning(check: impl Into<String>, detail: impl AsRef<str>) -> Self {
        Self::new(check, Status::Warning, detail, None)
    }

    pub(super) fn failed(check: impl Into<String>, detail: impl AsRef<str>, advice: Option<&str>) -> Self {
        Self::new(check, Status::Failed, detail, advice)
    }

    /// What an error says, and its advice.
    pub(super) fn of_error(check: impl Into<String>, error: &anyhow::Error) -> Self {
        Self::failed(check, failure::without_advice(error), failure::advice(error))
    }

    fn new(check: impl Into<String>, status: Status, detail: impl AsRef<str>, advice: Option<&str>) -> Self {
        let detail = output::plain(detail.as_ref(), MAX_DETAIL);
        Self { check: check.into(), status, detail, advice: advice.map(str::to_owned) }
    }

    pub(super) fn cells(&self) -> [Cell; 3] {
        let (status, colour) = match self.status {
            Status::Ok => ("ok", Color::Green),
            Status::Warning => ("warning", Color::Yellow),
            Status::Failed => ("FAILED", Color::Red),
        };
        let detail =
            self.advice.as_ref().map_or_else(|| self.detail.clone(), |advice| format!("{}; {advice}", self.detail));
        [Cell::new(&self.check), Cell::new(status).fg(colour), Cell::new(detail)]
    }
}
