//! What the allow and block lists say of bytes and of what was found in them. Block beats allow.

use lazaret_core::{
    Finding, ListEntry, ListEntryId, ListKind, RejectReason, ScanReport, Severity, Sha256Digest, Subject,
    ports::{Decision, SessionStoreError},
};

use crate::station::Station;

/// The decision about bytes that are on the block list. It is asked of the database each time: an answer that does not come
/// is no "not on a list".
pub(crate) async fn blocked(
    station: &Station,
    digests: impl IntoIterator<Item = &Sha256Digest>,
) -> Result<Option<Decision>, SessionStoreError> {
    let digests: Vec<_> = digests.into_iter().copied().collect();
    let entries = station.lists.matching(&digests, &[]).await?;
    Ok(entries.iter().find(|entry| entry.kind == ListKind::Block).map(rejection))
}

/// Whether nothing in these *clean* reports is blocked, be it only noted by its rule.
pub(crate) async fn stands(
    station: &Station,
    sha256: &Sha256Digest,
    reports: &[ScanReport],
) -> Result<bool, SessionStoreError> {
    Ok(Listed::about(station, [sha256], reports).await?.blocked().is_none())
}

/// The entries about an object and about what was found in it.
pub(crate) struct Listed(Vec<ListEntry>);

impl Listed {
    /// Asks only where something was found: clean bytes were asked about before they were scanned.
    pub(crate) async fn about(
        station: &Station,
        digests: impl IntoIterator<Item = &Sha256Digest>,
        reports: &[ScanReport],
    ) -> Result<Self, SessionStoreError> {
        let mut names: Vec<_> = reports.iter().flat_map(names).map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let digests: Vec<_> = digests.into_iter().copied().collect();
        Ok(Self(station.lists.matching(&digests, &names).await?))
    }

    /// The decision where anything is blocked, be it only noted by its rule.
    pub(crate) fn blocked(&self) -> Option<Decision> {
        self.0.iter().find(|entry| entry.kind == ListKind::Block).map(rejection)
    }

    /// Marks the infections that are allowed: by the object's digest, or by each of their signatures. Nothing else is.
    pub(crate) fn allow(&self, reports: &mut [ScanReport]) {
        for report in reports {
            if let Finding::Infected { .. } = report.finding {
                report.allowed_by = self.allowed(report);
            }
        }
    }

    fn allowed(&self, report: &ScanReport) -> Option<ListEntryId> {
        let allows = |subject: &dyn Fn(&Subject) -> bool| {
            self.0.iter().find(|entry| entry.kind == ListKind::Allow && subject(&entry.subject)).map(|entry| entry.id)
        };
        let by_digest = allows(&|subject| matches!(subject, Subject::Sha256(_)));
        by_digest.or_else(|| {
            let infecting = names(report).into_iter().filter(|(_, severity)| *severity == Severity::Reject);
            let mut allowing =
                infecting.map(|(name, _)| allows(&|subject| *subject == Subject::Signature(name.clone())));
            // The finding's own signature is the first, and its entry the one on record.
            let first = allowing.next()??;
            allowing.all(|entry| entry.is_some()).then_some(first)
        })
    }
}

/// What was found by name, and what that asks for, the finding's own signature first. Rules are `namespace:rule`.
fn names(report: &ScanReport) -> Vec<(String, Severity)> {
    let own = match &report.finding {
        Finding::Infected { signature } => Some((signature.clone(), Severity::Reject)),
        Finding::Clean | Finding::Unscannable { .. } => None,
    };
    let rules = report.matches.iter().map(|found| (format!("{}:{}", found.namespace, found.rule), found.severity));
    own.into_iter().chain(rules).collect()
}

fn rejection(entry: &ListEntry) -> Decision {
    let what = match &entry.subject {
        Subject::Sha256(sha256) => format!("sha256 {sha256}"),
        Subject::Signature(signature) => format!("{signature}, which was found in it,"),
    };
    let ListEntry { id, added_by, why, .. } = entry;
    let detail = format!("{what} is on the block list by entry {id} of {added_by}: {why}");
    Decision::Reject { reason: RejectReason::Blocked, detail }
}
