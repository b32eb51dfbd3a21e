//! Objects with an inside: where an engine may call clean what it never looked at.

use std::{fmt, io, os::unix::fs::FileExt};

use lazaret_core::Spooled;
use serde::Serialize;

/// What an object holds others in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// PKWARE's, and all that is made of it: office documents, packages.
    Zip,
    /// A tape archive.
    Tar,
    /// One compressed file (RFC 1952).
    Gzip,
    /// One compressed file.
    Bzip2,
    /// One compressed file.
    Xz,
    /// One compressed file (RFC 8878).
    Zstd,
    /// 7-Zip's.
    #[serde(rename = "7z")]
    SevenZip,
    /// RAR, versions 4 and 5.
    Rar,
    /// Microsoft's cabinet.
    Cabinet,
    /// Older office documents and installers.
    Compound,
}

impl Container {
    /// First bytes, with their offsets.
    const MAGIC: &[(u64, &[u8], Self)] = &[
        (0, b"PK\x03\x04", Self::Zip),
        (0, b"PK\x05\x06", Self::Zip),
        (0, b"PK\x07\x08", Self::Zip),
        (0, b"7z\xbc\xaf\x27\x1c", Self::SevenZip),
        (0, b"Rar!", Self::Rar),
        (0, b"\x1f\x8b", Self::Gzip),
        (0, b"BZh", Self::Bzip2),
        (0, b"\xfd7zXZ\0", Self::Xz),
        (0, b"\x28\xb5\x2f\xfd", Self::Zstd),
        (0, b"MSCF", Self::Cabinet),
        (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Self::Compound),
        (257, b"ustar", Self::Tar),
    ];

    /// What `object` is, if it is one of them. Blocking.
    pub(crate) fn of(object: &Spooled) -> io::Result<Option<Self>> {
        for (offset, magic, container) in Self::MAGIC {
            if begins_with(object, *offset, magic)? {
                return Ok(Some(*container));
            }
        }
        Ok(None)
    }

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::SevenZip => "7z",
            Self::Rar => "rar",
            Self::Cabinet => "cabinet",
            Self::Compound => "compound",
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const CHUNK_BYTES: usize = 256 * 1024;
const ENCRYPTED_PDF: &[u8] = b"/Encrypt";

/// Whether the object is a container, or a PDF that says it is encrypted. Blocking.
pub(crate) fn has_inside(object: &Spooled) -> io::Result<bool> {
    Ok(Container::of(object)?.is_some() || begins_with(object, 0, b"%PDF-")? && contains(object, ENCRYPTED_PDF)?)
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
    fn containers_and_encrypted_pdfs_have_an_inside() {
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
        assert_eq!(Container::of(&spooled(&tar).unwrap()).unwrap(), Some(Container::Tar));
    }
}
