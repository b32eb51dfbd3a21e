//! Any bytes as the picture that a decoder hands over.

#![no_main]

use lazaret_sandbox::{
    format::ImageLimits,
    picture::{HEADER_BYTES, Outline, Picture, Planes, Table},
};
use libfuzzer_sys::fuzz_target;

const LIMITS: ImageLimits =
    ImageLimits { max_pixels: 1 << 20, max_side: 4096, max_frames: 64, max_total_pixels: 1 << 22 };

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    check(&[b"LZP1", bytes].concat());
    check(&[b"LZY1", bytes].concat());
});

/// What is taken keeps to the limits, and every frame lies inside of the bytes.
fn check(bytes: &[u8]) {
    if let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
        let table = Table::bytes(header, &LIMITS);
        assert!(table.is_err() || table.is_ok_and(|bytes| bytes <= HEADER_BYTES + 64 * 40));
    }
    if let Ok(Some(planes)) = Planes::find(bytes, &LIMITS) {
        let (width, height) = (planes.header.width as usize, planes.header.height as usize);
        assert!((width * height) as u64 <= LIMITS.max_pixels);
        assert_eq!(planes.split().map(<[u8]>::len), [width * height, width * height / 4, width * height / 4]);
    }
    let outline = Outline::read(bytes, bytes.len() as u64, &LIMITS);
    assert!(outline.is_ok() || Picture::read(bytes, &LIMITS).is_err());
    let Ok(picture) = Picture::read(bytes, &LIMITS) else { return };
    let canvas = *picture.canvas();
    assert!(u64::from(canvas.width) * u64::from(canvas.height) <= LIMITS.max_pixels);
    for pixels in picture.frames() {
        let frame = pixels.frame;
        assert!(frame.x + frame.width <= canvas.width && frame.y + frame.height <= canvas.height);
        let samples = frame.width as usize * frame.height as usize * frame.layout.pixel_bytes();
        assert_eq!(pixels.samples.len(), samples);
        assert_eq!(frame.data_bytes(), Some(samples + pixels.palette.len()));
    }
}
