//! What a viewer saw of the input is what a viewer sees of the output.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

#[path = "support/jailed.rs"]
mod jailed;
#[path = "support/outcomes.rs"]
mod outcomes;

use std::io::Cursor;

use gif::{DisposalMethod, Repeat};
use image::{AnimationDecoder, DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage, codecs::gif::GifDecoder};
use lazaret_core::ports::Dimensions;
use moxcms::ColorProfile;

use crate::outcomes::done;

const RED: [u8; 3] = [220, 30, 30];
const GREEN: [u8; 3] = [30, 200, 30];
const BLUE: [u8; 3] = [40, 40, 230];
const WHITE: [u8; 3] = [250, 250, 250];

/// Quarters: red green / blue white, twice as wide as high.
fn quarters() -> RgbImage {
    RgbImage::from_fn(64, 32, |x, y| {
        Rgb(match (x < 32, y < 16) {
            (true, true) => RED,
            (false, true) => GREEN,
            (true, false) => BLUE,
            (false, false) => WHITE,
        })
    })
}

fn jpeg(image: &RgbImage, exif: Option<&[u8]>, icc: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 95);
    if let Some(exif) = exif {
        encoder.add_app_segment(1, [b"Exif\0\0", exif].concat()).unwrap();
    }
    if let Some(icc) = icc {
        encoder.add_icc_profile(icc).unwrap();
    }
    let (width, height) = (image.width().try_into().unwrap(), image.height().try_into().unwrap());
    encoder.encode(image, width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

/// A TIFF header with one entry: the orientation.
fn exif(orientation: u8) -> Vec<u8> {
    [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[orientation], b"\0\0\0\0\0\0"].concat()
}

fn close(found: [u8; 3], expected: [u8; 3], by: u8) -> bool {
    found.iter().zip(expected).all(|(&found, expected)| found.abs_diff(expected) <= by)
}

fn decode(bytes: &[u8], format: ImageFormat) -> DynamicImage {
    image::load(Cursor::new(bytes), format).unwrap()
}

#[tokio::test]
async fn all_eight_orientations_come_out_upright() {
    // The corners of the upright image, from the top left, clockwise (EXIF 2.32, tag 0x0112).
    let corners = [
        [RED, GREEN, WHITE, BLUE],
        [GREEN, RED, BLUE, WHITE],
        [WHITE, BLUE, RED, GREEN],
        [BLUE, WHITE, GREEN, RED],
        [RED, BLUE, WHITE, GREEN],
        [BLUE, RED, GREEN, WHITE],
        [WHITE, GREEN, RED, BLUE],
        [GREEN, WHITE, BLUE, RED],
    ];
    for (orientation, corners) in (1..).zip(corners) {
        let (bytes, said) = done("jpeg", &jpeg(&quarters(), Some(&exif(orientation)), None)).await;
        let image = decode(&bytes, ImageFormat::Jpeg).into_rgb8();
        let (width, height) = if orientation < 5 { (64, 32) } else { (32, 64) };
        assert_eq!(image.dimensions(), (width, height), "{orientation}");
        assert_eq!(said.image, Some(Dimensions { width, height, frames: 1 }));
        let found = [(4, 4), (width - 5, 4), (width - 5, height - 5), (4, height - 5)].map(|(x, y)| image[(x, y)].0);
        for (found, corner) in found.into_iter().zip(corners) {
            assert!(close(found, corner, 12), "{orientation}: {found:?} for {corner:?}");
        }
        assert!(!bytes.windows(4).any(|window| window == b"Exif"));
    }
}

#[tokio::test]
async fn a_wide_gamut_becomes_srgb() {
    let profile = ColorProfile::new_display_p3().encode().unwrap();
    let image = RgbImage::from_pixel(32, 32, Rgb([200, 100, 60]));
    // Display P3 to sRGB by the matrices of CSS Color 4, section 17, by hand.
    let expected = [215, 93, 47];
    let (bytes, _) = done("jpeg", &jpeg(&image, None, Some(&profile))).await;
    let found = decode(&bytes, ImageFormat::Jpeg).into_rgb8()[(16, 16)].0;
    assert!(close(found, expected, 4), "{found:?}");
    assert!(!bytes.windows(11).any(|window| window == b"ICC_PROFILE"));

    let mut png = Vec::new();
    let mut info = png::Info::with_size(32, 32);
    info.color_type = png::ColorType::Rgb;
    info.bit_depth = png::BitDepth::Eight;
    info.icc_profile = Some(profile.into());
    let encoder = png::Encoder::with_info(&mut png, info).unwrap();
    encoder.write_header().unwrap().write_image_data(&image).unwrap();
    let (bytes, _) = done("png", &png).await;
    let found = decode(&bytes, ImageFormat::Png).into_rgb8()[(16, 16)].0;
    assert!(close(found, expected, 2), "{found:?}");
}

#[tokio::test]
async fn png_keeps_every_pixel_and_its_transparency() {
    let image = RgbaImage::from_fn(50, 40, |x, y| {
        Rgba([x * 5, y * 6, 90, x * y % 256].map(|value| u8::try_from(value).unwrap()))
    });
    let mut png = Vec::new();
    image.write_to(&mut Cursor::new(&mut png), ImageFormat::Png).unwrap();
    let (bytes, said) = done("png", &png).await;
    assert_eq!(decode(&bytes, ImageFormat::Png).into_rgba8(), image);
    assert_eq!(said.image, Some(Dimensions { width: 50, height: 40, frames: 1 }));

    let grey = DynamicImage::ImageLuma16(image::ImageBuffer::from_fn(20, 20, |x, y| {
        image::Luma([u16::try_from(x * y * 160).unwrap()])
    }));
    let mut png = Vec::new();
    grey.write_to(&mut Cursor::new(&mut png), ImageFormat::Png).unwrap();
    let (bytes, _) = done("png", &png).await;
    assert_eq!(decode(&bytes, ImageFormat::Png), DynamicImage::ImageLuma8(grey.into_luma8()));
}

#[tokio::test]
async fn a_palette_with_transparency_keeps_its_colours() {
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 4, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Two);
    encoder.set_palette([RED, GREEN, BLUE, WHITE].concat());
    encoder.set_trns([255, 128, 0].as_slice());
    encoder.write_header().unwrap().write_image_data(&[0b00_01_10_11]).unwrap();
    let (bytes, _) = done("png", &png).await;
    let image = decode(&bytes, ImageFormat::Png).into_rgba8();
    let alpha = |[r, g, b]: [u8; 3], a| Rgba([r, g, b, a]);
    let pixels: Vec<_> = image.pixels().copied().collect();
    assert_eq!(pixels, [alpha(RED, 255), alpha(GREEN, 128), alpha(BLUE, 0), alpha(WHITE, 255)]);
}

