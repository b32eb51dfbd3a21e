//! One scan with one set of rules, and what its matches amount to.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use lazaret_core::{Finding, HoldReason, RuleMatch, Severity};
use thiserror::Error;
use yara_x::{MetaValue, Rule};

use super::rules::{RuleSet, WITNESS_NAMESPACE, WITNESS_VARIABLE};

const SHOWN_CHARS: usize = 500;
const KEPT_METADATA: usize = 32;
const SHOWN_HOLDS: usize = 3;
/// What stands in a report for the matches that were too many for it.
const OMITTED_RULE: &str = "more_matches";

/// Why a scan came to nothing.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    #[error("it took too long")]
    TimedOut,
    #[error("the object could not be opened and mapped")]
    Spool(#[source] io::Error),
    #[error("{0}")]
    NoVerdict(String),
}

/// The rules that match the `len` bytes of `file`, worst first.
///
/// The engine opens the file anew through `/proc/self/fd`: its offset is its own then, and it maps what is longer than
/// 32 MB by itself, so that neither a copy of a large object nor unsafe code is needed here. Mapping is sound for a
/// spooled object, which nobody can cut: it is a sealed memfd, or has no name.
pub(super) fn matches(set: &RuleSet, file: &impl AsFd, len: u64, within: Duration) -> Result<Vec<RuleMatch>, Trouble> {
    let no_verdict = |error: &dyn std::fmt::Display| Trouble::NoVerdict(error.to_string());
    let len = i64::try_from(len).map_err(|error| no_verdict(&error))?;
    let mut scanner = yara_x::Scanner::new(&set.rules);
    scanner.set_timeout(within);
    scanner.set_global(WITNESS_VARIABLE, len).map_err(|error| no_verdict(&error))?;
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let results = scanner.scan_file(path).map_err(|error| match error {
        yara_x::ScanError::Timeout => Trouble::TimedOut,
        yara_x::ScanError::OpenError { err, .. } | yara_x::ScanError::MapError { err, .. } => Trouble::Spool(err),
        other => no_verdict(&other),
    })?;
    let mut looked_at_whole = false;
    let mut matches = Vec::new();
    for rule in results.matching_rules() {
        if rule.namespace() == WITNESS_NAMESPACE {
            looked_at_whole = true;
        } else {
            matches.push(rule_match(&rule));
        }
    }
    if !looked_at_whole {
        return Err(no_verdict(&"(the engine did not look at all bytes)"));
    }
    matches.sort_by(|a, b| {
        b.severity.cmp(&a.severity).then_with(|| (&a.namespace, &a.rule).cmp(&(&b.namespace, &b.rule)))
    });
    Ok(matches)
}

/// The worst match decides. `matches` are worst first.
pub(super) fn finding(matches: &[RuleMatch]) -> Finding {
    let name = |found: &RuleMatch| format!("{}:{}", found.namespace, found.rule);
    match matches.first() {
        Some(worst) if worst.severity == Severity::Reject => Finding::Infected { signature: name(worst) },
        Some(worst) if worst.severity == Severity::Hold => {
            let holds = matches.iter().take_while(|found| found.severity == Severity::Hold);
            let (shown, more) = (holds.clone().take(SHOWN_HOLDS), holds.count().saturating_sub(SHOWN_HOLDS));
            let names = shown.map(name).collect::<Vec<_>>().join(", ");
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            Finding::Unscannable { reason: HoldReason::Flagged, detail: format!("matched by {names}{more}") }
        }
        Some(_) | None => Finding::Clean,
    }
}

/// At most `limit` matches, the worst, and where some are left out a last one that tells how many.
pub(super) fn cut(mut matches: Vec<RuleMatch>, limit: usize) -> Vec<RuleMatch> {
    let omitted = matches.len().saturating_sub(limit);
    if omitted > 0 {
        matches.truncate(limit);
        matches.push(RuleMatch {
            namespace: WITNESS_NAMESPACE.to_owned(),
            rule: OMITTED_RULE.to_owned(),
            severity: Severity::Note,
            metadata: BTreeMap::from([("omitted".to_owned(), omitted.to_string())]),
        });
    }
    matches
}

fn rule_match(rule: &Rule<'_, '_>) -> RuleMatch {
    RuleMatch {
        namespace: rule.namespace().to_owned(),
        rule: rule.identifier().to_owned(),
        severity: severity(rule.tags().map(|tag| tag.identifier().to_owned())),
        metadata: metadata(rule.metadata()),
    }
}

