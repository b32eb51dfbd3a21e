//! JPEG to JPEG.

mod segments;

use std::io::Cursor;

use image::{DynamicImage, codecs::jpeg::JpegDecoder};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use lazaret_sandbox::{Done, ImageFormat};

use self::segments::Segments;
use crate::{
    Source,
    failure::{Failure, check_size, decode_failed, encode_failed},
    output::Output,
    still,
};

const QUALITY: u8 = 85;

/// Decodes a JPEG that is whole, and encodes its upright sRGB pixels at quality 85, 4:2:0.
pub(crate) fn reencode(source: &Source<'_>, variant: u8, output: &mut [u8]) -> Result<Done, Failure> {
    let segments = Segments::read(source.input).map_err(decode_failed)?;
    check_size(segments.width.into(), segments.height.into(), &source.limits)?;
    if !segments.progressive && segments.scans > 1 {
        // zune-jpeg 0.5 decodes these to garbage without an error (zune-image issues 422 and 448).
        return Err(decode_failed("a baseline JPEG in several scans is not supported"));
    }
    let whole = &source.input[..segments.len];
    let decoder = JpegDecoder::new(Cursor::new(whole)).map_err(decode_failed)?;
    let image = still::decode(source, decoder)?;
    encode(&image, QUALITY - variant, output)
}

fn encode(image: &DynamicImage, quality: u8, output: &mut [u8]) -> Result<Done, Failure> {
    let side = |pixels: u32| u16::try_from(pixels).map_err(|_| decode_failed("a JPEG side has at most 65535 pixels"));
    let (width, height) = (side(image.width())?, side(image.height())?);
    let mut output = Output::new(output);
    let mut encoder = Encoder::new(&mut output, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    let result = match image {
        DynamicImage::ImageLuma8(pixels) => encoder.encode(pixels, width, height, ColorType::Luma),
        DynamicImage::ImageRgb8(pixels) => encoder.encode(pixels, width, height, ColorType::Rgb),
        other => encoder.encode(&other.to_rgb8(), width, height, ColorType::Rgb),
    };
    output.judge(result.map_err(|error| encode_failed("JPEG", error)))?;
    Ok(Done {
        len: output.len() as u64,
        format: ImageFormat::Jpeg,
        width: width.into(),
        height: height.into(),
        frames: 1,
    })
}

/// Whether these bytes are a bare baseline JPEG and nothing else.
pub(crate) fn check(written: &[u8]) -> Result<(), &'static str> {
    let segments = Segments::read(written)?;
    if segments.len != written.len() {
        return Err("bytes follow its end");
    }
    if segments.carries_metadata { Err("it carries metadata") } else { Ok(()) }
}
