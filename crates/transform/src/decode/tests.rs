//! What a viewer of the input sees is what is in the picture.

mod animations;
mod avif;
mod bitmaps;
mod jpeg;
mod limits;
mod png;
mod strips;
mod webp;

use std::io::Cursor;

use image::{DynamicImage, ImageFormat as Codec, Rgb, RgbImage};
use lazaret_sandbox::{
    Refusal, RefusalCode,
    format::{Animation, Colour, Decode, ImageFormat, ImageLimits, MultiPage},
    picture::{Canvas, Frame, Picture},
};

use super::pixels;

const RED: [u8; 3] = [220, 30, 30];
const GREEN: [u8; 3] = [30, 200, 30];
const BLUE: [u8; 3] = [40, 40, 230];
const WHITE: [u8; 3] = [250, 250, 250];

/// A picture that was decoded, taken apart.
struct Shown {
    canvas: Canvas,
    /// Each with its colours and its samples.
    frames: Vec<(Frame, Vec<u8>, Vec<u8>)>,
}

impl Shown {
    fn samples(&self) -> &[u8] {
        &self.frames[0].2
    }

    fn size(&self) -> (u32, u32) {
        (self.canvas.width, self.canvas.height)
    }
}

fn task(format: ImageFormat) -> Decode {
    Decode {
        input_bytes: 0,
        format,
        limits: ImageLimits::default(),
        animation: Animation::Keep,
        pages: MultiPage::Hold,
        colour: Colour::Srgb,
        draw_side: 0,
        planes_side: 0,
    }
}

fn shown(task: &Decode, bytes: &[u8]) -> Shown {
    let mut output = vec![0xa5; 4 << 20];
    let decoded = pixels(task, bytes, &mut output).unwrap();
    let len = usize::try_from(decoded.len).unwrap();
    let picture = Picture::read(&output[..len], &task.limits).unwrap();
    let frames = picture.frames().map(|frame| (frame.frame, frame.palette.to_vec(), frame.samples.to_vec())).collect();
    Shown { canvas: *picture.canvas(), frames }
}

fn refused(task: &Decode, bytes: &[u8]) -> Refusal {
    match pixels(task, bytes, &mut vec![0; 1 << 20]) {
        Err(failure) => failure.into(),
        Ok(decoded) => panic!("{:?} is decoded: {decoded:?}", task.format),
    }
}

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

/// Noise, which no encoder makes small.
fn noise(width: u32, height: u32) -> RgbImage {
    let mut state = 1_u32;
    RgbImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Rgb([state.to_be_bytes()[0], state.to_be_bytes()[1], state.to_be_bytes()[2]])
    })
}

fn encoded(image: impl Into<DynamicImage>, codec: Codec) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.into().write_to(&mut Cursor::new(&mut bytes), codec).unwrap();
    bytes
}

/// A TIFF header with one entry: the orientation.
fn exif(orientation: u8) -> Vec<u8> {
    [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[orientation], b"\0\0\0\0\0\0"].concat()
}

/// The largest distance between two lists of samples.
fn distance(found: &[u8], expected: &[u8]) -> u8 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(found, expected)| found.abs_diff(*expected)).max().unwrap()
}
