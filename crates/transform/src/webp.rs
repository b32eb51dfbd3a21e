//! WebP to WebP, still or animated.

mod animation;

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, codecs::webp::WebPDecoder};
use lazaret_sandbox::{Done, ImageFormat, jail::end_out_of_memory};
use webp::{Encoder, WebPConfig, WebPEncodingError, WebPMemory};

use crate::{
    Source,
    failure::{Failure, check_size, decode_failed},
    output::Output,
    riff::{self, Chunk},
    still,
};

const QUALITY: f32 = 85.0;
/// Effort from 0 to 6. At 2, half of the default, a still image takes two thirds of the time for a little more bytes.
const STILL_EFFORT: i32 = 2;
/// The longest side that VP8 can code (RFC 6386, section 9.1).
const MAX_SIDE: u32 = 16383;

/// Decodes a WebP and encodes its sRGB pixels at quality 85, alpha without loss.
pub(crate) fn reencode(source: &Source<'_>, variant: u8, output: &mut [u8]) -> Result<Done, Failure> {
    let (chunks, len) = riff::file(source.input).map_err(decode_failed)?;
    let limits = lazaret_sandbox::ImageLimits { max_side: source.limits.max_side.min(MAX_SIDE), ..source.limits };
    let source = Source { limits, input: &source.input[..len], ..*source };
    let decoder = WebPDecoder::new(Cursor::new(source.input)).map_err(decode_failed)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, &source.limits)?;
    let quality = QUALITY - f32::from(variant);
    let mut output = Output::new(output);
    if decoder.has_animation() {
        return animation::reencode(&source, &chunks, decoder, quality, &mut output);
    }
    let image = still::decode(&source, decoder)?;
    output.append(&encode(&source, &image, quality, STILL_EFFORT)?)?;
    Ok(Done {
        len: output.len() as u64,
        format: ImageFormat::WebP,
        width: image.width(),
        height: image.height(),
        frames: 1,
    })
}

/// Encodes one image as a whole WebP file.
fn encode(source: &Source<'_>, image: &DynamicImage, quality: f32, effort: i32) -> Result<WebPMemory, Failure> {
    let mut config = WebPConfig::new().map_err(|()| decode_failed("libwebp has no default settings"))?;
    config.quality = quality;
    config.method = effort;
    let (width, height) = (image.width(), image.height());
    let encoded = match image {
        DynamicImage::ImageRgba8(pixels) => Encoder::from_rgba(pixels, width, height).encode_advanced(&config),
        DynamicImage::ImageRgb8(pixels) => Encoder::from_rgb(pixels, width, height).encode_advanced(&config),
        other => Encoder::from_rgba(&other.to_rgba8(), width, height).encode_advanced(&config),
    };
    encoded.map_err(|error| match error {
        WebPEncodingError::VP8_ENC_ERROR_OUT_OF_MEMORY | WebPEncodingError::VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY => {
            end_out_of_memory(source.confined)
        }
        other => decode_failed(format_args!("cannot be encoded as WebP: {other:?}")),
    })
}

/// Whether these bytes are pixels, their alpha, the frames of an animation and nothing else.
pub(crate) fn check(written: &[u8]) -> Result<(), &'static str> {
    let (chunks, len) = riff::file(written)?;
    if len != written.len() {
        return Err("bytes follow its end");
    }
    for Chunk { kind, payload } in chunks {
        match kind {
            b"VP8 " | b"VP8X" | b"ALPH" | b"ANIM" => {}
            b"ANMF" => {
                let frame = riff::chunks(payload.get(animation::FRAME_HEADER..).ok_or("a frame is cut short")?)?;
                if !frame.iter().all(|chunk| matches!(chunk.kind, b"VP8 " | b"ALPH")) {
                    return Err("a frame has chunks that pixels do not need");
                }
            }
            _ => return Err("it has chunks that pixels do not need"),
        }
    }
    Ok(())
}
