//! Every scanner of a policy, at once, and what their answers add up to.

mod lists;
mod reuse;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lazaret_core::{
    Finding, HoldReason, Policy, RejectReason, ScanReport, ScannerName, Severity, Sha256Digest, Spooled,
    error::chain,
    ports::{Decision, ScanError, SessionStoreError},
};
use thiserror::Error;
use tokio::time::timeout;
use tracing::{Instrument, info_span, warn};

use crate::{
    metrics,
    station::{ScannerSlot, Station},
};

use lists::Listed;

pub(crate) use lists::{blocked, stands};

/// How long after its deadline a scanner may still answer.
const SLACK: Duration = Duration::from_secs(5);

/// What is to be scanned, and how.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) object: &'a Spooled,
    /// What an operator has released these very bytes from.
    pub(crate) overrides: &'a [HoldReason],
    /// The digest of what the object was made of, where it is not what was uploaded. It may be blocked, too.
    pub(crate) made_of: Option<&'a Sha256Digest>,
    /// Whether a verdict about the same bytes may be taken instead of a scan, where the policy says so.
    pub(crate) reuse: bool,
}

/// What the scanners said, and whether the way goes on.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// Of the scanners that decide, then of those that are optional.
    pub(crate) reports: Vec<ScanReport>,
    /// None: every scanner said clean, or somebody took it on himself: an operator, or an entry of the allow list.
    pub(crate) decision: Option<Decision>,
}

/// Why there is no verdict.
#[derive(Debug, Error)]
pub(crate) enum ScanStageError {
    #[error(transparent)]
    Scanner(#[from] ScanError),
    #[error(transparent)]
    Sessions(#[from] SessionStoreError),
    #[error("policy {policy} names scanner {scanner}, which is not configured")]
    Unconfigured { policy: String, scanner: ScannerName },
    #[error("policy {policy} names no scanner")]
    NoScanner { policy: String },
}

/// Asks every scanner that the policy names. Goes on only with an explicit *clean* from each of them, except for what the
/// job's overrides say an operator has released, and for infections that the allow list knows better.
pub(crate) async fn scan(station: &Station, job: &Job<'_>) -> Result<Scanned, ScanStageError> {
    let slots = required(station, job.policy)?;
    // What was made of an upload is known by the upload's digest, too.
    let digests = || [Some(job.object.sha256()), job.made_of].into_iter().flatten();
    if let Some(decision) = blocked(station, digests()).await? {
        return Ok(Scanned { reports: Vec::new(), decision: Some(decision) });
    }
    let required = join_all(slots.into_iter().map(|slot| ask(station, slot, job)));
    let optional = join_all(job.policy.optional_scanners.iter().map(|name| note(station, name, job)));
    let (answers, noted) = tokio::join!(required, optional);
    let mut reports = Vec::with_capacity(answers.len() + noted.len());
    let (mut too_large, mut trouble) = (None, None);
    for answer in answers {
        match answer {
            Ok(Answer::Report(report)) => reports.push(report),
            Ok(Answer::TooLarge(detail)) => too_large = Some(Decision::Hold { reason: HoldReason::ScanLimits, detail }),
            Err(error) => trouble = Some(error),
        }
    }
    let listed = Listed::about(station, digests(), &reports).await?;
    listed.allow(&mut reports);
    let decision = listed.blocked().or_else(|| conclude(&reports, job.overrides));
    // What an optional scanner says decides nothing.
    reports.extend(noted.into_iter().flatten());
    // One explicit "infected" is enough, even where another scanner is in trouble.
    match (decision, trouble) {
        (decision @ Some(Decision::Reject { .. }), _) => Ok(Scanned { reports, decision }),
        (_, Some(error)) => Err(error),
        (decision, None) => Ok(Scanned { reports, decision: decision.or(too_large) }),
    }
}

/// The scanners that decide.
pub(crate) fn required<'a>(station: &'a Station, policy: &Policy) -> Result<Vec<&'a ScannerSlot>, ScanStageError> {
    let slot = |name: &ScannerName| {
        let unconfigured = || ScanStageError::Unconfigured { policy: policy.name.clone(), scanner: name.clone() };
        station.scanner(name).ok_or_else(unconfigured)
    };
    if policy.scanners.is_empty() {
        return Err(ScanStageError::NoScanner { policy: policy.name.clone() });
    }
    policy.scanners.iter().map(slot).collect()
}

enum Answer {
    Report(ScanReport),
    TooLarge(String),
}

async fn ask(station: &Station, slot: &ScannerSlot, job: &Job<'_>) -> Result<Answer, ScanStageError> {
    let (name, object) = (slot.scanner.name(), job.object);
    if object.len() > slot.max_size && !job.overrides.contains(&HoldReason::ScanLimits) {
        let detail =
            format!("{} bytes are more than max_size of {} bytes of scanner {name}", object.len(), slot.max_size);
        return Ok(Answer::TooLarge(detail));
    }
    if let Some(report) = reuse::earlier(station, slot, job).await? {
        ::metrics::counter!(metrics::REUSED, "scanner" => name.to_string()).increment(1);
        return Ok(Answer::Report(report));
    }
    let began = Instant::now();
    let span = info_span!("scanner", scanner = %name);
    let scanning = slot.scanner.scan(object, slot.timeout).instrument(span);
    // The scanner keeps its deadline itself; one that does not must not keep the object for ever.
    let answer = timeout(slot.timeout + SLACK, scanning)
        .await
        .unwrap_or_else(|_| Err(ScanError::DeadlineExceeded { scanner: name.clone(), deadline: slot.timeout }));
    ::metrics::histogram!(metrics::SCANNER, "scanner" => name.to_string()).record(began.elapsed().as_secs_f64());
    Ok(answer.map(Answer::Report)?)
}

/// An optional scanner's answer, for the record. None: it had none, which is told and stops nothing.
async fn note(station: &Station, name: &ScannerName, job: &Job<'_>) -> Option<ScanReport> {
    let trouble = match station.scanner(name) {
        Some(slot) => match ask(station, slot, job).await {
            Ok(Answer::Report(report)) => return Some(report),
            Ok(Answer::TooLarge(detail)) => detail,
            Err(error) => chain(&error),
        },
        None => "it is not configured".to_owned(),
    };
    ::metrics::counter!(metrics::OPTIONAL_TROUBLE, "scanner" => name.to_string()).increment(1);
    warn!(scanner = %name, error = trouble, "an optional scanner gave no verdict");
    None
}

/// What reports add up to, in which infections that are allowed are marked.
pub(crate) fn conclude(reports: &[ScanReport], overrides: &[HoldReason]) -> Option<Decision> {
    let mut held = None;
    for report in reports {
        match &report.finding {
            Finding::Infected { signature } if report.allowed_by.is_none() => {
                let detail = format!("scanner {} found {signature}", report.scanner);
                return Some(Decision::Reject { reason: RejectReason::Infected, detail });
            }
            // What a rule holds the object for was behind the infection, and is not allowed with it.
            Finding::Infected { .. } => {
                let flag = report.matches.iter().find(|found| found.severity == Severity::Hold);
                if let Some(flag) = flag.filter(|_| !overrides.contains(&HoldReason::Flagged)) {
                    let detail =
                        format!("rule {}:{} of scanner {} asks for it", flag.namespace, flag.rule, report.scanner);
                    held.get_or_insert(Decision::Hold { reason: HoldReason::Flagged, detail });
                }
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
