//! Whatever comes, there is an answer, within the bounds.

use proptest::prelude::*;

use super::*;

const TYPES: [&str; 8] = [
    "application/zip",
    "application/gzip",
    "application/x-bzip2",
    "application/x-xz",
    "application/x-tar",
    "application/x-7z-compressed",
    "application/vnd.rar",
    "application/zstd",
];

fn seeds() -> Vec<(Vec<u8>, &'static str)> {
    let mut seeds: Vec<_> = real::CLEAN
        .iter()
        .chain(real::ENCRYPTED)
        .chain(real::LIMITS)
        .map(|(name, media_type)| (std::fs::read(real::fixture(name)).unwrap(), *media_type))
        .collect();
    seeds.push((tar(&[("a", b"text"), ("b.zip", &zip_of(&[("c", b"text")]))]), "application/x-tar"));
    seeds.push((gzip(&tar(&[("a.gz", &gzip(b"text"))])), "application/gzip"));
    seeds
}

/// Small, so that what goes past them shows.
const SMALL: Bounds = Bounds {
    limits: ArchiveLimits {
        max_depth: 3,
        max_entries: 20,
        max_total_size: 200_000,
        max_ratio: 100,
        max_memory: 26_000_000,
    },
    max_member: Some(10_000),
};

fn stays_within(bytes: &[u8], media_type: &str) {
    let (findings, spent) = examined(bytes, media_type, &SMALL);
    assert!(findings.len() <= 2);
    assert!(findings.iter().all(|found| matches!(found.reason, Encrypted | ScanLimits)));
    assert!(findings.iter().all(|found| found.detail.len() < 1500));
    assert!(spent.entries <= SMALL.limits.max_entries + 1, "{spent:?}");
    // A claim, or one buffer more than the limit.
    assert!(spent.unpacked <= 300_000 || !findings.is_empty(), "{spent:?}");
    assert!(spent.peak_memory <= SMALL.limits.max_memory, "{spent:?}");
}

proptest! {
    #[test]
    fn arbitrary_bytes(
        media_type in prop::sample::select(&TYPES[..]),
        head in prop::sample::select(vec![&b""[..], b"PK\x03\x04", b"\x1f\x8b\x08\0", b"BZh9", b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c\0\x04", b"Rar!\x1a\x07\0", b"Rar!\x1a\x07\x01\0"]),
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        stays_within(&[head, &bytes].concat(), media_type);
    }

    #[test]
    fn broken_archives(
        seed in prop::sample::select(seeds()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        wrapped in any::<bool>(),
    ) {
        let (mut bytes, media_type) = seed;
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        stays_within(&bytes, media_type);
        stays_within(&bytes[..cut.index(bytes.len())], media_type);
        if wrapped {
            stays_within(&zip_of(&[("inner", &bytes)]), "application/zip");
            stays_within(&gzip(&bytes), "application/gzip");
        }
    }
}
