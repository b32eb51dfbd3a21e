//! What images and documents become by policy, and what is published beside them.

use std::{collections::BTreeSet, io::Cursor};

use anyhow::{Context, Result};
use image::ImageReader;
use lazaret_tests::{
    cli::{Created, Shown},
    objects::{Upload, contains, sha256},
    station::Station,
    store::Fetched,
    wait::until,
};
use serde_json::Value;

use crate::SETTLED_WITHIN;

const PHOTO: &str = "photo-gps-rotated.jpg";
const JPEG: &str = "image/jpeg";

/// A policy for these types, with what else it says.
fn policy(types: &str, action: &str, rest: &str) -> String {
    let rest = if rest.is_empty() { String::new() } else { format!(", {rest}") };
    format!("[{{ name = \"p\", types = [{types}], action = \"{action}\", scanners = [\"clamd\"]{rest} }}]")
}

async fn with_policy(types: &str, action: &str, rest: &str) -> Result<Station> {
    let mut station = Station::new().await?;
    station.set("policy", policy(types, action, rest));
    Ok(station)
}

async fn settled(station: &Station, upload: &Upload) -> Result<(Created, Shown)> {
    let created = station.submit(upload).await?;
    let shown = station.settled(&created.upload_id, SETTLED_WITHIN).await?;
    Ok((created, shown))
}

/// The published copy, which has to be there.
async fn copy(station: &Station, shown: &Shown) -> Result<Fetched> {
    assert_eq!(shown.outcome(), "published", "{:?}", shown.story);
    station.store.fetch(&shown.published.as_ref().context("no published copy")?.key).await
}

fn dimensions(bytes: &[u8]) -> Result<(u32, u32)> {
    Ok(ImageReader::new(Cursor::new(bytes)).with_guessed_format()?.into_dimensions()?)
}

#[tokio::test]
async fn variants_lie_beside_their_image_and_are_told_of() -> Result<()> {
    let mut station = with_policy("\"image/jpeg\"", "re-encode", "variants = { web = 800, thumb = 96 }").await?;
    let told = station.another_queue("verdicts").await?;
    let endpoint = station.servers.sqs.clone();
    for (key, value) in
        [("events.kind", "sqs"), ("events.sqs.url", told.name()), ("events.sqs.endpoint", endpoint.as_str())]
    {
        station.set(key, value);
    }
    let _worker = station.worker("worker").await?;
    let upload = Upload::fixture(PHOTO, JPEG)?;
    let (created, shown) = settled(&station, &upload).await?;
    let fetched = copy(&station, &shown).await?;
    assert_eq!(dimensions(&fetched.body)?, (1224, 1632));
    let published = shown.published.as_ref().context("no published copy")?;
    let image = published.image.as_ref().context("no image")?;
    assert_eq!((image.width, image.height, image.frames), (1224, 1632, 1));
    assert!(image.thumbhash.as_ref().is_some_and(|hash| (8..=36).contains(&hash.len())), "{image:?}");

    let mut keys = BTreeSet::from([published.key.clone()]);
    let named: Vec<_> =
        image.variants.iter().map(|variant| (variant.name.as_str(), variant.width, variant.height)).collect();
    assert_eq!(named, [("thumb", 72, 96), ("web", 600, 800)]);
    for variant in &image.variants {
        let fetched = station.store.fetch(&variant.key.to_string()).await?;
        assert_eq!((variant.sha256.to_string(), variant.size), (fetched.sha256.clone(), fetched.body.len() as u64));
        assert_eq!(variant.key.to_string(), format!("published/{}/{}", created.object_id, fetched.sha256));
        assert_eq!(dimensions(&fetched.body)?, (variant.width, variant.height));
        for (name, value) in [
            ("content-type", JPEG),
            ("content-disposition", &format!("inline; filename*=UTF-8''photo-gps-rotated-{}.jpg", variant.name)),
            ("cache-control", "private, max-age=86400, immutable"),
            ("x-amz-meta-lazaret-upload-id", &created.upload_id),
            ("x-amz-meta-lazaret-object-id", &created.object_id),
            ("x-amz-meta-lazaret-tenant-id", "acme"),
            ("x-amz-meta-lazaret-sha256", &fetched.sha256),
            ("x-amz-meta-lazaret-source-sha256", &sha256(&upload.bytes)),
        ] {
            assert_eq!(fetched.header(name), value, "{name}");
        }
        for trace in ["Exif", "GPS", "Fixture One"] {
            assert!(!contains(&fetched.body, trace.as_bytes()), "{trace} survived in {}", variant.name);
        }
        keys.insert(variant.key.to_string());
    }
    let mut lying = station.store.published().await?;
    lying.retain(|key| !key.starts_with("published/.lazaret-probe/"));
    assert_eq!(lying, keys, "nothing else is published");

    let event = until("the verdict is told", SETTLED_WITHIN, async || {
        Ok(told.take().await?.into_iter().map(|(body, _)| body).next())
    });
    let event: Value = serde_json::from_str(&event.await?)?;
    assert_eq!(event["type"], "lazaret.upload.published");
    assert_eq!(event["data"]["published"]["image"], serde_json::to_value(image)?);
    let table = station.succeed(&["session", "show", &created.upload_id])?.stdout;
    for text in ["1224 x 1632 pixels", "72 x 96 pixels", "thumb: published/", "web: published/"] {
        assert!(table.contains(text), "{text}: {table}");
    }
    Ok(())
}

