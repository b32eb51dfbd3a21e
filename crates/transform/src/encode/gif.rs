//! GIF, still or animated.

use std::borrow::Cow;

use gif::{DisposalMethod, Encoder, EncodingError, Repeat};
use lazaret_sandbox::picture::{Blend, Dispose, Frame, Layout, Picture, Pixels};

use super::{
    compose::Painter,
    film::{Cut, Film, delay_in},
    indices::{Indexed, all_or_nothing},
    output::Output,
    raster::Raster,
};
use crate::failure::{Failure, encode_failed, side_too_long};

/// Encodes a still image.
pub(crate) fn still(image: &Raster<'_>, attempt: u8, room: &mut [u8]) -> Result<usize, Failure> {
    let size = (image.width, image.height);
    let indexed = Indexed::quantised(image, attempt);
    write(size, Repeat::Finite(0), room, |encoder| encoder.write_frame(&frame(indexed, size)?).map_err(failed))
}

/// Encodes a still frame that is indexed already.
pub(crate) fn of_frame(pixels: &Pixels<'_>, attempt: u8, room: &mut [u8]) -> Result<usize, Failure> {
    let size = (pixels.frame.width, pixels.frame.height);
    let indexed = Indexed::of_frame(pixels, attempt, all_or_nothing);
    write(size, Repeat::Finite(0), room, |encoder| encoder.write_frame(&frame(indexed, size)?).map_err(failed))
}

/// Encodes an animation: frame by frame where the frames could be of a GIF, else what changes on the canvas, each
/// time with colours of its own.
pub(crate) fn animation(film: &Film<'_, '_>, attempt: u8, room: &mut [u8]) -> Result<usize, Failure> {
    let repeat = repeat(film.plays());
    write(film.size, repeat, room, |encoder| {
        if !film.is_resized() && film.picture.frames().all(|pixels| is_of_a_gif(&pixels)) {
            return film.picture.frames().try_for_each(|pixels| copy(encoder, &pixels, attempt));
        }
        let holes = has_holes(film.picture);
        let cut = if holes { Cut::Whole } else { Cut::Changes };
        film.play(cut, |shown| {
            let mut frame = frame(Indexed::quantised(&shown.image, attempt), (shown.image.width, shown.image.height))?;
            (frame.left, frame.top) = (short(shown.x)?, short(shown.y)?);
            frame.delay = hundredths(shown.delay);
            // A pixel that is not there leaves what was: only a canvas that was emptied shows it as such.
            frame.dispose = if holes { DisposalMethod::Background } else { DisposalMethod::Keep };
            encoder.write_frame(&frame).map_err(failed)
        })
    })
}

/// Whether a GIF can hold the frame as it is: few colours, and see-through pixels leave what was there.
fn is_of_a_gif(pixels: &Pixels<'_>) -> bool {
    pixels.frame.layout == Layout::Indexed && pixels.frame.blend == Blend::Over
}

/// Whether the canvas is anywhere not opaque at any time.
fn has_holes(picture: &Picture<'_>) -> bool {
    let canvas = picture.canvas();
    let mut painter = Painter::new(canvas.width, canvas.height);
    picture.frames().enumerate().any(|(index, pixels)| {
        let changed = painter.paint(&pixels);
        let image = if index == 0 { painter.raster() } else { painter.crop(changed) };
        image.pixels().any(|pixel| pixel[3] < 255)
    })
}

/// Writes a frame with its own indices, place, timing and disposal.
fn copy(encoder: &mut Encoder<&mut Output<'_>>, pixels: &Pixels<'_>, attempt: u8) -> Result<(), Failure> {
    let Frame { x, y, width, height, delay, dispose, .. } = pixels.frame;
    let mut frame = frame(Indexed::of_frame(pixels, attempt, all_or_nothing), (width, height))?;
    (frame.left, frame.top) = (short(x)?, short(y)?);
    frame.delay = hundredths(delay);
    frame.dispose = match dispose {
        Dispose::Keep => DisposalMethod::Keep,
        Dispose::Background => DisposalMethod::Background,
        Dispose::Previous => DisposalMethod::Previous,
    };
    encoder.write_frame(&frame).map_err(failed)
}

/// A frame of these pixels with a palette of its own.
fn frame(image: Indexed, (width, height): (u32, u32)) -> Result<gif::Frame<'static>, Failure> {
    Ok(gif::Frame {
        width: short(width)?,
        height: short(height)?,
        transparent: image.clear(),
        palette: Some(image.rgb()),
        buffer: Cow::Owned(image.indices),
        dispose: DisposalMethod::Keep,
        ..gif::Frame::default()
    })
}

/// Writes a GIF and answers its length.
fn write<'o>(
    (width, height): (u32, u32),
    repeat: Repeat,
    room: &'o mut [u8],
    frames: impl FnOnce(&mut Encoder<&mut Output<'o>>) -> Result<(), Failure>,
) -> Result<usize, Failure> {
    let (width, height) = (short(width)?, short(height)?);
    let mut output = Output::new(room);
    let result = write_with(&mut output, (width, height), repeat, frames);
    output.judge(result)?;
    Ok(output.len())
}

fn write_with<'r, 'o>(
    output: &'r mut Output<'o>,
    (width, height): (u16, u16),
    repeat: Repeat,
    frames: impl FnOnce(&mut Encoder<&'r mut Output<'o>>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut encoder = Encoder::new(output, width, height, &[]).map_err(failed)?;
    encoder.set_repeat(repeat).map_err(failed)?;
    frames(&mut encoder)?;
    encoder.into_inner().map_err(|error| encode_failed("GIF", error))?;
    Ok(())
}

/// Browsers add one to the count that a file has, and run one without a count once.
fn repeat(plays: u32) -> Repeat {
    match plays.checked_sub(1) {
        None => Repeat::Infinite,
        Some(again) => Repeat::Finite(u16::try_from(again).unwrap_or(u16::MAX)),
    }
}

fn hundredths(delay: (u32, u32)) -> u16 {
    u16::try_from(delay_in(100, delay)).unwrap_or(u16::MAX)
}

fn short(pixels: u32) -> Result<u16, Failure> {
    u16::try_from(pixels).map_err(|_| side_too_long("GIF", u16::MAX.into()))
}

fn failed(error: EncodingError) -> Failure {
    encode_failed("GIF", error)
}
