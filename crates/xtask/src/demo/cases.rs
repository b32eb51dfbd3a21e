//! What is uploaded, and what has to become of it.

/// One upload session.
pub(super) struct Case {
    pub(super) label: &'static str,
    pub(super) file: File,
    pub(super) content_type: &'static str,
    pub(super) promise: Promise,
    pub(super) expected: Expected,
}

pub(super) enum File {
    /// Under `fixtures/files`.
    Fixture(&'static str),
    /// The antivirus test file, which exists at run time only.
    Eicar,
}

/// How the session's promise relates to the bytes that arrive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// Size and digest are right.
    Kept,
    OtherSize,
    OtherDigest,
    /// Nothing arrives, and the session ends after a second.
    NeverUsed,
}

pub(super) enum Expected {
    Published(Copy),
    Settled { state: &'static str, reason: &'static str },
}

/// What the published copy has to be.
#[derive(Default)]
pub(super) struct Copy {
    /// Byte for byte the upload, and handed out as an attachment.
    pub(super) as_is: bool,
    /// What must not have survived.
    pub(super) without: &'static [&'static [u8]],
    /// Width and height of a JPEG.
    pub(super) dimensions: Option<(u16, u16)>,
    /// Frames of a GIF.
    pub(super) frames: Option<usize>,
}

const EXIF: &[u8] = b"Exif";
const WEBP_EXIF: &[u8] = b"EXIF";

pub(super) fn all() -> Vec<Case> {
    let mut cases = published();
    cases.extend(refused());
    cases
}

fn published() -> Vec<Case> {
    let case = |label, file, content_type, copy| Case {
        label,
        file: File::Fixture(file),
        content_type,
        promise: Promise::Kept,
        expected: Expected::Published(copy),
    };
    vec![
        case(
            "JPEG with GPS, rotated",
            "photo-gps-rotated.jpg",
            "image/jpeg",
            Copy { without: &[EXIF, b"Fixture One"], dimensions: Some((1224, 1632)), ..Copy::default() },
        ),
        case("transparent PNG", "transparent.png", "image/png", Copy::default()),
        case("animated GIF", "animated.gif", "image/gif", Copy { frames: Some(6), ..Copy::default() }),
        case("WebP with GPS", "photo.webp", "image/webp", Copy { without: &[WEBP_EXIF], ..Copy::default() }),
        case(
            "JPEG with zip and script behind",
            "polyglot.jpg",
            "image/jpeg",
            Copy { without: &[b"payload.js", b"<script", b"PK\x05\x06"], ..Copy::default() },
        ),
        case("PDF", "page.pdf", "application/pdf", Copy { as_is: true, ..Copy::default() }),
    ]
}

fn refused() -> Vec<Case> {
    let case = |label, file, content_type, promise, state, reason| Case {
        label,
        file,
        content_type,
        promise,
        expected: Expected::Settled { state, reason },
    };
    let photo = "photo-gps-rotated.jpg";
    let (rejected, jpeg, png) = ("rejected", "image/jpeg", "image/png");
    vec![
        case("EICAR", File::Eicar, "text/plain", Promise::Kept, rejected, "infected"),
        case("program named .png", File::Fixture("program.png"), png, Promise::Kept, rejected, "type-mismatch"),
        case("wrong size", File::Fixture(photo), jpeg, Promise::OtherSize, rejected, "size-mismatch"),
        case("wrong digest", File::Fixture(photo), jpeg, Promise::OtherDigest, rejected, "digest-mismatch"),
        case("50,000 x 50,000 PNG", File::Fixture("huge-50000x50000.png"), png, Promise::Kept, rejected, "pixel-limit"),
        case("encrypted zip", File::Fixture("encrypted.zip"), "application/zip", Promise::Kept, "held", "encrypted"),
        case("session never used", File::Fixture(photo), jpeg, Promise::NeverUsed, "expired", "abandoned"),
    ]
}