#[tokio::test]
async fn everything_becomes_what_a_policy_names() -> Result<()> {
    let types = "\"image/jpeg\", \"image/png\", \"image/gif\", \"image/bmp\", \"image/webp\"";
    let station = with_policy(types, "re-encode", "output = \"webp\", resize_to = 200").await?;
    let _worker = station.worker("worker").await?;
    for (name, content_type, expected, frames) in [
        (PHOTO, JPEG, (150, 200), 1),
        ("transparent.png", "image/png", (200, 150), 1),
        ("animated.gif", "image/gif", (160, 120), 6),
        ("photo.bmp", "image/bmp", (200, 150), 1),
        ("photo.webp", "image/webp", (200, 150), 1),
    ] {
        let (_, shown) = settled(&station, &Upload::fixture(name, content_type)?).await?;
        let fetched = copy(&station, &shown).await?;
        assert_eq!(fetched.header("content-type"), "image/webp", "{name}");
        let stem = name.split('.').next().unwrap_or_default();
        assert_eq!(fetched.header("content-disposition"), format!("inline; filename*=UTF-8''{stem}.webp"));
        assert_eq!(dimensions(&fetched.body)?, expected, "{name}");
        let image = shown.published.and_then(|published| published.image).context("no image")?;
        assert_eq!((image.width, image.height), expected, "{name}");
        assert_eq!(image.frames, frames, "{name}");
    }
    Ok(())
}

