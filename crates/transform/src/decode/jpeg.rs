//! JPEG (ITU-T T.81): baseline and progressive, grey, YCbCr, RGB, CMYK and YCCK.

mod guard;
mod huffman;
mod segments;

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
    let mut jpeg = Jpeg::read(input, &task.limits)?;
    let (layout, wanted) = match jpeg.stored {
        ColorSpace::Luma => (Layout::Grey, ColorSpace::Luma),
        ColorSpace::YCbCr | ColorSpace::RGB => (Layout::Rgb, ColorSpace::RGB),
        stored @ (ColorSpace::CMYK | ColorSpace::YCCK) => (Layout::Rgb, stored),
        other => return Err(decode_failed(format_args!("a JPEG of {other:?} pixels is not supported"))),
    };
    let Jpeg { width, height, stored, .. } = jpeg;
    let profile = jpeg.decoder.icc_profile();
    let orientation = orientation(jpeg.decoder.exif().map(Vec::as_slice));
    if matches!(stored, ColorSpace::CMYK | ColorSpace::YCCK) {
        let inks = Inks::new(profile.as_deref(), stored == ColorSpace::YCCK);
        let colours = Colours::srgb();
        return Still { width, height, layout, orientation, colours: &colours }.write(output, |pixels| {
            let mut stored = vec![0; pixels.len() / 3 * 4];
            jpeg.samples(wanted, &mut stored)?;
            inks.convert(&mut stored, pixels);
            Ok(())
        });
    }
    let colours = Colours::embedded(profile.as_deref(), layout, task.colour);
    Still { width, height, layout, orientation, colours: &colours }.write(output, |pixels| {
        // Not for a size that nothing stands behind.
        let likely = pixels.len().min(input.len().saturating_mul(LIKELY_RATIO));
        populate(&mut pixels[..likely]);
        jpeg.samples(wanted, pixels)
    })
}

/// A JPEG that is decoded right or not at all.
pub(super) struct Jpeg {
    pub(super) width: u32,
    pub(super) height: u32,
    /// How many samples a pixel has.
    pub(super) components: usize,
    stored: ColorSpace,
    decoder: JpegDecoder<ZCursor<Vec<u8>>>,
}

impl Jpeg {
    pub(super) fn read(input: &[u8], limits: &ImageLimits) -> Result<Self, Failure> {
        let segments = Segments::read(input).map_err(decode_failed)?;
        segments.check_supported().map_err(decode_failed)?;
        let (width, height) = (segments.width.into(), segments.height.into());
        check_size(width, height, limits)?;
        let guarded = segments.guarded(input).map_err(decode_failed)?;
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(guarded), options());
        decoder.decode_headers().map_err(decode_failed)?;
        let stored = decoder.input_colorspace().ok_or_else(|| decode_failed("a JPEG without a colour space"))?;
        if stored == ColorSpace::CMYK && !segments.is_even() {
            // zune-jpeg 0.5 decodes these to garbage without an error.
            return Err(decode_failed("a CMYK JPEG with inks of different resolutions is not supported"));
        }
        Ok(Self { width, height, components: segments.components(), stored, decoder })
    }

    /// Its samples as they are stored, of `components` bytes a pixel.
    pub(super) fn stored_samples(&mut self) -> Result<Vec<u8>, Failure> {
        let mut samples = vec![0; self.width as usize * self.height as usize * self.components];
        self.samples(self.stored, &mut samples)?;
        Ok(samples)
    }

    fn samples(&mut self, colours: ColorSpace, samples: &mut [u8]) -> Result<(), Failure> {
        self.decoder.set_options(options().jpeg_set_out_colorspace(colours));
        self.decoder.decode_into(samples).map_err(decode_failed)
    }
}

/// Strict: what is damaged is refused, where viewers each paint something else.
fn options() -> DecoderOptions {
    DecoderOptions::default().set_strict_mode(true).set_max_width(LONGEST).set_max_height(LONGEST)
}
