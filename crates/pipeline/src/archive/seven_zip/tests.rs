use crate::archive::{
    ArchiveLimits, Bounds, Opaque,
    ledger::{Halt, Spent},
    tests::build::spooled,
};

use super::*;

const LIMITS: ArchiveLimits =
    ArchiveLimits { max_depth: 3, max_entries: 100, max_total_size: 20_000_000, max_ratio: 100, max_memory: 32 << 20 };

fn examined(bytes: &[u8], limits: ArchiveLimits) -> (Vec<Opaque>, Spent) {
    let bounds = Bounds { limits, max_member: None };
    let object = spooled(bytes);
    let ledger = Ledger::new(&bounds, object.len());
    assert!(!matches!(
        walk(&ledger, Section::of_file(object.file(), object.len()), &Place::OBJECT),
        Err(Halt::Read(_))
    ));
    let spent = ledger.spent();
    (ledger.into_findings(), spent)
}

fn found(bytes: &[u8]) -> String {
    let (findings, _) = examined(bytes, LIMITS);
    let told: Vec<String> = findings.iter().map(|found| format!("{}: {}", found.reason, found.detail)).collect();
    told.join("; ")
}

/// An archive of these packed bytes and this header.
fn archive(packed: &[u8], header: &[u8]) -> Vec<u8> {
    let mut bytes = b"7z\xbc\xaf\x27\x1c\0\x04\0\0\0\0".to_vec();
    bytes.extend((packed.len() as u64).to_le_bytes());
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend([0; 4]);
    [&bytes[..], packed, header].concat()
}

/// The longest form of a number.
fn number(value: u64) -> Vec<u8> {
    [&[0xff][..], &value.to_le_bytes()].concat()
}

/// A header with one folder of one coder and one nameless member of `size` bytes.
fn one_folder(packed: u64, coder: &[u8], size: u64) -> Vec<u8> {
    [
        &b"\x01\x04\x06\0\x01\x09"[..],
        &number(packed),
        b"\0\x07\x0b\x01\0\x01",
        coder,
        b"\x0c",
        &number(size),
        b"\0\0\x05\x01\0\0",
    ]
    .concat()
}

const COPY: &[u8] = b"\x01\0";

#[test]
fn numbers_in_all_their_lengths() {
    assert_eq!(found(&archive(b"", b"")), "");
    for size in [0_u64, 4, 1000] {
        let data = vec![b'x'; usize::try_from(size).unwrap()];
        assert_eq!(found(&archive(&data, &one_folder(size, COPY, size))), "");
    }
    let short = b"\x01\x04\x06\0\x01\x09\x80\xc8\0\x07\x0b\x01\0\x01\x01\0\x0c\x80\xc8\0\0\x05\x01\0\0";
    assert_eq!(found(&archive(&[b'x'; 200], short)), "");
}

#[test]
fn a_claim_is_not_believed() {
    let bomb = archive(b"tiny", &one_folder(4, b"\x23\x03\x01\x01\x05\x5d\0\0\x10\0", 1 << 40));
    assert!(found(&bomb).contains("over limits.archive_ratio of 100"), "{}", found(&bomb));
    let short = archive(b"tiny", &one_folder(4, COPY, 5000));
    assert!(found(&short).ends_with("it is longer than what its data unpacks to"), "{}", found(&short));
    let beyond = archive(b"tiny", &one_folder(5000, COPY, 5000));
    assert!(found(&beyond).ends_with("its packed streams reach beyond it"), "{}", found(&beyond));
}

/// A dictionary is made no larger than what comes out of it, and counts before it is made.
#[test]
fn a_dictionary_is_not_what_its_header_says() {
    let lzma = b"\x23\x03\x01\x01\x05\x5d\xff\xff\xff\xff";
    let (_, spent) = examined(&archive(b"\0\0\0\0\0\0", &one_folder(6, lzma, 100)), LIMITS);
    assert!(spent.peak_memory < 1 << 20, "{spent:?}");
    let limits = ArchiveLimits { max_memory: 8 << 20, max_ratio: u64::MAX, ..LIMITS };
    let (findings, spent) = examined(&archive(b"\0\0\0\0\0\0", &one_folder(6, lzma, 9 << 20)), limits);
    assert!(findings[0].detail.contains("limits.archive_memory"), "{findings:?}");
    assert!(spent.peak_memory <= limits.max_memory, "{spent:?}");
}

#[test]
fn more_members_than_are_looked_at() {
    let files = |count: u64| {
        [&b"\x01\x05"[..], &number(count), b"\x0e", &number(count.div_ceil(8)), &[0xff; 20], b"\0\0"].concat()
    };
    let header = files(u64::MAX);
    assert_eq!(
        found(&archive(b"", &header)),
        "scan-limits: the archive has more members than limits.archive_entries of 100"
    );
    let folders = [&b"\x01\x04\x07\x0b"[..], &number(1 << 40), b"\0"].concat();
    assert!(found(&archive(b"", &folders)).ends_with("it has too many folders to be looked at"));
    let members = [&b"\x01\x04\x07\x0b\x01\0\x01\x01\0\x0c\x04\0\x08\x0d"[..], &number(1 << 40), b"\x09"].concat();
    assert!(found(&archive(b"", &members)).contains("limits.archive_entries of 100"));
}

#[test]
fn what_is_not_understood_is_held() {
    let whole = archive(b"text", &one_folder(4, COPY, 4));
    assert_eq!(found(&whole), "");
    let first = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[at] = value;
        bytes
    };
    for (bytes, why) in [
        (whole[..20].to_vec(), "it ends within its first header"),
        (first(6, 1), "it is of a version that is not known"),
        (first(12, 5), "its header does not reach to its last byte"),
        ([&whole[..], b"x"].concat(), "its header does not reach to its last byte"),
        (archive(b"", b"\x02"), "its header is not understood"),
        (archive(b"", b"\x01"), "its header ends too early"),
        (archive(b"", &vec![0; (2 << 20) + 1]), "its header is too long to be looked at"),
        (archive(b"", b"\x01\x03\0"), "its header lies in several places"),
        (archive(b"", b"\x01\x05\x01\0\0"), "it has another number of members than of data for them"),
        (archive(b"", b"\x17\0"), "its packed header is not understood"),
        // Inputs and outputs in numbers that nobody needs.
        (archive(b"", b"\x01\x04\x07\x0b\x01\0\x01\x11\0\x3f\x7f"), "a folder is not understood"),
    ] {
        assert!(found(&bytes).starts_with("scan-limits: ") && found(&bytes).ends_with(why), "{why}: {}", found(&bytes));
    }
    // A header that unpacks to itself.
    let header =
        [&b"\x17\x06\0\x01\x09"[..], &number(34), b"\0\x07\x0b\x01\0\x01\x01\0\x0c", &number(34), b"\0\0"].concat();
    assert_eq!(header.len(), 34);
    let found = found(&archive(&header, &header));
    assert!(found.ends_with("its header is packed again and again"), "{found}");
}
