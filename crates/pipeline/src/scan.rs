//! Every scanner of a policy, at once, and what their answers add up to.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lazaret_core::{
    Finding, HoldReason, Policy, RejectReason, ScanReport, ScannerName, Spooled,
    ports::{Decision, ScanError},
};
use thiserror::Error;
use tokio::time::timeout;
use tracing::{Instrument, info_span};

use crate::{
    metrics,
    station::{ScannerSlot, Station},
};

/// How long after its deadline a scanner may still answer.
const SLACK: Duration = Duration::from_secs(5);

/// What the scanners said, and whether the way goes on.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) reports: Vec<ScanReport>,
    /// None: every scanner said clean, or an operator took the hold on himself.
    pub(crate) decision: Option<Decision>,
}

/// Why there is no verdict.
#[derive(Debug, Error)]
pub(crate) enum ScanStageError {
    #[error(transparent)]
    Scanner(#[from] ScanError),
    #[error("policy {policy} names scanner {scanner}, which is not configured")]
    Unconfigured { policy: String, scanner: ScannerName },
    #[error("policy {policy} names no scanner")]
    NoScanner { policy: String },
}

/// Asks every scanner that the policy names. Goes on only with an explicit *clean* from each of them, except for what
/// `overrides` says an operator has released.
pub(crate) async fn scan(
    station: &Station,
    policy: &Policy,
    object: &Spooled,
    overrides: &[HoldReason],
) -> Result<Scanned, ScanStageError> {
    let slots = policy
        .scanners
        .iter()
        .map(|name| {
            let unconfigured = || ScanStageError::Unconfigured { policy: policy.name.clone(), scanner: name.clone() };
            station.scanner(name).ok_or_else(unconfigured)
        })
        .collect::<Result<Vec<_>, _>>()?;
    if slots.is_empty() {
        return Err(ScanStageError::NoScanner { policy: policy.name.clone() });
    }
    let answers = join_all(slots.into_iter().map(|slot| ask(slot, object, overrides))).await;
    let mut reports = Vec::with_capacity(answers.len());
    let (mut too_large, mut trouble) = (None, None);
    for answer in answers {
        match answer {
            Ok(Answer::Report(report)) => reports.push(report),
            Ok(Answer::TooLarge(detail)) => too_large = Some(Decision::Hold { reason: HoldReason::ScanLimits, detail }),
            Err(error) => trouble = Some(error),
        }
    }
    let decision = conclude(&reports, overrides);
    // One explicit "infected" is enough, even where another scanner is in trouble.
    match (decision, trouble) {
        (decision @ Some(Decision::Reject { .. }), _) => Ok(Scanned { reports, decision }),
        (_, Some(error)) => Err(error.into()),
        (decision, None) => Ok(Scanned { reports, decision: decision.or(too_large) }),
    }
}

enum Answer {
    Report(ScanReport),
    TooLarge(String),
}

async fn ask(slot: &ScannerSlot, object: &Spooled, overrides: &[HoldReason]) -> Result<Answer, ScanError> {
    let name = slot.scanner.name();
    if object.len() > slot.max_size && !overrides.contains(&HoldReason::ScanLimits) {
        let detail =
            format!("{} bytes are more than max_size of {} bytes of scanner {name}", object.len(), slot.max_size);
        return Ok(Answer::TooLarge(detail));
    }
    let began = Instant::now();
    let span = info_span!("scanner", scanner = %name);
    let scanning = slot.scanner.scan(object, slot.timeout).instrument(span);
    // The scanner keeps its deadline itself; one that does not must not keep the object for ever.
    let answer = timeout(slot.timeout + SLACK, scanning)
        .await
        .unwrap_or_else(|_| Err(ScanError::DeadlineExceeded { scanner: name.clone(), deadline: slot.timeout }));
    ::metrics::histogram!(metrics::SCANNER, "scanner" => name.to_string()).record(began.elapsed().as_secs_f64());
    answer.map(Answer::Report)
}

fn conclude(reports: &[ScanReport], overrides: &[HoldReason]) -> Option<Decision> {
    let mut held = None;
    for report in reports {
        match &report.finding {
            Finding::Infected { signature } => {
                let detail = format!("scanner {} found {signature}", report.scanner);
                return Some(Decision::Reject { reason: RejectReason::Infected, detail });
            }
            Finding::Unscannable { reason, detail } if !overrides.contains(reason) => {
                let detail = format!("scanner {} could not look at all of it: {detail}", report.scanner);
                held.get_or_insert(Decision::Hold { reason: *reason, detail });
            }
            Finding::Unscannable { .. } | Finding::Clean => {}
        }
    }
    held
}
