//! Against a clamd that is told what to say, and against a real one.

use std::{env, fs, num::NonZeroUsize};

use anyhow::{Context, Result, anyhow};
use lazaret_testkit::scanners::{Answer, FakeClamd, Fixtures, Listen, conforms, eicar, spooled};

use super::*;

const SOON: Duration = Duration::from_secs(10);

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn settings(address: &str) -> ClamdSettings {
    ClamdSettings::new("clamd".parse().unwrap(), address.parse().unwrap(), now)
}

/// A scripted clamd is asked about no archives.
fn scanner(fake: &FakeClamd) -> ClamdScanner {
    ClamdScanner::new(ClamdSettings { require_alerts: false, ..settings(fake.address()) })
}

async fn scan(scanner: &ClamdScanner) -> Result<ScanReport, ScanError> {
    scanner.scan(&spooled(b"some bytes").unwrap(), SOON).await
}

fn version(number: u32) -> Answer {
    Answer::line(&format!("ClamAV 1.4.6/{number}/Fri Nov 20 08:00:00 2026"))
}

#[tokio::test]
async fn trouble_is_never_a_verdict() {
    for listen in [Listen::Unix, Listen::Tcp] {
        let fake = FakeClamd::start(listen).await.unwrap();
        let scanner = scanner(&fake);
        let subject = if listen == Listen::Unix { "fd[9]" } else { "stream" };
        let other = if listen == Listen::Unix { "stream" } else { "fd[9]" };
        for reply in [
            String::new(),
            "\0".to_owned(),
            format!("{subject}: "),
            format!("{subject}: OK"),
            format!("{subject}: Eicar FOUND"),
            format!("{subject}: (null) FOUND\0"),
            format!("{subject}: OK\0{subject}: OK\0"),
            format!("{subject}: Can't allocate memory ERROR\0"),
            format!("{subject}: Error writing to temporary file ERROR\0"),
            format!("{other}: OK\0"),
            "COMMAND READ TIMED OUT\0".to_owned(),
            "OK\0".to_owned(),
            "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
            format!("{subject}: {}", "x".repeat(1_000_000)),
        ] {
            fake.answers([Answer::Say(reply.clone().into_bytes())]);
            match scan(&scanner).await {
                Err(ScanError::NoVerdict { answer, .. }) => assert!(answer.len() <= 200, "{answer}"),
                other => panic!("{reply:?} over {listen:?}: {other:?}"),
            }
        }
        fake.answers([Answer::line(&format!("{subject}: OK"))]);
        assert_eq!(scan(&scanner).await.unwrap().finding, Finding::Clean, "the same words whole");
    }
}

#[tokio::test]
async fn an_early_reply_is_read_though_the_rest_is_refused() {
    let limit = "INSTREAM size limit exceeded. ERROR";
    let object = spooled(&vec![7; 30_000_000]).unwrap();
    for listen in [Listen::Unix, Listen::Tcp] {
        let fake = FakeClamd::start(listen).await.unwrap();
        fake.lose_descriptors();
        fake.answers([Answer::SayEarly(format!("{limit}\0").into_bytes())]);
        let report = scanner(&fake).scan(&object, SOON).await.unwrap();
        let expected = Finding::Unscannable { reason: HoldReason::ScanLimits, detail: limit.to_owned() };
        assert_eq!(report.finding, expected, "{listen:?}");

        fake.answers([Answer::SayEarly(Vec::new())]);
        let hung_up = scanner(&fake).scan(&object, SOON).await;
        assert!(matches!(hung_up, Err(ScanError::NoVerdict { .. })), "{listen:?}: {hung_up:?}");
    }
}

