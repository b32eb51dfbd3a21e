//! Which archive some bytes begin.

use lazaret_core::MediaType;

use super::tar;

/// How many bytes of the head tell: a tar's first header.
pub(crate) const HEAD_BYTES: usize = 512;

/// An archive, or a single packed stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Zip,
    Gzip,
    Bzip2,
    Xz,
    Tar,
    SevenZip,
    Rar,
    /// Packed in a way that is not looked into here, by its name.
    Foreign(&'static str),
}

const ZSTD: &str = "zstd";

impl Kind {
    /// By magic bytes. Polyglots are the matter of those who ask.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        let is = |bytes: &[u8]| head.starts_with(bytes);
        // The last two are one part of a split archive that has no other, which readers open; its layout is refused.
        if is(b"PK\x03\x04") || is(b"PK\x05\x06") || is(b"PK\x07\x08") || is(b"PK00PK\x03\x04") {
            return Some(Self::Zip);
        }
        if is(b"\x1f\x8b\x08") {
            return Some(Self::Gzip);
        }
        if is_bzip2(head) {
            return Some(Self::Bzip2);
        }
        if is(b"\xfd7zXZ\0") {
            return Some(Self::Xz);
        }
        if is(b"7z\xbc\xaf\x27\x1c") {
            return Some(Self::SevenZip);
        }
        if is(b"Rar!\x1a\x07\0") || is(b"Rar!\x1a\x07\x01\0") {
            return Some(Self::Rar);
        }
        foreign(head).map(Self::Foreign).or_else(|| tar::begins(head).then_some(Self::Tar))
    }

    /// By the type that was detected. None: not looked into here.
    pub(crate) fn of_type(media_type: &MediaType) -> Option<Self> {
        let name = media_type.as_str();
        Some(match name {
            "application/gzip" => Self::Gzip,
            "application/x-bzip2" => Self::Bzip2,
            "application/x-xz" => Self::Xz,
            "application/x-tar" => Self::Tar,
            "application/x-7z-compressed" => Self::SevenZip,
            "application/vnd.rar" => Self::Rar,
            "application/zstd" => Self::Foreign(ZSTD),
            _ if is_zip(name) => Self::Zip,
            _ => return None,
        })
    }

    /// The type it is detected as. None: another one knows it.
    pub(crate) fn media_type(self) -> Option<&'static str> {
        Some(match self {
            Self::Gzip => "application/gzip",
            Self::Bzip2 => "application/x-bzip2",
            Self::Xz => "application/x-xz",
            Self::Tar => "application/x-tar",
            Self::SevenZip => "application/x-7z-compressed",
            Self::Rar => "application/vnd.rar",
            Self::Foreign(ZSTD) => "application/zstd",
            // What a zip is more than that, its members say.
            Self::Zip | Self::Foreign(_) => return None,
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Tar => "tar",
            Self::SevenZip => "7z",
            Self::Rar => "rar",
            Self::Foreign(name) => name,
        }
    }
}

fn is_zip(name: &str) -> bool {
    matches!(
        name,
        "application/zip"
            | "application/epub+zip"
            | "application/java-archive"
            | "application/vnd.android.package-archive"
    ) || name.starts_with("application/vnd.openxmlformats-officedocument.")
        || name.starts_with("application/vnd.oasis.opendocument.")
        || name.starts_with("application/vnd.ms-") && name.ends_with(".macroenabled.12")
}

/// Three letters, which a text may begin with as well, a level, and the first block's or the end's 48 bits.
fn is_bzip2(head: &[u8]) -> bool {
    let Some((level, block)) = head.strip_prefix(b"BZh").and_then(<[u8]>::split_first) else { return false };
    matches!(level, b'1'..=b'9')
        && (block.starts_with(b"\x31\x41\x59\x26\x53\x59") || block.starts_with(b"\x17\x72\x45\x38\x50\x90"))
}

