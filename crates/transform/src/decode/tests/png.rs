use std::borrow::Cow;

use image::{DynamicImage, ImageBuffer, ImageFormat as Codec, Luma, Rgba, RgbaImage};
use lazaret_sandbox::{
    format::{Colour, Decode, ImageFormat},
    picture::{Gamut, Layout},
};
use moxcms::ColorProfile;
use png::{BitDepth, ColorType, Encoder, Info, ScaledFloat};

use super::{BLUE, GREEN, RED, WHITE, distance, encoded, exif, quarters, refused, shown, task};

fn png() -> Decode {
    task(ImageFormat::Png)
}

fn png_of(samples: &[u8], info: Info<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::with_info(&mut bytes, info).unwrap().write_header().unwrap().write_image_data(samples).unwrap();
    bytes
}

fn info(width: u32, height: u32, colour: ColorType, depth: BitDepth) -> Info<'static> {
    let mut info = Info::with_size(width, height);
    info.color_type = colour;
    info.bit_depth = depth;
    info
}

#[test]
fn every_pixel_and_its_transparency_stay() {
    let rgba = RgbaImage::from_fn(50, 40, |x, y| {
        Rgba([x * 5, y * 6, 90, x * y % 256].map(|value| u8::try_from(value).unwrap()))
    });
    let images: [(DynamicImage, Layout); 4] = [
        (rgba.clone().into(), Layout::Rgba),
        (quarters().into(), Layout::Rgb),
        (DynamicImage::from(rgba.clone()).into_luma_alpha8().into(), Layout::GreyAlpha),
        (DynamicImage::from(rgba).into_luma8().into(), Layout::Grey),
    ];
    for (image, layout) in images {
        let found = shown(&png(), &encoded(image.clone(), Codec::Png));
        assert_eq!((found.size(), found.frames[0].0.layout), ((image.width(), image.height()), layout));
        assert_eq!(found.samples(), image.as_bytes());
    }
}

#[test]
fn sixteen_bits_become_the_nearest_eight() {
    let wide =
        ImageBuffer::<Luma<u16>, _>::from_fn(256, 3, |x, y| Luma([u16::try_from(x * 257 + y).unwrap_or(65_535)]));
    let found = shown(&png(), &encoded(DynamicImage::ImageLuma16(wide.clone()), Codec::Png));
    assert_eq!(found.samples(), DynamicImage::ImageLuma16(wide).into_luma8().as_raw().as_slice());
}

#[test]
fn small_depths_palettes_and_transparent_colours_are_expanded() {
    let mut two = info(4, 1, ColorType::Indexed, BitDepth::Two);
    two.palette = Some([RED, GREEN, BLUE, WHITE].concat().into());
    two.trns = Some(Cow::Borrowed(&[255, 128, 0]));
    let found = shown(&png(), &png_of(&[0b00_01_10_11], two));
    let alpha = |[r, g, b]: [u8; 3], a| [r, g, b, a];
    assert_eq!(found.samples(), [alpha(RED, 255), alpha(GREEN, 128), alpha(BLUE, 0), alpha(WHITE, 255)].concat());

    let bits = shown(&png(), &png_of(&[0b1010_0000], info(4, 1, ColorType::Grayscale, BitDepth::One)));
    assert_eq!((bits.frames[0].0.layout, bits.samples()), (Layout::Grey, [255, 0, 255, 0].as_slice()));

    let mut keyed = info(2, 1, ColorType::Rgb, BitDepth::Eight);
    keyed.trns = Some(Cow::Borrowed(&[0, 1, 0, 2, 0, 3]));
    assert_eq!(shown(&png(), &png_of(&[1, 2, 3, 4, 5, 6], keyed)).samples(), [1, 2, 3, 0, 4, 5, 6, 255]);
}

