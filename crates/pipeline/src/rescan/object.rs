//! One published object.

use lazaret_core::{
    EngineVersion, Finding, HoldReason, Policy, PublishedObject, ScanReport, ScannerName, Session, Spooled,
    error::chain,
    ports::{Decision, Recheck, Revocation},
};
use tracing::{Instrument, info, info_span, warn};

use super::{RescanSettings, Rescanned};
use crate::{
    passage::PassageError,
    revoke::withdraw,
    scan::{Job, Scanned, blocked, required, scan, stands},
    station::Station,
};

/// How a rescan signs the audit trail.
const RESCAN: &str = "rescan";

pub(super) struct Look<'a> {
    pub(super) station: &'a Station,
    pub(super) settings: &'a RescanSettings,
    pub(super) engines: &'a [(ScannerName, EngineVersion)],
    pub(super) session: Session,
}

impl Look<'_> {
    pub(super) async fn look(&self) -> Result<Rescanned, PassageError> {
        let span = info_span!("rescan", upload.id = %self.session.upload_id);
        self.look_in_span().instrument(span).await
    }

    async fn look_in_span(&self) -> Result<Rescanned, PassageError> {
        let Some(object) = self.session.state.published() else { return Ok(Rescanned::PassedOver) };
        // The state of a published session has changed last when it was published.
        if self.settings.since.is_some_and(|since| self.session.updated_at < since) {
            return Ok(Rescanned::PassedOver);
        }
        let source = self.session.source.as_ref().and_then(|source| source.sha256.as_ref());
        // Known without reading it.
        let variants = object.image.iter().flat_map(|image| &image.variants).map(|variant| &variant.sha256);
        let digests = std::iter::once(&object.sha256).chain(source).chain(variants);
        if let Some(decision) = blocked(self.station, digests).await? {
            return self.conclude(object, None, Scanned { reports: Vec::new(), decision: Some(decision) }).await;
        }
        let policy = self.policy(object)?;
        if self.settings.signature_changed && self.is_unchanged(policy, object).await? {
            return Ok(Rescanned::Unchanged);
        }
        let spooled = self.read(object).await?;
        let is_as_it_came = source == Some(&object.sha256);
        let overrides: &[HoldReason] = if is_as_it_came { &self.session.overrides } else { &[] };
        let job = Job { policy, object: &spooled, overrides, made_of: source, reuse: false };
        let scanned = scan(self.station, &job).await?;
        drop(spooled);
        self.conclude(object, Some(policy), scanned).await
    }

    /// The policy of today for the type that is published; where there is none, for the type it was made of.
    fn policy(&self, object: &PublishedObject) -> Result<&Policy, PassageError> {
        let policies = &self.station.settings.policies;
        let detected = self.session.source.as_ref().and_then(|source| source.detected_type.as_ref());
        let scans = |policy: &&Policy| !policy.scanners.is_empty();
        let policy = policies
            .choose(&object.content_type)
            .filter(scans)
            .or_else(|| detected.and_then(|detected| policies.choose(detected)).filter(scans));
        policy.ok_or_else(|| {
            PassageError::Unsound(format!(
                "no policy of today has {} scanned, as which it is published",
                object.content_type
            ))
        })
    }

    /// Whether the newest verdict of every scanner is a *clean* by the engine and signatures of today, and nothing in it is
    /// blocked since.
    async fn is_unchanged(&self, policy: &Policy, object: &PublishedObject) -> Result<bool, PassageError> {
        let verdicts = self.station.sessions.history(self.session.upload_id).await?.verdicts;
        let mut newest = Vec::new();
        for slot in required(self.station, policy)? {
            let name = slot.scanner.name();
            let report = verdicts.iter().rev().find(|report| report.scanner == *name);
            let today = self.engines.iter().find(|(scanner, _)| scanner == name).map(|(_, engine)| engine);
            match (report, today) {
                (Some(report), Some(today)) if is_clean_by(report, today) => newest.push(report.clone()),
                (_, _) => return Ok(false),
            }
        }
        Ok(stands(self.station, &object.sha256, &newest).await?)
    }

    /// The copy, read once. What is not what was published is not ours to judge: it is told, loudly.
    async fn read(&self, object: &PublishedObject) -> Result<Spooled, PassageError> {
        let key = object.key.as_key();
        let Some(head) = self.station.store.head(&object.bucket, key, None).await? else {
            return Err(PassageError::Unsound(format!("the published copy {}/{key} is not there", object.bucket)));
        };
        let spooled = self.station.store.fetch(&head).await?;
        if spooled.len() != object.size || *spooled.sha256() != object.sha256 {
            return Err(PassageError::Unsound(format!(
                "the published copy {}/{key} is not what was published: sha256 {} of {} bytes, not {} of {}",
                object.bucket,
                spooled.sha256(),
                spooled.len(),
                object.sha256,
                object.size
            )));
        }
        Ok(spooled)
    }

    async fn conclude(
        &self,
        object: &PublishedObject,
        policy: Option<&Policy>,
        Scanned { reports, decision }: Scanned,
    ) -> Result<Rescanned, PassageError> {
        let (sessions, id) = (&self.station.sessions, self.session.upload_id);
        let policy = policy.map(|policy| policy.name.clone());
        let recheck =
            |detail| Recheck { policy: policy.clone(), sha256: object.sha256, reports: reports.clone(), detail };
        match decision {
            Some(Decision::Reject { reason, detail }) if self.settings.dry_run => {
                Ok(Rescanned::Revoked { reason, detail, copies_left: None })
            }
            Some(Decision::Reject { reason, detail }) => {
                let revocation = Revocation { reason, found: recheck(detail.clone()) };
                let revoked = sessions.revoke(id, RESCAN, &revocation).await?;
                info!(reason = reason.code(), detail, "revoked");
                let left = withdraw(self.station, &revoked).await.err();
                let copies_left = left.map(|error| chain(&error));
                if let Some(error) = &copies_left {
                    warn!(error, "copies of a revoked object are left to the sweeper");
                }
                Ok(Rescanned::Revoked { reason, detail, copies_left })
            }
            Some(Decision::Hold { detail, .. }) => Ok(Rescanned::Unscannable { detail }),
            Some(Decision::Publish(_)) => Err(PassageError::Unsound("a scan publishes nothing".to_owned())),
            None if self.settings.dry_run => Ok(Rescanned::Clean),
            None => {
                let is_recorded = sessions.record_recheck(id, RESCAN, &recheck(clean(&reports))).await?;
                Ok(if is_recorded { Rescanned::Clean } else { Rescanned::PassedOver })
            }
        }
    }
}

fn is_clean_by(report: &ScanReport, today: &EngineVersion) -> bool {
    let same = report.engine.engine == today.engine && report.engine.signatures == today.signatures;
    // An engine that does not name its signatures may have others today.
    same && today.signatures.is_some() && report.finding == Finding::Clean
}

/// Who said so, for the audit trail.
fn clean(reports: &[ScanReport]) -> String {
    let said = reports.iter().map(|report| {
        let by = report.allowed_by.map(|entry| format!(", allowed by list entry {entry}")).unwrap_or_default();
        let signatures = report.engine.signatures.as_deref().unwrap_or("unnamed");
        format!("{} ({}, signatures {signatures}{by})", report.scanner, report.engine.engine)
    });
    format!("looked at again by {}", said.collect::<Vec<_>>().join(", "))
}
