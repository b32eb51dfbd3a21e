//! PNG, still or animated.

use std::borrow::Cow;

use lazaret_sandbox::picture::{Blend, Dispose, Layout, Pixels};
use png::{
    BitDepth, BlendOp, ColorType, Compression, DeflateCompression, DisposeOp, Encoder, EncodingError, Filter, Info,
    Writer,
};

use super::{
    Settings,
    film::{Cut, Film, Shown, delay_in},
    indices::{Indexed, as_it_is},
    output::Output,
    raster::{Channels, Raster},
};
use crate::failure::{Failure, encode_failed};

/// A second encoding of more pixels could use up the CPU time of the job.
const MAX_RETRY_PIXELS: u64 = 10_000_000;
/// How many times shorter than its samples an image must have become for more effort to be worth it. Photographs do
/// not, and would take twenty times as long for a tenth fewer bytes.
const WORTH_EFFORT: u64 = 3;
/// In place of the library's 6, which takes longer for a screenshot than libvips does. So does 4, in some runs, for a file
/// shorter by a sixth.
const BALANCED: DeflateCompression = DeflateCompression::Level(2);

/// Encodes fast; where that makes a quarter more bytes than the original had, as with screenshots, again with more
/// effort.
pub(crate) fn still(
    image: Raster<'_>,
    settings: &Settings<'_>,
    attempt: u8,
    room: &mut [u8],
) -> Result<usize, Failure> {
    let image = if settings.profile.is_some() { image.into_colour() } else { image };
    let (first, second) = levels(attempt);
    let len = match plain(&image, settings, first, room) {
        Ok(len) if !too_long(len, settings) => return Ok(len),
        Ok(len) => Some(len),
        Err(_) => None,
    };
    let affordable = u64::from(image.width) * u64::from(image.height) <= MAX_RETRY_PIXELS;
    let worth = |len: usize| (len as u64).saturating_mul(WORTH_EFFORT) < image.samples.len() as u64;
    // Greys are one byte a pixel already, and better filtered than looked up.
    let grey = matches!(image.channels, Channels::Grey | Channels::GreyAlpha);
    let few = if grey { None } else { Indexed::of_few(&image, attempt, as_it_is) };
    let again = match (few, len) {
        (Some(few), _) => indexed(&few, (image.width, image.height), settings, second, room)?,
        (None, Some(len)) if !affordable || !worth(len) => return Ok(len),
        (None, _) => plain(&image, settings, second, room)?,
    };
    match len {
        Some(len) if len < again => plain(&image, settings, first, room),
        _ => Ok(again),
    }
}

/// Encodes a frame that is indexed already.
pub(crate) fn of_frame(
    pixels: &Pixels<'_>,
    settings: &Settings<'_>,
    attempt: u8,
    room: &mut [u8],
) -> Result<usize, Failure> {
    let size = (pixels.frame.width, pixels.frame.height);
    let (_, level) = levels(attempt);
    indexed(&Indexed::of_frame(pixels, attempt, as_it_is), size, settings, level, room)
}

/// Encodes an animation. Its frames keep their places, timing, disposal and blending: APNG knows all of them.
pub(crate) fn animation(
    film: &Film<'_, '_>,
    settings: &Settings<'_>,
    attempt: u8,
    room: &mut [u8],
) -> Result<usize, Failure> {
    let (first, second) = levels(attempt);
    let affordable = u64::from(film.size.0) * u64::from(film.size.1) * film.frames() as u64 <= MAX_RETRY_PIXELS;
    match frames(film, settings, first, room) {
        Ok(len) if !affordable || !too_long(len, settings) => Ok(len),
        Ok(_) | Err(_) => frames(film, settings, second, room),
    }
}

/// The first effort and the second. Another attempt is to give other bytes.
const fn levels(attempt: u8) -> (Compression, Compression) {
    match attempt {
        0 => (Compression::Fast, Compression::Balanced),
        1 => (Compression::Balanced, Compression::High),
        _ => (Compression::High, Compression::High),
    }
}

/// Whether an encoding is a quarter longer than the original.
fn too_long(len: usize, settings: &Settings<'_>) -> bool {
    len as u64 > settings.original_bytes.saturating_add(settings.original_bytes / 4)
}

fn plain(image: &Raster<'_>, settings: &Settings<'_>, level: Compression, room: &mut [u8]) -> Result<usize, Failure> {
    let mut info = Info::with_size(image.width, image.height);
    info.color_type = colour_type(image.channels);
    let look = Look { level, filter: Filter::Adaptive, animation: None };
    write(info, settings, &look, room, |writer| writer.write_image_data(&image.samples).map_err(failed))
}

fn indexed(
    image: &Indexed,
    (width, height): (u32, u32),
    settings: &Settings<'_>,
    level: Compression,
    room: &mut [u8],
) -> Result<usize, Failure> {
    let mut info = Info::with_size(width, height);
    info.color_type = ColorType::Indexed;
    info.palette = Some(image.rgb().into());
    info.trns = image.alpha().map(Cow::Owned);
    let look = Look { level, filter: Filter::NoFilter, animation: None };
    write(info, settings, &look, room, |writer| writer.write_image_data(&image.indices).map_err(failed))
}

fn frames(film: &Film<'_, '_>, settings: &Settings<'_>, level: Compression, room: &mut [u8]) -> Result<usize, Failure> {
    let channels = common_channels(film, settings);
    let mut info = Info::with_size(film.size.0, film.size.1);
    info.color_type = colour_type(channels);
    let count = u32::try_from(film.frames()).map_err(|error| encode_failed("PNG", error))?;
    let look = Look { level, filter: Filter::Adaptive, animation: Some((count, film.plays())) };
    write(info, settings, &look, room, |writer| film.play(Cut::AsTheyAre, |shown| write_frame(writer, channels, shown)))
}

