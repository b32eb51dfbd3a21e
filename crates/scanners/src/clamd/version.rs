//! What clamd says about itself: `ClamAV 1.4.6/27500/Fri Nov 20 08:00:00 2026`, or only `ClamAV 1.4.6` with a
//! database of one's own.

use std::time::Duration;

use jiff::{SignedDuration, civil::DateTime, tz::TimeZone};
use lazaret_core::{EngineVersion, Timestamp};

use super::reply;

/// How far ahead a database may be dated before its date means nothing: a zone, and a clock that is a little off.
const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// The version in a whole reply to `VERSION`; none where it is not one.
pub(super) fn parse(reply: &[u8]) -> Option<EngineVersion> {
    let text = reply::whole(reply)?;
    let mut parts = text.splitn(3, '/');
    let engine = parts.next()?;
    let printable = text.len() <= 200 && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if !printable || engine.strip_prefix("ClamAV ").is_none_or(str::is_empty) {
        return None;
    }
    let signatures = parts.next().filter(|number| !number.is_empty()).map(str::to_owned);
    let signatures_at = match parts.next() {
        Some(date) => Some(date_of(date)?),
        None => None,
    };
    Some(EngineVersion { engine: engine.to_owned(), signatures, signatures_at })
}

/// clamd writes ctime(3) in its own zone and names none.
fn date_of(text: &str) -> Option<Timestamp> {
    let date = DateTime::strptime("%a %b %e %H:%M:%S %Y", text).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Why the signatures are too old at `now`; none where they are not.
pub(super) fn stale(version: &EngineVersion, limit: Option<Duration>, now: Timestamp) -> Option<String> {
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
    fn a_full_version_has_number_and_date() {
        let expected = EngineVersion {
            engine: "ClamAV 1.4.6".into(),
            signatures: Some("27500".into()),
            signatures_at: Some(at("2026-11-20T08:00:00Z")),
        };
        assert_eq!(parse(b"ClamAV 1.4.6/27500/Fri Nov 20 08:00:00 2026\0"), Some(expected));
        let padded = parse(b"ClamAV 1.4.6/27500/Sun Nov  1 08:00:00 2026\n").unwrap();
        assert_eq!(padded.signatures_at, Some(at("2026-11-01T08:00:00Z")));
    }

    #[test]
    fn a_database_of_ones_own_has_neither() {
        let expected = EngineVersion { engine: "ClamAV 1.4.6".into(), signatures: None, signatures_at: None };
        assert_eq!(parse(b"ClamAV 1.4.6\0"), Some(expected));
    }

    #[test]
    fn anything_else_is_no_version() {
        for reply in [
            "",
            "\0",
            "ClamAV 1.4.6",
            "ClamAV \0",
            "PONG\0",
            "ClamAV 1.4.6/27500/yesterday\0",
            "ClamAV 1.4.6/27500/\0",
            "ClamAV 1\n4\0",
            "COMMAND READ TIMED OUT\0",
        ] {
            assert_eq!(parse(reply.as_bytes()), None, "{reply:?}");
        }
        assert_eq!(parse(format!("ClamAV {}\0", "1".repeat(200)).as_bytes()), None);
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
