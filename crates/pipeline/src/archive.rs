//! Zip archives whose members cannot be looked into are held, whatever a scanner's settings make it say of them.

use lazaret_core::{HoldReason, MediaType, Spooled, ports::Decision};

use crate::zip_directory::{Members, Unreadable, method};

/// Why an archive cannot be checked whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opaque {
    pub(crate) reason: HoldReason,
    pub(crate) detail: String,
}

/// Walks the central directory of a zip. Blocking. Other types have nothing to say here.
pub(crate) fn opaque_members(object: &Spooled, media_type: &MediaType) -> Option<Opaque> {
    if !is_zip(media_type) {
        return None;
    }
    walk(object).unwrap_or_else(|error| match error {
        Unreadable::TooMany(_) => Some(limits(error.to_string())),
        Unreadable::Read(_) | Unreadable::Layout(_) => Some(limits(format!(
            "the archive's directory is not readable, so no scanner can look into all of it: {error}"
        ))),
    })
}

fn walk(object: &Spooled) -> Result<Option<Opaque>, Unreadable> {
    let mut members = Members::open(object.file(), object.len())?;
    while let Some(member) = members.advance()? {
        if member.encrypted {
            let detail = "the archive has an encrypted member".to_owned();
            return Ok(Some(Opaque { reason: HoldReason::Encrypted, detail }));
        }
        if !is_unpacked(member.method) {
            let detail =
                format!("the archive has a member packed by method {}, which no scanner unpacks", member.method);
            return Ok(Some(limits(detail)));
        }
    }
    Ok(None)
}

/// What clamd unpacks for certain (libclamav/unzip.c); of LZMA, zstd, xz and `PPMd` no scanner says that it does.
const fn is_unpacked(packed_by: u16) -> bool {
    matches!(packed_by, method::STORED | method::DEFLATE | method::DEFLATE64 | method::BZIP2)
}

fn limits(detail: String) -> Opaque {
    Opaque { reason: HoldReason::ScanLimits, detail }
}

/// What scanners and archive come to together: a finding about the bytes first, then what was seen in the archive
/// itself, which knows its reason better than a scanner that met a limit.
pub(crate) fn first_of(scanned: Option<Decision>, opaque: Option<&Opaque>) -> Option<Decision> {
    let hold = |opaque: &Opaque| Decision::Hold { reason: opaque.reason, detail: opaque.detail.clone() };
    match scanned {
        Some(Decision::Reject { .. }) => scanned,
        Some(Decision::Publish(_) | Decision::Hold { .. }) | None => opaque.map(hold).or(scanned),
    }
}

fn is_zip(media_type: &MediaType) -> bool {
    let name = media_type.as_str();
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

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use proptest::prelude::*;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn opaque(bytes: &[u8]) -> Option<HoldReason> {
        let object = lazaret_testkit::objects::spooled(bytes).unwrap();
        opaque_members(&object, &"application/zip".parse().unwrap()).map(|opaque| opaque.reason)
    }

    fn archive(names: &[&str]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for name in names {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(b"some text").unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    /// Sets the *encrypted* bit of the `index`-th header that begins with `signature`.
    fn encrypt(mut bytes: Vec<u8>, signature: [u8; 4], flags_at: usize, index: usize) -> Vec<u8> {
        let headers = bytes.windows(4).enumerate().filter(|(_, window)| *window == signature);
        let at = headers.map(|(at, _)| at).nth(index).unwrap();
        bytes[at + flags_at] |= 1;
        bytes
    }

    #[test]
    fn plain_members_are_not_opaque() {
        assert_eq!(opaque(&archive(&["a", "b"])), None);
        assert_eq!(opaque(&archive(&[])), None);
    }

    #[test]
    fn an_encrypted_member_holds_whichever_header_says_so() {
        for index in 0..3 {
            let bytes = archive(&["a", "b", "c"]);
            assert_eq!(opaque(&encrypt(bytes.clone(), *b"PK\x01\x02", 8, index)), Some(HoldReason::Encrypted));
            assert_eq!(opaque(&encrypt(bytes, *b"PK\x03\x04", 6, index)), Some(HoldReason::Encrypted));
        }
    }

    /// An index by name keeps the last of two members of one name, and the encrypted first one was not seen.
    #[test]
    fn an_encrypted_member_does_not_hide_behind_its_own_name() {
        let mut bytes = encrypt(archive(&["a", "b"]), *b"PK\x01\x02", 8, 0);
        for at in 0..bytes.len() {
            if bytes[at] == b'b' && bytes[at + 1..].starts_with(b"some") || bytes[at..].starts_with(b"bPK\x05\x06") {
                bytes[at] = b'a';
            }
        }
        assert_eq!(opaque(&bytes), Some(HoldReason::Encrypted));
    }

    #[test]
    fn what_cannot_be_walked_is_held() {
        let whole = archive(&["a", "b"]);
        assert_eq!(opaque(&whole[..whole.len() - 30]), Some(HoldReason::ScanLimits));
        assert_eq!(opaque(b"PK\x03\x04"), Some(HoldReason::ScanLimits));
        let mut moved = whole;
        moved[0] = b'X';
        assert_eq!(opaque(&moved), Some(HoldReason::ScanLimits));
    }

    #[test]
    fn members_that_no_scanner_unpacks_are_held() {
        let packed_by = |number: u8| {
            let mut bytes = archive(&["a"]);
            let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
            (bytes[8], bytes[central + 10]) = (number, number);
            opaque(&bytes)
        };
        for number in [8, 9, 12] {
            assert_eq!(packed_by(number), None, "{number}");
        }
        for number in [1, 6, 14, 93, 95, 98] {
            assert_eq!(packed_by(number), Some(HoldReason::ScanLimits), "{number}");
        }
    }

    #[test]
    fn all_that_is_made_of_zips_is_looked_into() {
        for name in [
            "application/java-archive",
            "application/vnd.android.package-archive",
            "application/vnd.ms-word.document.macroEnabled.12",
            "application/vnd.ms-excel.sheet.macroEnabled.12",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/vnd.oasis.opendocument.text",
            "application/epub+zip",
        ] {
            assert!(is_zip(&name.parse().unwrap()), "{name}");
        }
        assert!(!is_zip(&"application/vnd.ms-excel".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_ne!(opaque(&bytes), Some(HoldReason::Encrypted));
        }

        #[test]
        fn a_broken_archive_never_panics(at in 0_usize..260, value in any::<u8>(), cut in 0_usize..260) {
            let mut bytes = archive(&["a", "b"]);
            let (at, cut) = (at % bytes.len(), cut % bytes.len());
            bytes[at] = value;
            opaque(&bytes);
            opaque(&bytes[..cut]);
        }
    }
}