/// The worst that a tag asks for. A rule without such a tag rejects, and so does one whose tag is misspelt.
fn severity(tags: impl Iterator<Item = String>) -> Severity {
    let asked = tags.filter_map(|tag| match tag.as_str() {
        "reject" => Some(Severity::Reject),
        "hold" => Some(Severity::Hold),
        "note" => Some(Severity::Note),
        _ => None,
    });
    asked.max().unwrap_or(Severity::Reject)
}

/// What a rule says of itself; a key that it has several times keeps all its values, and all is cut to a size that a
/// record can bear.
fn metadata<'r>(of_rule: impl Iterator<Item = (&'r str, MetaValue<'r>)>) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::<String, String>::new();
    for (key, value) in of_rule.take(KEPT_METADATA) {
        let value = match value {
            MetaValue::Integer(number) => number.to_string(),
            MetaValue::Float(number) => number.to_string(),
            MetaValue::Bool(truth) => truth.to_string(),
            MetaValue::String(text) => text.to_owned(),
            MetaValue::Bytes(bytes) => bytes.to_string(),
        };
        let value = match kept.entry(key.to_owned()) {
            Entry::Vacant(vacant) => vacant.insert(value),
            Entry::Occupied(earlier) => {
                let earlier = earlier.into_mut();
                earlier.push_str(", ");
                earlier.push_str(&value);
                earlier
            }
        };
        if let Some((end, _)) = value.char_indices().nth(SHOWN_CHARS) {
            value.truncate(end);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: &str, severity: Severity) -> RuleMatch {
        RuleMatch { namespace: "a.yar".to_owned(), rule: rule.to_owned(), severity, metadata: BTreeMap::new() }
    }

    #[test]
    fn the_worst_tag_counts_and_none_rejects() {
        for (tags, expected) in [
            (vec!["note"], Severity::Note),
            (vec!["hold"], Severity::Hold),
            (vec!["note", "hold"], Severity::Hold),
            (vec!["reject", "note"], Severity::Reject),
            (vec![], Severity::Reject),
            (vec!["trojan"], Severity::Reject),
            (vec!["Note"], Severity::Reject),
            (vec!["trojan", "note"], Severity::Note),
        ] {
            assert_eq!(severity(tags.iter().map(ToString::to_string)), expected, "{tags:?}");
        }
    }

    #[test]
    fn the_worst_match_decides() {
        let (reject, note) = (found("r", Severity::Reject), found("n", Severity::Note));
        assert_eq!(finding(&[]), Finding::Clean);
        assert_eq!(finding(std::slice::from_ref(&note)), Finding::Clean);
        assert_eq!(finding(&[reject, note.clone()]), Finding::Infected { signature: "a.yar:r".to_owned() });
        let mut holds: Vec<_> = ["h1", "h2", "h3", "h4"].map(|rule| found(rule, Severity::Hold)).into();
        holds.push(note);
        let Finding::Unscannable { reason: HoldReason::Flagged, detail } = finding(&holds) else { panic!() };
        assert_eq!(detail, "matched by a.yar:h1, a.yar:h2, a.yar:h3 and 1 more");
    }

    #[test]
    fn what_is_cut_off_is_told() {
        let matches = vec![found("r", Severity::Reject), found("n", Severity::Note), found("o", Severity::Note)];
        assert_eq!(cut(matches.clone(), 3), matches);
        let cut = cut(matches.clone(), 1);
        assert_eq!(cut[0], matches[0]);
        assert_eq!((cut.len(), cut[1].metadata["omitted"].as_str()), (2, "2"));
    }

    #[test]
    fn metadata_is_text_and_bounded() {
        let long = "é".repeat(2 * SHOWN_CHARS);
        let given = [
            ("n", MetaValue::Integer(-1)),
            ("f", MetaValue::Float(0.5)),
            ("t", MetaValue::Bool(true)),
            ("b", MetaValue::Bytes(b"a\xff".into())),
            ("d", MetaValue::String("one")),
            ("d", MetaValue::String("two")),
            ("long", MetaValue::String(&long)),
        ];
        let kept = metadata(given.into_iter());
        let expected = [("n", "-1"), ("f", "0.5"), ("t", "true"), ("b", "a\u{fffd}"), ("d", "one, two")];
        for (key, value) in expected {
            assert_eq!(kept[key], value, "{key}");
        }
        assert_eq!(kept["long"].chars().count(), SHOWN_CHARS);
        let names: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
        assert_eq!(metadata(names.iter().map(|name| (name.as_str(), MetaValue::Bool(true)))).len(), KEPT_METADATA);
    }
}