/// What all frames have, for an APNG has one colour type: that of the frames where they agree and where nothing of
/// the canvas stays empty.
fn common_channels(film: &Film<'_, '_>, settings: &Settings<'_>) -> Channels {
    let mut frames = film.picture.frames().map(|pixels| pixels.frame);
    let Some(first) = frames.next() else { return Channels::Rgba };
    let fills = (first.width, first.height) == film.size;
    if film.is_resized() || !fills || frames.any(|frame| frame.layout != first.layout) {
        return Channels::Rgba;
    }
    match (first.layout, settings.profile) {
        (Layout::Grey, None) => Channels::Grey,
        (Layout::GreyAlpha, None) => Channels::GreyAlpha,
        (Layout::Rgb, _) | (Layout::Grey, Some(_)) => Channels::Rgb,
        (Layout::Rgba | Layout::Indexed, _) | (Layout::GreyAlpha, Some(_)) => Channels::Rgba,
    }
}

fn write_frame(writer: &mut Writer<&mut Output<'_>>, channels: Channels, shown: Shown<'_>) -> Result<(), Failure> {
    let Shown { x, y, image, delay, dispose, blend } = shown;
    let image = match channels {
        Channels::Rgba => image.into_rgba(),
        Channels::Rgb => image.into_colour(),
        Channels::Grey | Channels::GreyAlpha => image,
    };
    let (numerator, denominator) = short(delay);
    let mut write = || {
        writer.set_frame_delay(numerator, denominator)?;
        // A place is checked against the size that is set, and a size against the place.
        writer.set_frame_position(0, 0)?;
        writer.set_frame_dimension(image.width, image.height)?;
        writer.set_frame_position(x, y)?;
        writer.set_dispose_op(match dispose {
            Dispose::Keep => DisposeOp::None,
            Dispose::Background => DisposeOp::Background,
            Dispose::Previous => DisposeOp::Previous,
        })?;
        writer.set_blend_op(match blend {
            Blend::Over => BlendOp::Over,
            Blend::Source => BlendOp::Source,
        })?;
        writer.write_image_data(&image.samples)
    };
    write().map_err(failed)
}

/// A delay in sixteen bits: exactly where it fits, else in milliseconds, else as long as can be said.
fn short(delay: (u32, u32)) -> (u16, u16) {
    if let (Ok(numerator), Ok(denominator)) = (u16::try_from(delay.0), u16::try_from(delay.1)) {
        return (numerator, denominator);
    }
    [1000, 100, 10]
        .into_iter()
        .find_map(|units| Some((u16::try_from(delay_in(units.into(), delay)).ok()?, units)))
        .unwrap_or((u16::try_from(delay_in(1, delay)).unwrap_or(u16::MAX), 1))
}

/// How pixels are written.
struct Look {
    level: Compression,
    filter: Filter,
    /// Frames and plays.
    animation: Option<(u32, u32)>,
}

/// Writes a PNG and answers its length.
fn write<'o>(
    mut info: Info<'static>,
    settings: &Settings<'_>,
    look: &Look,
    room: &'o mut [u8],
    pixels: impl FnOnce(&mut Writer<&mut Output<'o>>) -> Result<(), Failure>,
) -> Result<usize, Failure> {
    info.bit_depth = BitDepth::Eight;
    info.icc_profile = settings.profile.map(|profile| Cow::Owned(profile.to_vec()));
    let mut output = Output::new(room);
    let result = write_with(info, look, &mut output, pixels);
    output.judge(result)?;
    Ok(output.len())
}

fn write_with<'r, 'o>(
    info: Info<'static>,
    look: &Look,
    output: &'r mut Output<'o>,
    pixels: impl FnOnce(&mut Writer<&'r mut Output<'o>>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut encoder = Encoder::with_info(output, info).map_err(failed)?;
    encoder.set_compression(look.level);
    if matches!(look.level, Compression::Balanced) {
        encoder.set_deflate_compression(BALANCED);
    }
    encoder.set_filter(look.filter);
    if let Some((frames, plays)) = look.animation {
        encoder.set_animated(frames, plays).map_err(failed)?;
    }
    let mut writer = encoder.write_header().map_err(failed)?;
    pixels(&mut writer)?;
    writer.finish().map_err(failed)
}

/// What a PNG with this profile holds in its chunk for one.
pub(crate) fn profile_chunk(profile: &[u8]) -> Option<Vec<u8>> {
    const BEFORE: usize = 8 + 25;
    let mut info = Info::with_size(1, 1);
    info.icc_profile = Some(Cow::Owned(profile.to_vec()));
    let mut file = Vec::new();
    Encoder::with_info(&mut file, info).ok()?.write_header().ok()?.write_image_data(&[0]).ok()?;
    // The signature and the header are as long as ever; the chunk is the one behind.
    let (length, rest) = file.get(BEFORE..)?.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    rest.strip_prefix(b"iCCP")?.get(..length).map(<[u8]>::to_vec)
}

const fn colour_type(channels: Channels) -> ColorType {
    match channels {
        Channels::Grey => ColorType::Grayscale,
        Channels::GreyAlpha => ColorType::GrayscaleAlpha,
        Channels::Rgb => ColorType::Rgb,
        Channels::Rgba => ColorType::Rgba,
    }
}

fn failed(error: EncodingError) -> Failure {
    encode_failed("PNG", error)
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn delays_fit_into_sixteen_bits() {
        assert_eq!(short((1, 30)), (1, 30));
        assert_eq!(short((100_000, 1_000_000)), (100, 1000));
        assert_eq!(short((70_000, 1000)), (7000, 100));
        assert_eq!(short((u32::MAX, 1)), (u16::MAX, 1));
    }
}
