//! A still image as planes: brightness, and colours of half its resolution, as most photographs are stored.
//!
//! A header, then the samples from [`ALIGNMENT`] on. Numbers are little-endian:
//!
//! | bytes | header |
//! |---|---|
//! | 0..4 | `LZY1` |
//! | 4..8, 8..12 | width and height, both even |
//! | 12 | [`Gamut`] |
//! | 13..32 | zero |
//! | 32..64 | unused |
//!
//! Samples are Y', Cb and Cr as in JFIF (ITU-T T.871, 7), eight bits each: first all Y' row by row, then all Cb and then
//! all Cr, of half the width and half the height.

use lazaret_core::ImageLimits;

use super::{ALIGNMENT, Gamut, HEADER_BYTES, PictureError, check_size, number};

const MAGIC: &[u8; 4] = b"LZY1";

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanesHeader {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The colours of the samples.
    pub gamut: Gamut,
}

impl PlanesHeader {
    /// Whether this is how planes begin; other pictures do not.
    pub(super) fn is_in(beginning: &[u8]) -> bool {
        beginning.starts_with(MAGIC)
    }

    /// Reads the header of planes of `len` bytes in all.
    pub(super) fn read(header: &[u8; HEADER_BYTES], len: u64, limits: &ImageLimits) -> Result<Self, PictureError> {
        let (width, height) = (number(header, 4), number(header, 8));
        if !Self::is_in(header) || header[13..].iter().any(|&byte| byte != 0) {
            return Err(PictureError::Header);
        }
        let gamut = Gamut::from_code(header[12]).ok_or(PictureError::Header)?;
        check_size(width, height, limits)?;
        let planes = Self { width, height, gamut };
        let end = planes.samples().and_then(|samples| samples.checked_add(ALIGNMENT)).ok_or(PictureError::Header)?;
        if end as u64 == len { Ok(planes) } else { Err(PictureError::Length) }
    }

    /// Begins planes in `output`, and answers the room for their samples and the length of all.
    pub fn begin(self, output: &mut [u8]) -> Result<(&mut [u8], u64), PictureError> {
        let full = PictureError::Full(output.len());
        let end = self.samples().ok_or(PictureError::Header)?.checked_add(ALIGNMENT).ok_or(full)?;
        let (header, samples) = output.get_mut(..end).ok_or(full)?.split_at_mut(ALIGNMENT);
        header.fill(0);
        header[..4].copy_from_slice(MAGIC);
        header[4..8].copy_from_slice(&self.width.to_le_bytes());
        header[8..12].copy_from_slice(&self.height.to_le_bytes());
        header[12] = self.gamut.code();
        Ok((samples, end as u64))
    }

    /// Bytes of all samples: of each pixel one and a half. None where a side is odd.
    fn samples(self) -> Option<usize> {
        let [width, height] =
            [self.width, self.height].map(|side| usize::try_from(side).ok().filter(|side| side % 2 == 0));
        let pixels = width?.checked_mul(height?)?;
        pixels.checked_add(pixels / 2)
    }
}

/// An image as planes.
#[derive(Debug, Clone, Copy)]
pub struct Planes<'a> {
    /// What its header says.
    pub header: PlanesHeader,
    /// Brightness, then colours.
    pub samples: &'a [u8],
}

impl<'a> Planes<'a> {
    /// The planes in these bytes, which may be anything. None: they do not begin as planes do.
    pub fn find(bytes: &'a [u8], limits: &ImageLimits) -> Result<Option<Self>, PictureError> {
        if !PlanesHeader::is_in(bytes) {
            return Ok(None);
        }
        let header = bytes.first_chunk().ok_or(PictureError::Length)?;
        let header = PlanesHeader::read(header, bytes.len() as u64, limits)?;
        Ok(Some(Self { header, samples: &bytes[ALIGNMENT..] }))
    }

    /// Brightness, then either colour with half its width and height.
    pub fn split(&self) -> [&'a [u8]; 3] {
        let (brightness, colours) = self.samples.split_at(self.samples.len() / 3 * 2);
        let (blue, red) = colours.split_at(colours.len() / 2);
        [brightness, blue, red]
    }
}
