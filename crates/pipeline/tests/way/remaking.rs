//! What is made anew: what is believed of it, what is published of it, and what an operator's release means for it.

use std::sync::Arc;

use lazaret_core::{
    Action, HoldReason, MultiPage, OutputFormat, Policy, PublishedImage, Session, SessionState, Sha256Digest,
    ports::{Dimensions, SessionStore, TransformRequest, Treatment},
};
use lazaret_pipeline::{LocalFile, inspect};
use lazaret_testkit::{
    objects::{MemoryObject, Operation, spooled},
    transformer::{Made, MadeFile, MadeFiles, MemoryTransformer, png},
};
use sha2::{Digest, Sha256};

use crate::rig::{PUBLISHED, Rig, a_png};

const PDF: &[u8] = b"%PDF-1.7\n1 0 obj\n<< /OpenAction 2 0 R >>\nendobj\n%%EOF\n";
const CLEAN_PDF: &[u8] = b"%PDF-1.7\n1 0 obj\n<< >>\nendobj\n%%EOF\n";
const TIFF: &[u8] = b"II*\0\x08\0\0\0\0\0\0\0\0\0 pages";

fn digest(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(bytes).into())
}

fn image(bytes: Vec<u8>, media_type: &str) -> MadeFile {
    MadeFile::image(bytes, media_type.parse().unwrap(), 1)
}

impl Rig {
    fn making(self, made: impl Fn(&TransformRequest) -> Made + Send + Sync + 'static) -> Self {
        self.with_transformer(MemoryTransformer::new(move |_, request, _| made(request)))
    }

    fn copy(&self, key: &impl ToString) -> MemoryObject {
        self.store.object(PUBLISHED, &key.to_string()).unwrap()
    }

    fn disposition(&self, key: &impl ToString) -> String {
        self.copy(key).headers.unwrap().content_disposition
    }

    async fn image(&self, session: &Session) -> PublishedImage {
        let SessionState::Published(object) = self.state(session).await else { panic!("not published") };
        object.image.expect("an image")
    }
}

#[tokio::test]
async fn variants_are_published_beside_their_image_by_the_same_rules() {
    let rig = Rig::new().await.with_variants(&["thumb", "web"]);
    let (session, event) = rig.upload(&a_png(), "photo.png", "image/png").await;
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.published(&session).await, png(&format!("re-encoded from {} bytes", a_png().len())));
    let image = rig.image(&session).await;
    assert_eq!((image.width, image.height, image.frames), (1, 1, 1));
    assert_eq!(image.thumbhash.as_deref(), Some("YSBwbGFjZWhvbGRlcg=="));
    assert_eq!(image.variants.len(), 2);
    for (variant, (name, width)) in image.variants.iter().zip([("thumb", 256), ("web", 512)]) {
        assert_eq!((variant.name.as_str(), variant.width, variant.height), (name, width, 1));
        let MemoryObject { bytes, headers, .. } = rig.copy(&variant.key);
        let (bytes, headers) = (bytes.unwrap(), headers.unwrap());
        assert!(bytes.ends_with(format!("as {name}").as_bytes()));
        assert_eq!((variant.size, variant.sha256), (bytes.len() as u64, digest(&bytes)));
        assert_eq!(variant.key.to_string(), format!("published/{}/{}", session.object_id, variant.sha256));
        assert_eq!(headers.content_type.as_str(), "image/png");
        assert_eq!(headers.content_disposition, format!("inline; filename*=UTF-8''photo-{name}.png"));
        assert_eq!(headers.cache_control, "private, max-age=86400, immutable");
        let expected = [
            ("lazaret-object-id", session.object_id.to_string()),
            ("lazaret-sha256", variant.sha256.to_string()),
            ("lazaret-source-sha256", digest(&a_png()).to_string()),
            ("lazaret-tenant-id", "tenant-1".to_owned()),
            ("lazaret-upload-id", session.upload_id.to_string()),
        ];
        assert_eq!(headers.metadata, expected);
    }
    assert_eq!(rig.store.calls(Operation::ReadBack), 3, "each is read back");
}

