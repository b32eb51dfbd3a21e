//! What clamd says about itself: `ClamAV 1.4.6/27500/Fri Nov 20 08:00:00 2026`, or only `ClamAV 1.4.6` with a
//! database of one's own.

use jiff::{civil::DateTime, tz::TimeZone};
use lazaret_core::{EngineVersion, Timestamp};

use super::reply;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
