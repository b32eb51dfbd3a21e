//! Rule files, compiled and proven to run.

use std::{fmt, fs::File, io::Write, time::Duration};

use lazaret_core::{EngineVersion, Sha256Digest, Timestamp, error::chain};
use rustix::fs::{MemfdFlags, memfd_create};
use sha2::{Digest, Sha256};
use yara_x::{Compiler, SourceCode};

use super::{YaraError, folder::Source, judge};

/// The engine tells its version nowhere. A test compares this with the lock file.
const ENGINE: &str = "YARA-X 1.22.1";
/// How much of the digest of all sources names a set.
const SHOWN_DIGITS: usize = 16;
const SHOWN_ERRORS: usize = 5;
const SHOWN_WARNINGS: usize = 5;
/// For the trial of a set on one byte.
const TRIAL_WITHIN: Duration = Duration::from_secs(30);

/// A last rule, of our own, that matches every object which was looked at to its end. A scan without it is none.
pub(super) const WITNESS_NAMESPACE: &str = "lazaret";
/// Set to the object's length for every scan.
pub(super) const WITNESS_VARIABLE: &str = "lazaret_object_bytes";
const WITNESS: &str = "rule looked_at_whole { condition: filesize == lazaret_object_bytes }";

/// A set of rules that can scan.
pub(super) struct RuleSet {
    pub(super) rules: yara_x::Rules,
    pub(super) version: EngineVersion,
    /// How many there are, the private ones included.
    pub(super) count: usize,
    /// What the compiler minds, without being an error.
    pub(super) warnings: Vec<String>,
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleSet").field("version", &self.version).field("count", &self.count).finish_non_exhaustive()
    }
}

impl RuleSet {
    /// Each file is a namespace of its own. All files must compile, and at least one rule must be able to say something.
    pub(super) fn compile(sources: &[Source]) -> Result<Self, YaraError> {
        let mut compiler = Compiler::new();
        compiler.enable_includes(false);
        let own = |error: &dyn fmt::Display| YaraError::Engine { detail: error.to_string() };
        compiler.define_global(WITNESS_VARIABLE, 0_i64).map_err(|error| own(&error))?;
        let (mut broken, mut warnings) = (Vec::new(), Vec::new());
        for source in sources {
            compiler.new_namespace(&source.namespace);
            let code = SourceCode::from(source.text.as_slice()).with_origin(&source.namespace);
            if let Err(error) = compiler.add_source(code) {
                let label = error.labels().next().map(|label| (label.span().start(), label.text().to_owned()));
                broken.push(located(error.title(), label, source));
            }
            for warning in compiler.warnings().iter().skip(warnings.len()) {
                let label = warning.labels().next().map(|label| (label.span().start(), label.text().to_owned()));
                warnings.push(located(warning.title(), label, source));
            }
        }
        if !broken.is_empty() {
            return Err(YaraError::Broken { files: broken.len(), errors: listed(&broken, SHOWN_ERRORS) });
        }
        warnings.truncate(SHOWN_WARNINGS);
        compiler.new_namespace(WITNESS_NAMESPACE);
        compiler.add_source(WITNESS).map_err(|error| own(&error))?;
        let rules = compiler.build();
        let count = rules.iter().len() - 1;
        if !rules.iter().any(|rule| !rule.is_private() && rule.namespace() != WITNESS_NAMESPACE) {
            return Err(YaraError::NoRules);
        }
        let set = Self { rules, version: version(sources), count, warnings };
        set.tried()
    }

    /// Scans one byte: that shows code that may be made but not run, and a system that cannot reopen descriptors.
    fn tried(self) -> Result<Self, YaraError> {
        let failed = |error: &dyn fmt::Display| YaraError::Engine { detail: error.to_string() };
        let mut file = File::from(memfd_create("trial", MemfdFlags::CLOEXEC).map_err(|error| failed(&error))?);
        file.write_all(b".").map_err(|error| failed(&error))?;
        judge::matches(&self, &file, 1, TRIAL_WITHIN).map_err(|trouble| failed(&chain(&trouble)))?;
        Ok(self)
    }
}

