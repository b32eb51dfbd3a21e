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
    /// Byte for byte the upload.
    pub(super) as_is: bool,
    /// Handed out to be kept, not to be shown.
    pub(super) attachment: bool,
    /// Of which type it is, where that is not the upload's.
    pub(super) becomes: Option<&'static str>,
    /// What its session says of its thumbnail, width and height.
    pub(super) thumbnail: Option<(u32, u32)>,
    /// What must not have survived.
    pub(super) without: &'static [&'static [u8]],
    /// Width and height of a JPEG.
    pub(super) dimensions: Option<(u16, u16)>,
    /// Frames of a GIF.
    pub(super) frames: Option<usize>,
}

/// What `lazaret dev` is told to do here: every image gets a thumbnail, documents that can act are written anew.
pub(super) const POLICY: &str = r#"[
  { name = "images", types = ["image/jpeg", "image/png", "image/gif", "image/webp", "image/tiff", "image/avif"],
    action = "re-encode", scanners = ["clamd"], variants = { thumb = 128 } },
  { name = "active", types = ["application/pdf", "image/svg+xml"], action = "sanitise", scanners = ["clamd"] },
  { name = "documents", action = "as-is", scanners = ["clamd"], types = ["text/plain", "application/zip",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document"] },
]"#;

const EXIF: &[u8] = b"Exif";
const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
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
            Copy {
                without: &[EXIF, b"Fixture One"],
                dimensions: Some((1224, 1632)),
                thumbnail: Some((96, 128)),
                ..Copy::default()
            },
        ),
        case("transparent PNG", "transparent.png", "image/png", Copy { thumbnail: Some((128, 96)), ..Copy::default() }),
        case(
            "animated GIF",
            "animated.gif",
            "image/gif",
            Copy { frames: Some(6), thumbnail: Some((128, 96)), ..Copy::default() },
        ),
        case("TIFF", "scan.tiff", "image/tiff", Copy { becomes: Some("image/png"), ..Copy::default() }),
        case("AVIF", "photo.avif", "image/avif", Copy { becomes: Some("image/webp"), ..Copy::default() }),
        case("WebP with GPS", "photo.webp", "image/webp", Copy { without: &[WEBP_EXIF], ..Copy::default() }),
        case(
            "JPEG with zip and script behind",
            "polyglot.jpg",
            "image/jpeg",
            Copy { without: &[b"payload.js", b"<script", b"PK\x05\x06"], ..Copy::default() },
        ),
        case("DOCX", "letter.docx", DOCX, Copy { as_is: true, attachment: true, ..Copy::default() }),
        case(
            "PDF with JavaScript",
            "active.pdf",
            "application/pdf",
            Copy { attachment: true, without: &[b"JavaScript", b"app.alert", b"calc.exe"], ..Copy::default() },
        ),
        case(
            "SVG with a script",
            "drawing.svg",
            "image/svg+xml",
            Copy { attachment: true, without: &[b"script", b"alert"], ..Copy::default() },
        ),
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
        case("TIFF of two pages", File::Fixture("pages.tiff"), "image/tiff", Promise::Kept, "held", "multi-page"),
        case("HEIC", File::Fixture("photo.heic"), "image/heic", Promise::Kept, rejected, "type-not-allowed"),
        case("session never used", File::Fixture(photo), jpeg, Promise::NeverUsed, "expired", "abandoned"),
    ]
}
