//! Against an ICAP server that is told what to say, and against a real one.

use std::{env, fs};

use anyhow::{Context, Result, anyhow};
use lazaret_testkit::scanners::{FakeIcap, Fixtures, IcapAnswer, conforms, eicar, spooled};

use super::*;
use crate::nested;

const SOON: Duration = Duration::from_secs(10);

fn settings(url: &str) -> IcapSettings {
    IcapSettings::new("icap".parse().unwrap(), url.parse().unwrap())
}

fn scanner(fake: &FakeIcap) -> IcapScanner {
    IcapScanner::new(settings(&fake.url()))
}

async fn scan(scanner: &IcapScanner) -> Result<ScanReport, ScanError> {
    scanner.scan(&spooled(b"some bytes").unwrap(), SOON).await
}

fn unmodified() -> IcapAnswer {
    IcapAnswer::unmodified("one")
}

fn page(status: &str, fields: &str) -> IcapAnswer {
    let http = format!("HTTP/1.1 {status}\r\n\r\n");
    let text = format!(
        "ICAP/1.0 200 OK\r\nISTag: one\r\n{fields}Encapsulated: res-hdr=0, res-body={}\r\n\r\n{http}4\r\npage\r\n0\r\n\r\n",
        http.len()
    );
    IcapAnswer::Say(text.into_bytes())
}

fn infected(signature: &str) -> Finding {
    Finding::Infected { signature: signature.to_owned() }
}

#[tokio::test]
async fn trouble_is_never_a_verdict() {
    let fake = FakeIcap::start().await.unwrap();
    fake.hang_up_after_answers();
    let scanner = scanner(&fake);
    let said = |text: &str| IcapAnswer::Say(text.as_bytes().to_vec());
    for answer in [
        said(""),
        said("\r\n"),
        said("ICAP/1.0 204 No\r\n"),
        said("HTTP/1.1 204 No\r\n\r\n"),
        said("ICAP/1.0 404 Service not found\r\n\r\n"),
        said("ICAP/1.0 500 Server error\r\n\r\n"),
        said("ICAP/1.0 503 Overloaded\r\n\r\n"),
        said("ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\nA\r\nsome"),
        said(
            "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=5\r\n\r\nHTTP/1.1 200 OK\r\n\r\nA\r\nsome bytes\r\n0\r\n\r\n",
        ),
        page("200 OK", ""),
        page("302 Found", ""),
        page("500 No", ""),
        IcapAnswer::SendBack { fields: "ISTag: one\r\n".to_owned(), cut: 1, early: false },
        IcapAnswer::SendBack { fields: "ISTag: one\r\n".to_owned(), cut: 10, early: true },
        IcapAnswer::SayEarly(Vec::new()),
        IcapAnswer::SayEarly(b"ICAP/1.0 503 Overloaded\r\nConnection: close\r\n\r\n".to_vec()),
        IcapAnswer::Flood,
        said(&"x".repeat(1_000_000)),
    ] {
        // The first of a connection, so that none is asked again.
        scanner.links.clear();
        fake.answers([answer.clone()]);
        match scan(&scanner).await {
            Err(ScanError::NoVerdict { answer, .. }) => assert!(answer.chars().count() <= 200, "{answer}"),
            other => panic!("{answer:?}: {other:?}"),
        }
    }
    fake.answers([unmodified()]);
    assert_eq!(scan(&scanner).await.unwrap().finding, Finding::Clean);
}

