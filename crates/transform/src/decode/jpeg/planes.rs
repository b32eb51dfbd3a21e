//! Photographs as they are stored: brightness, and colours of half its resolution. Nothing is calculated that the encoder
//! would calculate back.
//!
//! zune-jpeg has no such planes; libjpeg-turbo has, and is C. It gets to see the frame header, the tables and the header
//! of the one scan, which were walked through and are of the plainest kind, and the coded data: no other segment, and no
//! other kind of JPEG. What it only warns of, it does not decode here: that goes the way of every other JPEG.

use lazaret_sandbox::{
    format::{Decode, Decoded},
    picture::{Gamut, PlanesHeader},
    populate,
};
use turbojpeg::{Colorspace, Decompressor, Subsamp, YuvImage};

use super::{likely, segments::Segments};
use crate::{decode::still::no_room, failure::Failure};

/// Says that the colours are YCbCr (ITU-T T.871, 10.1): without it libjpeg goes by the names of the components.
const JFIF: [u8; 20] = *b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0";
const END: [u8; 2] = [0xff, 0xd9];

/// Decodes into planes. `Ok(None)`: none are wanted or can be made, and the image is to be decoded into pixels. One that
/// is damaged at its end has been decoded twice by then.
pub(super) fn decode(
    task: &Decode,
    segments: &Segments<'_>,
    gamut: Gamut,
    input: &[u8],
    output: &mut [u8],
) -> Result<Option<Decoded>, Failure> {
    let (width, height) = (u32::from(segments.width), u32::from(segments.height));
    let is_wanted = width.max(height) <= task.planes_side && width % 2 == 0 && height % 2 == 0;
    let Some(plain) = is_wanted.then(|| segments.plain(input)).flatten() else { return Ok(None) };
    let (samples, len) = PlanesHeader { width, height, gamut }.begin(output).map_err(no_room)?;
    populate(likely(samples, input));
    let is_decoded = fill(&plain, (segments.width.into(), segments.height.into()), samples).unwrap_or(false);
    Ok(is_decoded.then_some(Decoded { len }))
}

/// Whether the samples are those of the image. How many libjpeg writes goes by the sampling of its header, which the crate
/// does not compare with the room: that they are the same is asked here, and keeps libjpeg inside of `samples`.
fn fill(plain: &[u8], (width, height): (usize, usize), samples: &mut [u8]) -> Result<bool, turbojpeg::Error> {
    let mut decompressor = Decompressor::new()?;
    let header = decompressor.read_header(plain)?;
    let subsamp = Subsamp::Sub2x2;
    if (header.width, header.height, header.subsamp, header.colorspace) != (width, height, subsamp, Colorspace::YCbCr) {
        return Ok(false);
    }
    decompressor.decompress_to_yuv(plain, YuvImage { pixels: samples, width, align: 1, height, subsamp })?;
    Ok(true)
}

impl Segments<'_> {
    /// The same image and nothing else, where it is baseline, YCbCr, in one scan, with one colour for four pixels.
    fn plain(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let scan = self.is_plain().then(|| self.scans.first())??;
        let needed = self.needed.iter().map(ExactSizeIterator::len).sum::<usize>();
        let mut plain = Vec::with_capacity(JFIF.len() + needed + scan.coded.len() + END.len());
        plain.extend_from_slice(&JFIF);
        for segment in &self.needed {
            plain.extend_from_slice(&bytes[segment.clone()]);
        }
        plain.extend_from_slice(&bytes[scan.coded.clone()]);
        plain.extend_from_slice(&END);
        Some(plain)
    }
}