#[tokio::test]
async fn few_colours_stay_few_and_the_file_small() {
    // A screenshot: flat, with thin strokes in a handful of colours, one of them half see-through.
    let colours = [[250, 250, 250, 255], [10, 10, 10, 255], [200, 30, 30, 128], [0, 0, 0, 0]];
    let image = RgbaImage::from_fn(600, 400, |x, y| {
        let stroke = (x * 7 + y * 13) % 97 < 2 || (x * y) % 89 == 3;
        Rgba(colours[if stroke { ((x / 50 + y / 40) % 3 + 1) as usize } else { 0 }])
    });
    let indices: Vec<u8> = image
        .pixels()
        .map(|pixel| u8::try_from(colours.iter().position(|colour| *colour == pixel.0).unwrap()).unwrap())
        .collect();
    let mut input = Vec::new();
    let mut encoder = png::Encoder::new(&mut input, 600, 400);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(colours.iter().flat_map(|colour| colour[..3].to_vec()).collect::<Vec<_>>());
    encoder.set_trns(colours.iter().map(|colour| colour[3]).collect::<Vec<_>>());
    encoder.set_compression(png::Compression::High);
    encoder.write_header().unwrap().write_image_data(&indices).unwrap();
    let (bytes, _) = done("png", &input).await;
    assert_eq!(decode(&bytes, ImageFormat::Png).into_rgba8(), image);
    assert!(bytes.len() < input.len() * 3 / 2, "{} from {}", bytes.len(), input.len());
}

#[tokio::test]
async fn what_is_not_written_becomes_what_is() {
    for (kind, codec) in [("bmp", ImageFormat::Bmp), ("tiff", ImageFormat::Bmp), ("x-icon", ImageFormat::Ico)] {
        let input = match kind {
            "tiff" => tiff(),
            _ => encoded(&DynamicImage::from(quarters()).into_rgba8().into(), codec),
        };
        let (bytes, said) = done(kind, &input).await;
        assert_eq!(said.media_type.as_str(), "image/png", "{kind}");
        assert_eq!(decode(&bytes, ImageFormat::Png).into_rgb8(), quarters(), "{kind}");
    }
}

