//! Against the real engine, with rules in real folders.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    sync::Mutex,
};

use anyhow::{Result, bail};
use lazaret_core::{Severity, Sha256Digest};
use lazaret_testkit::scanners::{Fixtures, conforms, eicar, spooled};
use tempfile::TempDir;
use tokio::time::sleep;

use super::*;

const SOON: Duration = Duration::from_secs(10);
const EVENTUALLY: Duration = Duration::from_secs(30);

/// Rule files are written by the real clock.
#[expect(clippy::disallowed_methods, reason = "the clock of the scanner, which takes it as an argument")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// A folder of rules, and all news of them.
struct Station {
    folder: TempDir,
    news: Arc<Mutex<Vec<YaraNews>>>,
}

impl Station {
    fn new(rules: &[(&str, &str)]) -> Self {
        let station = Self { folder: tempfile::tempdir().unwrap(), news: Arc::default() };
        for (name, text) in rules {
            station.write(name, text);
        }
        station
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn settings(&self) -> YaraSettings {
        let news = Arc::clone(&self.news);
        let observer: YaraObserver = Arc::new(move |told| news.lock().unwrap().push(told.clone()));
        let settings = YaraSettings::new("yara".parse().unwrap(), self.folder.path().to_owned(), observer, now);
        YaraSettings { poll_interval: Duration::from_millis(20), ..settings }
    }

    fn scanner(&self) -> YaraScanner {
        YaraScanner::new(self.settings()).unwrap()
    }

    fn news(&self) -> Vec<YaraNews> {
        self.news.lock().unwrap().clone()
    }
}

/// A rule for a text, under a tag or none.
fn rule(name: &str, tag: &str, text: &str) -> String {
    format!("rule {name} {tag} {{ strings: $text = \"{text}\" condition: $text }}")
}

/// Bytes, so that no scanner finds EICAR here.
fn eicar_rule() -> String {
    let bytes: Vec<String> = eicar().iter().map(|byte| format!("{byte:02X}")).collect();
    format!("rule Eicar {{ strings: $eicar = {{ {} }} condition: $eicar at 0 }}", bytes.join(" "))
}

async fn report(scanner: &YaraScanner, bytes: &[u8]) -> Result<ScanReport, ScanError> {
    scanner.scan(&spooled(bytes).unwrap(), SOON).await
}

async fn finding(scanner: &YaraScanner, bytes: &[u8]) -> Finding {
    report(scanner, bytes).await.unwrap().finding
}

fn infected(signature: &str) -> Finding {
    Finding::Infected { signature: signature.to_owned() }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < EVENTUALLY, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn eventually_broken(scanner: &YaraScanner) -> String {
    eventually("the rules are broken", || scanner.broken().is_some()).await;
    scanner.broken().unwrap()
}

async fn eventually_good(scanner: &YaraScanner, but: &EngineVersion) -> EngineVersion {
    let version = || scanner.in_force.set().version.clone();
    eventually("other rules are in force", || version() != *but && scanner.broken().is_none()).await;
    version()
}

#[tokio::test]
async fn conforms_to_the_port() -> Result<()> {
    const LIMIT: usize = 41_000_000;
    let station = Station::new(&[("eicar.yar", &eicar_rule())]);
    let settings = YaraSettings { max_object_bytes: LIMIT as u64, ..station.settings() };
    let fixtures = Fixtures {
        clean: b"nothing to see here".to_vec(),
        infected: eicar(),
        signature: "eicar.yar:Eicar".to_owned(),
        encrypted: None,
        over_limits: Some(vec![7; LIMIT + 1]),
        huge: vec![7; LIMIT],
    };
    conforms(&YaraScanner::new(settings)?, &fixtures).await
}

#[tokio::test]
async fn the_worst_tag_decides_and_all_matches_are_on_record() {
    let station = Station::new(&[
        ("a.yar", &rule("noted", ": note", "one")),
        ("office/b.yara", &rule("held", ": macro hold", "two")),
        ("office/c.yar", "rule refused { meta: author = \"me\" score = 75 strings: $a = \"three\" condition: $a }"),
    ]);
    let scanner = station.scanner();
    assert_eq!(finding(&scanner, b"zero").await, Finding::Clean);

    let noted = report(&scanner, b"one").await.unwrap();
    assert_eq!(noted.finding, Finding::Clean);
    let record = |matches: &[RuleMatch]| -> Vec<(String, Severity)> {
        matches.iter().map(|found| (format!("{}:{}", found.namespace, found.rule), found.severity)).collect()
    };
    assert_eq!(record(&noted.matches), [("a.yar:noted".to_owned(), Severity::Note)]);

    let held = finding(&scanner, b"one two").await;
    let Finding::Unscannable { reason: HoldReason::Flagged, detail } = held else { panic!("{held:?}") };
    assert_eq!(detail, "matched by office/b.yara:held");

    let refused = report(&scanner, b"one two three").await.unwrap();
    assert_eq!(refused.finding, infected("office/c.yar:refused"));
    let expected = [
        ("office/c.yar:refused".to_owned(), Severity::Reject),
        ("office/b.yara:held".to_owned(), Severity::Hold),
        ("a.yar:noted".to_owned(), Severity::Note),
    ];
    assert_eq!(record(&refused.matches), expected);
    let metadata = [("author", "me"), ("score", "75")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(refused.matches[0].metadata, BTreeMap::from(metadata));
    assert_eq!(refused.engine, scanner.check().await.unwrap());
    assert!(refused.engine.signatures_at.is_some());
}

#[tokio::test]
async fn private_and_global_rules_are_what_yara_makes_them() {
    let confined =
        "global private rule small { condition: filesize < 10 } rule found { strings: $a = \"x\" condition: $a }";
    let private = "private rule part { strings: $a = \"y\" condition: $a } rule whole { condition: part }";
    let station = Station::new(&[("a.yar", confined), ("b.yar", private)]);
    let scanner = station.scanner();
    assert_eq!(finding(&scanner, b"x").await, infected("a.yar:found"));
    assert_eq!(finding(&scanner, b"x, but longer").await, Finding::Clean, "the global rule rules its own file");
    let whole = report(&scanner, b"y, but longer").await.unwrap();
    assert_eq!(whole.finding, infected("b.yar:whole"));
    assert_eq!(whole.matches.len(), 1, "a private rule is never on record: {whole:?}");
}

#[tokio::test]
async fn matches_beyond_the_limit_are_counted() {
    let rules: Vec<String> = (0..9).map(|n| rule(&format!("r{n}"), ": note", "x")).collect();
    let station = Station::new(&[("a.yar", &rules.join("\n")), ("z.yar", &rule("worst", "", "x"))]);
    let scanner = YaraScanner::new(YaraSettings { max_matches: 3, ..station.settings() }).unwrap();
    let report = report(&scanner, b"x").await.unwrap();
    assert_eq!(report.finding, infected("z.yar:worst"));
    let rules: Vec<&str> = report.matches.iter().map(|found| found.rule.as_str()).collect();
    assert_eq!(rules, ["worst", "r0", "r1", "more_matches"]);
    assert_eq!(report.matches[3].metadata["omitted"], "7");
}

#[tokio::test]
async fn added_changed_and_deleted_rules_are_in_force_within_seconds() {
    let station = Station::new(&[("a.yar", &rule("a", "", "one"))]);
    let settings = YaraSettings { poll_interval: Duration::from_secs(1), ..station.settings() };
    let scanner = YaraScanner::new(settings).unwrap();
    let first = scanner.check().await.unwrap();
    assert_eq!(finding(&scanner, b"two").await, Finding::Clean);

    let added = Instant::now();
    station.write("sub/b.yar", &rule("b", "", "two"));
    let second = eventually_good(&scanner, &first).await;
    assert!(added.elapsed() < SOON, "it took {:?}", added.elapsed());
    assert_eq!(finding(&scanner, b"two").await, infected("sub/b.yar:b"));

    station.write("sub/b.yar", &rule("c", ": note", "two"));
    let third = eventually_good(&scanner, &second).await;
    assert_eq!(finding(&scanner, b"two").await, Finding::Clean);

    fs::remove_file(station.path("a.yar")).unwrap();
    eventually_good(&scanner, &third).await;
    assert_eq!(finding(&scanner, b"one").await, Finding::Clean);
    let told = station.news().into_iter().map(|told| match told {
        YaraNews::InForce { rules, .. } => rules,
        YaraNews::Broken { why } => panic!("{why}"),
    });
    assert_eq!(told.collect::<Vec<_>>(), [1, 2, 2, 1], "numbers of rules");
}

#[tokio::test]
async fn broken_rules_change_nothing_and_say_where_they_are_broken() {
    let station = Station::new(&[("a.yar", &rule("a", "", "one"))]);
    let scanner = station.scanner();
    let before = scanner.check().await.unwrap();

    station.write("b.yar", "rule b {\n  condition:\n    neither or nor\n}");
    let why = eventually_broken(&scanner).await;
    assert!(why.contains("b.yar:3:5: unknown identifier `neither`"), "{why}");
    assert_eq!(scanner.check().await.unwrap(), before);
    let report = report(&scanner, b"one").await.unwrap();
    assert_eq!((report.finding, report.engine), (infected("a.yar:a"), before.clone()));
    assert_eq!(station.news()[1..], [YaraNews::Broken { why: why.clone() }], "told once");

    let restarted = YaraScanner::new(station.settings()).unwrap_err();
    assert_eq!(restarted.to_string(), why, "nothing starts with them");

    station.write("b.yar", &rule("b", "", "two"));
    eventually_good(&scanner, &before).await;
    assert_eq!(finding(&scanner, b"two").await, infected("b.yar:b"));
}

#[tokio::test]
async fn a_folder_without_rules_is_refused_at_the_start_and_changes_nothing_later() {
    let station = Station::new(&[("README.md", "no rules here")]);
    assert!(matches!(YaraScanner::new(station.settings()), Err(YaraError::NoRules)));

    station.write("a.yar", &rule("a", "", "one"));
    let scanner = station.scanner();
    fs::remove_file(station.path("a.yar")).unwrap();
    let why = eventually_broken(&scanner).await;
    assert_eq!(why, YaraError::NoRules.to_string());
    assert_eq!(finding(&scanner, b"one").await, infected("a.yar:a"));

    fs::remove_dir_all(station.folder.path()).unwrap();
    eventually("the folder is gone", || scanner.broken().is_some_and(|now| now != why)).await;
    assert_eq!(finding(&scanner, b"one").await, infected("a.yar:a"));
    assert!(matches!(YaraScanner::new(station.settings()), Err(YaraError::Unreadable { .. })));
}

#[tokio::test]
async fn a_verdict_and_its_version_are_of_the_same_rules() {
    let station = Station::new(&[("a.yar", &rule("r0", "", "x"))]);
    let scanner = station.scanner();
    let mut seen = BTreeMap::<String, Finding>::new();
    let mut look = async || {
        let report = report(&scanner, b"x").await.unwrap();
        let of_set = seen.entry(report.engine.signatures.unwrap()).or_insert(report.finding.clone());
        assert_eq!(*of_set, report.finding);
    };
    look().await;
    for n in 1..=5 {
        let version = scanner.check().await.unwrap();
        station.write("a.yar", &rule(&format!("r{n}"), "", "x"));
        let started = Instant::now();
        while scanner.check().await.unwrap() == version {
            assert!(started.elapsed() < EVENTUALLY, "the rules are never in force");
            look().await;
        }
        look().await;
    }
    let distinct: std::collections::BTreeSet<_> = seen.values().map(|finding| format!("{finding:?}")).collect();
    assert_eq!((seen.len(), distinct.len()), (6, 6));
}

#[tokio::test]
async fn old_rules_are_stale_where_an_age_is_demanded() {
    let station = Station::new(&[("a.yar", &rule("a", "", "one")), ("b.yar", &rule("b", "", "two"))]);
    let set_back = |name, hours| {
        let back = Duration::from_hours(hours);
        let file = File::options().write(true).open(station.path(name)).unwrap();
        file.set_modified(file.metadata().unwrap().modified().unwrap() - back).unwrap();
    };
    set_back("a.yar", 50);
    let settings = YaraSettings { max_signature_age: Some(Duration::from_hours(24)), ..station.settings() };
    let scanner = YaraScanner::new(settings).unwrap();
    let before = scanner.check().await.unwrap();
    assert_eq!(finding(&scanner, b"one").await, infected("a.yar:a"), "the newest file counts");

    set_back("b.yar", 25);
    eventually("the older rules are in force", || scanner.in_force.set().version != before).await;
    let answer = report(&scanner, b"one").await;
    assert!(matches!(answer, Err(ScanError::StaleSignatures { .. })), "{answer:?}");
    assert!(matches!(scanner.check().await, Err(ScanError::StaleSignatures { .. })));
}

/// Work without end for an object that begins so.
const ENDLESS: &str = "rule endless { condition: uint8(0) == 0x23 and \
    for all i in (0..filesize) : (for all j in (0..filesize) : (uint8(i) + uint8(j) >= 0)) }";

#[tokio::test]
async fn a_pathological_rule_meets_the_deadline_and_its_slot_comes_back() {
    let station = Station::new(&[("a.yar", ENDLESS), ("b.yar", &rule("b", "", "found"))]);
    let scanner = YaraScanner::new(YaraSettings { max_at_once: NonZeroUsize::MIN, ..station.settings() }).unwrap();
    let endless = spooled(&vec![b'#'; 4_000_000]).unwrap();
    let deadline = Duration::from_millis(300);
    let started = Instant::now();
    let missed = scanner.scan(&endless, deadline).await;
    assert!(
        matches!(missed, Err(ScanError::DeadlineExceeded { deadline: told, .. }) if told == deadline),
        "{missed:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(2), "it took {:?}", started.elapsed());
    assert_eq!(scanner.slots.available_permits(), 0, "the engine is still at it");

    let waited_in_vain = scanner.scan(&spooled(b"x").unwrap(), Duration::from_millis(10)).await;
    assert!(matches!(waited_in_vain, Err(ScanError::DeadlineExceeded { .. })), "{waited_in_vain:?}");
    assert_eq!(finding(&scanner, b"found").await, infected("b.yar:b"), "well before the endless rule would end");
}

#[tokio::test]
async fn a_large_object_without_a_name_is_looked_at_to_its_end() -> Result<()> {
    const LEN: u64 = 40_000_000;
    let station = Station::new(&[("a.yar", &rule("marker", "", "the very end"))]);
    let scanner = station.scanner();
    for marked in [false, true] {
        let mut file = tempfile::tempfile()?;
        file.set_len(LEN - 12)?;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0))?;
        file.write_all(if marked { b"the very end" } else { b"the very And" })?;
        let object = Spooled::new(file, LEN, Sha256Digest::from_bytes([0; 32]), ());
        let expected = if marked { infected("a.yar:marker") } else { Finding::Clean };
        assert_eq!(scanner.scan(&object, EVENTUALLY).await?.finding, expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_spool_that_is_not_as_long_as_it_should_be_has_no_verdict() {
    let station = Station::new(&[("a.yar", &rule("a", "", "one"))]);
    let scanner = station.scanner();
    for len in [3, 20] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"ten bytes.").unwrap();
        let object = Spooled::new(file, len, Sha256Digest::from_bytes([0; 32]), ());
        let cut = scanner.scan(&object, SOON).await;
        assert!(matches!(&cut, Err(ScanError::NoVerdict { .. })), "{cut:?}");
    }
}

#[tokio::test]
async fn a_spool_that_cannot_be_opened_is_a_spool_error() -> Result<()> {
    let station = Station::new(&[("a.yar", &rule("a", "", "one"))]);
    let socket = std::os::unix::net::UnixStream::pair()?.0;
    let object =
        Spooled::new(File::from(std::os::fd::OwnedFd::from(socket)), 10, Sha256Digest::from_bytes([0; 32]), ());
    match station.scanner().scan(&object, SOON).await {
        Err(ScanError::Spool { .. }) => Ok(()),
        other => bail!("{other:?}"),
    }
}

#[tokio::test]
async fn a_dropped_scanner_leaves_no_watch() {
    let station = Station::new(&[("a.yar", &rule("a", "", "one"))]);
    let scanner = station.scanner();
    let rules = Arc::downgrade(&scanner.in_force);
    drop(scanner);
    eventually("the rules are gone", || rules.upgrade().is_none()).await;
}
