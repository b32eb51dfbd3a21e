//! Zip archives that engines are tried with.

const FLAG_ENCRYPTED: u16 = 1;

/// An archive with one member that is marked as encrypted.
pub(crate) fn encrypted() -> Vec<u8> {
    zip(&[0; 13], FLAG_ENCRYPTED)
}

/// `inside`, in an archive, in an archive, … `depth` of them.
pub(crate) fn nested(inside: &[u8], depth: u32) -> Vec<u8> {
    (0..depth).fold(inside.to_vec(), |inner, _| zip(&inner, 0))
}

/// A zip with one stored member (PKWARE APPNOTE 4.3).
fn zip(member: &[u8], flags: u16) -> Vec<u8> {
    const NAME: &[u8] = b"a";
    const DATE: u16 = 0x21;
    // Archives here have some KB.
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut shared = Vec::new();
    for field in [10, flags, 0, 0, DATE] {
        shared.extend_from_slice(&field.to_le_bytes());
    }
    shared.extend_from_slice(&crc32fast::hash(member).to_le_bytes());
    shared.extend_from_slice(&length(member));
    shared.extend_from_slice(&length(member));
    shared.extend_from_slice(&[1, 0, 0, 0]);

    let local = [b"PK\x03\x04", shared.as_slice(), NAME, member].concat();
    let entry = [b"PK\x01\x02\x0a\0", shared.as_slice(), &[0; 14], NAME].concat();
    let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0", length(&entry).as_slice(), &length(&local), &[0; 2]].concat();
    [local, entry, end].concat()
}