fn version(sources: &[Source]) -> EngineVersion {
    let mut hasher = Sha256::new();
    for part in sources.iter().flat_map(|source| [source.namespace.as_bytes(), &source.text]) {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    let digest = Sha256Digest::from_bytes(hasher.finalize().into()).to_string();
    let newest = sources.iter().map(|source| source.modified).max();
    EngineVersion {
        engine: ENGINE.to_owned(),
        signatures: Some(digest.chars().take(SHOWN_DIGITS).collect()),
        signatures_at: newest.and_then(|newest| Timestamp::try_from(newest).ok()),
    }
}

/// `file:line:column: what is wrong (and with what)`.
fn located(title: &str, label: Option<(usize, String)>, source: &Source) -> String {
    let Some((at, text)) = label else { return format!("{}: {title}", source.namespace) };
    let before = source.text.get(..at).unwrap_or(&source.text);
    let line = before.split(|byte| *byte == b'\n').count();
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let column = 1 + String::from_utf8_lossy(&before[line_start..]).chars().count();
    format!("{}:{line}:{column}: {title} ({text})", source.namespace)
}

fn listed(errors: &[String], shown: usize) -> String {
    let more = errors.len().saturating_sub(shown);
    let text = errors.iter().take(shown).map(String::as_str).collect::<Vec<_>>().join("; ");
    if more == 0 { text } else { format!("{text}; and {more} more") }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn source(namespace: &str, text: &str) -> Source {
        Source { namespace: namespace.to_owned(), text: text.into(), modified: SystemTime::UNIX_EPOCH }
    }

    fn error(text: &str) -> String {
        let good = source("good.yar", "rule good { condition: true }");
        RuleSet::compile(&[good, source("dir/bad.yar", text)]).unwrap_err().to_string()
    }

    #[test]
    fn the_version_is_the_one_in_the_lock_file() {
        let lock = include_str!("../../../../Cargo.lock");
        let version = ENGINE.strip_prefix("YARA-X ").unwrap();
        assert!(lock.contains(&format!("name = \"yara-x\"\nversion = \"{version}\"\n")));
    }

    #[test]
    fn an_error_names_file_line_and_column() {
        for (text, place, what) in [
            ("rule a {\n  condition:\n    écru and\n}", "dir/bad.yar:3:5: ", "syntax error"),
            ("rule a {\n  condition:\n    /* é */ ecru\n}", "dir/bad.yar:3:13: ", "unknown identifier `ecru`"),
            ("rule a { condition: true }\nrule a { condition: true }", "dir/bad.yar:2:6: ", "duplicate rule `a`"),
            ("import \"pe\"\nrule a { condition: pe.is_pe }", "dir/bad.yar:1:1: ", "unknown module `pe`"),
            ("include \"/etc/passwd\"", "dir/bad.yar:1:1: ", "include"),
        ] {
            let error = error(text);
            assert!(error.contains(place) && error.contains(what), "{error}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_located_too() {
        let bad = Source { text: b"// \xE9\nrule a { condition: true }".to_vec(), ..source("latin1.yar", "") };
        let error = RuleSet::compile(&[bad]).unwrap_err().to_string();
        assert!(error.contains("latin1.yar:1:4: "), "{error}");
    }

    #[test]
    fn a_warning_has_its_place_too() {
        let slow = "rule b { condition: for all i in (0..filesize) : (uint8(i) == 0) }";
        let good = source("a.yar", "rule a { condition: filesize > 1 }");
        let set = RuleSet::compile(&[good, source("b.yar", slow)]).unwrap();
        assert_eq!((set.warnings.len(), set.count), (1, 2));
        assert!(set.warnings[0].starts_with("b.yar:1:34: potentially slow loop"), "{:?}", set.warnings);
    }

    #[test]
    fn every_broken_file_is_told_up_to_a_limit() {
        let many: Vec<_> = (0..8).map(|n| source(&format!("{n}.yar"), "rule")).collect();
        let error = RuleSet::compile(&many).unwrap_err().to_string();
        assert!(
            error.contains("8 rule files") && error.contains("0.yar:1") && error.ends_with("; and 3 more"),
            "{error}"
        );
    }

    #[test]
    fn a_set_that_can_say_nothing_is_refused() {
        for text in ["", "// nothing", "private rule a { condition: true }"] {
            let refused = RuleSet::compile(&[source("a.yar", text)]);
            assert!(matches!(refused, Err(YaraError::NoRules)), "{text:?}: {refused:?}");
        }
        assert!(matches!(RuleSet::compile(&[]), Err(YaraError::NoRules)));
    }

    #[test]
    fn the_version_tells_names_and_texts_apart() {
        let digest = |sources: &[Source]| version(sources).signatures.unwrap();
        let one = digest(&[source("a", "bc")]);
        assert_eq!(one.len(), SHOWN_DIGITS);
        assert_eq!(one, digest(&[source("a", "bc")]));
        for other in [vec![source("ab", "c")], vec![source("a", "b"), source("", "c")]] {
            assert_ne!(one, digest(&other), "{other:?}");
        }
    }
}