#[tokio::test]
async fn a_silent_clamd_meets_the_deadline() {
    for listen in [Listen::Unix, Listen::Tcp] {
        let fake = FakeClamd::start(listen).await.unwrap();
        let scanner = scanner(&fake);
        let deadline = Duration::from_millis(200);
        let started = Instant::now();
        let silent = scanner.scan(&spooled(b"some bytes").unwrap(), deadline).await;
        assert!(matches!(silent, Err(ScanError::DeadlineExceeded { .. })), "{silent:?}");
        assert!(started.elapsed() < SOON);
    }
}

#[tokio::test]
async fn a_clamd_that_does_not_say_its_version_is_unavailable() {
    let fake = FakeClamd::start(Listen::Unix).await.unwrap();
    let http = Answer::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    for answer in [Answer::Stall, Answer::Say(Vec::new()), http] {
        fake.versions([answer]);
        let error = scan(&scanner(&fake)).await.unwrap_err();
        assert!(matches!(error, ScanError::Unavailable { .. }), "{error:?}");
    }
    assert_eq!(fake.descriptors(), 0, "no object goes to it");
}

#[tokio::test]
async fn after_trouble_the_next_object_goes_only_to_a_clamd_that_speaks() {
    let fake = FakeClamd::start(Listen::Unix).await.unwrap();
    fake.answers([Answer::Say(Vec::new())]);
    let scanner = scanner(&fake);
    assert!(matches!(scan(&scanner).await, Err(ScanError::NoVerdict { .. })));
    fake.versions([Answer::Say(Vec::new())]);
    assert!(matches!(scan(&scanner).await, Err(ScanError::Unavailable { .. })));
    assert_eq!(fake.descriptors(), 1);
}

#[tokio::test]
async fn a_clamd_that_cannot_scan_the_test_archives_is_unavailable() {
    let fake = FakeClamd::start(Listen::Unix).await.unwrap();
    fake.answers([Answer::line("Error writing to temporary file ERROR")]);
    let error = scan(&ClamdScanner::new(settings(fake.address()))).await.unwrap_err();
    assert!(matches!(error, ScanError::Unavailable { .. }), "{error:?}");
    assert_eq!(fake.descriptors(), 0, "no object goes to it");
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let fake = FakeClamd::start(Listen::Tcp).await.unwrap();
    let gone = scanner(&fake);
    drop(fake);
    let missing = ClamdScanner::new(settings("unix:/nonexistent/clamd.ctl"));
    for scanner in [gone, missing] {
        let error = scan(&scanner).await.unwrap_err();
        assert!(matches!(error, ScanError::Unavailable { .. }), "{error:?}");
        assert!(matches!(scanner.check().await, Err(ScanError::Unavailable { .. })));
    }
}

#[tokio::test]
async fn a_lost_descriptor_is_streamed_instead_and_from_then_on() {
    let fake = FakeClamd::start(Listen::Unix).await.unwrap();
    fake.lose_descriptors();
    fake.answers([Answer::line("stream: OK")]);
    let scanner = scanner(&fake);
    for _ in 0..3 {
        assert_eq!(scan(&scanner).await.unwrap().finding, Finding::Clean);
    }
    assert_eq!((fake.descriptors(), fake.streams()), (1, 3));
}

#[tokio::test]
async fn an_error_about_a_descriptor_is_not_asked_again() {
    let fake = FakeClamd::start(Listen::Unix).await.unwrap();
    fake.answers([Answer::line("fd[9]: Access denied. ERROR")]);
    assert!(matches!(scan(&scanner(&fake)).await, Err(ScanError::NoVerdict { .. })));
    assert_eq!((fake.descriptors(), fake.streams()), (1, 0));
}

#[tokio::test]
async fn a_reload_during_the_scan_means_another_scan() {
    let fake = FakeClamd::start(Listen::Unix).await.unwrap();
    fake.versions([version(1), version(2)]);
    fake.answers([Answer::line("fd[9]: OK"), Answer::line("fd[9]: Eicar FOUND")]);
    let report = scan(&scanner(&fake)).await.unwrap();
    assert_eq!(report.engine.signatures.as_deref(), Some("2"));
    assert_eq!(report.finding, Finding::Infected { signature: "Eicar".to_owned() });

    fake.versions([version(1), version(2), version(3)]);
    fake.answers([Answer::line("fd[9]: OK")]);
    assert!(matches!(scan(&scanner(&fake)).await, Err(ScanError::NoVerdict { .. })));
}