/// The types that the built-in policies let in beside the common ones, and what they become.
#[tokio::test]
async fn rarer_images_become_common_ones() -> Result<()> {
    let station = Station::new().await?;
    let _worker = station.worker("worker").await?;
    for (name, content_type, becomes, expected) in [
        ("scan.tiff", "image/tiff", "image/png", (320, 240)),
        ("icon.ico", "image/vnd.microsoft.icon", "image/png", (64, 64)),
        ("photo.avif", "image/avif", "image/webp", (640, 480)),
    ] {
        let (_, shown) = settled(&station, &Upload::fixture(name, content_type)?).await?;
        let fetched = copy(&station, &shown).await?;
        assert_eq!(fetched.header("content-type"), becomes, "{name}");
        let (stem, extension) = (name.split('.').next().unwrap_or_default(), becomes.trim_start_matches("image/"));
        assert_eq!(fetched.header("content-disposition"), format!("inline; filename*=UTF-8''{stem}.{extension}"));
        assert_eq!(dimensions(&fetched.body)?, expected, "{name}");
        assert!(!contains(&fetched.body, b"Fixture One"), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_decoded_soundly_is_refused_by_its_name() -> Result<()> {
    let station = Station::new().await?;
    let _worker = station.worker("worker").await?;
    for (name, content_type) in [("photo.heic", "image/heic"), ("drawing.svg", "image/svg+xml")] {
        let (_, shown) = settled(&station, &Upload::fixture(name, content_type)?).await?;
        assert_eq!(shown.outcome(), "rejected/type-not-allowed", "{name}");
        let detail = shown.story["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains(content_type), "{detail}");
    }
    Ok(())
}

#[tokio::test]
async fn several_pages_are_held_until_somebody_lets_the_others_go() -> Result<()> {
    let station = Station::new().await?;
    let _worker = station.worker("worker").await?;
    let (created, shown) = settled(&station, &Upload::fixture("pages.tiff", "image/tiff")?).await?;
    assert_eq!(shown.outcome(), "held/multi-page", "{:?}", shown.story);
    station.succeed(&["session", "release", "--actor", "alice", &created.upload_id])?;
    let shown = station.settled(&created.upload_id, SETTLED_WITHIN).await?;
    let fetched = copy(&station, &shown).await?;
    assert_eq!(shown.story["overrides"], serde_json::json!(["multi-page"]));
    assert_eq!(fetched.header("content-disposition"), "inline; filename*=UTF-8''pages.png");
    assert_eq!(dimensions(&fetched.body)?, (320, 240));
    Ok(())
}

#[tokio::test]
async fn the_first_page_is_enough_where_a_policy_says_so() -> Result<()> {
    let station = with_policy("\"image/tiff\"", "re-encode", "pages = \"first\", output = \"jpeg\"").await?;
    let _worker = station.worker("worker").await?;
    let (_, shown) = settled(&station, &Upload::fixture("pages.tiff", "image/tiff")?).await?;
    let fetched = copy(&station, &shown).await?;
    assert_eq!(fetched.header("content-disposition"), "inline; filename*=UTF-8''pages.jpg");
    assert_eq!(dimensions(&fetched.body)?, (320, 240));
    Ok(())
}

#[tokio::test]
async fn a_pdf_loses_what_acts_in_it() -> Result<()> {
    let station = with_policy("\"application/pdf\"", "sanitise", "").await?;
    let _worker = station.worker("worker").await?;
    let upload = Upload::fixture("active.pdf", "application/pdf")?;
    let payloads: [&[u8]; 6] = [b"JavaScript", b"app.alert", b"/Launch", b"calc.exe", b"OpenAction", b"/JS"];
    assert!(payloads.iter().all(|payload| contains(&upload.bytes, payload)), "the fixture is not what it was");
    let (_, shown) = settled(&station, &upload).await?;
    let fetched = copy(&station, &shown).await?;
    assert!(fetched.body.starts_with(b"%PDF-"), "no PDF came out");
    for payload in payloads {
        assert!(!contains(&fetched.body, payload), "{} survived", String::from_utf8_lossy(payload));
    }
    assert_eq!(fetched.header("content-type"), "application/pdf");
    assert_eq!(fetched.header("content-disposition"), "attachment; filename*=UTF-8''active.pdf");
    assert!(shown.published.is_some_and(|published| published.image.is_none()));
    Ok(())
}

/// Whoever releases what could not be parsed has it published as it came.
#[tokio::test]
async fn a_pdf_that_cannot_be_parsed_is_held_and_released_as_it_is() -> Result<()> {
    let station = with_policy("\"application/pdf\"", "sanitise", "").await?;
    let _worker = station.worker("worker").await?;
    let upload = Upload::new("broken.pdf", "application/pdf", b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog\n".as_slice());
    let (created, shown) = settled(&station, &upload).await?;
    assert_eq!(shown.outcome(), "held/unparsable", "{:?}", shown.story);
    assert!(station.store.keys(&format!("published/{}/", created.object_id)).await?.is_empty());
    station.succeed(&["session", "release", "--actor", "alice", &created.upload_id])?;
    let shown = station.settled(&created.upload_id, SETTLED_WITHIN).await?;
    let fetched = copy(&station, &shown).await?;
    assert_eq!(fetched.body, upload.bytes);
    assert_eq!(fetched.header("content-disposition"), "attachment; filename*=UTF-8''broken.pdf");
    Ok(())
}

#[tokio::test]
async fn a_drawing_is_written_anew_or_drawn() -> Result<()> {
    for (action, content_type, disposition) in [
        ("sanitise", "image/svg+xml", "attachment; filename*=UTF-8''drawing.svg"),
        ("re-encode", "image/png", "inline; filename*=UTF-8''drawing.png"),
    ] {
        let station = with_policy("\"image/svg+xml\"", action, "").await?;
        let _worker = station.worker("worker").await?;
        let upload = Upload::fixture("drawing.svg", "image/svg+xml")?;
        let (_, shown) = settled(&station, &upload).await?;
        let fetched = copy(&station, &shown).await?;
        assert_eq!(fetched.header("content-type"), content_type);
        assert_eq!(fetched.header("content-disposition"), disposition);
        for payload in ["script", "alert"] {
            assert!(!contains(&fetched.body, payload.as_bytes()), "{action}: {payload} survived");
        }
    }
    Ok(())
}

/// A lossless encoder makes of its own output what it made before.
#[tokio::test]
async fn what_was_published_can_be_uploaded_again() -> Result<()> {
    let station = Station::new().await?;
    let _worker = station.worker("worker").await?;
    for (name, content_type) in [("transparent.png", "image/png"), ("animated.gif", "image/gif")] {
        let mut upload = Upload::fixture(name, content_type)?;
        for round in 0..3 {
            let (_, shown) = settled(&station, &upload).await?;
            assert_eq!(shown.outcome(), "published", "{name} in round {round}: {:?}", shown.story);
            upload.bytes = copy(&station, &shown).await?.body;
            upload.declared_size = upload.bytes.len() as u64;
        }
    }
    Ok(())
}
