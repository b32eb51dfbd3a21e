//! JPEG (ITU-T T.81): baseline and progressive, grey, YCbCr, RGB, CMYK and YCCK.

mod segments;

use lazaret_sandbox::{
    format::{Decode, Decoded},
    picture::Layout,
};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

pub(crate) use self::segments::Segments;
use super::{
    colour::Colours,
    ink::Inks,
    still::{Still, orientation},
};
use crate::failure::{Failure, check_size, decode_failed};

/// The longest side that the format can say.
const LONGEST: usize = 65_535;

/// Decodes a JPEG that is whole. What follows its end is not looked at.
pub(crate) fn decode(task: &Decode, input: &[u8], output: &mut [u8]) -> Result<Decoded, Failure> {
    let segments = Segments::read(input).map_err(decode_failed)?;
    segments.check_supported().map_err(decode_failed)?;
    check_size(segments.width.into(), segments.height.into(), &task.limits)?;
    let whole = &input[..segments.len];
    // Strict: what is damaged is refused, where viewers each paint something else.
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(LONGEST).set_max_height(LONGEST);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(whole), options);
    decoder.decode_headers().map_err(decode_failed)?;
    let stored = decoder.input_colorspace().ok_or_else(|| decode_failed("a JPEG without a colour space"))?;
    let (layout, wanted) = match stored {
        ColorSpace::Luma => (Layout::Grey, ColorSpace::Luma),
        ColorSpace::YCbCr | ColorSpace::RGB => (Layout::Rgb, ColorSpace::RGB),
        ColorSpace::CMYK | ColorSpace::YCCK => (Layout::Rgb, stored),
        other => return Err(decode_failed(format_args!("a JPEG of {other:?} pixels is not supported"))),
    };
    if stored == ColorSpace::CMYK && !segments.is_even {
        // zune-jpeg 0.5 decodes these to garbage without an error.
        return Err(decode_failed("a CMYK JPEG with inks of different resolutions is not supported"));
    }
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let profile = decoder.icc_profile();
    let orientation = orientation(decoder.exif().map(Vec::as_slice));
    let (width, height) = (segments.width.into(), segments.height.into());
    if matches!(stored, ColorSpace::CMYK | ColorSpace::YCCK) {
        let inks = Inks::new(profile.as_deref(), stored == ColorSpace::YCCK);
        let colours = Colours::srgb();
        return Still { width, height, layout, orientation, colours: &colours }.write(output, |pixels| {
            let mut stored = vec![0; pixels.len() / 3 * 4];
            decoder.decode_into(&mut stored).map_err(decode_failed)?;
            inks.convert(&mut stored, pixels);
            Ok(())
        });
    }
    let colours = Colours::embedded(profile.as_deref(), layout, task.colour);
    Still { width, height, layout, orientation, colours: &colours }
        .write(output, |pixels| decoder.decode_into(pixels).map_err(decode_failed))
}