#[tokio::test]
async fn old_and_undated_signatures_are_stale() {
    let fake = FakeClamd::start(Listen::Unix).await.unwrap();
    fake.answers([Answer::line("fd[9]: OK")]);
    let aged = |max_signature_age| {
        let settings = settings(fake.address());
        ClamdScanner::new(ClamdSettings { require_alerts: false, max_signature_age, ..settings })
    };
    let hours = |hours| Some(Duration::from_hours(hours));
    assert!(aged(hours(5)).check().await.is_ok());
    assert!(scan(&aged(hours(5))).await.is_ok());
    assert!(matches!(aged(hours(3)).check().await, Err(ScanError::StaleSignatures { .. })));
    let asked = fake.descriptors();
    assert!(matches!(scan(&aged(hours(3))).await, Err(ScanError::StaleSignatures { .. })));
    fake.versions([Answer::line("ClamAV 1.4.6")]);
    assert!(matches!(scan(&aged(hours(5))).await, Err(ScanError::StaleSignatures { .. })));
    assert_eq!(fake.descriptors(), asked, "no object goes to a stale engine");
    assert!(scan(&aged(None)).await.is_ok());
}

#[tokio::test]
async fn a_clamd_that_hides_its_limits_is_not_believed_about_archives() {
    let fake = FakeClamd::start(Listen::Unix).await.unwrap();
    let encrypted = || Answer::line("stream: Heuristics.Encrypted.Zip FOUND");
    let limits = || Answer::line("stream: Heuristics.Limits.Exceeded.MaxRecursion FOUND");
    let (clean, ok) = (|| Answer::line("stream: OK"), || Answer::line("fd[9]: OK"));
    let archive = spooled(&nested::nested(b"x", DEEPER_THAN_ANY)).unwrap();
    for (answers, setting) in [([clean(), limits()], "AlertEncrypted"), ([encrypted(), clean()], "AlertExceedsMax")] {
        let scanner = ClamdScanner::new(settings(fake.address()));
        fake.answers([answers[0].clone(), answers[1].clone(), ok()]);
        let finding = scanner.scan(&archive, SOON).await.unwrap().finding;
        let Finding::Unscannable { reason: HoldReason::ScanLimits, detail } = finding else { panic!("{finding:?}") };
        assert!(detail.contains(setting), "{detail}");
        assert_eq!(scan(&scanner).await.unwrap().finding, Finding::Clean, "what has no inside is believed");
        fake.answers(answers);
        assert!(scanner.check().await.is_ok(), "it is there and scans");
    }
    fake.answers([encrypted(), limits(), ok()]);
    let scanner = ClamdScanner::new(settings(fake.address()));
    assert_eq!(scanner.scan(&archive, SOON).await.unwrap().finding, Finding::Clean);
}

#[tokio::test]
async fn too_long_an_object_is_not_sent() {
    let fake = FakeClamd::start(Listen::Unix).await.unwrap();
    fake.answers([Answer::line("fd[9]: OK")]);
    let settings = ClamdSettings { require_alerts: false, max_object_bytes: 10, ..settings(fake.address()) };
    let scanner = ClamdScanner::new(settings);
    assert_eq!(scan(&scanner).await.unwrap().finding, Finding::Clean, "ten bytes are ten bytes");
    let report = scanner.scan(&spooled(b"eleven bytes").unwrap(), SOON).await.unwrap();
    assert!(matches!(report.finding, Finding::Unscannable { reason: HoldReason::ScanLimits, .. }), "{report:?}");
    assert_eq!(fake.descriptors(), 1);
}

