//! What a program says to `--version`: `NAME VERSION [SIGNATURES [DATE]]`, one line.

use lazaret_core::EngineVersion;

const MAX_BYTES: usize = 200;

/// The version in a whole answer; none where it is not one.
pub(super) fn parse(answer: &[u8]) -> Option<EngineVersion> {
    let line = std::str::from_utf8(answer).ok()?;
    let line = line.strip_suffix('\n').unwrap_or(line);
    if line.len() > MAX_BYTES || !line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return None;
    }
    let mut words = line.split_ascii_whitespace();
    let (name, version) = (words.next()?, words.next()?);
    let signatures = words.next().map(str::to_owned);
    let signatures_at = words.next().map(str::parse).transpose().ok()?;
    if words.next().is_some() {
        return None;
    }
    Some(EngineVersion { engine: format!("{name} {version}"), signatures, signatures_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_two_to_four_words() {
        let version = |signatures: Option<&str>, date: Option<&str>| EngineVersion {
            engine: "eicar 1.0".into(),
            signatures: signatures.map(str::to_owned),
            signatures_at: date.map(|date| date.parse().unwrap()),
        };
        assert_eq!(parse(b"eicar 1.0\n"), Some(version(None, None)));
        assert_eq!(parse(b"eicar 1.0 r7"), Some(version(Some("r7"), None)));
        let date = "2026-11-22T08:00:00Z";
        assert_eq!(parse(b"eicar 1.0 r7 2026-11-22T09:00:00+01:00\n"), Some(version(Some("r7"), Some(date))));
    }

    #[test]
    fn anything_else_is_no_version() {
        let long = format!("eicar {}", "1".repeat(200));
        for answer in [
            "",
            "\n",
            "eicar",
            "eicar 1.0\n\n",
            "eicar 1.0\neicar 1.0\n",
            "eicar 1.0 r7 yesterday",
            "eicar 1.0 r7 2026-11-22T08:00:00Z more",
            "eicar 1.0\t",
            "\u{e9}icar 1.0",
            &long,
        ] {
            assert_eq!(parse(answer.as_bytes()), None, "{answer:?}");
        }
        assert_eq!(parse(b"eicar 1.0\xff"), None);
    }
}