#[tokio::test]
async fn each_way_to_say_it_is_understood() {
    let fake = FakeIcap::start().await.unwrap();
    let scanner = scanner(&fake);
    let held = |reason, detail: &str| Finding::Unscannable { reason, detail: detail.to_owned() };
    let bomb = "X-Infection-Found: Type=2; Resolution=2; Threat=Zip bomb;\r\n";
    for (answer, finding) in [
        (page("403 No", "X-Infection-Found: Type=0; Resolution=2; Threat=Eicar;\r\n"), infected("Eicar")),
        (page("200 OK", "X-Virus-ID: Eicar\r\n"), infected("Eicar")),
        (page("200 OK", "X-Violations-Found: 1\r\n\t-\r\n\tEicar\r\n\t0\r\n\t0\r\n"), infected("Eicar")),
        (page("200 OK", "X-Blocked: true\r\n"), infected("blocked")),
        (page("403 Forbidden", ""), infected("blocked.http-403")),
        (page("403 No", bomb), held(HoldReason::ScanLimits, "Zip bomb")),
        (page("403 No", "X-Virus-ID: Encrypted Archive\r\n"), held(HoldReason::Encrypted, "Encrypted Archive")),
        (IcapAnswer::SendBack { fields: "ISTag: one\r\n".to_owned(), cut: 0, early: false }, Finding::Clean),
        (IcapAnswer::SendBack { fields: "ISTag: one\r\n".to_owned(), cut: 0, early: true }, Finding::Clean),
        (
            IcapAnswer::SendBack { fields: "ISTag: one\r\nX-Virus-ID: a\r\n".to_owned(), cut: 0, early: false },
            infected("a"),
        ),
        (unmodified(), Finding::Clean),
    ] {
        fake.answers([answer.clone()]);
        let report = scan(&scanner).await.unwrap();
        assert_eq!(report.finding, finding, "{answer:?}");
        assert_eq!((report.engine.engine.as_str(), report.engine.signatures.as_deref()), ("Fake 1.0", Some("one")));
    }
}

#[tokio::test]
async fn the_object_is_sent_whole_and_nothing_of_the_client_with_it() {
    let fake = FakeIcap::start().await.unwrap();
    fake.answers([unmodified()]);
    let bytes: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    for preview in [&["Preview: 4", "Allow: 204"] as &[_], &["Preview: 0", "Allow: 204"], &["Allow: 204"]] {
        fake.options([IcapAnswer::options("one", preview)]);
        for method in [IcapMethod::Respmod, IcapMethod::Reqmod] {
            let scanner = IcapScanner::new(IcapSettings { method, ..settings(&fake.url()) });
            let report = scanner.scan(&spooled(&bytes).unwrap(), SOON).await.unwrap();
            assert_eq!(report.finding, Finding::Clean);
            let (head, object) = fake.last();
            assert!(object == bytes, "{method} with {preview:?}");
            assert!(head.starts_with(&format!("{method} icap://127.0.0.1:")), "{head}");
            assert!(head.contains("http://lazaret.invalid/object HTTP/1.1\r\n"), "{head}");
        }
    }
}

#[tokio::test]
async fn a_preview_never_holds_the_whole_object() {
    let fake = FakeIcap::start().await.unwrap();
    fake.options([IcapAnswer::options("one", &["Preview: 1024", "Allow: 204"])]);
    fake.answers([IcapAnswer::SayToPreview(b"ICAP/1.0 204 No\r\nISTag: one\r\n\r\n".to_vec())]);
    let scanner = scanner(&fake);
    for len in [1_usize, 2, 1023, 1024, 1025, 100_000] {
        let finding = scanner.scan(&spooled(&vec![7; len]).unwrap(), SOON).await.unwrap().finding;
        let Finding::Unscannable { reason: HoldReason::ScanLimits, detail } = finding else {
            panic!("{len}: {finding:?}")
        };
        assert!(detail.contains(&format!("{} of {len} bytes", 1024.min(len - 1))), "{detail}");
    }
    assert_eq!(fake.connections(), 1, "all on one connection");
}

#[tokio::test]
async fn unmodified_counts_only_where_it_is_allowed() {
    let fake = FakeIcap::start().await.unwrap();
    fake.options([IcapAnswer::options("one", &["Preview: 4"])]);
    fake.answers([unmodified()]);
    let error = scan(&scanner(&fake)).await.unwrap_err();
    assert!(matches!(error, ScanError::NoVerdict { .. }), "{error:?}");
    assert!(!fake.last().0.contains("Allow"), "{}", fake.last().0);
    fake.answers([IcapAnswer::SendBack { fields: "ISTag: one\r\n".to_owned(), cut: 0, early: false }]);
    assert_eq!(scan(&scanner(&fake)).await.unwrap().finding, Finding::Clean);
}

