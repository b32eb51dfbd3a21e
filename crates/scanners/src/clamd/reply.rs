//! What clamd's words mean. Strict: what is not known is no verdict.

use lazaret_core::{Finding, HoldReason};

/// What the exchange handed over, and so how the reply must begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// `INSTREAM`: `stream: …`.
    Stream,
    /// `FILDES`: `fd[N]: …`.
    Descriptor,
}

/// Longer signature names are no signature names.
const MAX_SIGNATURE_BYTES: usize = 256;

/// The answer over `StreamMaxLength`. No later attempt can be shorter, so it is about the object, not about clamd.
const SIZE_LIMIT: &str = "INSTREAM size limit exceeded. ERROR";

enum Line<'a> {
    Ok,
    Found(&'a str),
}

/// The finding in a whole reply; none where it is not exactly one.
pub(super) fn finding(reply: &[u8], subject: Subject) -> Option<Finding> {
    let text = whole(reply)?;
    if subject == Subject::Stream && text == SIZE_LIMIT {
        return Some(unscannable(HoldReason::ScanLimits, text));
    }
    let lines: Vec<Line<'_>> = text.split(['\0', '\n']).map(|text| line(text, subject)).collect::<Option<_>>()?;
    let signatures: Option<Vec<&str>> = lines
        .iter()
        .map(|line| match line {
            Line::Found(signature) => Some(*signature),
            Line::Ok => None,
        })
        .collect();
    match (signatures, lines.as_slice()) {
        (Some(signatures), _) => strongest(signatures.into_iter().map(found).collect()),
        (None, [Line::Ok]) => Some(Finding::Clean),
        (None, _) => None,
    }
}

/// Whether clamd says that no descriptor reached it, or that it takes none.
pub(super) fn refuses_descriptor(reply: &[u8]) -> bool {
    matches!(whole(reply), Some("No file descriptor received. ERROR" | "UNKNOWN COMMAND"))
}

/// The text of a reply that has its end: one without was cut.
pub(super) fn whole(reply: &[u8]) -> Option<&str> {
    let body = reply.strip_suffix(b"\0").or_else(|| reply.strip_suffix(b"\n"))?;
    std::str::from_utf8(body).ok()
}

fn line(text: &str, subject: Subject) -> Option<Line<'_>> {
    let rest = match subject {
        Subject::Stream => text.strip_prefix("stream: ")?,
        Subject::Descriptor => {
            let (number, rest) = text.strip_prefix("fd[")?.split_once("]: ")?;
            let numbered = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            numbered.then_some(rest)?
        }
    };
    if rest == "OK" {
        return Some(Line::Ok);
    }
    let signature = rest.strip_suffix(" FOUND")?;
    let named = (1..=MAX_SIGNATURE_BYTES).contains(&signature.len())
        && !signature.contains(char::is_control)
        && signature.trim() == signature
        && signature != "(null)";
    named.then_some(Line::Found(signature))
}

fn found(signature: &str) -> Finding {
    if signature.starts_with("Heuristics.Encrypted") {
        unscannable(HoldReason::Encrypted, signature)
    } else if signature.starts_with("Heuristics.Limits.Exceeded") || signature.starts_with("Heuristics.Broken") {
        unscannable(HoldReason::ScanLimits, signature)
    } else {
        Finding::Infected { signature: signature.to_owned() }
    }
}

/// The first infection, else the first finding.
fn strongest(mut findings: Vec<Finding>) -> Option<Finding> {
    let infection = findings.iter().position(|finding| matches!(finding, Finding::Infected { .. }));
    let strongest = infection.unwrap_or(0);
    (strongest < findings.len()).then(|| findings.swap_remove(strongest))
}

