//! What is said about one file: the stable JSON shape.

use std::{fmt, path::PathBuf};

use lazaret_core::{MediaType, Reason, RejectReason, ScanReport, Sha256Digest, ports::Decision};
use lazaret_pipeline::{Inspection, LocalFile, MadeAnew};
use serde::Serialize;

use super::files::Found;
use crate::settings::Size;

/// What would become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// It would be published.
    Clean,
    /// It would be rejected.
    Rejected,
    /// It would be held.
    Held,
    /// It could not be checked, which says nothing about it.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clean => "clean",
            Self::Rejected => "rejected",
            Self::Held => "held",
            Self::Failed => "failed",
        })
    }
}

/// What is said about one file.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) file: PathBuf,
    pub(super) outcome: Outcome,
    pub(super) reason: Option<Reason>,
    pub(super) detail: Option<String>,
    pub(super) detected_type: Option<MediaType>,
    pub(super) size: Option<u64>,
    pub(super) sha256: Option<Sha256Digest>,
    pub(super) policy: Option<String>,
    pub(super) verdicts: Vec<ScanReport>,
    /// What would be published instead of the file.
    pub(super) re_encoded: Option<MadeAnew>,
}

impl Finding {
    fn nothing(file: &Found, outcome: Outcome, detail: String) -> Self {
        Self {
            file: file.path.clone(),
            outcome,
            reason: None,
            detail: Some(detail),
            detected_type: None,
            size: file.size.as_ref().ok().copied(),
            sha256: None,
            policy: None,
            verdicts: Vec::new(),
            re_encoded: None,
        }
    }

    /// It could not be checked.
    pub(super) fn failed(file: &Found, why: String) -> Self {
        Self::nothing(file, Outcome::Failed, why)
    }

    /// It is not even read.
    pub(super) fn too_large(file: &Found, size: u64, limit: Size) -> Self {
        let detail = format!("{size} bytes are more than limits.max_object_size of {limit}");
        let reason = Some(Reason::Rejected(RejectReason::TooLarge));
        Self { reason, ..Self::nothing(file, Outcome::Rejected, detail) }
    }

    /// What the pipeline says.
    pub(super) fn of(file: &Found, local: &LocalFile, inspection: Inspection) -> Self {
        let (outcome, detail) = match &inspection.decision {
            None | Some(Decision::Publish(_)) => (Outcome::Clean, None),
            Some(Decision::Reject { detail, .. }) => (Outcome::Rejected, Some(detail.clone())),
            Some(Decision::Hold { detail, .. }) => (Outcome::Held, Some(detail.clone())),
        };
        Self {
            file: file.path.clone(),
            outcome,
            reason: inspection.decision.as_ref().and_then(Decision::reason),
            detail,
            detected_type: inspection.media_type,
            size: Some(local.spooled.len()),
            sha256: Some(*local.spooled.sha256()),
            policy: inspection.policy,
            verdicts: inspection.reports,
            re_encoded: inspection.made,
        }
    }
}