#[tokio::test]
async fn an_answer_before_the_end_is_not_clean() {
    let fake = FakeIcap::start().await.unwrap();
    let object = spooled(&vec![7; 30_000_000]).unwrap();
    let not_whole = |finding: &Finding| matches!(finding, Finding::Unscannable { reason: HoldReason::ScanLimits, .. });
    // Without a preview nothing shows that the server wants the object.
    fake.options([IcapAnswer::options("one", &["Allow: 204"])]);
    fake.answers([IcapAnswer::SayEarly(b"ICAP/1.0 204 No\r\nISTag: one\r\n\r\n".to_vec())]);
    let report = scanner(&fake).scan(&object, SOON).await;
    assert!(report.as_ref().is_ok_and(|report| not_whole(&report.finding)), "{report:?}");
    fake.answers([IcapAnswer::SendBack { fields: "ISTag: one\r\n".to_owned(), cut: 0, early: true }]);
    let report = scanner(&fake).scan(&object, SOON).await;
    assert!(report.as_ref().is_ok_and(|report| not_whole(&report.finding)), "{report:?}");
    // A server that asked for the rest may send it back while it comes.
    fake.options([IcapAnswer::options("one", &["Preview: 4", "Allow: 204"])]);
    assert_eq!(scanner(&fake).scan(&object, SOON).await.unwrap().finding, Finding::Clean);
}

#[tokio::test]
async fn an_early_refusal_is_read_though_the_rest_is_not_taken() {
    let fake = FakeIcap::start().await.unwrap();
    fake.options([IcapAnswer::options("one", &["Allow: 204"])]);
    let object = spooled(&vec![7; 30_000_000]).unwrap();
    fake.answers([IcapAnswer::SayEarly(b"ICAP/1.0 200 OK\r\nISTag: one\r\nX-Virus-ID: Eicar\r\n\r\n".to_vec())]);
    assert_eq!(scanner(&fake).scan(&object, SOON).await.unwrap().finding, infected("Eicar"));
    fake.answers([IcapAnswer::SayEarly(Vec::new())]);
    let hung_up = scanner(&fake).scan(&object, SOON).await;
    assert!(matches!(hung_up, Err(ScanError::NoVerdict { .. })), "{hung_up:?}");
}

#[tokio::test]
async fn a_silent_server_meets_the_deadline() {
    let fake = FakeIcap::start().await.unwrap();
    let scanner = scanner(&fake);
    let deadline = Duration::from_millis(200);
    let started = Instant::now();
    let silent = scanner.scan(&spooled(b"some bytes").unwrap(), deadline).await;
    assert!(matches!(silent, Err(ScanError::DeadlineExceeded { .. })), "{silent:?}");
    assert!(started.elapsed() < SOON);
}

#[tokio::test]
async fn a_server_that_does_not_say_what_it_is_is_unavailable() {
    let fake = FakeIcap::start().await.unwrap();
    for options in [
        IcapAnswer::SayEarly(Vec::new()),
        IcapAnswer::head(&["ICAP/1.0 404 Service not found"]),
        IcapAnswer::head(&["ICAP/1.0 503 Overloaded", "Connection: close"]),
        IcapAnswer::head(&["HTTP/1.1 400 Bad Request"]),
        IcapAnswer::head(&["ICAP/1.0 200 OK", "Methods: REQMOD", "ISTag: x"]),
        IcapAnswer::Flood,
    ] {
        fake.options([options.clone()]);
        let scanner = scanner(&fake);
        let error = scan(&scanner).await.unwrap_err();
        assert!(matches!(error, ScanError::Unavailable { .. }), "{options:?}: {error:?}");
        let error = scanner.check().await.unwrap_err();
        assert!(matches!(error, ScanError::Unavailable { .. }), "{options:?}: {error:?}");
    }
    fake.options([IcapAnswer::Stall]);
    let error = scan(&scanner(&fake)).await.unwrap_err();
    assert!(matches!(error, ScanError::Unavailable { .. }), "{error:?}");
    assert_eq!(fake.objects(), 0, "no object goes to it");
}

#[tokio::test]
async fn after_trouble_the_next_object_goes_only_to_a_server_that_speaks() {
    let fake = FakeIcap::start().await.unwrap();
    fake.answers([IcapAnswer::head(&["ICAP/1.0 500 No"])]);
    let scanner = scanner(&fake);
    assert!(matches!(scan(&scanner).await, Err(ScanError::NoVerdict { .. })));
    fake.options([IcapAnswer::head(&["ICAP/1.0 500 No"])]);
    assert!(matches!(scan(&scanner).await, Err(ScanError::Unavailable { .. })));
    assert_eq!(fake.objects(), 1);
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let fake = FakeIcap::start().await.unwrap();
    let scanner = scanner(&fake);
    drop(fake);
    let error = scan(&scanner).await.unwrap_err();
    assert!(matches!(error, ScanError::Unavailable { .. }), "{error:?}");
    assert!(matches!(scanner.check().await, Err(ScanError::Unavailable { .. })));
}

