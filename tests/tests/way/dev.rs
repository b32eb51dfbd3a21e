//! `lazaret dev`: the whole system in one process.

use std::{collections::BTreeSet, io::Cursor, time::Duration};

use anyhow::{Context, Result, ensure};
use image::{DynamicImage, GenericImageView, ImageDecoder, ImageReader};
use lazaret_tests::{
    cli::put,
    dev::Dev,
    gate::Gate,
    objects::{Upload, contains, fixture, sha256},
    servers::Servers,
    wait::until_true,
};

use crate::SETTLED_WITHIN;

const PHOTO: &str = "photo-gps-rotated.jpg";
/// The promise of the README for a photo of two megapixels.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(2);
/// Mean difference of a channel, of 255: what encoding a second time at quality 85 may cost.
const MEAN_DIFFERENCE: f64 = 3.0;

#[tokio::test]
async fn heavy_a_photo_is_published_in_time_upright_and_without_a_trace_of_its_exif() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dev = Dev::start(folder.path(), &[]).await?;
    let upload = Upload::fixture(PHOTO, "image/jpeg")?;
    let created = dev.create(&upload)?;
    put(&created, upload.bytes.clone()).await?;
    let shown = dev.settled(&created.upload_id, PUBLISHED_WITHIN).await?;
    assert_eq!(shown.outcome(), "published", "{:?}", shown.story);
    let published = shown.published.as_ref().context("no published copy")?;
    let fetched = dev.store.fetch(&published.key).await?;
    assert_eq!(published.key, format!("published/{}/{}", created.object_id, fetched.sha256));
    assert_eq!((&published.sha256, published.size), (&fetched.sha256, fetched.body.len() as u64));

    let expected = [
        ("content-type", "image/jpeg".to_owned()),
        ("content-disposition", format!("inline; filename*=UTF-8''{PHOTO}")),
        ("cache-control", "private, max-age=86400, immutable".to_owned()),
        ("x-amz-meta-lazaret-upload-id", created.upload_id.clone()),
        ("x-amz-meta-lazaret-object-id", created.object_id.clone()),
        ("x-amz-meta-lazaret-tenant-id", "acme".to_owned()),
        ("x-amz-meta-lazaret-sha256", fetched.sha256.clone()),
        ("x-amz-meta-lazaret-source-sha256", sha256(&upload.bytes)),
    ];
    for (name, value) in &expected {
        assert_eq!(fetched.header(name), value, "{name}");
    }
    let meta = |name: &&str| name.starts_with("x-amz-meta-");
    let metadata: BTreeSet<_> = fetched.headers.keys().map(String::as_str).filter(meta).collect();
    assert_eq!(metadata, expected.iter().map(|(name, _)| *name).filter(meta).collect());
    for unset in ["content-encoding", "content-language", "expires", "x-amz-website-redirect-location"] {
        assert_eq!(fetched.header(unset), "", "{unset}");
    }

    for trace in ["Exif", "GPS", "Fixture One", "http://ns.adobe.com"] {
        assert!(!contains(&fetched.body, trace.as_bytes()), "{trace} survived");
    }
    same_picture(&upright(&upload.bytes)?, &upright(&fetched.body)?)?;
    until_true("the original is gone", SETTLED_WITHIN, async || Ok(dev.store.quarantined().await?.is_empty())).await
}

/// What the client says of its object is not what readers are told.
#[tokio::test]
async fn no_metadata_of_the_client_survives() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dev = Dev::start(folder.path(), &[]).await?;
    let upload = Upload::new("größe; x=\".txt", "text/plain", "text with a name\n");
    let mut created = dev.create(&upload)?;
    for (name, value) in [("Cache-Control", "public"), ("Content-Disposition", "inline"), ("x-amz-meta-mine", "kept")] {
        created.headers.insert(name.to_owned(), value.to_owned());
    }
    // The signature covers the type and the host only; a store may refuse the rest, which is as good.
    if put(&created, upload.bytes.clone()).await.is_err() {
        created.headers.retain(|name, _| name == "Content-Type");
        put(&created, upload.bytes.clone()).await?;
    }
    let shown = dev.settled(&created.upload_id, SETTLED_WITHIN).await?;
    let published = shown.published.context("no published copy")?;
    let fetched = dev.store.fetch(&published.key).await?;
    assert_eq!(fetched.body, upload.bytes);
    let disposition = "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%3B%20x%3D%22.txt";
    assert_eq!(fetched.header("content-disposition"), disposition);
    assert_eq!(fetched.header("cache-control"), "private, max-age=86400, immutable");
    assert_eq!(fetched.header("x-amz-meta-mine"), "");
    Ok(())
}

