mod bombs;
pub(crate) mod build;
mod nested;
mod properties;
mod real;

use lazaret_core::HoldReason::{Encrypted, ScanLimits};

use super::{
    ledger::Spent,
    tests::build::{gzip, spooled, tar, zip_of, zip_stored},
    *,
};

const LIMITS: ArchiveLimits =
    ArchiveLimits { max_depth: 4, max_entries: 100, max_total_size: 40_000_000, max_ratio: 200, max_memory: 96 << 20 };

const BOUNDS: Bounds = Bounds { limits: LIMITS, max_member: None };

/// What is found under these bounds, and what it took.
fn examined(bytes: &[u8], media_type: &str, bounds: &Bounds) -> (Vec<Opaque>, Spent) {
    let object = spooled(bytes);
    let ledger = Ledger::new(bounds, object.len());
    let content = Content::Placed(Section::of_file(object.file(), object.len()));
    let kind = Kind::of_type(&media_type.parse().unwrap()).unwrap();
    match examine::look_into(&ledger, content, kind, &Place::OBJECT) {
        Ok(()) | Err(Halt::Stopped) => {}
        Err(Halt::Read(error)) => panic!("{error}"),
    }
    let spent = ledger.spent();
    (ledger.into_findings(), spent)
}

/// The reason and the detail of what is found, as one text.
fn found(bytes: &[u8], media_type: &str) -> Vec<String> {
    let (findings, _) = examined(bytes, media_type, &BOUNDS);
    findings.iter().map(|found| format!("{}: {}", found.reason, found.detail)).collect()
}

fn found_in_zip(bytes: &[u8]) -> Vec<String> {
    found(bytes, "application/zip")
}

fn reasons(bytes: &[u8], media_type: &str) -> Vec<HoldReason> {
    examined(bytes, media_type, &BOUNDS).0.into_iter().map(|found| found.reason).collect()
}

fn decided(scanned: Option<Decision>, opaque: &[Opaque], overrides: &[HoldReason]) -> Option<&'static str> {
    match first_of(scanned, opaque, overrides)? {
        Decision::Hold { reason, .. } => Some(reason.code()),
        Decision::Reject { reason, .. } => Some(reason.code()),
        Decision::Publish(_) => Some("publish"),
    }
}

/// Each reason is released by itself, whichever was met first.
#[test]
fn a_release_of_one_reason_releases_no_other() {
    let of = |reason| Opaque { reason, detail: String::new() };
    for both in [[of(Encrypted), of(ScanLimits)], [of(ScanLimits), of(Encrypted)]] {
        assert_eq!(decided(None, &both, &[]), Some(both[0].reason.code()));
        assert_eq!(decided(None, &both, &[Encrypted]), Some("scan-limits"));
        assert_eq!(decided(None, &both, &[ScanLimits]), Some("encrypted"));
        assert_eq!(decided(None, &both, &[ScanLimits, Encrypted]), None);
    }
    let infected = Decision::Reject { reason: lazaret_core::RejectReason::Infected, detail: String::new() };
    assert_eq!(decided(Some(infected), &[of(Encrypted)], &[]), Some("infected"));
    let held = || Decision::Hold { reason: HoldReason::ScannerError, detail: String::new() };
    assert_eq!(decided(Some(held()), &[of(Encrypted)], &[]), Some("encrypted"));
    assert_eq!(decided(Some(held()), &[of(Encrypted)], &[Encrypted]), Some("scanner-error"));
}

/// An encrypted member does not end the look at the others.
#[test]
fn an_archive_may_be_held_for_two_reasons() {
    let inner = build::encrypted(zip_of(&[("a", b"text")]), *b"PK\x01\x02", 8, 0);
    let too_deep = (0..5).fold(b"text".to_vec(), |bytes, _| zip_of(&[("next.zip", &bytes)]));
    let both = zip_of(&[("secret.zip", &inner), ("deep.zip", &too_deep)]);
    let found = found_in_zip(&both);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], r#"encrypted: member "secret.zip" > "a" is encrypted"#);
    assert!(found[1].starts_with("scan-limits: member \"deep.zip\" > \"next.zip\""), "{found:?}");
}

#[test]
fn types_that_are_no_archives_have_nothing_to_say() {
    let object = spooled(b"PK\x03\x04");
    for name in ["application/pdf", "image/png", "text/plain", "application/vnd.ms-cab-compressed"] {
        assert_eq!(opaque_members(&object, &name.parse().unwrap(), &BOUNDS).unwrap(), []);
    }
    assert_ne!(opaque_members(&object, &"application/zip".parse().unwrap(), &BOUNDS).unwrap(), []);
}

/// A member that an engine would pass over for its length, in each way it can lie in an archive.
#[test]
fn a_member_longer_than_an_engine_looks_at_is_held() {
    let bounds = |max| Bounds { max_member: Some(max), ..BOUNDS };
    let long = build::noise(5000);
    let zipped = zip_of(&[("long", &long)]);
    let tarred = tar(&[("long", &long)]);
    for (bytes, media_type) in [
        (zip_stored(&[("long", &long)]), "application/zip"),
        (zip_of(&[("inner.zip", &zipped)]), "application/zip"),
        (tarred.clone(), "application/x-tar"),
        (zipped, "application/zip"),
    ] {
        assert_eq!(examined(&bytes, media_type, &bounds(bytes.len() as u64)).0, [], "{media_type}");
        let (findings, _) = examined(&bytes, media_type, &bounds(4999));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].detail.ends_with("more than the 4999 bytes of a scanner's max_size"), "{findings:?}");
    }
    // Of a packed stream the layer counts, too.
    assert_eq!(examined(&gzip(&tarred), "application/gzip", &bounds(tarred.len() as u64)).0, []);
    assert_eq!(examined(&gzip(&tarred), "application/gzip", &bounds(tarred.len() as u64 - 1)).0.len(), 1);
}

#[test]
fn a_spool_that_cannot_be_read_is_no_finding() {
    let file = std::fs::File::open(env!("CARGO_MANIFEST_DIR")).unwrap();
    let object = Spooled::new(file, 1000, lazaret_core::Sha256Digest::from_bytes([0; 32]), ());
    for kind in ["application/zip", "application/gzip", "application/x-tar", "application/x-7z-compressed"] {
        let examined = opaque_members(&object, &kind.parse().unwrap(), &BOUNDS);
        assert!(examined.is_err_and(|error| error.raw_os_error().is_some()), "{kind}");
    }
}
