//! Scanners' answers: written once, read again.

use lazaret_core::{
    Fence, Finding, ScanReport, Sha256Digest, UploadId,
    ports::{EarlierScan, SessionStoreError},
};

use super::{
    record::{from_json, get, parsed, text},
    write::{Write, milliseconds},
};
use crate::{call::Call, error::corrupt};

/// What an answer is about.
pub(super) struct About<'a> {
    pub(super) upload_id: UploadId,
    /// The attempt that it was given in, or after.
    pub(super) fence: Fence,
    pub(super) sha256: Option<Sha256Digest>,
    pub(super) policy: Option<&'a str>,
}

pub(super) async fn record(
    write: &mut Write,
    about: &About<'_>,
    reports: &[ScanReport],
) -> Result<(), SessionStoreError> {
    for report in reports {
        let insert = sqlx::query(
            "insert into verdicts (upload_id, fence, at_ms, source_sha256, scanner, finding, report, policy, reused_from) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(about.upload_id.to_string())
        .bind(about.fence.0)
        .bind(write.now_ms())
        .bind(about.sha256.map(|sha256| sha256.to_string()))
        .bind(report.scanner.as_str())
        .bind(name(&report.finding))
        .bind(serde_json::to_string(report).map_err(corrupt)?)
        .bind(about.policy.map(text))
        .bind(report.reused_from.map(|id| id.to_string()));
        write.execute(insert).await?;
    }
    Ok(())
}

const fn name(finding: &Finding) -> &'static str {
    match finding {
        Finding::Clean => "clean",
        Finding::Infected { .. } => "infected",
        Finding::Unscannable { .. } => "unscannable",
    }
}

/// Only the newest scan is looked at: what an engine has said since counts more than what it said before.
pub(super) async fn earlier(
    mut call: Call,
    wanted: &EarlierScan<'_>,
) -> Result<Option<(UploadId, ScanReport)>, SessionStoreError> {
    if wanted.engine.signatures.is_none() {
        return Ok(None);
    }
    let since_ms = call.now_ms().await?.saturating_sub(milliseconds(wanted.within));
    let newest = sqlx::query(
        "select verdicts.upload_id, verdicts.report, verdicts.at_ms, sessions.overrides from verdicts \
         join sessions on sessions.upload_id = verdicts.upload_id where verdicts.source_sha256 = $1 \
         and verdicts.scanner = $2 and verdicts.policy = $3 and verdicts.policy is not null \
         and verdicts.reused_from is null order by verdicts.id desc limit 1",
    )
    .bind(wanted.sha256.to_string())
    .bind(wanted.scanner.as_str())
    .bind(text(wanted.policy));
    let Some(row) = call.row(newest).await? else { return Ok(None) };
    let report: ScanReport = from_json(&get::<String>(&row, "report")?)?;
    let is_fit = get::<i64>(&row, "at_ms")? > since_ms
        && get::<String>(&row, "overrides")? == "[]"
        && report.finding == Finding::Clean
        && report.allowed_by.is_none()
        && report.engine.engine == wanted.engine.engine
        && report.engine.signatures == wanted.engine.signatures;
    Ok(if is_fit { Some((parsed(&row, "upload_id")?, report)) } else { None })
}
