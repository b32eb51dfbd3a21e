use image::ImageFormat as Codec;
use lazaret_sandbox::{
    RefusalCode,
    format::{Animation, Decode, ImageFormat, ImageLimits},
};

use super::{encoded, noise, pixels, refused, task};

const STILLS: [(ImageFormat, Codec); 4] = [
    (ImageFormat::Jpeg, Codec::Jpeg),
    (ImageFormat::Png, Codec::Png),
    (ImageFormat::Gif, Codec::Gif),
    (ImageFormat::WebP, Codec::WebP),
];

#[test]
fn sizes_are_refused_by_number() {
    for (format, codec) in STILLS {
        let bytes = encoded(noise(5, 4), codec);
        let limits = ImageLimits { max_pixels: 19, ..ImageLimits::default() };
        let refusal = refused(&Decode { limits, ..task(format) }, &bytes);
        assert_eq!(refusal.code, RefusalCode::PixelLimit);
        assert_eq!(refusal.detail.as_str(), "5x4 are 20 pixels, 19 are allowed");
        let limits = ImageLimits { max_side: 4, ..ImageLimits::default() };
        let refusal = refused(&Decode { limits, ..task(format) }, &bytes);
        assert_eq!(refusal.detail.as_str(), "5x4 has a side over 4 pixels");
        let exact = ImageLimits { max_pixels: 20, max_side: 5, max_frames: 1, max_total_pixels: 20 };
        pixels(&Decode { limits: exact, ..task(format) }, &bytes, &mut vec![0; 1 << 20]).unwrap();
    }
}

#[test]
fn a_pixel_bomb_is_refused_from_its_header() {
    let mut png = encoded(noise(4, 4), Codec::Png);
    png[16..24].copy_from_slice(&[0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50]);
    let refusal = refused(&task(ImageFormat::Png), &png);
    assert_eq!(refusal.detail.as_str(), "50000x50000 are 2500000000 pixels, 50000000 are allowed");
}

#[test]
fn what_does_not_fit_is_refused_by_the_number_of_bytes() {
    for (format, codec) in STILLS {
        let refusal = pixels(&task(format), &encoded(noise(40, 40), codec), &mut [0; 1000]).unwrap_err();
        let refusal = lazaret_sandbox::Refusal::from(refusal);
        assert_eq!(refusal.code, RefusalCode::PixelLimit);
        assert_eq!(refusal.detail.as_str(), "the picture does not fit into 1000 bytes");
    }
}

fn frames(count: usize) -> [(ImageFormat, Vec<u8>); 3] {
    let mut gif = Vec::new();
    let mut encoder = gif::Encoder::new(&mut gif, 10, 10, &[0, 0, 0, 9, 9, 9]).unwrap();
    for _ in 0..count {
        encoder.write_frame(&gif::Frame::from_indexed_pixels(10, 10, vec![1; 100], None)).unwrap();
    }
    drop(encoder);

    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 10, 10);
    encoder.set_animated(u32::try_from(count).unwrap(), 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    for _ in 0..count {
        writer.write_image_data(&[7; 100]).unwrap();
    }
    writer.finish().unwrap();

    let config = webp::WebPConfig::new().unwrap();
    let mut encoder = webp::AnimEncoder::new(10, 10, &config);
    let images = [[1; 400], [255; 400]];
    for time in 0..count {
        encoder.add_frame(webp::AnimFrame::from_rgba(&images[time % 2], 10, 10, i32::try_from(time * 50).unwrap()));
    }
    [(ImageFormat::Gif, gif), (ImageFormat::Png, png), (ImageFormat::WebP, encoder.encode().to_vec())]
}

#[test]
fn frames_are_refused_by_number() {
    for (format, bytes) in frames(5) {
        let few = ImageLimits { max_frames: 4, ..ImageLimits::default() };
        let refusal = refused(&Decode { limits: few, ..task(format) }, &bytes);
        assert_eq!(refusal.code, RefusalCode::FrameLimit, "{format:?}: {}", refusal.detail.as_str());
        let total = ImageLimits { max_total_pixels: 499, ..ImageLimits::default() };
        let refusal = refused(&Decode { limits: total, ..task(format) }, &bytes);
        assert_eq!(refusal.code, RefusalCode::FrameLimit);
        assert_eq!(refusal.detail.as_str(), "more than 499 pixels over all frames");
        let exact = ImageLimits { max_frames: 5, max_total_pixels: 500, ..ImageLimits::default() };
        let task = Decode { limits: exact, ..task(format) };
        pixels(&task, &bytes, &mut vec![0; 1 << 20]).unwrap();
        let refusal = lazaret_sandbox::Refusal::from(pixels(&task, &bytes, &mut [0; 600]).unwrap_err());
        assert_eq!(refusal.code, RefusalCode::FrameLimit);
        assert_eq!(refusal.detail.as_str(), "the picture does not fit into 600 bytes");
        let first = Decode { animation: Animation::FirstFrame, ..task };
        pixels(&first, &bytes, &mut [0; 600]).unwrap();
    }
}

#[test]
fn no_format_takes_the_bytes_of_another() {
    for (_, codec) in STILLS {
        let bytes = encoded(noise(8, 8), codec);
        for (other, _) in STILLS.into_iter().filter(|(_, other)| *other != codec) {
            assert_eq!(refused(&task(other), &bytes).code, RefusalCode::DecodeFailed);
        }
    }
}