#[tokio::test]
async fn a_reload_during_the_scan_means_another_scan() {
    let fake = FakeIcap::start().await.unwrap();
    let options = |tag| IcapAnswer::options(tag, &["Preview: 4", "Allow: 204"]);
    fake.options([options("one"), options("two")]);
    let found = |tag| IcapAnswer::head(&["ICAP/1.0 200 OK", tag, "X-Virus-ID: Eicar"]);
    fake.answers([IcapAnswer::unmodified("two"), found("ISTag: two")]);
    let report = scan(&scanner(&fake)).await.unwrap();
    assert_eq!((report.finding, report.engine.signatures.as_deref()), (infected("Eicar"), Some("two")));
    assert_eq!(fake.objects(), 2);

    fake.options([options("one"), options("two"), options("three")]);
    fake.answers([IcapAnswer::unmodified("two"), IcapAnswer::unmodified("three")]);
    assert!(matches!(scan(&scanner(&fake)).await, Err(ScanError::NoVerdict { .. })));
}

#[tokio::test]
async fn an_answer_without_a_tag_is_asked_for_one() {
    let fake = FakeIcap::start().await.unwrap();
    fake.answers([IcapAnswer::head(&["ICAP/1.0 204 No"])]);
    assert_eq!(scan(&scanner(&fake)).await.unwrap().finding, Finding::Clean);
    assert_eq!((fake.asked(), fake.objects()), (2, 1), "before and after");
    let changed = ["one", "two", "two"].map(|tag| IcapAnswer::options(tag, &["Preview: 4", "Allow: 204"]));
    fake.options(changed);
    let report = scan(&scanner(&fake)).await.unwrap();
    assert_eq!((report.engine.signatures.as_deref(), fake.objects()), (Some("two"), 3), "scanned twice");
}

#[tokio::test]
async fn connections_are_kept() {
    let fake = FakeIcap::start().await.unwrap();
    fake.answers([unmodified()]);
    let scanner = scanner(&fake);
    for _ in 0..5 {
        assert_eq!(scan(&scanner).await.unwrap().finding, Finding::Clean);
    }
    assert_eq!((fake.connections(), fake.asked(), fake.objects()), (1, 1, 5));
    scanner.check().await.unwrap();
    assert_eq!((fake.connections(), fake.asked()), (1, 2), "a check always asks");
    fake.options([IcapAnswer::options("one", &["Preview: 4", "Allow: 204", "Options-TTL: 0"])]);
    scanner.check().await.unwrap();
    scan(&scanner).await.unwrap();
    assert_eq!((fake.connections(), fake.asked()), (1, 4), "what is good for no time is asked again");
}

#[tokio::test]
async fn a_connection_that_closes_after_an_answer_is_replaced() {
    let fake = FakeIcap::start().await.unwrap();
    fake.hang_up_after_answers();
    fake.answers([unmodified()]);
    let scanner = scanner(&fake);
    for _ in 0..5 {
        assert_eq!(scan(&scanner).await.unwrap().finding, Finding::Clean);
    }
    fake.answers([IcapAnswer::head(&["ICAP/1.0 204 No", "ISTag: one", "Connection: close"])]);
    for _ in 0..2 {
        assert_eq!(scan(&scanner).await.unwrap().finding, Finding::Clean);
    }
    assert_eq!(fake.objects(), 7);
}

#[tokio::test]
async fn a_request_that_an_idle_connection_loses_goes_out_once_more() {
    let fake = FakeIcap::start().await.unwrap();
    let (lost, cut) = (IcapAnswer::SayEarly(Vec::new()), IcapAnswer::SayEarly(b"ICAP/1.0 204 No\r\n".to_vec()));
    let scanner = scanner(&fake);
    fake.answers([unmodified(), lost.clone(), unmodified()]);
    for _ in 0..2 {
        assert_eq!(scan(&scanner).await.unwrap().finding, Finding::Clean);
    }
    assert_eq!((fake.objects(), fake.connections()), (3, 2));

    fake.answers([lost.clone(), lost.clone(), unmodified()]);
    assert!(matches!(scan(&scanner).await, Err(ScanError::NoVerdict { .. })), "once, and not twice");
    assert_eq!(fake.objects(), 5);

    fake.answers([lost, unmodified()]);
    let new = IcapScanner::new(settings(&fake.url()));
    assert!(matches!(scan(&new).await, Err(ScanError::NoVerdict { .. })), "it took the object and was gone");
    assert_eq!(fake.objects(), 6);

    fake.answers([unmodified(), cut, unmodified()]);
    assert_eq!(scan(&scanner).await.unwrap().finding, Finding::Clean);
    assert!(matches!(scan(&scanner).await, Err(ScanError::NoVerdict { .. })), "half an answer is one");
    assert_eq!(fake.objects(), 8);
}

