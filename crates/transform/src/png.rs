//! PNG to PNG. An animated PNG becomes its default image.

mod indexed;

use std::io::Cursor;

use image::{DynamicImage, codecs::png::PngDecoder};
use lazaret_sandbox::{Done, ImageFormat};
use png::{BitDepth, ColorType, Compression, Encoder, Filter};

use self::indexed::Indexed;
use crate::{
    Source,
    failure::{Failure, check_size, decode_failed, encode_failed},
    output::Output,
    still,
};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Decodes a PNG and encodes its sRGB pixels with eight bits a channel: what browsers show of sixteen.
pub(crate) fn reencode(source: &Source<'_>, variant: u8, output: &mut [u8]) -> Result<Done, Failure> {
    // The decoder inflates colour profiles on the way to the pixels, so the size comes first.
    let (width, height) = header(source.input).ok_or_else(|| decode_failed("a PNG begins with its header"))?;
    let pixels = check_size(width, height, &source.limits)?;
    let decoder = PngDecoder::with_limits(Cursor::new(source.input), still::allocation_limits(pixels));
    let image = still::decode(source, decoder.map_err(decode_failed)?)?;
    encode(&image, source.input.len(), variant, output)
}

/// Width and height from the first chunk.
fn header(input: &[u8]) -> Option<(u32, u32)> {
    let header = input.strip_prefix(SIGNATURE)?.strip_prefix(b"\x00\x00\x00\x0dIHDR")?;
    let (width, rest) = header.split_first_chunk::<4>()?;
    let (height, _) = rest.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*width), u32::from_be_bytes(*height)))
}

/// A second encoding of more pixels could use up the CPU time of the job.
const MAX_RETRY_PIXELS: u64 = 10_000_000;

/// Encodes fast; where that makes a quarter more bytes than the input had, as with screenshots, again with more
/// effort. Photographs stay below that, and would take twenty times as long for a tenth fewer bytes.
pub(crate) fn encode(image: &DynamicImage, input_len: usize, variant: u8, output: &mut [u8]) -> Result<Done, Failure> {
    let (first, second) = match variant {
        0 => (Compression::Fast, Compression::Balanced),
        1 => (Compression::Balanced, Compression::High),
        _ => (Compression::High, Compression::High),
    };
    let affordable = u64::from(image.width()) * u64::from(image.height()) <= MAX_RETRY_PIXELS;
    let len = match encode_at(image, first, output) {
        Ok(len) if !affordable || len <= input_len.saturating_add(input_len / 4) => len,
        Ok(_) | Err(_) => encode_again(image, second, variant, output)?,
    };
    Ok(Done { len: len as u64, format: ImageFormat::Png, width: image.width(), height: image.height(), frames: 1 })
}

/// With more effort: by palette where the colours fit one, else by the slower compression.
fn encode_again(image: &DynamicImage, level: Compression, variant: u8, output: &mut [u8]) -> Result<usize, Failure> {
    let Some(indexed) = Indexed::of(image, variant) else { return encode_at(image, level, output) };
    let Indexed { pixels, palette, alpha } = indexed;
    write(image, &pixels, output, |encoder| {
        encoder.set_color(ColorType::Indexed);
        encoder.set_palette(palette);
        if let Some(alpha) = alpha {
            encoder.set_trns(alpha);
        }
        encoder.set_compression(level);
        encoder.set_filter(Filter::NoFilter);
    })
}

fn encode_at(image: &DynamicImage, level: Compression, output: &mut [u8]) -> Result<usize, Failure> {
    let colour = match image {
        DynamicImage::ImageLuma8(_) => ColorType::Grayscale,
        DynamicImage::ImageLumaA8(_) => ColorType::GrayscaleAlpha,
        DynamicImage::ImageRgb8(_) => ColorType::Rgb,
        DynamicImage::ImageRgba8(_) => ColorType::Rgba,
        _ => return Err(decode_failed("an image of this depth cannot be encoded")),
    };
    write(image, image.as_bytes(), output, |encoder| {
        encoder.set_color(colour);
        encoder.set_compression(level);
        encoder.set_filter(Filter::Adaptive);
    })
}

/// Writes a PNG of the image's size and answers its length.
fn write(
    image: &DynamicImage,
    samples: &[u8],
    output: &mut [u8],
    set_up: impl FnOnce(&mut Encoder<'_, &mut Output<'_>>),
) -> Result<usize, Failure> {
    let mut output = Output::new(output);
    let mut encoder = Encoder::new(&mut output, image.width(), image.height());
    encoder.set_depth(BitDepth::Eight);
    set_up(&mut encoder);
    let result = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(samples)?;
        writer.finish()
    });
    output.judge(result.map_err(|error| encode_failed("PNG", error)))?;
    Ok(output.len())
}

/// Whether these bytes are a header, a palette or none, pixels, an end and nothing else.
pub(crate) fn check(written: &[u8]) -> Result<(), &'static str> {
    let mut rest = written.strip_prefix(SIGNATURE).ok_or("it has no signature")?;
    let mut kinds = Vec::new();
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk::<4>().ok_or("a chunk is cut short")?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| "a chunk is too long")?;
        let kind = tail.get(..4).ok_or("a chunk is cut short")?;
        rest = tail.get(4..).and_then(|tail| tail.get(length..)?.get(4..)).ok_or("a chunk is cut short")?;
        if kinds.last() != Some(&kind) {
            kinds.push(kind);
        }
    }
    match kinds.as_slice() {
        [b"IHDR", b"IDAT", b"IEND"]
        | [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
        | [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"] => Ok(()),
        _ => Err("it has chunks that pixels do not need"),
    }
}
