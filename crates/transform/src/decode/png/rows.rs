//! The rows of a frame, with eight bits a sample.

use lazaret_sandbox::picture::Layout;
use png::{BitDepth, InterlaceInfo};

use super::PngReader;
use crate::failure::{Failure, decode_failed};

/// Reads the frame that comes next, as wide as it is, into `pixels`, which it must fill.
pub(super) fn read(reader: &mut PngReader<'_>, width: u32, layout: Layout, pixels: &mut [u8]) -> Result<(), Failure> {
    let stride = width as usize * layout.pixel_bytes();
    let wide = reader.output_color_type().1 == BitDepth::Sixteen;
    if reader.info().interlaced {
        read_interlaced(reader, wide, stride, layout, pixels)?;
    } else if wide {
        let mut row = vec![0; stride * 2];
        for pixels in pixels.chunks_exact_mut(stride) {
            reader.read_row(&mut row).map_err(decode_failed)?.ok_or_else(too_few_rows)?;
            narrow(&row, pixels);
        }
    } else {
        for pixels in pixels.chunks_exact_mut(stride) {
            reader.read_row(pixels).map_err(decode_failed)?.ok_or_else(too_few_rows)?;
        }
    }
    // Reads what is left of the frame's data, and its checksums.
    match reader.read_row(&mut vec![0; stride * 2]).map_err(decode_failed)? {
        None => Ok(()),
        Some(_) => Err(decode_failed("a PNG frame with more rows than it says")),
    }
}

fn read_interlaced(
    reader: &mut PngReader<'_>,
    wide: bool,
    stride: usize,
    layout: Layout,
    pixels: &mut [u8],
) -> Result<(), Failure> {
    let bits = u8::try_from(layout.pixel_bytes() * 8).unwrap_or(u8::MAX);
    let mut row = vec![0; stride * 2];
    let mut narrowed = vec![0; stride];
    loop {
        let Some(interlace) = reader.read_row(&mut row).map_err(decode_failed)? else { return Ok(()) };
        let InterlaceInfo::Adam7(pass) = interlace else {
            return Err(decode_failed("a PNG that is interlaced in parts"));
        };
        if wide {
            narrow(&row, &mut narrowed);
        } else {
            narrowed.copy_from_slice(&row[..stride]);
        }
        png::expand_interlaced_row(pixels, stride, &narrowed, &pass, bits);
    }
}

/// Sixteen bits a sample to eight, to the nearest.
fn narrow(wide: &[u8], narrow: &mut [u8]) {
    for (narrow, wide) in narrow.iter_mut().zip(wide.as_chunks().0) {
        // At most 65535 by 255 over 65535.
        *narrow = u8::try_from((u32::from(u16::from_be_bytes(*wide)) * 255 + 32_767) / 65_535).unwrap_or(u8::MAX);
    }
}

fn too_few_rows() -> Failure {
    decode_failed("a PNG frame with fewer rows than it says")
}
