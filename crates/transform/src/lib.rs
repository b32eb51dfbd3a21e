#![doc = include_str!("../README.md")]

mod bmp;
mod carried;
mod colour;
mod failure;
mod gif;
mod jpeg;
mod output;
mod palette;
mod png;
mod riff;
mod still;
mod webp;

use lazaret_sandbox::{Answer, Confined, Done, ImageFormat, Job, RefusalCode};

use crate::failure::{Failure, decode_failed};

/// How often an encoding that still carries active content is tried another way.
const VARIANTS: u8 = 4;

/// Decodes the input and encodes it anew into the output.
///
/// Pixels, their timing and their size go through; no other byte of the input does. The output is read back: its
/// structure must be what this encoder writes and nothing else, and text that a browser or an archiver would act on
/// must not have come through in pixels or palette; if it has, the image is encoded again another way.
pub fn transform(confined: &Confined, job: Job<'_>) -> Answer {
    let Job { format, limits, input, output } = job;
    let source = Source { confined, limits, input };
    let mut carried = None;
    for variant in 0..VARIANTS {
        let done = encode(&source, format, variant, output)?;
        let written = usize::try_from(done.len).ok().and_then(|len| output.get(..len));
        let written = written.ok_or_else(|| Failure::new(RefusalCode::OutputLimit, "the output does not fit"))?;
        check(done.format, written)
            .map_err(|wrong| decode_failed(format_args!("the new image is malformed: {wrong}")))?;
        carried = carried::active_content(written);
        if carried.is_none() {
            return Ok(done);
        }
    }
    Err(decode_failed(format_args!("the pixels spell {:?}", carried.unwrap_or_default())).into())
}

/// What a format's encoder works on.
struct Source<'a> {
    /// That hostile bytes may be touched.
    confined: &'a Confined,
    limits: lazaret_sandbox::ImageLimits,
    input: &'a [u8],
}

fn encode(source: &Source<'_>, format: ImageFormat, variant: u8, output: &mut [u8]) -> Result<Done, Failure> {
    match format {
        ImageFormat::Jpeg => jpeg::reencode(source, variant, output),
        ImageFormat::Png => png::reencode(source, variant, output),
        ImageFormat::Gif => gif::reencode(source, variant, output),
        ImageFormat::WebP => webp::reencode(source, variant, output),
        ImageFormat::Bmp => bmp::reencode(source, variant, output),
    }
}

fn check(format: ImageFormat, written: &[u8]) -> Result<(), &'static str> {
    match format {
        ImageFormat::Jpeg => jpeg::check(written),
        ImageFormat::Png => png::check(written),
        ImageFormat::Gif => gif::check(written),
        ImageFormat::WebP => webp::check(written),
        ImageFormat::Bmp => Err("bitmaps are not written"),
    }
}
