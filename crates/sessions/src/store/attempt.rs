//! Attempts: taken, renewed, given back, failed, settled.

use std::time::Duration;

use lazaret_core::{
    Fence, Finding, HoldReason, ScanReport, SessionEvent, StateName, WorkerId,
    ports::{Begun, Decision, Exhausted, SessionStoreError, Settled, Settlement},
};

use super::{
    record::{Lease, Record, get, text},
    verdict::{self, About},
    write::{Change, Write},
};

/// How an attempt ended.
#[derive(Clone, Copy)]
enum Outcome {
    Committed,
    Failed,
    GivenBack,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Failed => "failed",
            Self::GivenBack => "given-back",
        }
    }
}

pub(super) async fn begin(
    (mut write, mut record): (Write, Record),
    worker: &WorkerId,
    lease: Duration,
    max_attempts: u32,
    finalize: bool,
) -> Result<Begun, SessionStoreError> {
    if record.session.state.is_settled() {
        return Ok(Begun::Settled(record.session));
    }
    if let Some(remaining) = record.protected_ms(write.now_ms()) {
        return Ok(Begun::Busy { remaining: Duration::from_millis(remaining.unsigned_abs()) });
    }
    if record.session.state.name() != StateName::Finalized {
        if !finalize {
            return Ok(Begun::NotFinalized(record.session));
        }
        let event = SessionEvent::Finalize;
        let change = Change { event, actor: worker.as_str(), detail: None, reports: &[] };
        record = write.transition(record, change).await?;
    }
    if record.session.attempts >= max_attempts {
        return exhaust(write, record, worker, max_attempts).await;
    }
    record.fence = Fence(record.fence.0 + 1);
    record.session.attempts += 1;
    record.lease = Some(Lease { worker: worker.clone(), until_ms: write.after(lease) });
    write.save(&record).await?;
    let insert = sqlx::query("insert into attempts (upload_id, fence, worker, began_at_ms) values ($1, $2, $3, $4)")
        .bind(record.session.upload_id.to_string())
        .bind(record.fence.0)
        .bind(text(worker.as_str()))
        .bind(write.now_ms());
    write.execute(insert).await?;
    write.commit().await?;
    Ok(Begun::Leased { fence: record.fence, attempt: record.session.attempts, session: record.session })
}

async fn exhaust(
    mut write: Write,
    mut record: Record,
    worker: &WorkerId,
    max_attempts: u32,
) -> Result<Begun, SessionStoreError> {
    let attempts = record.session.attempts;
    let query = sqlx::query("select error from attempts where upload_id = $1 order by fence desc limit 1")
        .bind(record.session.upload_id.to_string());
    let last: Option<String> = match write.call().row(query).await? {
        Some(row) => get(&row, "error")?,
        None => None,
    };
    let last = last.unwrap_or_else(|| "ended without a word".to_owned());
    let detail = format!("{attempts} of {max_attempts} attempts failed; the last: {last}");
    record.session.detail = Some(detail.clone());
    let event = SessionEvent::Hold(HoldReason::AttemptsExhausted);
    let change = Change { event, actor: worker.as_str(), detail: Some(&detail), reports: &[] };
    let record = write.transition(record, change).await?;
    write.commit().await?;
    Ok(Begun::Exhausted(Exhausted { session: record.session, attempts }))
}

pub(super) async fn renew(
    (mut write, mut record): (Write, Record),
    fence: Fence,
    lease: Duration,
) -> Result<bool, SessionStoreError> {
    let Some(held) = record.leased(fence) else { return Ok(false) };
    record.lease = Some(Lease { until_ms: write.after(lease), worker: held.worker.clone() });
    write.save(&record).await?;
    write.commit().await?;
    Ok(true)
}

/// Ends the lease without a decision. The attempt stays counted unless it is `forgiven`.
pub(super) async fn abandon(
    (mut write, mut record): (Write, Record),
    fence: Fence,
    forgiven: bool,
    error: &str,
) -> Result<(), SessionStoreError> {
    if record.leased(fence).is_none() {
        return Ok(());
    }
    record.lease = None;
    let outcome = if forgiven {
        record.session.attempts = record.session.attempts.saturating_sub(1);
        Outcome::GivenBack
    } else {
        Outcome::Failed
    };
    write.save(&record).await?;
    end(&mut write, &record, outcome, Some(error)).await?;
    write.commit().await
}

/// Gives every lease up, without a decision and without an end of its attempt: nobody knows when that was.
pub(super) async fn abandon_all(mut write: Write) -> Result<u64, SessionStoreError> {
    let update =
        sqlx::query("update sessions set lease_worker = null, lease_until_ms = null where lease_worker is not null");
    let given_up = write.execute(update).await?;
    write.commit().await?;
    Ok(given_up)
}

pub(super) async fn settle(
    (mut write, mut record): (Write, Record),
    fence: Fence,
    settlement: &Settlement,
) -> Result<Settled, SessionStoreError> {
    let Some(Lease { worker, .. }) = record.leased(fence).cloned() else { return Ok(Settled::Stale) };
    let (event, detail) = match &settlement.decision {
        Decision::Publish(object) => (SessionEvent::Publish(object.clone()), None),
        Decision::Reject { reason, detail } => (SessionEvent::Reject(*reason), Some(detail.as_str())),
        Decision::Hold { reason, detail } => (SessionEvent::Hold(*reason), Some(detail.as_str())),
    };
    record.session.detail = detail.map(str::to_owned);
    record.session.source.clone_from(&settlement.source);
    record.policy.clone_from(&settlement.policy);
    let about = About {
        upload_id: record.session.upload_id,
        fence,
        sha256: settlement.source.as_ref().and_then(|source| source.sha256),
        policy: settlement.policy.as_deref(),
    };
    verdict::record(&mut write, &about, &settlement.reports).await?;
    let allowed = allowed(&settlement.reports);
    let note = detail.or(allowed.as_deref());
    let change = Change { event, actor: worker.as_str(), detail: note, reports: &settlement.reports };
    let record = write.transition(record, change).await?;
    end(&mut write, &record, Outcome::Committed, None).await?;
    write.commit().await?;
    Ok(Settled::Committed(Box::new(record.session)))
}

/// What counts as clean by an entry of the allow list, for the audit trail.
fn allowed(reports: &[ScanReport]) -> Option<String> {
    let allowed = reports.iter().filter_map(|report| match (&report.finding, report.allowed_by) {
        (Finding::Infected { signature }, Some(entry)) => {
            Some(format!("{signature}, found by scanner {}, is allowed by list entry {entry}", report.scanner))
        }
        (_, _) => None,
    });
    let allowed: Vec<_> = allowed.collect();
    (!allowed.is_empty()).then(|| allowed.join("; "))
}

async fn end(
    write: &mut Write,
    record: &Record,
    outcome: Outcome,
    error: Option<&str>,
) -> Result<(), SessionStoreError> {
    let update = "update attempts set ended_at_ms = $1, result = $2, error = $3 where upload_id = $4 and fence = $5";
    let update = sqlx::query(update)
        .bind(write.now_ms())
        .bind(outcome.as_str())
        .bind(error.map(text))
        .bind(record.session.upload_id.to_string())
        .bind(record.fence.0);
    write.execute(update).await?;
    Ok(())
}
