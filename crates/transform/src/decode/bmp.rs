//! Windows bitmaps, in files and in icons.

use std::io::Cursor;

use image::{ColorType, ImageDecoder, codecs::bmp::BmpDecoder, codecs::ico::IcoDecoder, metadata::Orientation};
use lazaret_sandbox::{
    format::{Decode, Decoded},
    picture::Layout,
};

use super::{colour::Colours, still::Still};
use crate::failure::{Failure, check_size, decode_failed};

/// Runs of eight and of four bits a pixel (`BI_RLE8` and `BI_RLE4` of `biCompression`).
const RUNS: [u32; 2] = [1, 2];
/// The shortest header that says how pixels are packed (`BITMAPINFOHEADER`).
const INFO_HEADER_BYTES: u32 = 40;

/// Decodes a bitmap.
pub(crate) fn decode(task: &Decode, input: &[u8], output: &mut [u8]) -> Result<Decoded, Failure> {
    if go_on_below(input) {
        return Err(decode_failed("a bitmap whose runs go on below its last line"));
    }
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

/// Whether the runs of a bitmap are of more lines than it has. Some decoders leave out what is below, others draw it over
/// what is there. What is cut short is for the decoder to say.
fn go_on_below(file: &[u8]) -> bool {
    let number = |at: usize| Some(u32::from_le_bytes(*file.get(at..)?.first_chunk()?));
    let header = (number(10), number(14), number(22), number(30));
    let (Some(start), Some(INFO_HEADER_BYTES..), Some(height), Some(packing)) = header else { return false };
    if !RUNS.contains(&packing) {
        return false;
    }
    // Below zero it is said of a bitmap from the top.
    let height = u64::from(height.cast_signed().unsigned_abs());
    let mut rest = usize::try_from(start).ok().and_then(|start| file.get(start..)).unwrap_or_default();
    let mut line = 0;
    while let [count, value, after @ ..] = rest {
        let behind = match (*count, *value) {
            (0, 0) => {
                line += 1;
                0
            }
            (0, 1) => return false,
            (0, 2) => {
                line += after.get(1).map_or(0, |&down| u64::from(down));
                2
            }
            _ if line >= height => return true,
            // Pixels one by one, in whole words.
            (0, pixels) => if packing == RUNS[0] { usize::from(pixels) } else { usize::from(pixels).div_ceil(2) }
                .next_multiple_of(2),
            _ => 0,
        };
        rest = after.get(behind..).unwrap_or_default();
    }
    false
}
