//! Objects with an inside: where clamd without its alerts calls clean what it never looked at.

use std::{io, os::unix::fs::FileExt};

use lazaret_core::Spooled;

/// First bytes of archives and compressed files, with their offsets.
const MAGIC: &[(u64, &[u8])] = &[
    (0, b"PK\x03\x04"),
    (0, b"PK\x05\x06"),
    (0, b"PK\x07\x08"),
    (0, b"7z\xbc\xaf\x27\x1c"),
    (0, b"Rar!"),
    (0, b"\x1f\x8b"),
    (0, b"BZh"),
    (0, b"\xfd7zXZ\0"),
    (0, b"\x28\xb5\x2f\xfd"),
    (0, b"MSCF"),
    // Compound files: older office documents and installers.
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    (257, b"ustar"),
];
const CHUNK_BYTES: usize = 256 * 1024;
const ENCRYPTED_PDF: &[u8] = b"/Encrypt";

/// Whether the object is an archive, or a PDF that says it is encrypted. Blocking.
pub(super) fn has_inside(object: &Spooled) -> io::Result<bool> {
    for (offset, magic) in MAGIC {
        if begins_with(object, *offset, magic)? {
            return Ok(true);
        }
    }
    Ok(begins_with(object, 0, b"%PDF-")? && contains(object, ENCRYPTED_PDF)?)
}

fn begins_with(object: &Spooled, offset: u64, magic: &[u8]) -> io::Result<bool> {
    let mut found = [0; 8];
    let found = &mut found[..magic.len()];
    if object.len() < offset + magic.len() as u64 {
        return Ok(false);
    }
    object.file().read_exact_at(found, offset)?;
    Ok(found == magic)
}

fn contains(object: &Spooled, needle: &[u8]) -> io::Result<bool> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut position = 0;
    while position < object.len() {
        let read = object.file().read_at(&mut buffer, position)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if buffer[..read].windows(needle.len()).any(|window| window == needle) {
            return Ok(true);
        }
        // The needle may lie across two chunks; the last step is whole, so the loop ends.
        let is_last = position + read as u64 == object.len();
        position += if is_last || read < needle.len() { read as u64 } else { (read + 1 - needle.len()) as u64 };
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use lazaret_testkit::scanners::spooled;

    use super::*;

    #[test]
    fn archives_and_encrypted_pdfs_have_an_inside() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let mut late = vec![b' '; CHUNK_BYTES - 3];
        late.splice(..5, *b"%PDF-");
        late.extend_from_slice(b"/Encrypt 5 0 R");
        for bytes in [&b"PK\x03\x04rest"[..], b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x1f\x8b\x08", &tar, &late] {
            assert!(has_inside(&spooled(bytes).unwrap()).unwrap(), "{:?}", &bytes[..bytes.len().min(10)]);
        }
        for bytes in [&b"P"[..], b"plain text /Encrypt", b"%PDF-1.7 open", b"\xff\xd8\xff\xe0 a jpeg"] {
            assert!(!has_inside(&spooled(bytes).unwrap()).unwrap(), "{bytes:?}");
        }
    }
}
