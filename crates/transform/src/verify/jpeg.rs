//! The one kind of JPEG that is written: everything before the scan is a function of size, quality and colours.

use lazaret_sandbox::format::ImageLimits;
use turbojpeg::{Decompressor, Image, PixelFormat, ScalingFactor};

use super::{Size, check_size};
use crate::encode::{
    jpeg::{self, HEADER_BYTES},
    profile,
};

const CUT: &str = "it is cut short";

/// Compares everything before the scan with what the encoder writes, walks through the scan and decodes it.
pub(super) fn verify(file: &[u8], limits: &ImageLimits) -> Result<Size, String> {
    let head = Head::read(file).ok_or("it does not begin as a JPEG of ours does")?;
    check_size(head.width, head.height, limits)?;
    let (before, scan) = file.split_at(head.len);
    let (start, rest) = before.split_at_checked(HEADER_BYTES).ok_or(CUT)?;
    let tables = without_profile(rest)?;
    if !is_of_the_encoder(start, tables, &head)? {
        return Err("its headers are not those that the encoder writes".to_owned());
    }
    check_scan(scan)?;
    decode(file, &head)?;
    Ok((head.width, head.height, 1))
}

/// What stands before the scan.
struct Head {
    width: u32,
    height: u32,
    grey: bool,
    len: usize,
}

impl Head {
    fn read(file: &[u8]) -> Option<Self> {
        let mut rest = file.strip_prefix(b"\xff\xd8")?;
        let mut frame = None;
        loop {
            let [0xff, marker, long, short, ..] = *rest else { return None };
            let length = usize::from(u16::from_be_bytes([long, short]));
            let payload = rest.get(4..length + 2)?;
            rest = &rest[length + 2..];
            match (marker, frame) {
                (0xc0, None) => {
                    let [8, h, eight, w, idth, components, ..] = *payload else { return None };
                    let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
                    frame = Some((side(w, idth), side(h, eight), components == 1));
                }
                (0xda, Some((width, height, grey))) => {
                    return Some(Self { width, height, grey, len: file.len() - rest.len() });
                }
                (0xc0 | 0xda, _) => return None,
                _ => {}
            }
        }
    }
}

/// Behind a profile of our own making, if there is one.
fn without_profile(rest: &[u8]) -> Result<&[u8], String> {
    if !rest.starts_with(b"\xff\xe2") {
        return Ok(rest);
    }
    for gamut in profile::WIDE {
        let profile = profile::of(gamut).map_err(|error| error.to_string())?;
        let segment = profile.and_then(|profile| jpeg::segment(&profile)).ok_or("no profile can be made")?;
        if let Some(rest) = rest.strip_prefix(segment.as_slice()) {
            return Ok(rest);
        }
    }
    Err("its profile is not one of ours".to_owned())
}

/// Whether the encoder writes this beginning and these tables at some quality.
fn is_of_the_encoder(start: &[u8], tables: &[u8], head: &Head) -> Result<bool, String> {
    for quality in (1..=100).rev() {
        let written = jpeg::headers(quality, head.grey, head.width, head.height).ok_or("no header can be made")?;
        if written.split_at_checked(HEADER_BYTES) == Some((start, tables)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether these bytes are coded pixels without any marker, and the end of the image.
fn check_scan(scan: &[u8]) -> Result<(), String> {
    let coded = scan.strip_suffix(b"\xff\xd9").ok_or("it does not end with its scan")?;
    for at in memchr::memchr_iter(0xff, coded) {
        match coded.get(at + 1) {
            Some(0) => {}
            Some(marker) => return Err(format!("there is a marker {marker:#04x} in its scan")),
            None => return Err(CUT.to_owned()),
        }
    }
    Ok(())
}

/// Decodes every block. Its mean alone, an eighth of the size, takes a fraction of the time; what is wrong with the
/// coded bytes, too few or too many, is an error either way, but for a last few: libjpeg-turbo reads eight bytes ahead
/// and does not say what it left.
fn decode(file: &[u8], head: &Head) -> Result<(), String> {
    let failed = |error: turbojpeg::Error| format!("it does not decode: {error}");
    let scale = ScalingFactor::ONE_EIGHTH;
    let side = |pixels: u32| usize::try_from(pixels).map(|pixels| scale.scale(pixels)).map_err(|_| CUT);
    let (width, height) = (side(head.width)?, side(head.height)?);
    let mut pixels = vec![0; width * height];
    let image = Image { pixels: pixels.as_mut_slice(), width, pitch: width, height, format: PixelFormat::GRAY };
    let mut decompressor = Decompressor::new().map_err(failed)?;
    decompressor.set_scaling_factor(scale).map_err(failed)?;
    decompressor.decompress(file, image).map_err(failed)
}