/// Killed while the first scans wait for their verdicts: the next start finds what nobody settled.
#[tokio::test]
async fn what_arrived_before_a_kill_is_processed_after_the_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let gate = Gate::shut(Servers::from_environment()?.clamd_tcp, "before the kill")?;
    let clamd = format!("tcp:{}", gate.address);
    // What was in work is looked at again when its lease has run out.
    let settings = [("worker.lease", "2s"), ("scanner.0.address", clamd.as_str())];
    let mut dev = Dev::start(folder.path(), &settings).await?;
    let mut uploads = Vec::new();
    for index in 0..10 {
        let upload = Upload::text(&format!("before the kill {index}"));
        uploads.push((dev.submit(&upload).await?, upload));
    }
    until_true("a scan waits", SETTLED_WITHIN, async || Ok(gate.waiting() > 0)).await?;
    dev.process.kill()?;
    for (created, _) in &uploads {
        assert!(!dev.show(&created.upload_id)?.is_settled());
    }
    gate.open();
    drop(dev);

    let dev = Dev::start(folder.path(), &settings).await?;
    let mut keys = BTreeSet::new();
    for (created, upload) in &uploads {
        let shown = dev.settled(&created.upload_id, SETTLED_WITHIN).await?;
        assert_eq!(shown.outcome(), "published");
        assert_eq!(shown.times_reached("published"), 1, "{:?}", shown.records("audit"));
        let published = shown.published.context("no published copy")?;
        assert_eq!(published.sha256, sha256(&upload.bytes));
        keys.insert(published.key);
    }
    assert_eq!(dev.store.published().await?, keys);
    until_true("the originals are gone", SETTLED_WITHIN, async || Ok(dev.store.quarantined().await?.is_empty())).await
}

#[tokio::test]
async fn an_upload_is_finalized_where_that_is_required() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dev = Dev::start(folder.path(), &[("sessions.require_finalize", "true")]).await?;
    let created = dev.submit(&Upload::fixture("16-bit.png", "image/png")?).await?;
    until_true("it is uploaded", SETTLED_WITHIN, async || Ok(dev.show(&created.upload_id)?.state == "uploaded"))
        .await?;
    assert!(dev.store.published().await?.is_empty());
    dev.succeed(&["session", "finalize", &created.upload_id])?;
    assert_eq!(dev.settled(&created.upload_id, SETTLED_WITHIN).await?.outcome(), "published");
    Ok(())
}

/// The pixels as a viewer shows them.
fn upright(bytes: &[u8]) -> Result<DynamicImage> {
    let mut decoder = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}

fn same_picture(expected: &DynamicImage, found: &DynamicImage) -> Result<()> {
    assert_eq!(found.dimensions(), expected.dimensions());
    assert_ne!(expected.dimensions(), stored_dimensions(PHOTO)?, "the fixture is not rotated");
    let (expected, found) = (expected.to_rgb8(), found.to_rgb8());
    let differences = expected.as_raw().iter().zip(found.as_raw()).map(|(a, b)| f64::from(a.abs_diff(*b)));
    let mean = differences.sum::<f64>() / f64::from(u32::try_from(expected.as_raw().len())?);
    ensure!(mean < MEAN_DIFFERENCE, "a channel differs by {mean} in the mean");
    Ok(())
}

#[test]
fn another_picture_is_not_the_same() -> Result<()> {
    let picture = upright(&fixture(PHOTO)?)?;
    same_picture(&picture, &picture)?;
    assert!(same_picture(&picture, &picture.rotate180()).is_err());
    Ok(())
}

/// The dimensions as they are stored.
fn stored_dimensions(name: &str) -> Result<(u32, u32)> {
    Ok(ImageReader::new(Cursor::new(fixture(name)?)).with_guessed_format()?.into_dimensions()?)
}
