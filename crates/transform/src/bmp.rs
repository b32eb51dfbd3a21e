//! BMP to PNG.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use lazaret_sandbox::Done;

use crate::{
    Source,
    failure::{Failure, decode_failed},
    png, still,
};

/// Decodes a bitmap and encodes it as PNG: nobody serves bitmaps, and PNG keeps every pixel.
pub(crate) fn reencode(source: &Source<'_>, variant: u8, output: &mut [u8]) -> Result<Done, Failure> {
    let decoder = BmpDecoder::new(Cursor::new(source.input)).map_err(decode_failed)?;
    let image = still::decode(source, decoder)?;
    png::encode(&image, source.input.len(), variant, output)
}
