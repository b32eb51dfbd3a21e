//! JPEG, by libjpeg-turbo.

use std::fmt::Display;

use lazaret_sandbox::{format::Encode, picture::Planes};
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp, YuvImage};

use super::{
    Settings,
    raster::{Channels, Raster},
};
use crate::failure::{Failure, encode_failed, output_full, side_too_long};

/// What libjpeg can code (`JPEG_MAX_DIMENSION` in its `jmorecfg.h`).
const MAX_SIDE: u32 = 65_500;
/// Where the first segment, JFIF's, ends.
pub(crate) const HEADER_BYTES: usize = 20;
/// Before a profile: marker, length, name, number one of one (ICC.1:2022, annex B.4).
const PROFILE_HEADER: &[u8; 14] = b"ICC_PROFILE\0\x01\x01";

/// Encodes an image and answers the length.
pub(crate) fn still(
    image: Raster<'_>,
    settings: &Settings<'_>,
    attempt: u8,
    room: &mut [u8],
) -> Result<usize, Failure> {
    side(image.width.max(image.height))?;
    let image = image.flatten(settings.background);
    let image = if settings.profile.is_some() { image.into_colour() } else { image };
    let quality = settings.quality_of(attempt);
    let (format, subsampling) = kind(matches!(image.channels, Channels::Grey | Channels::GreyAlpha), quality);
    let (width, height) = (side(image.width)?, side(image.height)?);
    let pitch = width * image.channels.count();
    let source = Image { pixels: &*image.samples, width, pitch, height, format };
    written(settings, (quality, subsampling, width, height), room, |compressor, room| {
        compressor.compress_to_slice(source, room)
    })
}

/// Encodes an image that is as a JPEG stores it, but for the last step.
pub(crate) fn of_planes(
    image: &Planes<'_>,
    settings: &Settings<'_>,
    attempt: u8,
    room: &mut [u8],
) -> Result<usize, Failure> {
    let (width, height) = (side(image.header.width)?, side(image.header.height)?);
    let subsamp = Subsamp::Sub2x2;
    let source = YuvImage { pixels: image.samples, width, align: 1, height, subsamp };
    written(settings, (settings.quality_of(attempt), subsamp, width, height), room, |compressor, room| {
        compressor.compress_yuv_to_slice(source, room)
    })
}

/// Writes a file by one way to compress, and the profile into it.
fn written(
    settings: &Settings<'_>,
    (quality, subsampling, width, height): (u8, Subsamp, usize, usize),
    room: &mut [u8],
    compress: impl FnOnce(&mut Compressor, &mut [u8]) -> Result<usize, turbojpeg::Error>,
) -> Result<usize, Failure> {
    let mut compressor = compressor(quality, subsampling).map_err(|error| failed(&error))?;
    let most = compressor.buf_len(width, height).map_err(|error| failed(&error))?;
    let enough = room.len() >= most;
    // Where there is room for whatever comes, it is not for want of room that it fails.
    let len = compress(&mut compressor, room).map_err(|error| if enough { failed(&error) } else { output_full() })?;
    match settings.profile {
        None => Ok(len),
        Some(profile) => insert(&segment(profile).ok_or_else(|| failed(&"the profile is too long"))?, len, room),
    }
}

fn side(pixels: u32) -> Result<usize, Failure> {
    match usize::try_from(pixels) {
        Ok(pixels) if pixels <= MAX_SIDE as usize => Ok(pixels),
        _ => Err(side_too_long("JPEG", MAX_SIDE)),
    }
}

fn failed(error: &dyn Display) -> Failure {
    encode_failed("JPEG", error)
}

/// The segment that holds a profile.
pub(crate) fn segment(profile: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(2 + PROFILE_HEADER.len() + profile.len()).ok()?;
    Some([b"\xff\xe2", &length.to_be_bytes()[..], PROFILE_HEADER, profile].concat())
}

/// Puts a segment behind the first one of the JPEG in `room`.
fn insert(segment: &[u8], len: usize, room: &mut [u8]) -> Result<usize, Failure> {
    let end = len + segment.len();
    if end > room.len() {
        return Err(output_full());
    }
    room.copy_within(HEADER_BYTES..len, HEADER_BYTES + segment.len());
    room[HEADER_BYTES..HEADER_BYTES + segment.len()].copy_from_slice(segment);
    Ok(end)
}

/// How pixels of one grey or three colours come in and are coded.
const fn kind(grey: bool, quality: u8) -> (PixelFormat, Subsamp) {
    match (grey, quality) {
        (true, _) => (PixelFormat::GRAY, Subsamp::Gray),
        (false, Encode::FULL_COLOURS..) => (PixelFormat::RGB, Subsamp::None),
        (false, _) => (PixelFormat::RGB, Subsamp::Sub2x2),
    }
}

fn compressor(quality: u8, subsampling: Subsamp) -> Result<Compressor, turbojpeg::Error> {
    let mut compressor = Compressor::new()?;
    compressor.set_quality(quality.into())?;
    compressor.set_subsamp(subsampling)?;
    Ok(compressor)
}

/// Everything that is written before the scan of an image without a profile.
pub(crate) fn headers(quality: u8, grey: bool, width: u32, height: u32) -> Option<Vec<u8>> {
    let (format, subsampling) = kind(grey, quality);
    let pixel = Image { pixels: &[0; 3][..format.size()], width: 1, pitch: format.size(), height: 1, format };
    let mut headers = compressor(quality, subsampling).ok()?.compress_to_vec(pixel).ok()?;
    let mut at = 2;
    loop {
        let [0xff, marker, long, short] = *headers.get(at..at + 4)? else { return None };
        let end = at + 2 + usize::from(u16::from_be_bytes([long, short]));
        match marker {
            0xc0 => {
                headers.get_mut(at + 5..at + 7)?.copy_from_slice(&u16::try_from(height).ok()?.to_be_bytes());
                headers.get_mut(at + 7..at + 9)?.copy_from_slice(&u16::try_from(width).ok()?.to_be_bytes());
            }
            0xda => {
                headers.truncate(end);
                return Some(headers);
            }
            _ => {}
        }
        at = end;
    }
}
