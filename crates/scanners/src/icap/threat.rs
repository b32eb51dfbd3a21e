//! What engines call what they found, and the fields in which they say so.

use lazaret_core::{Finding, HoldReason};

/// Longer names are cut.
const MAX_NAME_CHARS: usize = 256;
const UNNAMED: &str = "unnamed";
/// Words for nothing, in fields that are better left out then.
const NOTHING: [&str; 5] = ["-", "0", "no", "none", "false"];

/// `X-Infection-Found: Type=0; Resolution=2; Threat=Eicar;`
/// (<https://datatracker.ietf.org/doc/html/draft-stecher-icap-subid-00>).
pub(super) fn infection(value: &str) -> Option<Finding> {
    let value = said(value)?;
    let part = |wanted: &str| {
        value.split(';').find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let threat = part("threat").unwrap_or(value);
    Some(match part("type") {
        Some("2") => container(threat),
        Some("1") => violation(threat),
        _ => named(threat),
    })
}

/// `X-Violations-Found`: how many there are, and then four lines about each, the second of which is its name.
pub(super) fn violations(value: &str) -> Vec<Finding> {
    let Some(value) = said(value) else { return Vec::new() };
    let mut lines = value.split('\n').map(str::trim);
    if lines.next().is_some_and(|count| !count.is_empty() && count.bytes().all(|b| b == b'0')) {
        return Vec::new();
    }
    let names: Vec<_> = lines.skip(1).step_by(4).map(named).collect();
    if names.is_empty() { vec![named(UNNAMED)] } else { names }
}

/// `X-Virus-ID`, `X-Virus-Name`: a name. `X-Blocked`: that it was blocked, and perhaps by what name.
pub(super) fn name(value: &str) -> Option<Finding> {
    said(value).map(|value| match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "blocked" => named("blocked"),
        _ => named(value),
    })
}

fn said(value: &str) -> Option<&str> {
    let value = value.trim();
    (!NOTHING.iter().any(|nothing| value.eq_ignore_ascii_case(nothing))).then_some(value)
}

/// What a name means where nothing else is said. Only names that are known to say that something was not looked at are
/// not taken for infections: viruses are called `Encrypted`, too.
pub(super) fn named(name: &str) -> Finding {
    let name = shown(name);
    let lower = name.to_ascii_lowercase();
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| lower.starts_with(beginning));
    // ClamAV; MetaDefender, Clearswift.
    if begins(&["heuristics.encrypted"])
        || [
            "encrypted archive",
            "encrypted document",
            "encrypted file",
            "password protected archive",
            "password protected document",
            "password protected file",
        ]
        .contains(&lower.as_str())
    {
        return Finding::Unscannable { reason: HoldReason::Encrypted, detail: name };
    }
    if begins(&["heuristics.limits.exceeded", "heuristics.broken", "exceeded archive"]) {
        return Finding::Unscannable { reason: HoldReason::ScanLimits, detail: name };
    }
    Finding::Infected { signature: name }
}

/// Type 2: a container that the engine could not or would not look into.
fn container(name: &str) -> Finding {
    match (named(name), reason_of(name)) {
        (Finding::Infected { signature }, reason) => {
            Finding::Unscannable { reason: reason.unwrap_or(HoldReason::ScanLimits), detail: signature }
        }
        (held, _) => held,
    }
}

/// Type 1: a rule of the engine's owner, which may be one against what cannot be looked into.
fn violation(name: &str) -> Finding {
    match (named(name), reason_of(name)) {
        (Finding::Infected { signature }, Some(reason)) => Finding::Unscannable { reason, detail: signature },
        (finding, _) => finding,
    }
}

fn reason_of(name: &str) -> Option<HoldReason> {
    let lower = name.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["encrypt", "password"]) {
        Some(HoldReason::Encrypted)
    } else if has(&["exceed", "limit", "recursion", "depth", "too large", "size", "timeout", "time out"]) {
        Some(HoldReason::ScanLimits)
    } else {
        None
    }
}