#[test]
fn interlaced_rows_come_in_order() {
    // 5 by 3 greys of sixteen bits, in the seven passes of Adam7.
    let value = |x: usize, y: usize| u16::try_from(x * 9_000 + y * 3_000).unwrap();
    let passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];
    let mut data = Vec::new();
    for (left, top, across, down) in passes {
        for y in (top..3).step_by(down) {
            let row: Vec<usize> = (left..5).step_by(across).collect();
            if !row.is_empty() {
                data.push(0);
                data.extend(row.into_iter().flat_map(|x| value(x, y).to_be_bytes()));
            }
        }
    }
    let chunk = |kind: &[u8; 4], payload: &[u8]| {
        let mut crc = flate2_crc(&[kind.as_slice(), payload].concat());
        crc.splice(0..0, [kind.as_slice(), payload].concat());
        [&u32::try_from(payload.len()).unwrap().to_be_bytes(), crc.as_slice()].concat()
    };
    let header = b"\0\0\0\x05\0\0\0\x03\x10\0\0\0\x01";
    let parts = [chunk(b"IHDR", header), chunk(b"IDAT", &stored(&data)), chunk(b"IEND", b"")];
    let found = shown(&png(), &[b"\x89PNG\r\n\x1a\n".as_slice(), &parts.concat()].concat());
    let expected: Vec<u8> =
        (0..15).map(|at| u8::try_from((u32::from(value(at % 5, at / 5)) + 128) / 257).unwrap()).collect();
    assert_eq!(found.samples(), expected);
}

/// A zlib stream of one stored block.
fn stored(data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in data {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    let sum = (b << 16 | a).to_be_bytes();
    [&[0x78, 1, 1], len.to_le_bytes().as_slice(), (!len).to_le_bytes().as_slice(), data, &sum].concat()
}

/// The checksum of a chunk.
fn flate2_crc(bytes: &[u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    (!crc).to_be_bytes().to_vec()
}

#[test]
fn colour_chunks_are_heeded() {
    let colours = |set: &dyn Fn(&mut Info<'_>), colour| {
        let mut info = info(1, 1, ColorType::Rgb, BitDepth::Eight);
        set(&mut info);
        let found = shown(&Decode { colour, ..png() }, &png_of(&[200, 100, 60], info));
        (found.canvas.gamut, found.samples().to_vec())
    };
    let p3 = ColorProfile::new_display_p3().encode().unwrap();
    let (gamut, found) = colours(&|info| info.icc_profile = Some(p3.clone().into()), Colour::Srgb);
    assert!(gamut == Gamut::Srgb && distance(&found, &[215, 93, 47]) <= 1, "{found:?}");
    let kept = colours(&|info| info.icc_profile = Some(p3.clone().into()), Colour::Keep);
    assert_eq!(kept, (Gamut::DisplayP3, vec![200, 100, 60]));
    let broken = colours(&|info| info.icc_profile = Some(Cow::Borrowed(b"no profile")), Colour::Srgb);
    assert_eq!(broken, (Gamut::Srgb, vec![200, 100, 60]));

    let (_, linear) = colours(&|info| info.source_gamma = Some(ScaledFloat::new(1.0)), Colour::Srgb);
    // The curve of sRGB, by hand.
    assert!(distance(&linear, &[229, 168, 133]) <= 1, "{linear:?}");
    let usual = colours(&|info| info.source_gamma = Some(ScaledFloat::new(0.45455)), Colour::Srgb);
    assert_eq!(usual.1, [200, 100, 60]);
}

#[test]
fn exif_turns_the_image() {
    let bytes = encoded(quarters(), Codec::Png);
    let payload = exif(6);
    let crc = flate2_crc(&[b"eXIf".as_slice(), &payload].concat());
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let chunk = [&len, b"eXIf".as_slice(), &payload, &crc].concat();
    // Behind the header, and behind the pixels.
    for at in [33, bytes.len() - 12] {
        let found = shown(&png(), &[&bytes[..at], &chunk, &bytes[at..]].concat());
        assert_eq!(found.size(), (32, 64));
        assert_eq!(found.samples()[..3], BLUE);
    }
}

#[test]
fn what_is_damaged_is_refused() {
    let bytes = encoded(quarters(), Codec::Png);
    for part in [1, 30, 60, 90, 99] {
        refused(&png(), &bytes[..bytes.len() * part / 100]);
    }
    let mut damaged = bytes;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x40;
    refused(&png(), &damaged);
}