fn encoded(image: &DynamicImage, codec: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), codec).unwrap();
    bytes
}

fn tiff() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let encoder = tiff::encoder::TiffEncoder::new(&mut bytes).unwrap();
    let mut encoder = encoder.with_compression(tiff::encoder::Compression::Lzw);
    encoder.write_image::<tiff::encoder::colortype::RGB8>(64, 32, &quarters()).unwrap();
    bytes.into_inner()
}

#[tokio::test]
async fn avif_becomes_webp_under_the_jails_filter() {
    let files: [&[u8]; 3] =
        [include_bytes!("avif/420.avif"), include_bytes!("avif/10-bits.avif"), include_bytes!("avif/turned-3.avif")];
    for (at, input) in files.into_iter().enumerate() {
        let (bytes, said) = done("avif", input).await;
        assert_eq!(said.media_type.as_str(), "image/webp");
        let image = decode(&bytes, ImageFormat::WebP).into_rgb8();
        let expected = if at == 2 { WHITE } else { RED };
        assert!(close(image[(4, 4)].0, expected, 16), "{at}: {:?}", image[(4, 4)]);
    }
}

#[tokio::test]
async fn an_animated_png_stays_one() {
    let mut input = Vec::new();
    let mut encoder = png::Encoder::new(&mut input, 8, 8);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_animated(2, 4).unwrap();
    encoder.set_frame_delay(7, 100).unwrap();
    let mut writer = encoder.write_header().unwrap();
    for colour in [RED, GREEN] {
        writer.write_image_data(&colour.repeat(64)).unwrap();
    }
    writer.finish().unwrap();
    let (bytes, said) = done("png", &input).await;
    assert_eq!(said.image, Some(Dimensions { width: 8, height: 8, frames: 2 }));
    let reader = png::Decoder::new(Cursor::new(bytes)).read_info().unwrap();
    let control = reader.info().animation_control.unwrap();
    assert_eq!((control.num_frames, control.num_plays), (2, 4));
}

#[tokio::test]
async fn a_still_webp_keeps_its_alpha() {
    let image = RgbaImage::from_fn(40, 40, |x, _| Rgba([200, 60, 60, if x < 20 { 0 } else { 170 }]));
    let webp = webp::Encoder::from_rgba(&image, 40, 40).encode_lossless();
    let (bytes, _) = done("webp", &webp).await;
    let found = decode(&bytes, ImageFormat::WebP).into_rgba8();
    assert_eq!(found[(5, 5)].0[3], 0);
    assert_eq!(found[(30, 30)].0[3], 170);
    assert!(close([found[(30, 30)].0[0], found[(30, 30)].0[1], found[(30, 30)].0[2]], [200, 60, 60], 6));
}

/// Three frames with a palette for all and one of their own, placed, see-through, disposed of in every way.
fn animated_gif() -> Vec<u8> {
    let mut bytes = Vec::new();
    let palette = [RED, GREEN, BLUE, WHITE].concat();
    let mut encoder = gif::Encoder::new(&mut bytes, 20, 10, &palette).unwrap();
    encoder.set_repeat(Repeat::Finite(5)).unwrap();
    let frame = |delay, dispose, transparent, (left, top, width, height): (u16, u16, u16, u16), index: u8| {
        let mut pixels = vec![index; usize::from(width) * usize::from(height)];
        pixels[0] = 3;
        gif::Frame {
            delay,
            dispose,
            transparent,
            left,
            top,
            width,
            height,
            buffer: pixels.into(),
            ..Default::default()
        }
    };
    encoder.write_frame(&frame(7, DisposalMethod::Keep, None, (0, 0, 20, 10), 0)).unwrap();
    encoder.write_frame(&frame(11, DisposalMethod::Previous, Some(3), (2, 1, 9, 7), 1)).unwrap();
    let own = [WHITE, RED, BLUE, GREEN].concat();
    let last = gif::Frame { palette: Some(own), ..frame(0, DisposalMethod::Background, Some(3), (5, 5, 4, 4), 2) };
    encoder.write_frame(&last).unwrap();
    drop(encoder);
    bytes
}