fn shown(name: &str) -> String {
    let name: String = name.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_NAME_CHARS).collect();
    if name.is_empty() { UNNAMED.to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infected(signature: &str) -> Finding {
        Finding::Infected { signature: signature.to_owned() }
    }

    fn held(reason: HoldReason, detail: &str) -> Finding {
        Finding::Unscannable { reason, detail: detail.to_owned() }
    }

    #[test]
    fn infections_have_a_type_and_a_name() {
        for (value, expected) in [
            ("Type=0; Resolution=2; Threat=EICAR;", infected("EICAR")),
            ("Type=0;Resolution=2;Threat=EICAR Test String", infected("EICAR Test String")),
            ("threat=EICAR", infected("EICAR")),
            ("Type=7; Threat=EICAR;", infected("EICAR")),
            ("Type=0; Threat=;", infected(UNNAMED)),
            ("EICAR", infected("EICAR")),
            ("", infected(UNNAMED)),
            ("Type=1; Resolution=0; Threat=Macro;", infected("Macro")),
            ("Type=1; Resolution=0; Threat=Encrypted Archive;", held(HoldReason::Encrypted, "Encrypted Archive")),
            ("Type=2; Resolution=0; Threat=Encrypted Zip;", held(HoldReason::Encrypted, "Encrypted Zip")),
            ("Type=2; Resolution=2; Threat=Zip bomb;", held(HoldReason::ScanLimits, "Zip bomb")),
            ("Type=0; Threat=Heuristics.Encrypted.Zip;", held(HoldReason::Encrypted, "Heuristics.Encrypted.Zip")),
            (
                "Type=0; Threat=Heuristics.Limits.Exceeded.MaxFiles;",
                held(HoldReason::ScanLimits, "Heuristics.Limits.Exceeded.MaxFiles"),
            ),
        ] {
            assert_eq!(infection(value), Some(expected), "{value:?}");
        }
    }

    #[test]
    fn a_virus_that_is_called_encrypted_is_a_virus() {
        for virus in ["Trojan.Encrypted.B", "PWS.Password-Stealer", "Win32.Limit.A", "Encrypted"] {
            assert_eq!(infection(&format!("Type=0; Resolution=2; Threat={virus};")), Some(infected(virus)));
            assert_eq!(name(virus), Some(infected(virus)));
        }
    }

    #[test]
    fn violations_are_counted_and_named() {
        assert_eq!(violations("1\n-\nEicar\n0\n0"), [infected("Eicar")]);
        assert_eq!(violations("2\na.zip\nEicar\n0\n0\nb\nOther\n0\n0"), [infected("Eicar"), infected("Other")]);
        assert_eq!(violations("3"), [infected(UNNAMED)]);
        assert_eq!(violations("what"), [infected(UNNAMED)]);
        for nothing in ["0", "-", "0\n"] {
            assert_eq!(violations(nothing), [], "{nothing:?}");
        }
    }

    #[test]
    fn a_field_can_say_that_there_is_nothing() {
        for nothing in ["-", "0", "no", "None", "FALSE", " no "] {
            assert_eq!((name(nothing), infection(nothing)), (None, None), "{nothing:?}");
        }
        for blocked in ["1", "yes", "True", "blocked"] {
            assert_eq!(name(blocked), Some(infected("blocked")), "{blocked:?}");
        }
        assert_eq!(name(""), Some(infected(UNNAMED)), "an empty word is not the word for nothing");
    }

    #[test]
    fn names_are_cut_and_have_one_line() {
        assert_eq!(name("a\nb\tc"), Some(infected("a b c")));
        let Some(Finding::Infected { signature }) = name(&"\u{e9}".repeat(1000)) else { panic!() };
        assert_eq!(signature.chars().count(), MAX_NAME_CHARS);
    }
}
