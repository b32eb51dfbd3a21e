//! Windows bitmaps, in files and in icons.

use std::io::Cursor;

use image::{ColorType, ImageDecoder, codecs::bmp::BmpDecoder, codecs::ico::IcoDecoder, metadata::Orientation};
use lazaret_sandbox::{
    format::{Decode, Decoded},
    picture::Layout,
};

use super::{colour::Colours, still::Still};
use crate::failure::{Failure, check_size, decode_failed};

/// Decodes a bitmap.
pub(crate) fn decode(task: &Decode, input: &[u8], output: &mut [u8]) -> Result<Decoded, Failure> {
    write(task, BmpDecoder::new(Cursor::new(input)).map_err(decode_failed)?, output)
}

/// Decodes the only image of an icon, which is a bitmap without a file header but with a mask.
pub(super) fn decode_icon(task: &Decode, icon: &[u8], output: &mut [u8]) -> Result<Decoded, Failure> {
    write(task, IcoDecoder::new(Cursor::new(icon)).map_err(decode_failed)?, output)
}

fn write(task: &Decode, mut decoder: impl ImageDecoder, output: &mut [u8]) -> Result<Decoded, Failure> {
    let (width, height) = decoder.dimensions();
    check_size(width, height, &task.limits)?;
    let layout = match decoder.color_type() {
        ColorType::L8 => Layout::Grey,
        ColorType::Rgb8 => Layout::Rgb,
        ColorType::Rgba8 => Layout::Rgba,
        other => return Err(decode_failed(format_args!("a bitmap of {other:?} pixels is not supported"))),
    };
    let profile = decoder.icc_profile().map_err(decode_failed)?;
    let colours = Colours::embedded(profile.as_deref(), layout, task.colour);
    Still { width, height, layout, orientation: Orientation::NoTransforms, colours: &colours }
        .write(output, |pixels| decoder.read_image(pixels).map_err(decode_failed))
}