/// Packed streams and archives that are seen and not looked into: they would hide how deep they go. Two letters and
/// digits are not enough: each is known by more than that.
fn foreign(head: &[u8]) -> Option<&'static str> {
    let is = |at: usize, bytes: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    let byte = |at: usize| head.get(at).copied().unwrap_or_default();
    let all = |range: std::ops::Range<usize>, test: fn(&u8) -> bool| {
        head.get(range).is_some_and(|bytes| bytes.iter().all(test))
    };
    // A frame, or a skippable one (RFC 8878, 3.1).
    if is(0, b"\x28\xb5\x2f\xfd") || (is(1, b"\x2a\x4d\x18") && byte(0) & 0xf0 == 0x50) {
        return Some(ZSTD);
    }
    if is(0, b"\x04\x22\x4d\x18") {
        return Some("lz4");
    }
    if is(0, b"LZIP\x01") {
        return Some("lzip");
    }
    if is(0, b"\x1f\x9d") && byte(2) & 0x60 == 0 && matches!(byte(2) & 0x1f, 9..=16) {
        return Some("compress");
    }
    if is(0, b"MSCF\0\0\0\0") {
        return Some("cabinet");
    }
    if is(0, b"\x60\xea") && byte(3) < 11 && matches!(byte(4), 30..=46) {
        return Some("arj");
    }
    if is(2, b"-lh") && matches!(byte(5), b'0'..=b'7' | b'd' | b'x') && byte(6) == b'-' && byte(20) <= 3 {
        return Some("lha");
    }
    if is(0, b"ALZ\x01") {
        return Some("alz");
    }
    if is(0, b"EGGA\0\x01") {
        return Some("egg");
    }
    if is(0, b"xar!\0") {
        return Some("xar");
    }
    let ascii = (is(0, b"070701") || is(0, b"070702")) && all(6..110, u8::is_ascii_hexdigit)
        || is(0, b"070707") && all(6..76, |byte| matches!(byte, b'0'..=b'7'));
    let names = usize::from(u16::from_le_bytes([byte(20), byte(21)]));
    let binary = is(0, b"\xc7\x71") && names > 1 && is(25 + names, b"\0");
    (ascii || binary).then_some("cpio")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_made_of_zips_is_a_zip() {
        for name in [
            "application/java-archive",
            "application/vnd.android.package-archive",
            "application/vnd.ms-word.document.macroEnabled.12",
            "application/vnd.ms-excel.sheet.macroEnabled.12",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/vnd.oasis.opendocument.text",
            "application/epub+zip",
        ] {
            assert_eq!(Kind::of_type(&name.parse().unwrap()), Some(Kind::Zip), "{name}");
        }
        assert_eq!(Kind::of_type(&"application/vnd.ms-excel".parse().unwrap()), None);
        assert_eq!(Kind::of_type(&"application/pdf".parse().unwrap()), None);
    }

    #[test]
    fn each_kind_has_one_type() {
        for kind in [Kind::Gzip, Kind::Bzip2, Kind::Xz, Kind::Tar, Kind::SevenZip, Kind::Rar, Kind::Foreign(ZSTD)] {
            let name = kind.media_type().unwrap();
            assert_eq!(Kind::of_type(&name.parse().unwrap()), Some(kind), "{name}");
        }
    }

    #[test]
    fn what_only_looks_like_one() {
        for text in [
            &b"BZh is no word"[..],
            b"BZh9 neither",
            b"070701 to 070731",
            b"070707 is a number",
            b"MSCF is a cabinet",
            b"Rar! she said",
            b"7z is short",
            b"xar! is a shout",
            b"a -lhs- b",
            b"a -lh5- b, which is longer",
            b"\x1f\x9d\xff",
            b"",
            &[0; HEAD_BYTES],
        ] {
            assert_eq!(Kind::of(text), None, "{:?}", String::from_utf8_lossy(text));
        }
    }
}
