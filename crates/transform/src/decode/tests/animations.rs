use gif::{DisposalMethod, Repeat};
use image::{AnimationDecoder, RgbaImage, codecs::gif::GifDecoder};
use lazaret_sandbox::{
    format::{Animation, Decode, ImageFormat},
    picture::{Blend, Dispose, Layout},
};

use super::{BLUE, GREEN, RED, Shown, WHITE, shown, task};

fn first(format: ImageFormat) -> Decode {
    Decode { animation: Animation::FirstFrame, ..task(format) }
}

/// Three frames with a palette for all and one of their own, placed, see-through, disposed of in every way.
fn animated_gif(frames: usize, whole: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let palette = [RED, GREEN, BLUE, WHITE].concat();
    let mut encoder = gif::Encoder::new(&mut bytes, 20, 10, &palette).unwrap();
    encoder.set_repeat(Repeat::Finite(5)).unwrap();
    let frame = |delay, dispose, transparent, (left, top, width, height): (u16, u16, u16, u16), index: u8| {
        let mut pixels = vec![index; usize::from(width) * usize::from(height)];
        pixels[0] = 3;
        let buffer = pixels.into();
        gif::Frame { delay, dispose, transparent, left, top, width, height, buffer, ..Default::default() }
    };
    let place = if whole { (0, 0, 20, 10) } else { (3, 2, 9, 7) };
    let own = [WHITE, RED, BLUE, GREEN].concat();
    let all = [
        frame(7, DisposalMethod::Keep, None, place, 0),
        frame(1, DisposalMethod::Previous, Some(3), (2, 1, 9, 7), 1),
        gif::Frame { palette: Some(own), ..frame(0, DisposalMethod::Background, Some(3), (5, 5, 4, 4), 2) },
    ];
    for frame in &all[..frames] {
        encoder.write_frame(frame).unwrap();
    }
    drop(encoder);
    bytes
}

/// What another decoder paints.
fn painted(gif: &[u8]) -> Vec<RgbaImage> {
    let decoder = GifDecoder::new(std::io::Cursor::new(gif)).unwrap();
    decoder.into_frames().map(|frame| frame.unwrap().into_buffer()).collect()
}

/// The canvas after each frame, painted by the rules of the picture.
fn composed(shown: &Shown) -> Vec<RgbaImage> {
    let mut canvas = RgbaImage::new(shown.canvas.width, shown.canvas.height);
    let mut canvases = Vec::new();
    for (frame, palette, samples) in &shown.frames {
        let before = canvas.clone();
        for (at, sample) in (0..).zip(samples.chunks_exact(frame.layout.pixel_bytes())) {
            let pixel: [u8; 4] = match *sample {
                [index] => palette[usize::from(index) * 4..][..4].try_into().unwrap(),
                [r, g, b] => [r, g, b, 255],
                _ => sample.try_into().unwrap(),
            };
            let place = (frame.x + at % frame.width, frame.y + at / frame.width);
            // The frames of these tests are opaque or not there.
            if frame.blend == Blend::Source || pixel[3] == 255 {
                canvas[place] = image::Rgba(pixel);
            }
        }
        canvases.push(canvas.clone());
        match frame.dispose {
            Dispose::Keep => {}
            Dispose::Previous => canvas = before,
            Dispose::Background => {
                for at in 0..frame.width * frame.height {
                    canvas[(frame.x + at % frame.width, frame.y + at / frame.width)] = image::Rgba([0; 4]);
                }
            }
        }
    }
    canvases
}

#[test]
fn a_gif_keeps_its_frames_places_and_timing() {
    let bytes = animated_gif(3, true);
    let found = shown(&task(ImageFormat::Gif), &bytes);
    assert!(found.canvas.animated);
    assert_eq!((found.size(), found.canvas.plays), ((20, 10), 6));
    let frames: Vec<_> =
        found.frames.iter().map(|(frame, ..)| (frame.delay, frame.dispose, frame.x, frame.y)).collect();
    assert_eq!(
        frames,
        [((7, 100), Dispose::Keep, 0, 0), ((1, 100), Dispose::Previous, 2, 1), ((0, 100), Dispose::Background, 5, 5)]
    );
    assert!(found.frames.iter().all(|(frame, ..)| frame.layout == Layout::Indexed && frame.blend == Blend::Over));
    assert_eq!(composed(&found), painted(&bytes));
    // Within each of the frames, before its last byte.
    let starts = bytes.windows(3).enumerate().filter(|(_, window)| *window == [0x21, 0xf9, 4]).map(|(at, _)| at);
    for end in starts.skip(1).chain([bytes.len() - 1]) {
        super::refused(&task(ImageFormat::Gif), &bytes[..end - 1]);
    }
}

