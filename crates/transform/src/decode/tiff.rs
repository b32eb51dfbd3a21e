//! TIFF 6.0 and `BigTIFF`: one page of it, in strips or tiles.

mod directory;
mod jpegs;
mod samples;

use std::io::Cursor;

use image::metadata::Orientation;
use lazaret_sandbox::{
    RefusalCode,
    format::{Decode, Decoded, MultiPage},
};
use tiff::{
    ColorType,
    decoder::{Decoder, DecodingResult, Limits},
};

use self::{directory::Directory, jpegs::Jpegs, samples::Samples};
use super::{colour::Colours, ink::Inks, still::Still};
use crate::failure::{Failure, check_size, decode_failed};

type TiffDecoder<'a> = Decoder<Cursor<&'a [u8]>>;

/// Decodes the first page.
pub(crate) fn decode(task: &Decode, input: &[u8], output: &mut [u8]) -> Result<Decoded, Failure> {
    let directory = Directory::read(input).map_err(decode_failed)?;
    check_size(directory.width, directory.height, &task.limits)?;
    directory.check_supported().map_err(decode_failed)?;
    if task.pages == MultiPage::Hold && directory.pages > 1 {
        let detail = format!("{} pages, of which only the first would be published", directory.pages);
        return Err(Failure::new(RefusalCode::MultiPage, detail));
    }
    // The decoder does not know palettes: it is told that their indices are greys.
    let patched = directory.without_palette(input);
    let mut decoder = Decoder::new(Cursor::new(patched.as_deref().unwrap_or(input))).map_err(decode_failed)?;
    decoder = decoder.with_limits(limits(&directory));
    let (width, height) = decoder.dimensions().map_err(decode_failed)?;
    if (width, height) != (directory.width, directory.height) {
        return Err(decode_failed("a TIFF whose first page is not as large as it says"));
    }
    let samples = samples(&mut decoder, &directory)?;
    let jpegs = directory.is_jpeg().then(|| Jpegs::of(&mut decoder, &directory, input, &task.limits)).transpose()?;
    let layout = samples.layout();
    let profile = directory.profile;
    let orientation = u8::try_from(directory.orientation).ok().and_then(Orientation::from_exif);
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    let inks = Inks::new(profile, false);
    let colours = if samples.is_ink() { Colours::srgb() } else { Colours::embedded(profile, layout, task.colour) };
    Still { width, height, layout, orientation, colours: &colours }.write(output, |pixels| {
        let stride = width as usize * layout.pixel_bytes();
        read_chunks(&mut decoder, jpegs.as_ref(), (width, height), |x, y, chunk_width, chunk| {
            let left = x as usize * layout.pixel_bytes();
            let lines = pixels.chunks_exact_mut(stride).skip(y as usize);
            samples.write(chunk, chunk_width, &inks, lines.map(|line| &mut line[left..]))
        })
    })
}

/// Room for one strip, which may be all of the image, or for the list of where strips and tiles lie.
fn limits(directory: &Directory<'_>) -> Limits {
    let mut limits = Limits::default();
    let pixels = u64::from(directory.width) * u64::from(directory.height);
    limits.decoding_buffer_size = usize::try_from(pixels.saturating_mul(8)).unwrap_or(usize::MAX).max(16 << 20);
    limits
}

fn samples(decoder: &mut TiffDecoder<'_>, directory: &Directory<'_>) -> Result<Samples, Failure> {
    let colour = decoder.colortype().map_err(decode_failed)?;
    let alpha = directory.alpha();
    match colour {
        ColorType::Gray(bits @ (1 | 2 | 4 | 8)) if directory.is_palette() => {
            Samples::palette(bits, &directory.colours).ok_or_else(|| decode_failed("a TIFF palette is cut short"))
        }
        ColorType::Gray(bits @ (1 | 2 | 4 | 8 | 16)) if !directory.is_palette() => Ok(Samples::Grey(bits)),
        ColorType::Multiband { bit_depth: 8 | 16, num_samples: 2 } if alpha.is_some() => Ok(Samples::GreyAlpha(alpha)),
        ColorType::RGB(8 | 16) => Ok(Samples::Rgb),
        ColorType::RGBA(8 | 16) => Ok(Samples::Rgba(alpha)),
        ColorType::CMYK(8 | 16) => Ok(Samples::Cmyk),
        ColorType::YCbCr(8) if directory.is_jpeg() => Ok(Samples::YCbCr),
        other => Err(decode_failed(format_args!("a TIFF of {other:?} pixels is not supported"))),
    }
}

/// Hands out the strips or tiles with the place of their upper left corner and their width.
fn read_chunks(
    decoder: &mut TiffDecoder<'_>,
    jpegs: Option<&Jpegs<'_>>,
    (width, height): (u32, u32),
    mut take: impl FnMut(u32, u32, usize, &DecodingResult) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (chunk_width, chunk_height) = decoder.chunk_dimensions();
    if chunk_width == 0 || chunk_height == 0 {
        return Err(decode_failed("a TIFF with strips or tiles of no size"));
    }
    let across = width.div_ceil(chunk_width);
    let count = u64::from(across) * u64::from(height.div_ceil(chunk_height));
    let count = u32::try_from(count).map_err(|_| decode_failed("a TIFF with too many tiles"))?;
    for index in 0..count {
        let size = decoder.chunk_data_dimensions(index);
        let chunk = match jpegs {
            // tiff 0.11 takes a damaged one for whole.
            Some(jpegs) => DecodingResult::U8(jpegs.read(index, chunk_width, size)?),
            None => decoder.read_chunk(index).map_err(decode_failed)?,
        };
        take(index % across * chunk_width, index / across * chunk_height, size.0 as usize, &chunk)?;
    }
    Ok(())
}
