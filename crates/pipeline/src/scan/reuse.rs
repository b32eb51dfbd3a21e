//! A verdict about the same bytes instead of a scan, where the policy asks for it.

use lazaret_core::{
    ScanReport,
    ports::{EarlierScan, SessionStoreError},
};
use tokio::time::timeout;

use super::Job;
use crate::station::{ScannerSlot, Station};

/// What this scanner said of these bytes under this policy not too long ago, with the engine and the signatures that it
/// says to have now. None: it is to be asked.
pub(super) async fn earlier(
    station: &Station,
    slot: &ScannerSlot,
    job: &Job<'_>,
) -> Result<Option<ScanReport>, SessionStoreError> {
    let Some(within) = job.policy.reuse_verdicts.filter(|_| job.reuse && job.overrides.is_empty()) else {
        return Ok(None);
    };
    // A scanner that cannot say what it is has no past. Its trouble comes to light in the scan.
    let Ok(Ok(engine)) = timeout(slot.timeout, slot.scanner.check()).await else { return Ok(None) };
    let (sha256, policy, scanner) = (job.object.sha256(), job.policy.name.as_str(), slot.scanner.name());
    let wanted = EarlierScan { sha256, policy, scanner, engine: &engine, within };
    let earlier = station.sessions.earlier_scan(&wanted).await?;
    Ok(earlier.map(|(upload, report)| ScanReport { reused_from: Some(upload), elapsed_ms: 0, ..report }))
}
