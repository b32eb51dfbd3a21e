//! Bytes to pixels: the first process of a job.

mod avif;
mod bmp;
pub(crate) mod colour;
mod compose;
mod gif;
mod ico;
mod ink;
mod jpeg;
mod png;
pub(crate) mod riff;
mod still;
mod svg;
mod tiff;
mod webp;

use lazaret_sandbox::{
    Confined,
    format::{Decode, Decoded, ImageFormat},
};

use crate::failure::Failure;

/// Decodes the input into a picture (`lazaret_sandbox::picture`): upright, eight bits a channel, in sRGB or the gamut
/// that the task keeps.
pub fn decode(_confined: &Confined, task: &Decode, input: &[u8], output: &mut [u8]) -> Result<Decoded, Failure> {
    pixels(task, input, output)
}

pub(crate) fn pixels(task: &Decode, input: &[u8], output: &mut [u8]) -> Result<Decoded, Failure> {
    match task.format {
        ImageFormat::Jpeg => jpeg::decode(task, input, output),
        ImageFormat::Png => png::decode(task, input, output),
        ImageFormat::Gif => gif::decode(task, input, output),
        ImageFormat::WebP => webp::decode(task, input, output),
        ImageFormat::Bmp => bmp::decode(task, input, output),
        ImageFormat::Tiff => tiff::decode(task, input, output),
        ImageFormat::Ico => ico::decode(task, input, output),
        ImageFormat::Avif => avif::decode(task, input, output),
        ImageFormat::Svg => svg::decode(task, input, output),
    }
}

#[cfg(test)]
mod tests;
