//! The metrics of the pipeline, by name. The program registers and serves them.

use std::{future::Future, time::Instant};

use lazaret_core::{Reason, StateName};
use tracing::{Instrument, Span};

/// Objects that were settled, by `outcome` (a state, or `orphan`) and `reason` (a reason code, or `none`).
pub const OBJECTS: &str = "lazaret_objects_total";
/// How long each stage took, in seconds, by `stage`.
pub const STAGE: &str = "lazaret_stage_seconds";
/// Deliveries in work, those that find nothing to do included.
pub const IN_FLIGHT: &str = "lazaret_in_flight";
/// From the event's time to the commit, in seconds, both on the stores' clocks.
pub const EVENT_TO_SETTLED: &str = "lazaret_event_to_settled_seconds";
/// How long each scanner took, in seconds, by `scanner`.
pub const SCANNER: &str = "lazaret_scanner_seconds";
/// Verdicts that were taken from an earlier scan of the same bytes, by `scanner`.
pub const REUSED: &str = "lazaret_reused_verdicts_total";
/// Scans by an optional scanner that ended without a verdict, by `scanner`.
pub const OPTIONAL_TROUBLE: &str = "lazaret_optional_scanner_trouble_total";
/// Deliveries by `result`.
pub const DELIVERIES: &str = "lazaret_deliveries_total";
/// What the sweeper removed, by `what`.
pub const SWEPT: &str = "lazaret_swept_total";
/// Verdict events by `result` of each try to tell them.
pub const VERDICT_EVENTS: &str = "lazaret_verdict_events_total";

/// Every way a try to tell a verdict can end.
pub const VERDICT_RESULTS: &[&str] = &["delivered", "unavailable", "refused"];

/// Every stage of an object's way.
pub const STAGES: &[&str] =
    &["head", "fetch", "verify", "scan", "transform", "publish", "read-back", "commit", "clean-up"];

/// Every way a delivery can end.
pub const DELIVERY_RESULTS: &[&str] = &[
    "settled",
    "already-settled",
    "awaits-finalize",
    "not-ours",
    "orphan",
    "missing",
    "busy",
    "retry",
    "unavailable",
    "interrupted",
    "exhausted",
    "dead-letter",
];

/// Every label pair of [`OBJECTS`].
pub fn object_labels() -> impl Iterator<Item = (&'static str, &'static str)> {
    let reasoned = Reason::all().map(|reason| (outcome_of(reason), reason.code()));
    [(StateName::Published.as_str(), "none")].into_iter().chain(reasoned)
}

const fn outcome_of(reason: Reason) -> &'static str {
    match reason {
        Reason::Rejected(_) => StateName::Rejected.as_str(),
        Reason::Held(_) => StateName::Held.as_str(),
        Reason::Abandoned => StateName::Expired.as_str(),
        Reason::NoSession => "orphan",
    }
}

pub(crate) fn count_object(reason: Option<Reason>) {
    let (outcome, code) =
        reason.map_or((StateName::Published.as_str(), "none"), |reason| (outcome_of(reason), reason.code()));
    metrics::counter!(OBJECTS, "outcome" => outcome, "reason" => code).increment(1);
}

/// Runs one stage in its span and measures it.
pub(crate) async fn stage<T>(name: &'static str, span: Span, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let result = work.instrument(span).await;
    metrics::histogram!(STAGE, "stage" => name).record(began.elapsed().as_secs_f64());
    result
}
