//! What an image may cost, and what is no image.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

#[path = "support/jailed.rs"]
mod jailed;

use std::{
    io::Cursor,
    time::{Duration, Instant},
};

use image::{ImageFormat, Rgb, RgbImage};
use lazaret_core::{
    HoldReason, ImageLimits, ImageOutput, MultiPage, RejectReason,
    ports::{TransformOutcome, TransformRequest, Transformer, Treatment},
};
use lazaret_sandbox::{Jail, JailSettings};

use crate::jailed::{jail, spooled, transform};

async fn refused(kind: &str, bytes: &[u8], limits: ImageLimits, expected: RejectReason) -> String {
    match transform(kind, bytes, limits).await {
        TransformOutcome::Refused { reason, detail } => {
            assert_eq!(reason, expected, "{kind}: {detail}");
            detail
        }
        other => panic!("{kind}: {other:?}"),
    }
}

/// Noise, which no encoder makes small.
fn noise(width: u32, height: u32) -> RgbImage {
    let mut state = 1_u32;
    RgbImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Rgb([state.to_be_bytes()[0], state.to_be_bytes()[1], state.to_be_bytes()[2]])
    })
}

fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

#[tokio::test]
async fn a_pixel_bomb_is_refused_from_its_header() {
    let mut png = encoded(&noise(4, 4), ImageFormat::Png);
    png[16..24].copy_from_slice(&[0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50]);
    let started = Instant::now();
    let detail = refused("png", &png, ImageLimits::default(), RejectReason::PixelLimit).await;
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(detail, "50000x50000 are 2500000000 pixels, 50000000 are allowed");

    let small = ImageLimits { max_pixels: 15, ..ImageLimits::default() };
    let narrow = ImageLimits { max_side: 3, ..ImageLimits::default() };
    let image = noise(4, 4);
    for (kind, format) in KINDS {
        let bytes = encoded(&image, format);
        refused(kind, &bytes, small, RejectReason::PixelLimit).await;
        refused(kind, &bytes, narrow, RejectReason::PixelLimit).await;
    }
}

#[tokio::test]
async fn a_frame_bomb_is_refused() {
    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, 10, 10, &[0, 0, 0, 9, 9, 9]).unwrap();
    for _ in 0..301 {
        encoder.write_frame(&gif::Frame::from_indexed_pixels(10, 10, vec![1; 100], None)).unwrap();
    }
    drop(encoder);
    refused("gif", &bytes, ImageLimits::default(), RejectReason::FrameLimit).await;
    let few = ImageLimits { max_frames: 1000, max_total_pixels: 10_000, ..ImageLimits::default() };
    refused("gif", &bytes, few, RejectReason::FrameLimit).await;

    let frame = [1; 4 * 400];
    let config = webp::WebPConfig::new().unwrap();
    let mut encoder = webp::AnimEncoder::new(20, 20, &config);
    let other = [200; 4 * 400];
    for time in 0..4 {
        let pixels = if time % 2 == 0 { &frame } else { &other };
        encoder.add_frame(webp::AnimFrame::from_rgba(pixels, 20, 20, time * 50));
    }
    let bytes = encoder.encode().to_vec();
    let three = ImageLimits { max_frames: 3, ..ImageLimits::default() };
    refused("webp", &bytes, three, RejectReason::FrameLimit).await;
    let total = ImageLimits { max_total_pixels: 1599, ..ImageLimits::default() };
    refused("webp", &bytes, total, RejectReason::FrameLimit).await;
}

fn request(kind: &str, output: ImageOutput) -> TransformRequest {
    TransformRequest {
        media_type: format!("image/{kind}").parse().unwrap(),
        limits: ImageLimits::default(),
        treatment: Treatment::ReEncode(output),
    }
}

async fn outcome(settings: JailSettings, kind: &str, bytes: &[u8]) -> TransformOutcome {
    let jail = Jail::new(settings, std::sync::Arc::new(|_| {})).unwrap();
    jail.transform(&spooled(bytes), &request(kind, ImageOutput::default())).await.unwrap()
}