/// An image that is no larger than its variants is published once, under its own name.
#[tokio::test]
async fn equal_files_are_written_once() {
    let rig = Rig::new().await.with_variants(&["thumb", "web"]).making(|request| {
        let Treatment::ReEncode(output) = &request.treatment else { panic!("{request:?}") };
        let variants = output.variants.iter().map(|size| (size.name.clone(), image(png("small"), "image/png")));
        let object = image(png("small"), "image/png");
        Made::Files(MadeFiles { object, variants: variants.collect(), thumbhash: None })
    });
    let (session, event) = rig.upload(&a_png(), "photo.png", "image/png").await;
    rig.pass(&event).await.unwrap();
    let SessionState::Published(object) = rig.state(&session).await else { panic!("not published") };
    assert_eq!(rig.copies(), [object.key.to_string()]);
    assert!(object.keys().all(|key| *key == object.key));
    assert_eq!(object.keys().count(), 3);
    assert_eq!(rig.disposition(&object.key), "inline; filename*=UTF-8''photo.png");
    assert_eq!(rig.store.calls(Operation::Publish), 1);
}

#[tokio::test]
async fn a_variant_that_reads_back_otherwise_is_withdrawn_and_made_again() {
    let rig = Rig::new().await.with_variants(&["thumb", "web"]);
    let (session, event) = rig.upload(&a_png(), "photo.png", "image/png").await;
    rig.store.before(Operation::ReadBack, |store| {
        let key = store.keys(PUBLISHED).pop().unwrap();
        store.corrupt(PUBLISHED, &key, b"\x89PNG but not ours");
    });
    rig.pass(&event).await.unwrap_err();
    assert_eq!(rig.state(&session).await, SessionState::Finalized);
    assert!(rig.copies().is_empty(), "{:?}", rig.copies());
    rig.pass(&event).await.unwrap();
    rig.published(&session).await;
    assert_eq!(rig.copies().len(), 3);
}

#[tokio::test]
async fn a_name_follows_the_type() {
    let to_webp = |policy: &mut Policy| policy.image.format = Some(OutputFormat::WebP);
    let rig = Rig::new().await.with_policies(to_webp);
    let rig = rig.making(|_| image(b"RIFF\x24\0\0\0WEBPVP8 re-encoded".to_vec(), "image/webp").into());
    let (session, event) = rig.upload(TIFF, "photo.tiff", "image/tiff").await;
    rig.pass(&event).await.unwrap();
    let SessionState::Published(object) = rig.state(&session).await else { panic!("not published") };
    assert_eq!(object.content_type.as_str(), "image/webp");
    assert_eq!(rig.disposition(&object.key), "inline; filename*=UTF-8''photo.webp");
}

/// What was published once may be uploaded again: a lossless encoder makes the same of it.
#[tokio::test]
async fn what_comes_out_as_it_came_is_an_image_like_any_other() {
    let rig = Rig::new().await.making(|_| image(a_png(), "image/png").into());
    let (session, event) = rig.upload(&a_png(), "a.png", "image/png").await;
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.published(&session).await, a_png());
}

