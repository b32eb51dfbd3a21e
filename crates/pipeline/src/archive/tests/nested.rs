//! Archives within archives, and what lies in them.

use super::*;

type Wrap = fn(&[(&str, &[u8])]) -> Vec<u8>;

fn nest(levels: usize, mut bytes: Vec<u8>, wrap: Wrap, name: &str) -> Vec<u8> {
    for _ in 0..levels {
        bytes = wrap(&[(name, &bytes)]);
    }
    bytes
}

#[test]
fn archives_lie_in_each_other_up_to_the_limit() {
    for (wrap, name, media_type) in [
        (zip_of as Wrap, "next.zip", "application/zip"),
        (zip_stored, "next.zip", "application/zip"),
        (tar, "next.tar", "application/x-tar"),
        (|members| gzip(members[0].1), "", "application/gzip"),
    ] {
        assert_eq!(found(&nest(4, b"text".to_vec(), wrap, name), media_type), [""; 0], "{media_type}");
        for levels in [5, 25] {
            let found = found(&nest(levels, b"text".to_vec(), wrap, name), media_type);
            assert_eq!(found.len(), 1, "{media_type}");
            let limit = "lies deeper than limits.archive_depth of 4 archives within each other";
            assert!(found[0].ends_with(limit), "{found:?}");
        }
    }
}

/// The marker of a 25-deep zip is seen no deeper than the limit, and the zip is held for that.
#[test]
fn a_place_is_told_by_its_names() {
    let deep = nest(25, b"text".to_vec(), zip_of, "next.zip");
    let next = "\"next.zip\"";
    let expected = format!(
        "scan-limits: member {next} > {next} > {next} > {next} lies deeper than limits.archive_depth of 4 archives \
         within each other"
    );
    assert_eq!(found_in_zip(&deep), [expected]);
}

