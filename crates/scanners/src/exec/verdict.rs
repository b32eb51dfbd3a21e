//! The one JSON object that a program answers with. Whatever is not exactly one of its four shapes is no verdict.

use lazaret_core::{Finding, HoldReason};
use serde::Deserialize;

const MAX_TEXT_CHARS: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    verdict: Verdict,
    signature: Option<String>,
    reason: Option<Reason>,
    detail: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Clean,
    Infected,
    Held,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reason {
    Encrypted,
    ScanLimits,
    Flagged,
}

/// The finding in a program's whole answer, or why there is none.
pub(super) fn parse(answer: &[u8]) -> Result<Finding, String> {
    let text = std::str::from_utf8(answer).map_err(|error| format!("its answer is no text: {error}"))?;
    let no_verdict = |why: &str| format!("{why}: {text}");
    if text.trim().is_empty() {
        return Err("it answered nothing".to_owned());
    }
    let document: Document = serde_json::from_str(text).map_err(|error| no_verdict(&error.to_string()))?;
    match document {
        Document { verdict: Verdict::Clean, signature: None, reason: None, detail: None } => Ok(Finding::Clean),
        Document { verdict: Verdict::Infected, signature: Some(signature), reason: None, detail: None }
            if is_line(&signature) =>
        {
            Ok(Finding::Infected { signature })
        }
        Document { verdict: Verdict::Held, signature: None, reason: Some(reason), detail: Some(detail) }
            if is_line(&detail) =>
        {
            let reason = match reason {
                Reason::Encrypted => HoldReason::Encrypted,
                Reason::ScanLimits => HoldReason::ScanLimits,
                Reason::Flagged => HoldReason::Flagged,
            };
            Ok(Finding::Unscannable { reason, detail })
        }
        Document { verdict: Verdict::Clean, .. } => Err(no_verdict("clean stands alone")),
        Document { verdict: Verdict::Infected, .. } => Err(no_verdict("infected goes with a signature")),
        Document { verdict: Verdict::Held, .. } => Err(no_verdict("held goes with a reason and a detail")),
    }
}

/// Whether a person can be shown it: a line of at most 256 characters.
fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= MAX_TEXT_CHARS && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn there_are_four_shapes() {
        assert_eq!(parse(b"{\"verdict\":\"clean\"}\n"), Ok(Finding::Clean));
        let infected = parse(br#" {"signature": "Eicar", "verdict": "infected"}"#);
        assert_eq!(infected, Ok(Finding::Infected { signature: "Eicar".into() }));
        for (word, reason) in [
            ("encrypted", HoldReason::Encrypted),
            ("scan-limits", HoldReason::ScanLimits),
            ("flagged", HoldReason::Flagged),
        ] {
            let held = format!(r#"{{"verdict":"held","reason":"{word}","detail":"why"}}"#);
            assert_eq!(parse(held.as_bytes()), Ok(Finding::Unscannable { reason, detail: "why".into() }));
        }
    }

    #[test]
    fn nothing_else_is_a_verdict() {
        let long = format!(r#"{{"verdict":"infected","signature":"{}"}}"#, "x".repeat(257));
        for answer in [
            "",
            "\n",
            "clean",
            "\"clean\"",
            "null",
            "[]",
            "{}",
            r#"["clean"]"#,
            r#"[{"verdict":"clean"}]"#,
            r#"{"verdict":"clean""#,
            r#"{"verdict":"CLEAN"}"#,
            r#"{"verdict":"unknown"}"#,
            r#"{"verdict":null}"#,
            r#"{"verdict":["clean"]}"#,
            r#"{"verdict":"clean"}{"verdict":"clean"}"#,
            r#"{"verdict":"clean"} x"#,
            r#"{"verdict":"clean"},"#,
            r#"x{"verdict":"clean"}"#,
            "\u{feff}{\"verdict\":\"clean\"}",
            r#"{"verdict":"clean","verdict":"clean"}"#,
            r#"{"verdict":"infected","signature":"x","verdict":"clean"}"#,
            r#"{"verdict":"clean","score":0}"#,
            r#"{"verdict":"clean","signature":"x"}"#,
            r#"{"verdict":"clean","reason":"encrypted"}"#,
            r#"{"verdict":"clean","detail":"but"}"#,
            r#"{"verdict":"infected"}"#,
            r#"{"verdict":"infected","signature":null}"#,
            r#"{"verdict":"infected","signature":""}"#,
            r#"{"verdict":"infected","signature":" "}"#,
            r#"{"verdict":"infected","signature":"a\nb"}"#,
            r#"{"verdict":"infected","signature":7}"#,
            r#"{"verdict":"infected","signature":"x","reason":"encrypted"}"#,
            r#"{"verdict":"held"}"#,
            r#"{"verdict":"held","reason":"encrypted"}"#,
            r#"{"verdict":"held","detail":"why"}"#,
            r#"{"verdict":"held","reason":"scanner-error","detail":"why"}"#,
            r#"{"verdict":"held","reason":"encrypted","detail":"why","signature":"x"}"#,
            &long,
        ] {
            assert!(parse(answer.as_bytes()).is_err(), "{answer}");
        }
        assert!(parse(b"{\"verdict\":\"clean\"}\xff").is_err());
        assert!(parse(b"{\"verdict\":\"clean\"}\0").is_err());
    }

    proptest! {
        #[test]
        fn clean_is_said_in_one_way_only(answer in r#"[ \n]*\{ ?"verdict" ?: ?"[a-z]{0,6}" ?(, ?"[a-z]{0,3}" ?: ?[0-9])?\} ?.?"#) {
            let bare: String = answer.split_whitespace().collect();
            prop_assert_eq!(parse(answer.as_bytes()) == Ok(Finding::Clean), bare == r#"{"verdict":"clean"}"#);
        }
    }
}