#[tokio::test]
async fn no_more_connections_than_the_server_wants() {
    for (max, most) in [(1, 1), (2, 2), (4, 4)] {
        let fake = FakeIcap::start().await.unwrap();
        let lines = format!("Max-Connections: {max}");
        fake.options([IcapAnswer::options("one", &["Preview: 4", "Allow: 204", &lines])]);
        fake.answers([unmodified()]);
        let scanner = scanner(&fake);
        let scans = (0..20).map(|_| async {
            scanner.check().await.unwrap();
            scan(&scanner).await
        });
        for report in futures_util::future::join_all(scans).await {
            assert_eq!(report.unwrap().finding, Finding::Clean);
        }
        assert!(fake.most_connections() <= most, "{} of {max}", fake.most_connections());
    }
}

#[tokio::test]
async fn too_long_an_object_is_not_sent() {
    let fake = FakeIcap::start().await.unwrap();
    fake.answers([unmodified()]);
    let scanner = IcapScanner::new(IcapSettings { max_object_bytes: 10, ..settings(&fake.url()) });
    assert_eq!(scan(&scanner).await.unwrap().finding, Finding::Clean, "ten bytes are ten bytes");
    let report = scanner.scan(&spooled(b"eleven bytes").unwrap(), SOON).await.unwrap();
    assert!(matches!(report.finding, Finding::Unscannable { reason: HoldReason::ScanLimits, .. }), "{report:?}");
    assert_eq!(fake.objects(), 1);
}

#[tokio::test]
async fn signatures_have_no_age_here() {
    let fake = FakeIcap::start().await.unwrap();
    fake.answers([unmodified()]);
    let max_signature_age = Some(Duration::from_hours(24));
    let scanner = IcapScanner::new(IcapSettings { max_signature_age, ..settings(&fake.url()) });
    assert!(matches!(scan(&scanner).await, Err(ScanError::StaleSignatures { .. })));
    assert!(matches!(scanner.check().await, Err(ScanError::StaleSignatures { .. })));
    assert_eq!(fake.objects(), 0, "no object goes to it");
}

#[tokio::test]
async fn a_spool_that_is_too_short_is_a_spool_error() {
    let fake = FakeIcap::start().await.unwrap();
    fake.answers([unmodified()]);
    let digest = *spooled(b"some bytes").unwrap().sha256();
    let object = Spooled::new(tempfile::tempfile().unwrap(), 10, digest, ());
    let error = scanner(&fake).scan(&object, SOON).await.unwrap_err();
    assert!(matches!(error, ScanError::Spool { .. }), "{error:?}");
}

#[tokio::test]
async fn a_dropped_scan_gives_its_slot_back() {
    let fake = FakeIcap::start().await.unwrap();
    let scanner = IcapScanner::new(IcapSettings { max_connections: NonZeroUsize::MIN, ..settings(&fake.url()) });
    let object = spooled(b"some bytes").unwrap();
    for _ in 0..3 {
        assert!(timeout(Duration::from_millis(50), scanner.scan(&object, SOON)).await.is_err());
    }
    fake.answers([unmodified()]);
    assert_eq!(scan(&scanner).await.unwrap().finding, Finding::Clean);
}

/// A real c-icap with clamd behind it.
fn real(arguments: &str, method: IcapMethod) -> Result<IcapScanner> {
    let url = env::var("LAZARET_TEST_ICAP").map_err(|_| {
        anyhow!(
            "LAZARET_TEST_ICAP is not set: these tests need a c-icap (crates/scanners/README.md); \
             cargo xtask test starts one"
        )
    })?;
    Ok(IcapScanner::new(IcapSettings { method, ..settings(&format!("{url}{arguments}")) }))
}