#[tokio::test]
async fn an_animated_gif_keeps_its_frames_places_and_timing() {
    let input = animated_gif();
    let (bytes, said) = done("gif", &input).await;
    assert_eq!(said.image, Some(Dimensions { width: 20, height: 10, frames: 3 }));
    let frames = |bytes: &[u8]| {
        let mut decoder = gif::DecodeOptions::new().read_info(Cursor::new(bytes.to_vec())).unwrap();
        let mut frames = Vec::new();
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            frames.push((frame.delay, frame.dispose, frame.transparent.is_some(), [frame.left, frame.top]));
        }
        (frames, decoder.repeat())
    };
    assert_eq!(frames(&bytes), frames(&input));
    assert_eq!(frames(&bytes).1, Repeat::Finite(5));
    let shown = |bytes: &[u8]| {
        let decoder = GifDecoder::new(Cursor::new(bytes.to_vec())).unwrap();
        decoder.into_frames().map(|frame| frame.unwrap().into_buffer()).collect::<Vec<_>>()
    };
    assert_eq!(shown(&bytes), shown(&input));
}

#[tokio::test]
async fn a_gif_that_plays_once_still_does() {
    let mut input = Vec::new();
    let mut encoder = gif::Encoder::new(&mut input, 1, 1, &RED).unwrap();
    for _ in 0..2 {
        encoder.write_frame(&gif::Frame::from_indexed_pixels(1, 1, vec![0], None)).unwrap();
    }
    drop(encoder);
    let (bytes, _) = done("gif", &input).await;
    assert!(!bytes.windows(8).any(|window| window == b"NETSCAPE"));
}

/// The header and the pixels of every frame (RFC 9649, section 2.7.1.1).
fn webp_frames(bytes: &[u8]) -> Vec<(Vec<u8>, RgbaImage)> {
    let mut frames = Vec::new();
    let mut rest = &bytes[12..];
    while rest.len() >= 8 {
        let len = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
        if &rest[..4] == b"ANMF" {
            let (header, pixels) = rest[8..8 + len].split_at(16);
            // A still file needs the extended header before alpha.
            let extended = [b"VP8X\x0a\0\0\0\x10\0\0\0", &header[6..12]].concat();
            let extended = if pixels.starts_with(b"ALPH") { extended } else { Vec::new() };
            let size = u32::try_from(4 + extended.len() + pixels.len()).unwrap().to_le_bytes();
            let file = [b"RIFF", &size[..], b"WEBP", &extended, pixels].concat();
            frames.push((header.to_vec(), decode(&file, ImageFormat::WebP).into_rgba8()));
        }
        rest = rest.get(8 + len.next_multiple_of(2)..).unwrap_or_default();
    }
    frames
}

#[tokio::test]
async fn an_animated_webp_keeps_its_frames_and_timing() {
    let canvas = |step: u32| {
        RgbaImage::from_fn(61, 43, |x, y| {
            let inside = (step * 9..step * 9 + 12).contains(&x) && (11..29).contains(&y);
            if inside { Rgba([200, 40, 40, 255]) } else { Rgba([30, 90, 160, if y < 5 { 0 } else { 255 }]) }
        })
    };
    let canvases: Vec<_> = (0..4).map(canvas).collect();
    let mut config = webp::WebPConfig::new().unwrap();
    config.lossless = 1;
    let mut encoder = webp::AnimEncoder::new(61, 43, &config);
    encoder.set_loop_count(3);
    let times = [0, 70, 200, 230];
    for (canvas, time) in canvases.iter().zip(times) {
        encoder.add_frame(webp::AnimFrame::from_rgba(canvas, 61, 43, time));
    }
    let input = encoder.encode().to_vec();
    let (bytes, said) = done("webp", &input).await;
    assert_eq!(said.image, Some(Dimensions { width: 61, height: 43, frames: 4 }));

    let (before, after) = (webp_frames(&input), webp_frames(&bytes));
    assert_eq!(before.len(), 4);
    // A placed frame, or the test says less than its name.
    assert!(before.iter().any(|(header, _)| header[..6] != [0; 6]));
    for ((header_before, before), (header_after, after)) in before.iter().zip(&after) {
        assert_eq!(header_before, header_after, "place, size, duration, blending and disposal stay");
        let far = before.pixels().zip(after.pixels()).filter(|(a, b)| {
            a.0[3] != b.0[3] || (a.0[3] > 0 && !close([a.0[0], a.0[1], a.0[2]], [b.0[0], b.0[1], b.0[2]], 40))
        });
        // Only colour bleeding at the edges of the square, from chroma at half the resolution.
        assert!(far.count() * 20 <= before.pixels().len());
    }
    let header = bytes.windows(4).position(|window| window == b"ANIM").unwrap();
    assert_eq!(bytes[header + 12..header + 14], [3, 0], "the loop count stays");
}
