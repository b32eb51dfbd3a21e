use std::fmt::Write as _;

use crate::archive::{
    ArchiveLimits, Bounds,
    tests::build::{crc32, spooled, zip_of},
};

use super::*;

const LIMITS: ArchiveLimits =
    ArchiveLimits { max_depth: 3, max_entries: 10, max_total_size: 1_000_000_000, max_ratio: 100, max_memory: 0 };

fn found(bytes: &[u8]) -> String {
    found_at(bytes, &Place::OBJECT)
}

fn found_at(bytes: &[u8], place: &Place<'_>) -> String {
    let bounds = Bounds { limits: LIMITS, max_member: Some(500_000_000) };
    let object = spooled(bytes);
    let ledger = Ledger::new(&bounds, object.len());
    assert!(!matches!(walk(&ledger, Section::of_file(object.file(), object.len()), place), Err(Halt::Read(_))));
    ledger.into_findings().iter().fold(String::new(), |mut text, found| {
        write!(text, "{}: {}", found.reason, found.detail).unwrap();
        text
    })
}

/// What a file's header says, in either format.
#[derive(Clone, Copy)]
struct Said<'a> {
    name: &'a str,
    data: &'a [u8],
    size: u64,
    is_packed: bool,
    flags: u64,
}

impl<'a> Said<'a> {
    const fn stored(name: &'a str, data: &'a [u8]) -> Self {
        Self { name, data, size: data.len() as u64, is_packed: false, flags: 0 }
    }

    const fn packed(name: &'a str, data: &'a [u8], size: u64) -> Self {
        Self { name, data, size, is_packed: true, flags: 0 }
    }
}

mod old {
    use super::*;

    pub(super) fn block(kind: u8, flags: u16, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(7 + body.len()).unwrap();
        let rest = [&[kind][..], &flags.to_le_bytes(), &len.to_le_bytes(), body].concat();
        let sum = crc32(&rest).to_le_bytes();
        [&sum[..2], &rest].concat()
    }

    pub(super) fn file(said: &Said<'_>) -> Vec<u8> {
        let low = |number: u64| u32::try_from(number & 0xffff_ffff).unwrap().to_le_bytes();
        let mut body = [low(said.data.len() as u64), low(said.size)].concat();
        body.extend([3, 0, 0, 0, 0, 0, 0, 0x21, 0x5c, 20, if said.is_packed { 0x33 } else { 0x30 }]);
        body.extend(u16::try_from(said.name.len()).unwrap().to_le_bytes());
        body.extend([0; 4]);
        if said.flags & 0x100 != 0 {
            body.extend([low(0), low(said.size >> 32)].concat());
        }
        body.extend(said.name.as_bytes());
        let flags = u16::try_from(0x8000 | said.flags).unwrap();
        [&block(0x74, flags, &body)[..], said.data].concat()
    }

    pub(super) fn archive(main_flags: u16, blocks: &[Vec<u8>]) -> Vec<u8> {
        let begin = block(0x73, main_flags, &[0; 6]);
        [b"Rar!\x1a\x07\0", &begin[..], &blocks.concat(), &block(0x7b, 0x4000, b"")].concat()
    }
}

mod new {
    use super::*;