/// Another type than announced or asked for, an empty file, sizes, names and numbers that nobody asked for: no transform
/// that can be believed, so no verdict.
#[tokio::test]
async fn a_transform_that_cannot_be_believed_publishes_nothing() {
    let good = || image(png("good"), "image/png");
    let seen = |width, height, frames| MadeFile { image: Some(Dimensions { width, height, frames }), ..good() };
    let with = move |variants: &[(&str, MadeFile)]| {
        let variants = variants.iter().map(|(name, file)| (name.parse().unwrap(), file.clone())).collect();
        Made::Files(MadeFiles { object: good(), variants, thumbhash: None })
    };
    let thumb = move |file| with(&[("thumb", file)]);
    let long = Made::Files(MadeFiles {
        object: good(),
        variants: vec![("thumb".parse().unwrap(), good())],
        thumbhash: Some(vec![0; 26]),
    });
    let object = |object: MadeFile| {
        let variants = vec![("thumb".parse().unwrap(), good())];
        Made::Files(MadeFiles { object, variants, thumbhash: None })
    };
    let cases = [
        object(image(b"<svg/>".to_vec(), "image/png")),
        object(image(Vec::new(), "image/png")),
        object(image(b"GIF89a\x01\0\x01\0".to_vec(), "image/gif")),
        object(MadeFile { image: None, ..good() }),
        object(seen(0, 1, 1)),
        object(seen(1, 20_000, 1)),
        object(seen(1, 1, 301)),
        object(seen(1, 1, 0)),
        thumb(seen(257, 1, 1)),
        thumb(seen(1, 257, 1)),
        thumb(seen(1, 1, 2)),
        thumb(image(b"<svg/>".to_vec(), "image/png")),
        thumb(image(b"GIF89a\x01\0\x01\0".to_vec(), "image/gif")),
        thumb(MadeFile { image: None, ..good() }),
        with(&[]),
        with(&[("web", good())]),
        with(&[("thumb", good()), ("thumb", good())]),
        long,
    ];
    let as_png = |policy: &mut Policy| policy.image.format = Some(OutputFormat::Png);
    for made in cases {
        let told = format!("{made:?}");
        let rig = Rig::new().await.with_policies(as_png).with_variants(&["thumb"]).making(move |_| made.clone());
        let (session, event) = rig.upload(&a_png(), "a.png", "image/png").await;
        assert!(rig.pass(&event).await.is_err(), "{told}");
        assert_eq!(rig.state(&session).await, SessionState::Finalized);
        assert!(rig.copies().is_empty(), "{told}");
    }
    let rig = Rig::new().await.with_policies(as_png).with_variants(&["thumb"]).making(move |_| thumb(good()));
    let (session, event) = rig.upload(&a_png(), "a.png", "image/png").await;
    rig.pass(&event).await.unwrap();
    rig.published(&session).await;
}

#[tokio::test]
async fn several_pages_are_held_and_the_first_is_released() {
    let rig = Rig::new().await.making(|request| match &request.treatment {
        Treatment::ReEncode(output) if output.pages == MultiPage::First => image(png("page one"), "image/png").into(),
        Treatment::ReEncode(_) | Treatment::Sanitise => Made::Held(HoldReason::MultiPage),
    });
    let (session, event) = rig.upload(TIFF, "fax.tif", "image/tiff").await;
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.state(&session).await, SessionState::Held(HoldReason::MultiPage));
    assert!(rig.copies().is_empty());
    rig.sessions.release(session.upload_id, "alice").await.unwrap();
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.published(&session).await, png("page one"));
}

async fn sanitising() -> Rig {
    Rig::new().await.with_policies(|policy| {
        if policy.action == Action::AsIs {
            policy.action = Action::Sanitise;
        }
    })
}

#[tokio::test]
async fn a_sanitised_document_is_an_attachment_of_the_same_name() {
    let made = |_: &TransformRequest| MadeFile::document(CLEAN_PDF.to_vec(), "application/pdf".parse().unwrap()).into();
    let rig = sanitising().await.with_variants(&["thumb"]).making(made);
    let (session, event) = rig.upload(PDF, "bill.pdf", "application/pdf").await;
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.published(&session).await, CLEAN_PDF);
    let SessionState::Published(object) = rig.state(&session).await else { panic!("not published") };
    assert_eq!((object.content_type.as_str(), object.image), ("application/pdf", None));
    assert_eq!(rig.disposition(&object.key), "attachment; filename*=UTF-8''bill.pdf");
}

#[tokio::test]
async fn a_sanitiser_that_cannot_be_believed_publishes_nothing() {
    let pdf = || MadeFile::document(CLEAN_PDF.to_vec(), "application/pdf".parse().unwrap());
    let with_variant = MadeFiles {
        object: pdf(),
        variants: vec![("thumb".parse().unwrap(), image(png("x"), "image/png"))],
        thumbhash: None,
    };
    for made in [
        MadeFile::document(b"<html>".to_vec(), "application/pdf".parse().unwrap()).into(),
        MadeFile::document(png("x"), "image/png".parse().unwrap()).into(),
        MadeFile { image: Some(Dimensions { width: 1, height: 1, frames: 1 }), ..pdf() }.into(),
        Made::Files(with_variant),
        Made::Files(MadeFiles { object: pdf(), variants: Vec::new(), thumbhash: Some(vec![1]) }),
    ] {
        let rig = sanitising().await.making(move |_| made.clone());
        let (session, event) = rig.upload(PDF, "bill.pdf", "application/pdf").await;
        rig.pass(&event).await.unwrap_err();
        assert_eq!(rig.state(&session).await, SessionState::Finalized);
        assert!(rig.copies().is_empty());
    }
}

