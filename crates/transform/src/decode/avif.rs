//! AVIF: a still image of AV1 with alpha, eight to twelve bits. Of an image sequence, the still image in front of it.

mod boxes;
mod planes;

use image::metadata::Orientation;
use lazaret_sandbox::{
    format::{Decode, Decoded},
    picture::Layout,
};
use re_rav1d::dav1d::{self, DecodeFrameType, Decoder, Picture, PixelLayout, Settings, pixel::YUVRange};

use self::{
    boxes::{CodePoints, Container, Item, Properties},
    planes::Conversion,
};
use super::{colour::Colours, still::Still};
use crate::failure::{Failure, check_size, decode_failed};

/// A matrix that is not named (ITU-T H.273, table 4).
const UNSPECIFIED: u16 = 2;

/// Decodes the primary image.
pub(crate) fn decode(task: &Decode, input: &[u8], output: &mut [u8]) -> Result<Decoded, Failure> {
    let container = Container::read(input).map_err(decode_failed)?;
    let properties = container.image.properties;
    let (width, height) = properties.size.ok_or_else(|| decode_failed("an AVIF image without a size"))?;
    check_size(width, height, &task.limits)?;
    if properties.cropped {
        return Err(decode_failed("an AVIF with a crop is not supported"));
    }
    let picture = planes_of(&container.image, (width, height))?;
    let alpha = container.alpha.as_ref().map(|item| planes_of(item, (width, height))).transpose()?;
    let points = properties.code_points.unwrap_or_else(|| coded_points(&picture));
    let conversion = conversion(&picture, points)?;
    let coloured = picture.pixel_layout() != PixelLayout::I400;
    let layout = match (coloured, alpha.is_some()) {
        (false, false) => Layout::Grey,
        (false, true) => Layout::GreyAlpha,
        (true, false) => Layout::Rgb,
        (true, true) => Layout::Rgba,
    };
    let colours = colours(&properties, points, layout, task);
    Still { width, height, layout, orientation: orientation(&properties), colours: &colours }.write(output, |pixels| {
        let bytes = layout.pixel_bytes();
        if coloured {
            planes::write_colours(&picture, conversion, bytes, pixels);
        } else {
            planes::write_grey(&picture, conversion, 0, bytes, pixels);
        }
        if let Some(alpha) = &alpha {
            let opacity = conversion_of_alpha(alpha)?;
            planes::write_grey(alpha, opacity, bytes - 1, bytes, pixels);
            if container.multiplied_in {
                pixels.chunks_exact_mut(bytes).for_each(separate);
            }
        }
        Ok(())
    })
}

/// Decodes one coded image, which must be as large as it says.
fn planes_of(item: &Item<'_>, (width, height): (u32, u32)) -> Result<Picture, Failure> {
    let failed = |error: dav1d::Error| decode_failed(format_args!("AV1: {error}"));
    let mut settings = Settings::new();
    // The jail has one thread.
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_all_layers(false);
    settings.set_strict_std_compliance(true);
    settings.set_decode_frame_type(DecodeFrameType::All);
    settings.set_frame_size_limit(width.saturating_mul(height));
    let mut decoder = Decoder::with_settings(&settings).map_err(failed)?;
    let mut sent = decoder.send_data(item.data.to_vec(), None, None, None);
    loop {
        match decoder.get_picture() {
            Ok(picture) if (picture.width(), picture.height()) == (width, height) => return Ok(picture),
            Ok(_) => return Err(decode_failed("an AVIF image is not as large as it says")),
            // All data are taken, and there is no picture.
            Err(error) if !error.is_again() || sent.is_ok() => return Err(failed(error)),
            Err(_) => {}
        }
        match sent {
            Err(error) if !error.is_again() => return Err(failed(error)),
            _ => sent = decoder.send_pending_data(),
        }
    }
}

fn conversion(picture: &Picture, points: CodePoints) -> Result<Conversion, Failure> {
    let bits = u32::try_from(picture.bit_depth()).unwrap_or(u32::MAX);
    let subsampled = matches!(picture.pixel_layout(), PixelLayout::I420 | PixelLayout::I422);
    let conversion = Conversion::of(points, bits).filter(|_| !(points.matrix == 0 && subsampled));
    conversion.ok_or_else(|| decode_failed(format_args!("AVIF matrix {} is not supported", points.matrix)))
}

/// Alpha is luma alone, in the range of its own coding.
fn conversion_of_alpha(alpha: &Picture) -> Result<Conversion, Failure> {
    conversion(alpha, CodePoints { matrix: UNSPECIFIED, ..coded_points(alpha) })
}

/// What the coded image says of itself, for a file that says nothing.
fn coded_points(picture: &Picture) -> CodePoints {
    CodePoints {
        primaries: picture.color_primaries() as u16,
        transfer: picture.transfer_characteristic() as u16,
        matrix: picture.matrix_coefficients() as u16,
        full_range: picture.color_range() == YUVRange::Full,
    }
}

fn colours(properties: &Properties<'_>, points: CodePoints, layout: Layout, task: &Decode) -> Colours {
    if properties.profile.is_some() {
        return Colours::embedded(properties.profile, layout, task.colour);
    }
    let code = |code: u16| u8::try_from(code).unwrap_or(u8::MAX);
    match (points.primaries, points.transfer) {
        // Unspecified, and the curves of television on the primaries of sRGB, which viewers take for sRGB.
        (1 | 2, 1 | 2 | 6 | 13 | 14 | 15) => Colours::srgb(),
        (primaries, 2) => Colours::code_points(code(primaries), 13, layout, task.colour),
        (primaries, transfer) => Colours::code_points(code(primaries), code(transfer), layout, task.colour),
    }
}

/// Turned first, then mirrored (ISO/IEC 23008-12, sections 6.5.10 and 6.5.12).
fn orientation(properties: &Properties<'_>) -> Orientation {
    match (properties.turns, properties.mirror) {
        (0, None) => Orientation::NoTransforms,
        (1, None) => Orientation::Rotate270,
        (2, None) => Orientation::Rotate180,
        (_, None) => Orientation::Rotate90,
        (0, Some(0)) | (2, Some(1)) => Orientation::FlipVertical,
        (0 | 2, Some(_)) => Orientation::FlipHorizontal,
        (1, Some(0)) | (3, Some(1)) => Orientation::Rotate90FlipH,
        (_, Some(_)) => Orientation::Rotate270FlipH,
    }
}

/// Takes alpha, the last sample, out of the others.
fn separate(pixel: &mut [u8]) {
    let Some((alpha, values)) = pixel.split_last_mut() else { return };
    let alpha = u32::from(*alpha);
    for value in values {
        let whole = (u32::from(*value) * 255 + alpha / 2).checked_div(alpha).unwrap_or(0);
        *value = u8::try_from(whole).unwrap_or(u8::MAX);
    }
}
