//! From the samples of a strip or tile to those of the picture.

use lazaret_sandbox::picture::Layout;
use tiff::decoder::DecodingResult;

use super::directory::Alpha;
use crate::{
    decode::ink::{Inks, ycc_to_rgb},
    failure::{Failure, decode_failed},
};

/// What a pixel is made of.
pub(super) enum Samples {
    /// One grey of so many bits.
    Grey(u8),
    GreyAlpha(Option<Alpha>),
    Rgb,
    Rgba(Option<Alpha>),
    Cmyk,
    YCbCr,
    /// An index of so many bits.
    Palette(u8, Box<[[u8; 3]; 256]>),
}

impl Samples {
    /// A palette of all reds, then all greens, then all blues, sixteen bits each, of which writers fill the lower eight
    /// in different ways.
    pub(super) fn palette(bits: u8, colours: &[u16]) -> Option<Self> {
        let count = 1_usize.checked_shl(bits.into())?;
        let mut palette = Box::new([[0; 3]; 256]);
        for (index, colour) in palette.iter_mut().enumerate().take(count) {
            for (channel, value) in colour.iter_mut().enumerate() {
                let [high, _] = colours.get(channel * count + index)?.to_be_bytes();
                *value = high;
            }
        }
        Some(Self::Palette(bits, palette))
    }

    pub(super) const fn layout(&self) -> Layout {
        match self {
            Self::Grey(_) => Layout::Grey,
            Self::GreyAlpha(_) => Layout::GreyAlpha,
            Self::Rgb | Self::Cmyk | Self::YCbCr | Self::Palette(..) => Layout::Rgb,
            Self::Rgba(_) => Layout::Rgba,
        }
    }

    pub(super) const fn is_ink(&self) -> bool {
        matches!(self, Self::Cmyk)
    }

    /// Bits of a stored pixel, where it is of less than a byte.
    const fn packed(&self) -> Option<u8> {
        match self {
            Self::Grey(bits) | Self::Palette(bits, _) if *bits < 8 => Some(*bits),
            _ => None,
        }
    }

    const fn channels(&self) -> usize {
        match self {
            Self::Grey(_) | Self::Palette(..) => 1,
            Self::GreyAlpha(_) => 2,
            Self::Rgb | Self::YCbCr => 3,
            Self::Rgba(_) | Self::Cmyk => 4,
        }
    }

    /// Writes rows of `width` stored pixels into the lines of the picture.
    pub(super) fn write<'l>(
        &self,
        chunk: &DecodingResult,
        width: usize,
        inks: &Inks,
        lines: impl Iterator<Item = &'l mut [u8]>,
    ) -> Result<(), Failure> {
        let narrowed;
        let bytes: &[u8] = match chunk {
            DecodingResult::U8(bytes) => bytes,
            DecodingResult::U16(wide) => {
                narrowed = wide.iter().copied().map(narrow).collect::<Vec<_>>();
                &narrowed
            }
            _ => return Err(decode_failed("a TIFF with samples that are no whole numbers is not supported")),
        };
        let stride = self.packed().map_or(width * self.channels(), |bits| (width * usize::from(bits)).div_ceil(8));
        for (row, line) in bytes.chunks_exact(stride).zip(lines) {
            let line = &mut line[..width * self.layout().pixel_bytes()];
            match self.packed() {
                Some(bits) => self.write_row(&unpacked(row, bits, width), inks, line),
                None => self.write_row(row, inks, line),
            }
        }
        Ok(())
    }

    fn write_row(&self, row: &[u8], inks: &Inks, line: &mut [u8]) {
        match self {
            Self::Grey(bits @ (1 | 2 | 4)) => {
                let brightest = (1 << bits) - 1;
                for (grey, value) in line.iter_mut().zip(row) {
                    *grey = value * (255 / brightest);
                }
            }
            Self::Palette(_, palette) => {
                for (pixel, index) in line.chunks_exact_mut(3).zip(row) {
                    pixel.copy_from_slice(&palette[usize::from(*index)]);
                }
            }
            Self::Grey(_) | Self::Rgb => line.copy_from_slice(row),
            Self::GreyAlpha(alpha) => {
                line.copy_from_slice(row);
                separate::<2>(*alpha, line);
            }
            Self::Rgba(alpha) => {
                line.copy_from_slice(row);
                separate::<4>(*alpha, line);
            }
            Self::Cmyk => {
                // Stored is ink, 255 for all of it.
                let mut light: Vec<u8> = row.iter().map(|value| !value).collect();
                inks.convert(&mut light, line);
            }
            Self::YCbCr => {
                for (pixel, stored) in line.as_chunks_mut::<3>().0.iter_mut().zip(row.as_chunks::<3>().0) {
                    *pixel = ycc_to_rgb(*stored);
                }
            }
        }
    }
}

/// One value a byte.
fn unpacked(row: &[u8], bits: u8, width: usize) -> Vec<u8> {
    let each = usize::from(8 / bits);
    let value = |at: usize| row[at / each] >> (8 - usize::from(bits) * (at % each + 1)) & ((1 << bits) - 1);
    (0..width).map(value).collect()
}

/// Takes alpha out of the samples that it was multiplied into.
fn separate<const N: usize>(alpha: Option<Alpha>, line: &mut [u8]) {
    if alpha != Some(Alpha::MultipliedIn) {
        return;
    }
    for pixel in line.as_chunks_mut::<N>().0 {
        let alpha = u32::from(pixel[N - 1]);
        for value in &mut pixel[..N - 1] {
            let whole = (u32::from(*value) * 255 + alpha / 2).checked_div(alpha).unwrap_or(0);
            *value = u8::try_from(whole).unwrap_or(u8::MAX);
        }
    }
}

/// Sixteen bits to eight, to the nearest.
fn narrow(wide: u16) -> u8 {
    u8::try_from((u32::from(wide) * 255 + 32_767) / 65_535).unwrap_or(u8::MAX)
}
