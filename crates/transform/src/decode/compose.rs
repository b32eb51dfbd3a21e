//! Frames and their canvas.

use image::metadata::Orientation;
use lazaret_sandbox::{
    RefusalCode,
    format::Decoded,
    picture::{Canvas, Frame, Layout, PALETTE_BYTES, PictureError},
};

use super::{colour::Colours, still::Still};
use crate::failure::{Failure, decode_failed};

/// An animation for which there is no room.
pub(crate) fn no_room(error: PictureError) -> Failure {
    match error {
        PictureError::Full(_) => Failure::new(RefusalCode::FrameLimit, error),
        other => decode_failed(other),
    }
}

/// Refuses a frame that reaches out of its canvas.
pub(crate) fn check_place(frame: &Frame, width: u32, height: u32) -> Result<(), Failure> {
    let inside = |at: u32, len: u32, end: u32| at.checked_add(len).is_some_and(|far| far <= end);
    if inside(frame.x, frame.width, width) && inside(frame.y, frame.height, height) {
        Ok(())
    } else {
        Err(decode_failed("a frame reaches out of its canvas"))
    }
}

/// Writes the first frame of an animation as a viewer shows it: on a canvas that is see-through where the frame does
/// not reach. `data` are its colours, where it is indexed, and its pixels, converted.
pub(crate) fn first_frame(canvas: &Canvas, frame: &Frame, data: &[u8], output: &mut [u8]) -> Result<Decoded, Failure> {
    let (width, height) = (canvas.width, canvas.height);
    let fills = (frame.width, frame.height) == (width, height);
    let colours = Colours::in_gamut(canvas.gamut);
    let as_is = fills && frame.layout != Layout::Indexed;
    let layout = if as_is { frame.layout } else { Layout::Rgba };
    Still { width, height, layout, orientation: Orientation::NoTransforms, colours: &colours }.write(output, |pixels| {
        if as_is {
            pixels.copy_from_slice(data);
        } else {
            paint(frame, data, width as usize * 4, pixels);
        }
        Ok(())
    })
}

/// Puts the frame onto an empty canvas of four bytes a pixel.
fn paint(frame: &Frame, data: &[u8], stride: usize, canvas: &mut [u8]) {
    canvas.fill(0);
    let (palette, samples) = data.split_at(if frame.layout == Layout::Indexed { PALETTE_BYTES } else { 0 });
    let bytes = frame.layout.pixel_bytes();
    let left = frame.x as usize * 4;
    let lines = canvas.chunks_exact_mut(stride).skip(frame.y as usize);
    for (line, row) in lines.zip(samples.chunks_exact(frame.width as usize * bytes)) {
        for (pixel, sample) in line[left..].chunks_exact_mut(4).zip(row.chunks_exact(bytes)) {
            pixel.copy_from_slice(&match *sample {
                [index] if frame.layout == Layout::Indexed => {
                    let at = usize::from(index) * 4;
                    [palette[at], palette[at + 1], palette[at + 2], palette[at + 3]]
                }
                [grey] => [grey, grey, grey, 255],
                [grey, alpha] => [grey, grey, grey, alpha],
                [r, g, b] => [r, g, b, 255],
                [r, g, b, alpha] => [r, g, b, alpha],
                _ => [0; 4],
            });
        }
    }
}
