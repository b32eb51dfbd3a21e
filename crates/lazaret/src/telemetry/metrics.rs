//! The metrics of design section 7: described, and there from the start, so that a rate has a beginning and an alert
//! something to look at. Counters and histograms begin at zero.

use anyhow::{Context as _, Result};
use lazaret_core::ScannerName;
use lazaret_pipeline::{SweptWhat, metrics as names};
use lazaret_sandbox::ExitCause;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Age of a scanner's signatures, in seconds, by `scanner`; [`UNKNOWN`] until the scanner has said it.
pub const SIGNATURE_AGE: &str = "lazaret_scanner_signature_age_seconds";
/// 1 while a scanner works with rules that are no longer those in its folder, by `scanner`.
pub const RULES_BROKEN: &str = "lazaret_scanner_rules_broken";
/// How many canaries a scanner's engines missed, by `scanner`; [`UNKNOWN`] where they were not measured.
pub const CANARIES_MISSED: &str = "lazaret_scanner_canaries_missed";
/// Ends of processes in the jail, by `cause`.
pub const JAIL_EXITS: &str = "lazaret_jail_exits_total";
/// A gauge that nobody knows the value of, as Prometheus has it: it compares as false with everything.
pub const UNKNOWN: f64 = f64::NAN;
/// Bytes reserved in the spool.
pub const SPOOL_BYTES: &str = "lazaret_spool_bytes";

/// Upper bounds of the histograms: from a small object in a warm process to a gigabyte behind a slow scanner.
const SECONDS: [f64; 14] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];

/// Installs the recorder of this process.
pub fn install(scanners: &[ScannerName]) -> Result<PrometheusHandle> {
    let handle = recorder()?.install_recorder().context("metrics are recorded already")?;
    describe();
    register(scanners);
    Ok(handle)
}

fn recorder() -> Result<PrometheusBuilder> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .context("histograms")
}

fn describe() {
    describe_counter!(names::OBJECTS, "Objects settled, by outcome and reason.");
    describe_histogram!(names::STAGE, "How long each stage took, in seconds.");
    describe_gauge!(names::IN_FLIGHT, "Deliveries in work, those that find nothing to do included.");
    describe_histogram!(names::EVENT_TO_SETTLED, "From the event's time to the commit, in seconds.");
    describe_histogram!(names::SCANNER, "How long each scanner took, in seconds.");
    describe_counter!(names::REUSED, "Verdicts taken from an earlier scan of the same bytes, by scanner.");
    describe_counter!(names::OPTIONAL_TROUBLE, "Scans by optional scanners that ended without a verdict, by scanner.");
    describe_gauge!(SIGNATURE_AGE, "Age of a scanner's signatures, in seconds; NaN where it is not known.");
    describe_gauge!(RULES_BROKEN, "1 while a scanner works with rules that are no longer those in its folder.");
    describe_gauge!(CANARIES_MISSED, "Canaries that a scanner's engines missed; NaN where they were not measured.");
    describe_counter!(JAIL_EXITS, "Ends of processes in the jail, by cause.");
    describe_gauge!(SPOOL_BYTES, "Bytes reserved in the spool.");
    describe_counter!(names::DELIVERIES, "Deliveries, by result.");
    describe_counter!(names::VERDICT_EVENTS, "Verdict events that were told or tried, by result.");
    describe_counter!(names::SWEPT, "What the sweeper removed.");
}

fn register(scanners: &[ScannerName]) {
    for (outcome, reason) in names::object_labels() {
        counter!(names::OBJECTS, "outcome" => outcome, "reason" => reason).absolute(0);
    }
    for result in names::DELIVERY_RESULTS {
        counter!(names::DELIVERIES, "result" => *result).absolute(0);
    }
    for result in names::VERDICT_RESULTS {
        counter!(names::VERDICT_EVENTS, "result" => *result).absolute(0);
    }
    for cause in ExitCause::ALL {
        counter!(JAIL_EXITS, "cause" => cause.name()).absolute(0);
    }
    for what in SweptWhat::ALL {
        counter!(names::SWEPT, "what" => what.as_str()).absolute(0);
    }
    for stage in names::STAGES {
        drop(histogram!(names::STAGE, "stage" => *stage));
    }
    for scanner in scanners {
        drop(histogram!(names::SCANNER, "scanner" => scanner.to_string()));
        counter!(names::REUSED, "scanner" => scanner.to_string()).absolute(0);
        counter!(names::OPTIONAL_TROUBLE, "scanner" => scanner.to_string()).absolute(0);
        gauge!(SIGNATURE_AGE, "scanner" => scanner.to_string()).set(UNKNOWN);
        gauge!(RULES_BROKEN, "scanner" => scanner.to_string()).set(0);
        gauge!(CANARIES_MISSED, "scanner" => scanner.to_string()).set(UNKNOWN);
    }
    drop(histogram!(names::EVENT_TO_SETTLED));
    gauge!(names::IN_FLIGHT).set(0);
    gauge!(SPOOL_BYTES).set(0);
}

#[cfg(test)]
mod tests {
    use lazaret_core::Reason;

    use super::*;

    #[test]
    fn every_metric_is_there_from_the_start() {
        let recorder = recorder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            register(&["clamd".parse().unwrap()]);
        });
        let text = handle.render();
        for reason in Reason::all() {
            assert!(text.contains(&format!("reason=\"{reason}\"}} 0")), "{reason}: {text}");
        }
        for line in [
            "lazaret_objects_total{outcome=\"published\",reason=\"none\"} 0",
            "lazaret_jail_exits_total{cause=\"policy_violation\"} 0",
            "lazaret_deliveries_total{result=\"settled\"} 0",
            "lazaret_verdict_events_total{result=\"refused\"} 0",
            "lazaret_in_flight 0",
            "lazaret_spool_bytes 0",
            "lazaret_swept_total{what=\"orphan\"} 0",
            "lazaret_stage_seconds_count{stage=\"read-back\"} 0",
            "lazaret_event_to_settled_seconds_bucket{le=\"+Inf\"} 0",
            "lazaret_event_to_settled_seconds_count 0",
            "lazaret_scanner_seconds_count{scanner=\"clamd\"} 0",
            "lazaret_scanner_signature_age_seconds{scanner=\"clamd\"} NaN",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