#[test]
fn an_encrypted_member_is_found_wherever_it_lies() {
    let secret = build::encrypted(zip_of(&[("plain", b"text"), ("secret.txt", b"text")]), *b"PK\x01\x02", 8, 1);
    for (bytes, media_type, place) in [
        (secret.clone(), "application/zip", r#"member "secret.txt""#),
        (zip_of(&[("a.zip", &secret)]), "application/zip", r#"member "a.zip" > "secret.txt""#),
        (zip_stored(&[("a.zip", &secret)]), "application/zip", r#"member "a.zip" > "secret.txt""#),
        (tar(&[("a.zip", &secret)]), "application/x-tar", r#"member "a.zip" > "secret.txt""#),
        (gzip(&secret), "application/gzip", r#"member "secret.txt""#),
        (gzip(&tar(&[("b", b"text"), ("a.zip", &secret)])), "application/gzip", r#"member "a.zip" > "secret.txt""#),
        (
            zip_of(&[("x.tgz", &gzip(&tar(&[("a.zip", &secret)])))]),
            "application/zip",
            r#"member "x.tgz" > "a.zip" > "secret.txt""#,
        ),
    ] {
        assert_eq!(found(&bytes, media_type), [format!("encrypted: {place} is encrypted")]);
    }
}

/// One that goes on for ever (R. Cox, "Zip Files All The Way Down", 2010) is no other matter than one that goes on for
/// long.
#[test]
fn an_archive_without_a_bottom_ends_at_the_depth_that_is_looked_at() {
    let (findings, spent) =
        examined(&nest(1000, b"text".to_vec(), |members| gzip(members[0].1), ""), "application/gzip", &BOUNDS);
    assert!(findings[0].detail.contains("limits.archive_depth of 4"), "{findings:?}");
    assert_eq!(spent.entries, 4);
}

#[test]
fn what_is_packed_in_ways_that_are_not_looked_into() {
    for (head, name) in [
        (&b"\x28\xb5\x2f\xfd"[..], "zstd"),
        (b"MSCF\0\0\0\0", "cabinet"),
        (b"LZIP\x01", "lzip"),
        (b"\x1f\x9d\x90", "compress"),
        (b"\x60\xea\x2b\0\x22", "arj"),
        (b"\x24\x8a-lh5-", "lha"),
        (&[b"070701", &[b'0'; 104][..]].concat(), "cpio"),
    ] {
        let bytes = [head, &[0; 200]].concat();
        let expected = format!(r#"scan-limits: member "x" is packed as {name}, which is not looked into"#);
        assert_eq!(found_in_zip(&zip_of(&[("x", &bytes)])), [expected]);
    }
}

/// A nested zip is copied where it is packed, and where there is no room for that, it is held.
#[test]
fn copies_stay_within_their_memory() {
    let noise = build::noise(600_000);
    let inner = zip_of(&[("a", &noise[..300_000]), ("b", &noise[300_000..])]);
    let nested = nest(3, inner, zip_of, "next.zip");
    let bounds = |max_memory| Bounds { limits: ArchiveLimits { max_memory, ..LIMITS }, ..BOUNDS };
    let (findings, spent) = examined(&nested, "application/zip", &bounds(2_100_000));
    assert_eq!(findings, []);
    assert!(spent.peak_memory > 1_800_000 && spent.peak_memory <= 2_100_000, "{spent:?}");
    let (findings, spent) = examined(&nested, "application/zip", &bounds(1_000_000));
    assert!(findings[0].detail.ends_with("than limits.archive_memory of 1000000 bytes"), "{findings:?}");
    assert!(spent.peak_memory <= 1_000_000, "{spent:?}");
    // What is stored needs no copy.
    let stored = nest(3, zip_of(&[("a", &noise)]), zip_stored, "next.zip");
    let (findings, spent) = examined(&stored, "application/zip", &bounds(0));
    assert_eq!((findings, spent.entries, spent.peak_memory), (Vec::new(), 4, 0));
}

/// Copies are given back when their archive has been looked at.
#[test]
fn one_archive_behind_the_other_needs_the_memory_of_one() {
    let noise = build::noise(600_000);
    let names: Vec<String> = (0..10).map(|number| format!("{number}.zip")).collect();
    let inner = zip_of(&[("a", &noise)]);
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &inner[..])).collect();
    let (findings, spent) = examined(&zip_of(&members), "application/zip", &BOUNDS);
    assert_eq!(findings, []);
    assert!(spent.peak_memory < 700_000, "{spent:?}");
}

#[test]
fn methods_that_no_scanner_unpacks_are_held() {
    for number in [1_u8, 6, 14, 93, 95, 98] {
        let mut bytes = zip_of(&[("a", b"text")]);
        let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
        (bytes[8], bytes[central + 10]) = (number, number);
        let expected = format!(r#"scan-limits: member "a" is packed by method {number}, which no scanner unpacks"#);
        assert_eq!(found_in_zip(&bytes), [expected]);
    }
}

#[test]
fn bytes_behind_packed_data_are_seen_by_some_readers_only() {
    let bytes = gzip(b"text");
    assert_eq!(reasons(&[&bytes[..], &bytes].concat(), "application/gzip"), []);
    for behind in [&b"x"[..], b"PK\x03\x04", b"\0\0\0\0"] {
        assert_eq!(reasons(&[&bytes, behind].concat(), "application/gzip"), [ScanLimits], "{behind:?}");
    }
    assert_eq!(reasons(&bytes[..bytes.len() - 1], "application/gzip"), [ScanLimits]);
}

#[test]
fn an_encrypted_member_holds_whichever_header_says_so() {
    for index in 0..3 {
        let bytes = zip_of(&[("a", b"1"), ("b", b"2"), ("c", b"3")]);
        let of = |signature, flags_at| build::encrypted(bytes.clone(), signature, flags_at, index);
        assert_eq!(reasons(&of(*b"PK\x01\x02", 8), "application/zip"), [Encrypted]);
        assert_eq!(reasons(&of(*b"PK\x03\x04", 6), "application/zip"), [Encrypted]);
    }
}

/// An index by name keeps the last of two members of one name, and the encrypted first one was not seen.
#[test]
fn an_encrypted_member_does_not_hide_behind_its_own_name() {
    let mut bytes = build::encrypted(zip_stored(&[("a", b"some"), ("b", b"some")]), *b"PK\x01\x02", 8, 0);
    for at in 0..bytes.len() {
        if bytes[at] == b'b' && bytes[at + 1..].starts_with(b"some") || bytes[at..].starts_with(b"bPK\x05\x06") {
            bytes[at] = b'a';
        }
    }
    assert_eq!(reasons(&bytes, "application/zip"), [Encrypted]);
}

#[test]
fn what_cannot_be_walked_is_held() {
    let whole = zip_of(&[("a", b"1"), ("b", b"2")]);
    assert_eq!(reasons(&whole[..whole.len() - 30], "application/zip"), [ScanLimits]);
    assert_eq!(reasons(b"PK\x03\x04", "application/zip"), [ScanLimits]);
    let mut moved = whole.clone();
    moved[0] = b'X';
    assert_eq!(reasons(&moved, "application/zip"), [ScanLimits]);
    assert_eq!(reasons(&zip_of(&[("inner.zip", &whole[..40])]), "application/zip"), [ScanLimits]);
    assert_eq!(reasons(&whole, "application/zip"), []);
    assert_eq!(reasons(&zip_of(&[]), "application/zip"), []);
}
