//! Documents through the real jail: written anew, looked at in a process of its own, or refused by name.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

#[path = "support/jailed.rs"]
mod jailed;

use std::os::unix::fs::FileExt;

use lazaret_core::{
    HoldReason, ImageLimits,
    ports::{TransformOutcome, TransformRequest, Transformer, Treatment},
};

use jailed::{jail, spooled, transform};

async fn sanitise(media_type: &str, bytes: &[u8]) -> TransformOutcome {
    let media_type = media_type.parse().unwrap();
    let request = TransformRequest { media_type, limits: ImageLimits::default(), treatment: Treatment::Sanitise };
    jail().transform(&spooled(bytes), &request).await.unwrap()
}

/// The bytes of the new document.
async fn sanitised(media_type: &str, bytes: &[u8]) -> Vec<u8> {
    match sanitise(media_type, bytes).await {
        TransformOutcome::Done(done) => {
            assert_eq!(done.object.media_type.as_str(), media_type);
            assert!(done.object.image.is_none() && done.variants.is_empty() && done.thumbhash.is_none());
            let mut output = vec![0; usize::try_from(done.object.len).unwrap()];
            done.object.file.read_exact_at(&mut output, 0).unwrap();
            output
        }
        other => panic!("{media_type}: {other:?}"),
    }
}

async fn held(media_type: &str, bytes: &[u8]) -> (HoldReason, String) {
    match sanitise(media_type, bytes).await {
        TransformOutcome::Held { reason, detail } => (reason, detail),
        other => panic!("{media_type}: {other:?}"),
    }
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../fixtures/files/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn has(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

const PDF: &str = "application/pdf";
const SVG: &str = "image/svg+xml";

#[tokio::test]
async fn a_pdf_comes_out_without_what_acts_and_without_what_trails() {
    let active = fixture("active.pdf");
    assert!(has(&active, b"JavaScript"));
    let output = sanitised(PDF, &active).await;
    assert!(output.starts_with(b"%PDF-") && output.ends_with(b"%%EOF\n"));
    for word in [&b"JavaScript"[..], b"/JS", b"OpenAction", b"Launch", b"EmbeddedFile", b"/AA"] {
        assert!(!has(&output, word), "{}", String::from_utf8_lossy(word));
    }
    let page = fixture("page.pdf");
    let archive = [&page[..], &fixture("plain.zip")].concat();
    assert_eq!(sanitised(PDF, &archive).await, sanitised(PDF, &page).await);
}

#[tokio::test]
async fn a_pdf_that_is_not_whole_is_held() {
    let page = fixture("page.pdf");
    for bytes in [&page[..page.len() / 2], &[b"<html>", &page[..]].concat(), b"%PDF-1.7\n"] {
        assert_eq!(held(PDF, bytes).await.0, HoldReason::Unparsable);
    }
    let encrypted = String::from_utf8_lossy(&page).replace("/Root", "/Encrypt<</Filter/Standard/V 1/R 2/P -4>>/Root");
    assert_eq!(held(PDF, encrypted.as_bytes()).await.0, HoldReason::Encrypted);
}

#[tokio::test]
async fn a_drawing_comes_out_as_markup_or_as_pixels() {
    let drawing = "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='20' onload='alert(1)'>\
                   <script>alert(1)</script><text y='15'>Lazaret</text></svg>";
    let output = String::from_utf8(sanitised(SVG, drawing.as_bytes()).await).unwrap();
    assert!(output.contains("<text y=\"15\">Lazaret</text>") && !output.contains("alert"), "{output}");
    let TransformOutcome::Done(done) = transform("svg+xml", drawing.as_bytes(), ImageLimits::default()).await else {
        panic!("it is not drawn");
    };
    let image = done.object.image.unwrap();
    // Drawn at the size that drawings have where a policy names none.
    assert_eq!((done.object.media_type.as_str(), image.width, image.height), ("image/png", 1024, 512));
}

#[tokio::test]
async fn bombs_end_by_name() {
    let filter = "<svg xmlns='http://www.w3.org/2000/svg' width='4000' height='4000'><filter id='a' x='-999' y='-999' \
                  width='9999' height='9999'><feGaussianBlur stdDeviation='900'/><feTurbulence numOctaves='99'/></filter>\
                  <rect width='4000' height='4000' filter='url(#a)'/></svg>";
    match transform("svg+xml", filter.as_bytes(), ImageLimits::default()).await {
        // Drawn within the limits, or stopped by one of them.
        TransformOutcome::Done(_) | TransformOutcome::Held { .. } | TransformOutcome::Refused { .. } => {}
    }
    let used = "<svg xmlns='http://www.w3.org/2000/svg'><g id='a'><use href='#a'/></g></svg>";
    for outcome in
        [transform("svg+xml", used.as_bytes(), ImageLimits::default()).await, sanitise(SVG, used.as_bytes()).await]
    {
        assert!(matches!(outcome, TransformOutcome::Held { reason: HoldReason::Unparsable, .. }), "{outcome:?}");
    }
}
