use image::{Rgba, RgbaImage};
use lazaret_sandbox::{
    format::{Animation, Decode, ImageFormat},
    picture::{Blend, Dispose, Layout},
};

use super::{distance, quarters, refused, shown, task};

fn webp() -> Decode {
    task(ImageFormat::WebP)
}

#[test]
fn lossy_lossless_and_alpha() {
    let image = RgbaImage::from_fn(40, 40, |x, y| Rgba([200, 60, 60, u8::try_from(x * 3 + y * 3).unwrap()]));
    let lossless = webp::Encoder::from_rgba(&image, 40, 40).encode_lossless();
    let found = shown(&webp(), &lossless);
    let visible = |samples: &[u8]| samples.chunks_exact(4).filter(|pixel| pixel[3] > 0).collect::<Vec<_>>().concat();
    assert_eq!(visible(found.samples()), visible(&image));
    assert_eq!(found.frames[0].0.layout, Layout::Rgba);

    let flat = [90; 3 * 32 * 32];
    let lossy = shown(&webp(), &webp::Encoder::from_rgb(&flat, 32, 32).encode(90.0));
    assert_eq!(lossy.frames[0].0.layout, Layout::Rgb);
    assert!(distance(lossy.samples(), &flat) <= 2);

    let lossy = shown(&webp(), &webp::Encoder::from_rgba(&image, 40, 40).encode(90.0));
    let alpha = |samples: &[u8]| samples.chunks_exact(4).map(|pixel| pixel[3]).collect::<Vec<_>>();
    assert_eq!(alpha(lossy.samples()), alpha(&image));
}

#[test]
fn every_cut_is_refused() {
    let bytes = webp::Encoder::from_rgb(&quarters(), 64, 32).encode(90.0).to_vec();
    for cut in 0..bytes.len() {
        refused(&webp(), &bytes[..cut]);
    }
    let trailing = [bytes.as_slice(), b"PK\x03\x04"].concat();
    assert_eq!(shown(&webp(), &trailing).samples(), shown(&webp(), &bytes).samples());
}

fn canvases() -> Vec<RgbaImage> {
    let canvas = |step: u32| {
        RgbaImage::from_fn(61, 43, |x, y| {
            let inside = (step * 9..step * 9 + 12).contains(&x) && (11..29).contains(&y);
            if inside { Rgba([200, 40, 40, 255]) } else { Rgba([30, 90, 160, if y < 5 { 0 } else { 255 }]) }
        })
    };
    (0..4).map(canvas).collect()
}

fn animated() -> Vec<u8> {
    let mut config = webp::WebPConfig::new().unwrap();
    config.lossless = 1;
    let mut encoder = webp::AnimEncoder::new(61, 43, &config);
    encoder.set_loop_count(3);
    let canvases = canvases();
    for (canvas, time) in canvases.iter().zip([0, 70, 200, 230]) {
        encoder.add_frame(webp::AnimFrame::from_rgba(canvas, 61, 43, time));
    }
    encoder.encode().to_vec()
}

#[test]
fn an_animation_keeps_its_frames_places_and_timing() {
    let found = shown(&webp(), &animated());
    assert!(found.canvas.animated);
    assert_eq!((found.size(), found.canvas.plays, found.frames.len()), ((61, 43), 3, 4));
    assert_eq!(
        found.frames.iter().map(|(frame, ..)| frame.delay).take(3).collect::<Vec<_>>(),
        [(70, 1000), (130, 1000), (30, 1000)]
    );
    // A placed frame, or the test says less than its name.
    assert!(found.frames.iter().any(|(frame, ..)| frame.x > 0 && frame.width < 61));
    let mut canvas = RgbaImage::new(61, 43);
    for ((frame, _, samples), expected) in found.frames.iter().zip(canvases()) {
        assert_eq!(frame.dispose, Dispose::Keep);
        for (at, sample) in (0..).zip(samples.chunks_exact(frame.layout.pixel_bytes())) {
            let pixel = [sample[0], sample[1], sample[2], sample.get(3).copied().unwrap_or(255)];
            if frame.blend == Blend::Source || pixel[3] == 255 {
                canvas[(frame.x + at % frame.width, frame.y + at / frame.width)] = Rgba(pixel);
            }
        }
        let seen = |image: &RgbaImage| {
            image.pixels().map(|pixel| if pixel[3] == 0 { [0; 4] } else { pixel.0 }).collect::<Vec<_>>()
        };
        assert_eq!(seen(&canvas), seen(&expected));
    }
}

#[test]
fn the_first_frame_is_a_still_image() {
    let found = shown(&Decode { animation: Animation::FirstFrame, ..webp() }, &animated());
    assert!(!found.canvas.animated);
    let seen = |samples: &[u8]| samples.chunks_exact(4).filter(|pixel| pixel[3] > 0).collect::<Vec<_>>().concat();
    assert_eq!(seen(found.samples()), seen(&canvases()[0]));
}

#[test]
fn a_first_frame_with_alpha_lies_on_a_larger_canvas() {
    let mut bytes = animated();
    // The canvas, and where the frame lies on it (RFC 9649, sections 2.7 and 2.7.1.1).
    bytes[24..30].copy_from_slice(&[69, 0, 0, 49, 0, 0]);
    let frame = bytes.windows(4).position(|window| window == b"ANMF").unwrap() + 8;
    bytes[frame..frame + 6].copy_from_slice(&[1, 0, 0, 2, 0, 0]);
    let found = shown(&Decode { animation: Animation::FirstFrame, ..webp() }, &bytes);
    assert_eq!((found.size(), found.frames[0].0.layout), ((70, 50), Layout::Rgba));
    let mut expected = RgbaImage::new(70, 50);
    image::imageops::replace(&mut expected, &canvases()[0], 2, 4);
    let visible = |samples: &[u8]| samples.chunks_exact(4).filter(|pixel| pixel[3] > 0).collect::<Vec<_>>().concat();
    assert_eq!(visible(found.samples()), visible(&expected));
    let gone = |samples: &[u8]| samples.chunks_exact(4).map(|pixel| pixel[3] == 0).collect::<Vec<_>>();
    assert_eq!(gone(found.samples()), gone(&expected));
}
