//! JPEG (ITU-T T.81): baseline and progressive, grey, YCbCr, RGB, CMYK and YCCK.

mod guard;
mod huffman;
mod planes;
mod segments;

use image::metadata::Orientation;
use lazaret_sandbox::{
    format::{Decode, Decoded, ImageLimits},
    picture::Layout,
    populate,
};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

use self::segments::Segments;
use super::{
    colour::Colours,
    ink::Inks,
    still::{Still, orientation},
};
use crate::failure::{Failure, check_size, decode_failed};

/// The longest side that the format can say.
const LONGEST: usize = 65_535;
/// Bytes of pixels that a byte of a photograph becomes, at most. Drawings become more.
const LIKELY_RATIO: usize = 64;

/// Decodes a JPEG that is whole. What follows its end is not looked at.
pub(crate) fn decode(task: &Decode, input: &[u8], output: &mut [u8]) -> Result<Decoded, Failure> {
    let jpeg = Jpeg::read(input, &task.limits)?;
    let (layout, wanted) = match jpeg.stored {
        ColorSpace::Luma => (Layout::Grey, ColorSpace::Luma),
        ColorSpace::YCbCr | ColorSpace::RGB => (Layout::Rgb, ColorSpace::RGB),
        stored @ (ColorSpace::CMYK | ColorSpace::YCCK) => (Layout::Rgb, stored),
        other => return Err(decode_failed(format_args!("a JPEG of {other:?} pixels is not supported"))),
    };
    let Jpeg { width, height, stored, orientation, .. } = jpeg;
    let profile = jpeg.profile.as_deref();
    if matches!(stored, ColorSpace::CMYK | ColorSpace::YCCK) {
        let inks = Inks::new(profile, stored == ColorSpace::YCCK);
        let colours = Colours::srgb();
        return Still { width, height, layout, orientation, colours: &colours }.write(output, |pixels| {
            let mut stored = vec![0; pixels.len() / 3 * 4];
            jpeg.samples(wanted, &mut stored)?;
            inks.convert(&mut stored, pixels);
            Ok(())
        });
    }
    let colours = Colours::embedded(profile, layout, task.colour);
    if stored == ColorSpace::YCbCr && orientation == Orientation::NoTransforms && !colours.converts() {
        let planes = planes::decode(task, &jpeg.segments, colours.gamut(), input, output)?;
        if let Some(decoded) = planes {
            return Ok(decoded);
        }
    }
    Still { width, height, layout, orientation, colours: &colours }.write(output, |pixels| {
        populate(likely(pixels, input));
        jpeg.samples(wanted, pixels)
    })
}

/// As much of the samples as the input may well fill: not for a size that nothing stands behind.
fn likely<'a>(samples: &'a mut [u8], input: &[u8]) -> &'a mut [u8] {
    let likely = samples.len().min(input.len().saturating_mul(LIKELY_RATIO));
    &mut samples[..likely]
}

/// A JPEG that is decoded right or not at all.
pub(super) struct Jpeg<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    /// How many samples a pixel has.
    pub(super) components: usize,
    stored: ColorSpace,
    segments: Segments<'a>,
    input: &'a [u8],
    profile: Option<Vec<u8>>,
    orientation: Orientation,
}

impl<'a> Jpeg<'a> {
    pub(super) fn read(input: &'a [u8], limits: &ImageLimits) -> Result<Self, Failure> {
        let segments = Segments::read(input).map_err(decode_failed)?;
        segments.check_supported().map_err(decode_failed)?;
        let (width, height) = (segments.width.into(), segments.height.into());
        check_size(width, height, limits)?;
        // Without the coded data: they are read where they are wanted.
        let headers = &input[..segments.scans.first().map_or(input.len(), |scan| scan.coded.start)];
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(headers), options());
        decoder.decode_headers().map_err(decode_failed)?;
        let stored = decoder.input_colorspace().ok_or_else(|| decode_failed("a JPEG without a colour space"))?;
        if stored == ColorSpace::CMYK && !segments.is_even() {
            // zune-jpeg 0.5 decodes these to garbage without an error.
            return Err(decode_failed("a CMYK JPEG with inks of different resolutions is not supported"));
        }
        let profile = decoder.icc_profile();
        let orientation = orientation(decoder.exif().map(Vec::as_slice));
        let components = segments.components();
        Ok(Self { width, height, components, stored, segments, input, profile, orientation })
    }

    /// Its samples as they are stored, of `components` bytes a pixel.
    pub(super) fn stored_samples(&self) -> Result<Vec<u8>, Failure> {
        let mut samples = vec![0; self.width as usize * self.height as usize * self.components];
        self.samples(self.stored, &mut samples)?;
        Ok(samples)
    }

    fn samples(&self, colours: ColorSpace, samples: &mut [u8]) -> Result<(), Failure> {
        let guarded = self.segments.guarded(self.input).map_err(decode_failed)?;
        let options = options().jpeg_set_out_colorspace(colours);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(guarded), options);
        decoder.decode_into(samples).map_err(decode_failed)
    }
}

/// Strict: what is damaged is refused, where viewers each paint something else.
fn options() -> DecoderOptions {
    DecoderOptions::default().set_strict_mode(true).set_max_width(LONGEST).set_max_height(LONGEST)
}
