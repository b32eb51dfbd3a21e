//! PNG (third edition) of all colour types and depths, still and animated.

mod animation;
mod chunks;
mod colours;
mod rows;

use std::io::Cursor;

use lazaret_sandbox::{
    format::{Decode, Decoded},
    picture::Layout,
};
use png::{BitDepth, ColorType, Decoder, Reader, Transformations};

use super::still::{Still, orientation};
use crate::failure::{Failure, check_size, decode_failed};

/// What reads the file.
type PngReader<'a> = Reader<Cursor<&'a [u8]>>;

/// Decodes a PNG that is whole. What follows its end is not looked at.
pub(crate) fn decode(task: &Decode, input: &[u8], output: &mut [u8]) -> Result<Decoded, Failure> {
    let chunks = chunks::Chunks::read(input).map_err(decode_failed)?;
    check_size(chunks.width, chunks.height, &task.limits)?;
    let mut decoder = Decoder::new(Cursor::new(&input[..chunks.len]));
    decoder.set_ignore_text_chunk(true);
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(decode_failed)?;
    let layout = layout(&reader)?;
    let colours = colours::of(reader.info(), layout, task.colour);
    if reader.info().animation_control.is_some_and(|control| control.num_frames > 0) {
        return animation::decode(task, &mut reader, layout, &colours, output);
    }
    let (width, height) = (chunks.width, chunks.height);
    let orientation = orientation(chunks.exif);
    Still { width, height, layout, orientation, colours: &colours }
        .write(output, |pixels| rows::read(&mut reader, width, layout, pixels))
}

/// The samples of a pixel after palettes and transparent colours are expanded.
fn layout(reader: &PngReader<'_>) -> Result<Layout, Failure> {
    let (colour, depth) = reader.output_color_type();
    if !matches!(depth, BitDepth::Eight | BitDepth::Sixteen) {
        return Err(decode_failed("a PNG whose samples are not expanded"));
    }
    match colour {
        ColorType::Grayscale => Ok(Layout::Grey),
        ColorType::GrayscaleAlpha => Ok(Layout::GreyAlpha),
        ColorType::Rgb => Ok(Layout::Rgb),
        ColorType::Rgba => Ok(Layout::Rgba),
        ColorType::Indexed => Err(decode_failed("a PNG whose palette is not expanded")),
    }
}
