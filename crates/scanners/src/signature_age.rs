//! How old signatures may be.

use std::time::Duration;

use jiff::SignedDuration;
use lazaret_core::{EngineVersion, Timestamp};

/// How far ahead signatures may be dated before their date means nothing: a zone, and a clock that is a little off.
const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// Why the signatures are too old at `now`; none where they are not.
pub(crate) fn stale(version: &EngineVersion, limit: Option<Duration>, now: Timestamp) -> Option<String> {
    let limit = limit?;
    let Some(made) = version.signatures_at else {
        return Some(format!("their age is unknown, {} h is the limit", hours(limit)));
    };
    let age = now.duration_since(made);
    if age < -MAX_AHEAD {
        return Some(format!("they are dated {made}, which is yet to come"));
    }
    let age = age.unsigned_abs();
    (made < now && age > limit).then(|| format!("they are {} h old, {} h is the limit", hours(age), hours(limit)))
}

const fn hours(duration: Duration) -> u64 {
    duration.as_secs() / 3600
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn age_is_judged_only_where_one_is_demanded() {
        let version = |made: Option<&str>| EngineVersion {
            engine: "ClamAV 1.4.6".into(),
            signatures: None,
            signatures_at: made.map(at),
        };
        let now = at("2026-11-20T08:00:00Z");
        assert_eq!(stale(&version(None), None, now), None);
        assert_eq!(stale(&version(Some("2001-01-01T00:00:00Z")), None, now), None);
        assert_eq!(stale(&version(Some("2026-11-19T08:00:00Z")), Some(DAY), now), None);
        assert_eq!(stale(&version(Some("2026-11-20T20:00:00Z")), Some(Duration::from_hours(1)), now), None);
        for made in [None, Some("2026-11-19T07:59:59Z"), Some("2026-11-21T08:00:01Z")] {
            assert!(stale(&version(made), Some(DAY), now).is_some(), "{made:?}");
        }
    }
}
