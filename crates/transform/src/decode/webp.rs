//! WebP (RFC 9649): lossy, lossless, with alpha, animated.

mod animation;

use std::io::Cursor;

use image_webp::WebPDecoder;
use lazaret_sandbox::{
    format::{Decode, Decoded},
    picture::Layout,
};

use super::{
    colour::Colours,
    riff::{self, Chunk},
    still::{Still, orientation},
};
use crate::failure::{Failure, check_size, decode_failed};

/// What reads a file.
type WebPReader<'a> = WebPDecoder<Cursor<&'a [u8]>>;

/// Decodes a WebP that is whole. What follows its end is not looked at.
pub(crate) fn decode(task: &Decode, input: &[u8], output: &mut [u8]) -> Result<Decoded, Failure> {
    let (chunks, len) = riff::file(input).map_err(decode_failed)?;
    let mut decoder = WebPDecoder::new(Cursor::new(&input[..len])).map_err(decode_failed)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, &task.limits)?;
    check_lossy(&chunks, (width, height))?;
    let profile = chunks.iter().find(|chunk| chunk.kind == b"ICCP").map(|chunk| chunk.payload);
    let layout = layout(&decoder);
    let colours = Colours::embedded(profile, layout, task.colour);
    if decoder.is_animated() {
        return animation::decode(task, &chunks, (width, height), &colours, output);
    }
    let exif = chunks.iter().find(|chunk| chunk.kind == b"EXIF").map(|chunk| chunk.payload);
    Still { width, height, layout, orientation: orientation(exif), colours: &colours }
        .write(output, |pixels| decoder.read_image(pixels).map_err(decode_failed))
}

/// Whether lossy pixels are as large as the file says, before the decoder makes room for them (RFC 6386, section 9.1).
fn check_lossy(chunks: &[Chunk<'_>], size: (u32, u32)) -> Result<(), Failure> {
    let pixels = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    let is_of_size = |chunk: &Chunk<'_>| match *chunk.payload {
        [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] => (pixels(w0, w1), pixels(h0, h1)) == size,
        // Without its start code it does not decode.
        _ => true,
    };
    if chunks.iter().filter(|chunk| chunk.kind == b"VP8 ").all(is_of_size) {
        Ok(())
    } else {
        Err(decode_failed("a WebP whose pixels are not as large as it says"))
    }
}

fn layout(decoder: &WebPReader<'_>) -> Layout {
    if decoder.has_alpha() { Layout::Rgba } else { Layout::Rgb }
}