#[tokio::test]
async fn a_spool_that_is_too_short_is_a_spool_error() {
    let fake = FakeClamd::start(Listen::Tcp).await.unwrap();
    fake.answers([Answer::line("stream: OK")]);
    let digest = *spooled(b"some bytes").unwrap().sha256();
    let object = Spooled::new(tempfile::tempfile().unwrap(), 10, digest, ());
    let error = scanner(&fake).scan(&object, SOON).await.unwrap_err();
    assert!(matches!(error, ScanError::Spool { .. }), "{error:?}");
}

#[tokio::test]
async fn a_dropped_scan_gives_its_slot_back() {
    let fake = FakeClamd::start(Listen::Unix).await.unwrap();
    let settings =
        ClamdSettings { max_connections: NonZeroUsize::MIN, require_alerts: false, ..settings(fake.address()) };
    let scanner = ClamdScanner::new(settings);
    let object = spooled(b"some bytes").unwrap();
    for _ in 0..3 {
        assert!(timeout(Duration::from_millis(50), scanner.scan(&object, SOON)).await.is_err());
    }
    fake.answers([Answer::line("fd[9]: OK")]);
    assert_eq!(scan(&scanner).await.unwrap().finding, Finding::Clean);
}

/// A real clamd, from its environment variable.
fn real(variable: &str, scheme: &str) -> Result<ClamdScanner> {
    let place = env::var(variable).map_err(|_| {
        anyhow!(
            "{variable} is not set: these tests need a clamd (crates/scanners/README.md); cargo xtask test starts one"
        )
    })?;
    Ok(ClamdScanner::new(settings(&format!("{scheme}:{place}"))))
}

pub(crate) fn fixtures() -> Result<Fixtures> {
    let encrypted = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/files/encrypted.zip");
    Ok(Fixtures {
        clean: b"nothing to see here".to_vec(),
        infected: eicar(),
        signature: "Eicar".to_owned(),
        encrypted: Some(fs::read(encrypted).context(encrypted)?),
        over_limits: Some(nested::nested(b"x", DEEPER_THAN_ANY)),
        huge: vec![7; 30_000_000],
    })
}

#[tokio::test]
async fn conforms_over_unix() -> Result<()> {
    let scanner = real("LAZARET_TEST_CLAMD_SOCKET", "unix")?;
    conforms(&scanner, &fixtures()?).await?;
    assert!(!scanner.streams_only.load(Ordering::Relaxed), "descriptors reach a clamd on this machine");
    Ok(())
}

#[tokio::test]
async fn conforms_over_unix_with_streams() -> Result<()> {
    let scanner = real("LAZARET_TEST_CLAMD_SOCKET", "unix")?;
    scanner.streams_only.store(true, Ordering::Relaxed);
    conforms(&scanner, &fixtures()?).await
}

#[tokio::test]
async fn conforms_over_tcp() -> Result<()> {
    conforms(&real("LAZARET_TEST_CLAMD_TCP", "tcp")?, &fixtures()?).await
}

#[tokio::test]
async fn a_marker_in_a_large_object_is_found_wherever_it_is() -> Result<()> {
    let marker = b"Lazaret-Test-Signature";
    for scanner in [real("LAZARET_TEST_CLAMD_SOCKET", "unix")?, real("LAZARET_TEST_CLAMD_TCP", "tcp")?] {
        for at in [0, 128 * 1024 - 7, 3_000_000 - marker.len()] {
            let mut bytes = vec![b'.'; 3_000_000];
            bytes[at..at + marker.len()].copy_from_slice(marker);
            let report = scanner.scan(&spooled(&bytes)?, SOON).await?;
            let found = matches!(&report.finding, Finding::Infected { signature } if signature.starts_with("Lazaret"));
            assert!(found, "at {at}: {report:?}");
        }
    }
    Ok(())
}