    pub(super) fn number(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value > 0x7f {
            bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        bytes.push(u8::try_from(value).unwrap());
        bytes
    }

    pub(super) fn block(kind: u64, flags: u64, fields: &[u8], extra: &[u8], data: &[u8]) -> Vec<u8> {
        let told = flags | u64::from(!extra.is_empty()) | u64::from(!data.is_empty()) << 1;
        let size = |bytes: &[u8]| if bytes.is_empty() { Vec::new() } else { number(bytes.len() as u64) };
        let body = [&number(kind)[..], &number(told), &size(extra), &size(data), fields, extra].concat();
        let rest = [&number(body.len() as u64)[..], &body].concat();
        [&crc32(&rest).to_le_bytes()[..], &rest, data].concat()
    }

    pub(super) fn file(said: &Said<'_>, extra: &[u8]) -> Vec<u8> {
        let method = if said.is_packed { 3 << 7 } else { 0 };
        let name = said.name.as_bytes();
        let numbers = |values: &[u64]| values.iter().flat_map(|value| number(*value)).collect::<Vec<u8>>();
        // With a time and a checksum, four bytes each.
        let fields = [
            numbers(&[0x06 | said.flags & 0x0f, said.size, 0]),
            vec![0; 8],
            numbers(&[method, 1, name.len() as u64]),
            name.to_vec(),
        ];
        block(2, said.flags >> 8 << 3, &fields.concat(), extra, said.data)
    }

    pub(super) fn archive(main_flags: u64, blocks: &[Vec<u8>]) -> Vec<u8> {
        let begin = block(1, 0, &number(main_flags), b"", b"");
        [b"Rar!\x1a\x07\x01\0", &begin[..], &blocks.concat(), &block(5, 0, &[0], b"", b"")].concat()
    }
}

/// The same files in both formats.
fn both(files: &[Said<'_>]) -> [Vec<u8>; 2] {
    let old: Vec<Vec<u8>> = files.iter().map(old::file).collect();
    let new: Vec<Vec<u8>> = files.iter().map(|said| new::file(said, b"")).collect();
    [old::archive(0, &old), new::archive(0, &new)]
}

#[test]
fn files_are_walked_by_their_headers() {
    for files in [
        &[][..],
        &[Said::stored("a", b"text")],
        &[Said::packed("a", b"packed", 4000), Said::stored("b", b""), Said::packed("c", b"more", 0)],
    ] {
        assert_eq!(both(files).map(|bytes| found(&bytes)), ["", ""]);
    }
}

/// An engine that looks into archives of one kind need not look into a RAR that lies in them.
#[test]
fn what_is_packed_in_a_rar_within_an_archive_is_held() {
    let place = Place::OBJECT.member(b"inner.rar");
    for bytes in both(&[Said::packed("a", b"packed", 4000)]) {
        assert_eq!(found(&bytes), "");
        assert!(found_at(&bytes, &place).contains("within another archive"), "{}", found_at(&bytes, &place));
    }
    for bytes in both(&[Said::stored("a", b"text")]) {
        assert_eq!(found_at(&bytes, &place), "");
    }
}

#[test]
fn a_stored_archive_is_looked_into() {
    let inner = zip_of(&[("b.zip", &zip_of(&[("c.zip", &zip_of(&[]))]))]);
    for bytes in both(&[Said::packed("z", b"packed", 40), Said::stored("a.zip", &inner)]) {
        assert!(
            found(&bytes).contains("\"a.zip\" > \"b.zip\" lies") || found(&bytes).contains("limits.archive_memory")
        );
    }
}

#[test]
fn what_headers_claim_counts() {
    for (files, limit) in [
        (vec![Said::packed("a", b"tiny", 11 << 20)], "limits.archive_ratio of 100"),
        (vec![Said::packed("a", b"tiny", 1 << 31)], "the 500000000 bytes of a scanner's max_size"),
        (vec![Said::stored("a", b""); 11], "limits.archive_entries of 10"),
    ] {
        for bytes in both(&files) {
            assert!(found(&bytes).starts_with("scan-limits: ") && found(&bytes).contains(limit), "{}", found(&bytes));
        }
    }
    let large = Said { flags: 0x100, ..Said::packed("a", b"tiny", 5 << 32) };
    assert!(found(&old::archive(0, &[old::file(&large)])).contains("scanner's max_size"));
    let large = Said::packed("a", b"tiny", u64::MAX);
    assert!(found(&new::archive(0, &[new::file(&large, b"")])).contains("scanner's max_size"));
}

#[test]
fn encryption_is_seen_in_every_place() {
    let secret = Said { flags: 0x04, ..Said::packed("secret", b"scrambled", 40) };
    let plain = Said::stored("a", b"text");
    assert_eq!(
        found(&old::archive(0, &[old::file(&plain), old::file(&secret)])),
        "encrypted: member \"secret\" is encrypted"
    );
    assert_eq!(found(&old::archive(0x80, &[vec![7; 50]])), "encrypted: the archive is encrypted");
    let secret = Said { flags: 0, ..secret };
    // Another record, of a file's time, before that of its encryption.
    let records = [&[3_u8, 3, 0, 0][..], &[2, 1, 0]].concat();
    let bytes = new::archive(0, &[new::file(&plain, b""), new::file(&secret, &records)]);
    assert_eq!(found(&bytes), "encrypted: member \"secret\" is encrypted");
    assert_eq!(found(&new::archive(0, &[new::file(&plain, &records[..4])])), "");
    let bytes = [&b"Rar!\x1a\x07\x01\0"[..], &new::block(4, 0, &[0; 20], b"", b""), &[7; 50]].concat();
    assert_eq!(found(&bytes), "encrypted: the archive is encrypted");
}

#[test]
fn what_is_not_understood_is_held() {
    let plain = Said::stored("a", b"text");
    let (old_file, new_file) = (old::file(&plain), new::file(&plain, b""));
    let split = Said { flags: 0x02, ..plain };
    let unknown = Said { flags: 0x08, ..Said::packed("a", b"text", 0) };
    let volume = new::block(2, 0x10, &new::number(0), b"", b"");
    for (bytes, why) in [
        (old::archive(1, std::slice::from_ref(&old_file)), "it is one part of several"),
        (new::archive(1, std::slice::from_ref(&new_file)), "it is one part of several"),
        (old::archive(0, &[old::file(&split)]), "it is one part of several"),
        (new::archive(0, &[volume]), "a header is shorter than headers are"),
        (new::archive(0, &[new::file(&unknown, b"")]), "a member's size is not known"),
        ([&old::archive(0, &[])[..], b"x"].concat(), "there are bytes behind its end"),
        ([&new::archive(0, &[])[..], b"x"].concat(), "there are bytes behind its end"),
        (b"Rar!\x1a\x07\0".to_vec(), "it has no header"),
        (b"Rar!\x1a\x07\x01\0".to_vec(), "it ends without a last header"),
        ([&b"Rar!\x1a\x07\0"[..], &old_file].concat(), "its first header is not the archive's, or another one is"),
        ([&b"Rar!\x1a\x07\x01\0"[..], &new_file].concat(), "its first header is not the archive's, or another one is"),
    ] {
        assert!(found(&bytes).starts_with("scan-limits: ") && found(&bytes).ends_with(why), "{why}: {}", found(&bytes));
    }
}

/// Whatever byte is changed or missing, the archive is held or the byte is one that says nothing here.
#[test]
fn a_broken_header_is_never_passed() {
    let plain = Said::packed("name", b"", 0);
    for whole in both(&[plain, plain]) {
        assert_eq!(found(&whole), "");
        for at in 8..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            assert_ne!(found(&bytes), "", "changed at {at}");
        }
        let end = if whole[6] == 0 { 7 } else { 0 };
        for cut in (0..whole.len()).filter(|cut| *cut + end != whole.len()) {
            assert!(!found(&whole[..cut]).is_empty() || whole[6] == 0, "cut at {cut}");
        }
    }
}