fn unscannable(reason: HoldReason, detail: &str) -> Finding {
    Finding::Unscannable { reason, detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn infected(signature: &str) -> Finding {
        Finding::Infected { signature: signature.to_owned() }
    }

    fn held(reason: HoldReason, detail: &str) -> Finding {
        unscannable(reason, detail)
    }

    #[test]
    fn the_exact_words_are_clean() {
        assert_eq!(finding(b"stream: OK\0", Subject::Stream), Some(Finding::Clean));
        assert_eq!(finding(b"stream: OK\n", Subject::Stream), Some(Finding::Clean));
        assert_eq!(finding(b"fd[12]: OK\0", Subject::Descriptor), Some(Finding::Clean));
    }

    #[test]
    fn signatures_are_infections_and_heuristics_are_not() {
        let stream = |reply: &str| finding(format!("stream: {reply}\0").as_bytes(), Subject::Stream);
        assert_eq!(stream("Eicar-Test-Signature.UNOFFICIAL FOUND"), Some(infected("Eicar-Test-Signature.UNOFFICIAL")));
        assert_eq!(stream("Win.Test.EICAR_HDB-1(44d8:68) FOUND"), Some(infected("Win.Test.EICAR_HDB-1(44d8:68)")));
        assert_eq!(stream("Heuristics.Phishing.Email FOUND"), Some(infected("Heuristics.Phishing.Email")));
        assert_eq!(stream("My OK FOUND"), Some(infected("My OK")));
        for name in ["Heuristics.Encrypted.Zip", "Heuristics.Encrypted.7Zip", "Heuristics.Encrypted.PDF"] {
            assert_eq!(stream(&format!("{name} FOUND")), Some(held(HoldReason::Encrypted, name)));
        }
        for name in [
            "Heuristics.Limits.Exceeded",
            "Heuristics.Limits.Exceeded.MaxFileSize",
            "Heuristics.Limits.Exceeded.MaxScanTime",
            "Heuristics.Broken.Media.JPEG.JFIFdupAppMarker",
            "Heuristics.Broken.Executable",
        ] {
            assert_eq!(stream(&format!("{name} FOUND")), Some(held(HoldReason::ScanLimits, name)));
        }
        assert_eq!(finding(b"fd[7]: Eicar FOUND\0", Subject::Descriptor), Some(infected("Eicar")));
    }

    #[test]
    fn over_the_stream_limit_is_unscannable_only_for_a_stream() {
        let reply = b"INSTREAM size limit exceeded. ERROR\0";
        assert_eq!(finding(reply, Subject::Stream), Some(held(HoldReason::ScanLimits, SIZE_LIMIT)));
        assert_eq!(finding(reply, Subject::Descriptor), None);
    }

    #[test]
    fn an_infection_outweighs_heuristics() {
        let limits = "stream: Heuristics.Limits.Exceeded.MaxFiles FOUND";
        let virus = "stream: Eicar FOUND";
        for reply in [format!("{limits}\0{virus}\0"), format!("{virus}\0{limits}\0"), format!("{limits}\n{virus}\n")] {
            assert_eq!(finding(reply.as_bytes(), Subject::Stream), Some(infected("Eicar")), "{reply:?}");
        }
        let both = "stream: Heuristics.Encrypted.Zip FOUND\0stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\0";
        assert_eq!(
            finding(both.as_bytes(), Subject::Stream),
            Some(held(HoldReason::Encrypted, "Heuristics.Encrypted.Zip"))
        );
    }

    #[test]
    fn everything_else_is_no_verdict() {
        let long = format!("stream: {} FOUND\0", "x".repeat(257));
        for reply in [
            "",
            "\0",
            "\n",
            "OK\0",
            "OK",
            "stream: OK",
            "stream:OK\0",
            "stream: ok\0",
            " stream: OK\0",
            "stream: OK \0",
            "stream: OK\0\0",
            "stream: OK\nstream: OK\n",
            "stream: OK\0stream: Eicar FOUND\0",
            "stream: Eicar FOUND",
            "stream: Eicar FOU\0",
            "stream: (null) FOUND\0",
            "stream:  FOUND\0",
            "stream: FOUND\0",
            "(null) FOUND\0",
            "stream: a\tb FOUND\0",
            "stream: Eicar FOUND\0stream: lstat() failed. ERROR\0",
            "fd[1]: OK\0",
            "COMMAND READ TIMED OUT\0",
            "stream: COMMAND READ TIMED OUT\0",
            "stream: Error writing to temporary file ERROR\0",
            "stream: Can't allocate memory ERROR\0",
            "UNKNOWN COMMAND\0",
            "PONG\0",
            "1: stream: OK\0",
            &long,
        ] {
            assert_eq!(finding(reply.as_bytes(), Subject::Stream), None, "{reply:?}");
        }
        for reply in ["stream: OK\0", "fd[]: OK\0", "fd[-1]: OK\0", "fd[x]: OK\0", "fd[1] OK\0", "fd[1]: OK"] {
            assert_eq!(finding(reply.as_bytes(), Subject::Descriptor), None, "{reply:?}");
        }
        assert_eq!(finding(b"stream: \xff FOUND\0", Subject::Stream), None);
    }

    #[test]
    fn a_missing_descriptor_is_told_by_the_whole_reply() {
        assert!(refuses_descriptor(b"No file descriptor received. ERROR\0"));
        assert!(refuses_descriptor(b"UNKNOWN COMMAND\0"));
        for reply in ["No file descriptor received. ERROR", "", "fd[1]: OK\0", "fd[1]: Access denied. ERROR\0"] {
            assert!(!refuses_descriptor(reply.as_bytes()), "{reply:?}");
        }
    }

    proptest! {
        #[test]
        fn no_part_of_a_reply_is_a_verdict(
            signature in "[A-Za-z0-9._-]{1,40}",
            subject in prop::sample::select(vec![("stream", Subject::Stream), ("fd[3]", Subject::Descriptor)]),
            cut in any::<prop::sample::Index>(),
        ) {
            let reply = format!("{}: {signature} FOUND\0", subject.0);
            prop_assert!(finding(reply.as_bytes(), subject.1).is_some());
            prop_assert_eq!(finding(&reply.as_bytes()[..cut.index(reply.len())], subject.1), None);
        }

        #[test]
        fn only_the_words_are_clean_and_only_found_is_infected(
            reply in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..64),
                "(stream: |fd\\[1\\]: |OK|FOUND|ERROR|Eicar| |\0|\n){0,6}".prop_map(String::into_bytes),
            ],
        ) {
            match finding(&reply, Subject::Stream) {
                Some(Finding::Clean) => prop_assert!(reply == b"stream: OK\0" || reply == b"stream: OK\n"),
                Some(Finding::Infected { signature }) => {
                    let words = format!("stream: {signature} FOUND");
                    prop_assert!(String::from_utf8(reply).unwrap().contains(&words));
                }
                Some(Finding::Unscannable { .. }) | None => {}
            }
        }
    }
}