#[test]
fn the_first_frame_lies_on_an_empty_canvas() {
    for whole in [true, false] {
        for bytes in [animated_gif(3, whole), animated_gif(1, whole)] {
            let found = shown(&first(ImageFormat::Gif), &bytes);
            assert!(!found.canvas.animated);
            assert_eq!(composed(&found), painted(&bytes)[..1]);
        }
    }
}

#[test]
fn a_gif_of_one_frame_is_a_still_image_in_its_own_colours() {
    for whole in [true, false] {
        let found = shown(&task(ImageFormat::Gif), &animated_gif(1, whole));
        assert!(!found.canvas.animated);
        assert_eq!((found.size(), found.frames[0].0.layout), ((20, 10), Layout::Indexed));
        assert_eq!(composed(&found), painted(&animated_gif(1, whole)));
    }
}

#[test]
fn a_gif_frame_is_cut_where_its_canvas_ends() {
    let mut bytes = animated_gif(2, true);
    let frame = bytes.windows(5).position(|window| window == [0x2c, 2, 0, 1, 0]).unwrap();
    bytes[frame + 1] = 15;
    let found = shown(&task(ImageFormat::Gif), &bytes);
    let (frame, _, samples) = &found.frames[1];
    assert_eq!((frame.x, frame.width, frame.height, samples.len()), (15, 5, 7, 35));
}

/// Two frames, of which the first is the default image or not.
fn animated_png(default_is_first: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 6, 4);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_animated(2, 3).unwrap();
    encoder.set_sep_def_img(!default_is_first).unwrap();
    encoder.set_frame_delay(3, 70).unwrap();
    encoder.set_dispose_op(png::DisposeOp::Previous).unwrap();
    let mut writer = encoder.write_header().unwrap();
    if !default_is_first {
        writer.write_image_data(&[9; 6 * 4 * 4]).unwrap();
    }
    writer.write_image_data(&[10, 20, 30, 255].repeat(24)).unwrap();
    writer.set_frame_dimension(2, 2).unwrap();
    writer.set_frame_position(3, 1).unwrap();
    writer.set_frame_delay(5, 0).unwrap();
    writer.set_dispose_op(png::DisposeOp::Background).unwrap();
    writer.set_blend_op(png::BlendOp::Over).unwrap();
    writer.write_image_data(&[200, 100, 50, 255].repeat(4)).unwrap();
    writer.finish().unwrap();
    bytes
}

#[test]
fn an_animated_png_keeps_its_frames() {
    for default_is_first in [true, false] {
        let found = shown(&task(ImageFormat::Png), &animated_png(default_is_first));
        assert!(found.canvas.animated);
        assert_eq!((found.size(), found.canvas.plays, found.frames.len()), ((6, 4), 3, 2));
        let (one, _, pixels) = &found.frames[0];
        assert_eq!((one.delay, one.dispose, one.blend), ((3, 70), Dispose::Background, Blend::Source));
        assert_eq!(*pixels, [10, 20, 30, 255].repeat(24));
        let (two, _, pixels) = &found.frames[1];
        assert_eq!((two.x, two.y, two.width, two.height), (3, 1, 2, 2));
        assert_eq!((two.delay, two.dispose, two.blend), ((5, 100), Dispose::Background, Blend::Over));
        assert_eq!(*pixels, [200, 100, 50, 255].repeat(4));

        let still = shown(&first(ImageFormat::Png), &animated_png(default_is_first));
        assert!(!still.canvas.animated);
        assert_eq!(still.samples(), [10, 20, 30, 255].repeat(24));
    }
}