/// Words on a page that are markup to a browser are no fault of the sanitiser's: another attempt would find them again.
#[tokio::test]
async fn a_document_that_a_browser_would_take_for_a_page_is_held() {
    let words = b"%PDF-1.7\n1 0 obj\n(<html><script>)\nendobj\n%%EOF\n";
    let made = |_: &TransformRequest| MadeFile::document(words.to_vec(), "application/pdf".parse().unwrap()).into();
    let rig = sanitising().await.making(made);
    let (session, event) = rig.upload(PDF, "bill.pdf", "application/pdf").await;
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.state(&session).await, SessionState::Held(HoldReason::Unparsable));
    assert!(rig.copies().is_empty());
    rig.sessions.release(session.upload_id, "alice").await.unwrap();
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.published(&session).await, PDF);
}

/// An operator who releases what cannot be sanitised has the scanned bytes published, for that reason alone.
#[tokio::test]
async fn a_document_that_is_released_is_published_as_it_is() {
    for reason in [HoldReason::Unparsable, HoldReason::Encrypted] {
        let rig = sanitising().await.making(move |_| Made::Held(reason));
        let (session, event) = rig.upload(PDF, "bill.pdf", "application/pdf").await;
        rig.pass(&event).await.unwrap();
        assert_eq!(rig.state(&session).await, SessionState::Held(reason));
        rig.sessions.release(session.upload_id, "alice").await.unwrap();
        rig.pass(&event).await.unwrap();
        assert_eq!(rig.published(&session).await, PDF);
        let SessionState::Published(object) = rig.state(&session).await else { panic!("not published") };
        assert_eq!(rig.disposition(&object.key), "attachment; filename*=UTF-8''bill.pdf");
    }
    for reason in [HoldReason::TransformKilled, HoldReason::TransformTimeout] {
        let rig = sanitising().await.making(move |_| Made::Held(reason));
        let (session, event) = rig.upload(PDF, "bill.pdf", "application/pdf").await;
        rig.pass(&event).await.unwrap();
        rig.sessions.release(session.upload_id, "alice").await.unwrap();
        rig.pass(&event).await.unwrap();
        assert_eq!(rig.state(&session).await, SessionState::Held(reason), "it is tried again, and no more");
    }
}

/// An image that cannot be made anew is never published as it is.
#[tokio::test]
async fn a_release_publishes_no_image_as_it_is() {
    for reason in [HoldReason::Unparsable, HoldReason::Encrypted, HoldReason::MultiPage, HoldReason::TransformKilled] {
        let rig = Rig::new().await.making(move |_| Made::Held(reason));
        let (session, event) = rig.upload(&a_png(), "a.png", "image/png").await;
        rig.pass(&event).await.unwrap();
        rig.sessions.release(session.upload_id, "alice").await.unwrap();
        rig.pass(&event).await.unwrap();
        assert_eq!(rig.state(&session).await, SessionState::Held(reason));
        assert!(rig.copies().is_empty());
    }
}

#[tokio::test]
async fn a_local_file_is_told_what_would_be_made_of_it() {
    let rig = Rig::new().await.with_variants(&["thumb"]);
    let file = LocalFile { spooled: spooled(&a_png()).unwrap(), name: "a.png".parse().unwrap(), declared_type: None };
    let made = inspect(&Arc::clone(&rig.station), &file).await.unwrap().made.unwrap();
    assert_eq!(made.sha256, digest(&png(&format!("re-encoded from {} bytes", a_png().len()))));
    let image = made.image.unwrap();
    assert_eq!((image.width, image.variants.len(), image.variants[0].width), (1, 1, 256));
    assert!(rig.copies().is_empty());
}