const KINDS: [(&str, ImageFormat); 5] = [
    ("png", ImageFormat::Png),
    ("jpeg", ImageFormat::Jpeg),
    ("bmp", ImageFormat::Bmp),
    ("gif", ImageFormat::Gif),
    ("webp", ImageFormat::WebP),
];

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let image = noise(200, 200);
    for (kind, format) in KINDS {
        let bytes = encoded(&image, format);
        let settings = JailSettings { max_output_bytes: 4096, ..jail().settings().clone() };
        let found = outcome(settings, kind, &bytes).await;
        assert!(
            matches!(found, TransformOutcome::Refused { reason: RejectReason::OutputLimit, .. }),
            "{kind}: {found:?}"
        );
    }
    let flat = RgbImage::from_pixel(200, 200, Rgb([7, 7, 7]));
    for (kind, format) in KINDS.into_iter().filter(|(kind, _)| *kind != "bmp") {
        // The picture's memory is also that of a document, as long as the input.
        let settings = JailSettings { max_input_bytes: 8192, max_picture_bytes: 8192, ..jail().settings().clone() };
        let found = outcome(settings, kind, &encoded(&flat, format)).await;
        let full = "the picture does not fit into 8192 bytes";
        assert!(
            matches!(&found, TransformOutcome::Refused { reason: RejectReason::PixelLimit, detail } if detail == full),
            "{kind}: {found:?}"
        );
    }
}

#[tokio::test]
async fn memory_over_the_limit_is_stopped_not_judged() {
    // A turned image of 25 megapixels compresses to a few kilobytes and needs 75 MB beside the picture.
    let flat = RgbImage::from_pixel(5000, 5000, Rgb([7, 7, 7]));
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 50);
    let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    encoder.add_app_segment(1, exif.to_vec()).unwrap();
    encoder.encode(&flat, 5000, 5000, jpeg_encoder::ColorType::Rgb).unwrap();
    let settings = JailSettings { memory_bytes: 32 << 20, ..jail().settings().clone() };
    match outcome(settings, "jpeg", &bytes).await {
        TransformOutcome::Held { reason: HoldReason::TransformKilled, detail } => {
            assert!(detail.contains("out of memory, limit 33554432 bytes"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn pages_are_held_or_lost_as_the_policy_says() {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut bytes).unwrap();
    for _ in 0..2 {
        encoder.write_image::<tiff::encoder::colortype::RGB8>(20, 20, &noise(20, 20)).unwrap();
    }
    let bytes = bytes.into_inner();
    match transform("tiff", &bytes, ImageLimits::default()).await {
        TransformOutcome::Held { reason: HoldReason::MultiPage, detail } => {
            assert_eq!(detail, "2 pages, of which only the first would be published");
        }
        other => panic!("{other:?}"),
    }
    let first = request("tiff", ImageOutput { pages: MultiPage::First, ..ImageOutput::default() });
    let done = jail().transform(&spooled(&bytes), &first).await.unwrap();
    assert!(matches!(done, TransformOutcome::Done(_)), "{done:?}");
}

#[tokio::test]
async fn a_truncated_image_is_refused() {
    let image = noise(64, 64);
    for (kind, format) in KINDS {
        let bytes = encoded(&image, format);
        for part in [1, 10, 50, 90] {
            let cut = &bytes[..=bytes.len() * part / 100];
            refused(kind, cut, ImageLimits::default(), RejectReason::DecodeFailed).await;
        }
        // Every format must see through another's bytes, too.
        for other in ["png", "jpeg", "bmp", "gif", "webp"].into_iter().filter(|&other| other != kind) {
            refused(other, &bytes, ImageLimits::default(), RejectReason::DecodeFailed).await;
        }
    }
}

#[tokio::test]
async fn a_baseline_jpeg_in_several_scans_is_refused_and_a_progressive_one_is_not() {
    let image = noise(32, 32);
    let mut progressive = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut progressive, 90);
    encoder.set_progressive(true);
    encoder.encode(&image, 32, 32, jpeg_encoder::ColorType::Rgb).unwrap();
    assert!(matches!(transform("jpeg", &progressive, ImageLimits::default()).await, TransformOutcome::Done(_)));

    let baseline = encoded(&image, ImageFormat::Jpeg);
    let scan = baseline.windows(2).position(|window| window == [0xff, 0xda]).unwrap();
    let several = [&baseline[..baseline.len() - 2], &baseline[scan..]].concat();
    let detail = refused("jpeg", &several, ImageLimits::default(), RejectReason::DecodeFailed).await;
    assert!(detail.contains("several scans"), "{detail}");
}