/// Every type, every size, and no byte back before the end.
const ALL: &str = "?force=on&sizelimit=off&mode=simple";

fn fixture(name: &str) -> Result<Vec<u8>> {
    let file = format!("{}/../../fixtures/files/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read(&file).context(file)
}

fn fixtures() -> Result<Fixtures> {
    Ok(Fixtures {
        clean: b"nothing to see here".to_vec(),
        infected: eicar(),
        signature: "Eicar".to_owned(),
        encrypted: Some(fixture("encrypted.zip")?),
        over_limits: Some(nested::nested(b"deep inside", 18)),
        huge: vec![7; 30_000_000],
    })
}

#[tokio::test]
async fn c_icap_conforms_with_respmod() -> Result<()> {
    conforms(&real(ALL, IcapMethod::Respmod)?, &fixtures()?).await
}

#[tokio::test]
async fn c_icap_conforms_with_reqmod() -> Result<()> {
    conforms(&real(ALL, IcapMethod::Reqmod)?, &fixtures()?).await
}

#[tokio::test]
async fn eicar_is_found_in_a_zip() -> Result<()> {
    for arguments in ["", ALL] {
        for method in [IcapMethod::Respmod, IcapMethod::Reqmod] {
            let inside = nested::nested(&eicar(), 1);
            let report = real(arguments, method)?.scan(&spooled(&inside)?, SOON).await?;
            let found = matches!(&report.finding, Finding::Infected { signature } if signature.starts_with("Eicar"));
            assert!(found, "{report:?}");
            assert!(report.engine.engine.starts_with("C-ICAP/"), "{report:?}");
            assert!(report.engine.signatures.is_some(), "{report:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_marker_in_a_large_object_is_found_wherever_it_is() -> Result<()> {
    let marker = b"Lazaret-Test-Signature";
    let scanner = real(ALL, IcapMethod::Respmod)?;
    for at in [0, 1024 - 7, 128 * 1024 - 7, 3_000_000 - marker.len()] {
        let mut bytes = vec![b'.'; 3_000_000];
        bytes[at..at + marker.len()].copy_from_slice(marker);
        let report = scanner.scan(&spooled(&bytes)?, SOON).await?;
        let found = matches!(&report.finding, Finding::Infected { signature } if signature.starts_with("Lazaret"));
        assert!(found, "at {at}: {report:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_stock_settings_of_c_icap_pass_over_is_held() -> Result<()> {
    let scanner = real("", IcapMethod::Respmod)?;
    let pdf = [b"%PDF-1.4\n".as_slice(), b"Lazaret-Test-Signature\n", &[b' '; 5000]].concat();
    // PDF is not among the types that it scans, and 5 MB is the largest that it scans.
    let large = vec![b'.'; 6_000_000];
    for bytes in [&pdf[..600], &pdf, &large] {
        let report = scanner.scan(&spooled(bytes)?, SOON).await?;
        let held = matches!(report.finding, Finding::Unscannable { reason: HoldReason::ScanLimits, .. });
        assert!(held, "{} bytes: {report:?}", bytes.len());
    }
    let found = real(ALL, IcapMethod::Respmod)?.scan(&spooled(&pdf)?, SOON).await?;
    assert!(matches!(found.finding, Finding::Infected { .. }), "{found:?}");
    Ok(())
}

#[tokio::test]
async fn what_c_icap_has_begun_to_send_back_is_clean_only_whole() -> Result<()> {
    // With stock settings it sends a part of anything over 2 MB before it has scanned it.
    let scanner = real("", IcapMethod::Respmod)?;
    let mut bytes = vec![b'.'; 3_000_000];
    assert_eq!(scanner.scan(&spooled(&bytes)?, SOON).await?.finding, Finding::Clean);
    bytes.extend(b"Lazaret-Test-Signature");
    let error = scanner.scan(&spooled(&bytes)?, SOON).await.unwrap_err();
    assert!(matches!(error, ScanError::NoVerdict { .. }), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn no_such_service_is_unavailable() -> Result<()> {
    let url = real("_that_is_not_there", IcapMethod::Respmod)?;
    let error = scan(&url).await.unwrap_err();
    assert!(matches!(error, ScanError::Unavailable { .. }), "{error:?}");
    Ok(())
}
