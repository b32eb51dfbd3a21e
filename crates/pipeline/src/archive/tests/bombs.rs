//! What unpacks to more than it should.

use super::*;

const MIB: usize = 1024 * 1024;

#[test]
fn a_gzip_bomb_is_stopped_by_its_ratio() {
    let found = found(&gzip(&vec![0; 30 * MIB]), "application/gzip");
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("over limits.archive_ratio of 200"), "{found:?}");
}

/// The size that a gzip states at its end is the uploader's word.
#[test]
fn what_a_gzip_says_of_its_size_counts_for_nothing() {
    let mut bytes = gzip(&build::noise(2000));
    let len = bytes.len();
    bytes[len - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    let (findings, spent) = examined(&bytes, "application/gzip", &BOUNDS);
    assert_eq!(spent.unpacked, 2000);
    assert!(findings[0].detail.contains("does not unpack to its end"), "{findings:?}");
}

#[test]
fn the_total_ends_a_bomb_that_is_slow_to_grow() {
    let part = build::noise(9 * MIB);
    let members: Vec<(String, &[u8])> = (0..6).map(|number| (format!("part-{number}"), &part[..])).collect();
    let members: Vec<(&str, &[u8])> = members.iter().map(|(name, data)| (name.as_str(), *data)).collect();
    let (findings, spent) = examined(&zip_of(&members), "application/zip", &BOUNDS);
    assert_eq!(findings.len(), 1);
    assert!(findings[0].detail.contains("more than limits.archive_unpacked of 40000000 bytes"), "{findings:?}");
    assert!(findings[0].detail.ends_with("up to member \"part-4\""), "{findings:?}");
    assert!(spent.unpacked < 41_000_000, "{spent:?}");
    assert_eq!(found_in_zip(&zip_of(&members[..4])), [""; 0]);
}

/// Five levels with sixteen archives in each: 42.zip has the same shape. The total ends it after some of them.
#[test]
fn archives_within_archives_add_up() {
    let bounds = Bounds { limits: ArchiveLimits { max_depth: 10, max_entries: 1_000_000, ..LIMITS }, ..BOUNDS };
    let mut bytes = zip_of(&[("zero", &vec![0; 8 * MIB])]);
    for _ in 0..4 {
        let names: Vec<String> = (0..16).map(|number| format!("{number:x}.zip")).collect();
        let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &bytes[..])).collect();
        bytes = zip_of(&members);
    }
    assert!(bytes.len() < 200_000);
    let (findings, spent) = examined(&bytes, "application/zip", &bounds);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].reason, ScanLimits);
    assert!(spent.unpacked <= 41_000_000 && spent.entries < 100, "{spent:?}");
}

/// A zip whose central headers all point at one member's data ("zip bomb" of D. Fifield, 2019) is no layout at all.
#[test]
fn members_that_share_their_data_are_refused() {
    let mut bytes = zip_of(&[("a", &vec![0; 2 * MIB]), ("b", b"text")]);
    let central = bytes.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    bytes[central + 42..central + 46].fill(0);
    let found = found_in_zip(&bytes);
    assert!(found[0].contains("the members do not follow each other from the first byte on"), "{found:?}");
}

/// A member that is longer than its headers say would be cut by some readers and not by others.
#[test]
fn a_member_that_lies_about_its_size_is_held() {
    let mut bytes = zip_of(&[("a", &[b'x'; 3000])]);
    let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    for at in [22, central + 24] {
        bytes[at..at + 4].copy_from_slice(&5_u32.to_le_bytes());
    }
    let found = found_in_zip(&bytes);
    assert!(found[0].ends_with("it unpacks to 3000 bytes, its headers say 5"), "{found:?}");
}

#[test]
fn more_members_than_are_looked_at() {
    let names: Vec<String> = (0..101).map(|number| number.to_string()).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let limit = "scan-limits: the archive has more members than limits.archive_entries of 100";
    assert_eq!(found_in_zip(&zip_of(&members)), [limit]);
    assert_eq!(found_in_zip(&zip_of(&members[..100])), [""; 0]);
    assert_eq!(found(&tar(&members), "application/x-tar"), [limit]);
    assert_eq!(found(&tar(&members[..100]), "application/x-tar"), [""; 0]);
    // Those of all depths count together.
    let inner = zip_of(&members[..50]);
    assert_eq!(found_in_zip(&zip_of(&[("a.zip", &inner), ("b.zip", &inner)])), [limit]);
}

/// A stream of streams with nothing in them costs time for each.
#[test]
fn packed_bytes_that_unpack_to_nothing_are_refused() {
    let empty = gzip(b"");
    let bytes = empty.repeat(3 * MIB / empty.len());
    let found = found(&bytes, "application/gzip");
    assert!(found[0].ends_with("it is much longer packed than unpacked"), "{found:?}");
}

#[test]
fn a_tar_that_claims_more_than_there_is() {
    let mut bytes = build::tar_header("huge", 0o77_777_777_777, b'0');
    bytes.extend([0; 2048]);
    let cut_off = "a member is longer than what is left of it";
    for (bytes, media_type) in [(gzip(&bytes), "application/gzip"), (bytes, "application/x-tar")] {
        let (findings, spent) = examined(&bytes, media_type, &BOUNDS);
        assert!(findings[0].detail.ends_with(cut_off), "{findings:?}");
        assert!(spent.unpacked < 10_000);
    }
}
