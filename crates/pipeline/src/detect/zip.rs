//! What a zip is more than a zip, by the names of its members.

use std::{io, os::unix::fs::FileExt};

use lazaret_core::Spooled;

use crate::zip_directory::{Member, Members, Unreadable, method};

const ZIP: &str = "application/zip";

/// The longest `mimetype` that is read, in bytes.
const MAX_MIMETYPE_BYTES: usize = 128;

/// What a first member `mimetype` may say (`OpenDocument` 1.3 part 2, 3.3; EPUB 3.3, 4.2.6.2).
const PACKAGES: &[&str] = &[
    "application/epub+zip",
    "application/vnd.oasis.opendocument.chart",
    "application/vnd.oasis.opendocument.formula",
    "application/vnd.oasis.opendocument.graphics",
    "application/vnd.oasis.opendocument.graphics-template",
    "application/vnd.oasis.opendocument.image",
    "application/vnd.oasis.opendocument.presentation",
    "application/vnd.oasis.opendocument.presentation-template",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.spreadsheet-template",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.oasis.opendocument.text-master",
    "application/vnd.oasis.opendocument.text-template",
];

/// The folder of an Office document, its type, and its type with macros (ECMA-376 part 2; [MS-OFFMACRO2]).
const OFFICE: [(&[u8], &str, &str); 3] = [
    (
        b"word/",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.ms-word.document.macroenabled.12",
    ),
    (
        b"xl/",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.ms-excel.sheet.macroenabled.12",
    ),
    (
        b"ppt/",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.ms-powerpoint.presentation.macroenabled.12",
    ),
];

/// The two ways a zip begins: a member, or the end record where there is none.
pub(super) fn begins(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

/// The type of an object that begins like a zip. One whose directory is not understood is a zip and no more; it is held
/// where archives are looked into.
pub(super) fn subtype(object: &Spooled) -> io::Result<&'static str> {
    match Seen::walk(object) {
        Ok(seen) => Ok(seen.media_type()),
        Err(Unreadable::Read(error)) => Err(error),
        Err(Unreadable::Layout(_) | Unreadable::TooMany(_)) => Ok(ZIP),
    }
}

/// What the names of all members say together.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one name that was seen or not, in any combination")]
struct Seen {
    package: Option<&'static str>,
    content_types: bool,
    folders: [bool; OFFICE.len()],
    macros: bool,
    java: bool,
    android: bool,
}

impl Seen {
    fn walk(object: &Spooled) -> Result<Self, Unreadable> {
        let mut members = Members::open(object.file(), object.len())?;
        let mut seen = Self::default();
        let mut first = true;
        while let Some(member) = members.advance()? {
            if first && member.name == b"mimetype" {
                seen.package = package(object, &member)?;
            }
            first = false;
            seen.add(member.name);
        }
        Ok(seen)
    }

    /// Part names are compared without regard to case (ECMA-376 part 2, 6.3.5).
    fn add(&mut self, name: &[u8]) {
        let starts_with = |folder: &[u8]| name.get(..folder.len()).is_some_and(|it| it.eq_ignore_ascii_case(folder));
        let file = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        self.content_types |= name.eq_ignore_ascii_case(b"[Content_Types].xml");
        self.macros |= file.eq_ignore_ascii_case(b"vbaProject.bin");
        self.java |= name.eq_ignore_ascii_case(b"META-INF/MANIFEST.MF");
        self.android |= name == b"AndroidManifest.xml";
        for (seen, (folder, ..)) in self.folders.iter_mut().zip(OFFICE) {
            *seen |= starts_with(folder);
        }
    }

    /// What runs comes first: a document that is also a program is a program. One that is two documents is neither.
    fn media_type(&self) -> &'static str {
        if self.android {
            return "application/vnd.android.package-archive";
        }
        if self.java {
            return "application/java-archive";
        }
        let documents = OFFICE.iter().zip(self.folders).filter(|(_, seen)| self.content_types && *seen);
        let mut documents = documents.map(|((_, plain, macros), _)| if self.macros { *macros } else { *plain });
        match (self.package, documents.next(), documents.next()) {
            (Some(media_type), None, None) | (None, Some(media_type), None) => media_type,
            _ => ZIP,
        }
    }
}

/// What a stored member `mimetype` says, if it is a type that we know.
fn package(object: &Spooled, member: &Member<'_>) -> io::Result<Option<&'static str>> {
    let mut text = [0; MAX_MIMETYPE_BYTES];
    let Some(text) = usize::try_from(member.packed_size).ok().and_then(|size| text.get_mut(..size)) else {
        return Ok(None);
    };
    if member.encrypted || member.method != method::STORED {
        return Ok(None);
    }
    object.file().read_exact_at(text, member.data_start)?;
    Ok(PACKAGES.iter().copied().find(|known| known.as_bytes() == text.trim_ascii()))
}
