//! The picture: what the decoding process hands to the encoding one, and all it hands over.
//!
//! A header, a table of frames, then the pixels of each frame. Numbers are little-endian:
//!
//! | bytes | header |
//! |---|---|
//! | 0..4 | `LZP1` |
//! | 4..8, 8..12 | width and height of the canvas |
//! | 12..16 | number of frames |
//! | 16..20 | how often an animation runs, 0 for ever |
//! | 20 | [`Gamut`] |
//! | 21 | 1 for an animation |
//! | 22..32 | zero |
//!
//! Each frame has [`FRAME_BYTES`] in the table: offset of its pixels (u64), x, y, width, height (u32), delay numerator
//! and denominator in seconds (u32), [`Dispose`], [`Blend`], [`Layout`] (u8), zeroes. Pixels lie row by row without
//! gaps between rows; a frame of [`Layout::Indexed`] begins with 256 colours of four bytes, red, green, blue, alpha.
//! Frames lie in the order of the table, each at the next multiple of [`ALIGNMENT`].
//!
//! Where the task wants it, a photograph may come as [planes](Planes) instead: half the bytes, and no colour is calculated
//! only to be calculated back.
//!
//! The writer is a process that hostile bytes may have taken over: [`Outline::read`], which the host asks, and
//! [`Planes::find`] and [`Picture::read`], which the encoding process asks, believe nothing and calculate with checks.

mod planes;

use lazaret_core::ImageLimits;
use thiserror::Error;

pub use self::planes::{Planes, PlanesHeader};

/// Length of the header.
pub const HEADER_BYTES: usize = 32;
/// Length of a frame's line in the table.
pub const FRAME_BYTES: usize = 40;
/// Where pixels begin.
pub const ALIGNMENT: usize = 64;
/// Length of the colours before the pixels of an indexed frame.
pub const PALETTE_BYTES: usize = 1024;

const MAGIC: &[u8; 4] = b"LZP1";

macro_rules! codes {
    ($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal),+ $(,)? }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            const fn code(self) -> u8 {
                match self { $(Self::$variant => $code),+ }
            }

            const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

codes! {
    /// The colours that samples mean. All but sRGB come only where a policy keeps them.
    Gamut {
        /// IEC 61966-2-1.
        Srgb = 0,
        /// Display P3.
        DisplayP3 = 1,
        /// Adobe RGB (1998).
        AdobeRgb = 2,
        /// ITU-R BT.2020.
        Bt2020 = 3,
        /// ROMM RGB.
        ProPhoto = 4,
    }
}

codes! {
    /// The samples of a pixel, eight bits each, alpha not multiplied in.
    Layout {
        /// One grey.
        Grey = 0,
        /// Grey, alpha.
        GreyAlpha = 1,
        /// Red, green, blue.
        Rgb = 2,
        /// Red, green, blue, alpha.
        Rgba = 3,
        /// An index into the 256 colours of the frame.
        Indexed = 4,
    }
}

codes! {
    /// What becomes of a frame's place before the next one is drawn.
    Dispose {
        /// It stays.
        Keep = 0,
        /// It becomes transparent.
        Background = 1,
        /// It becomes what it was before.
        Previous = 2,
    }
}

codes! {
    /// How a frame is drawn.
    Blend {
        /// Over what is there.
        Over = 0,
        /// In place of what is there.
        Source = 1,
    }
}

impl Layout {
    /// Bytes of a pixel.
    pub const fn pixel_bytes(self) -> usize {
        match self {
            Self::Grey | Self::Indexed => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }

    /// Bytes before the first pixel.
    const fn palette_bytes(self) -> usize {
        match self {
            Self::Indexed => PALETTE_BYTES,
            Self::Grey | Self::GreyAlpha | Self::Rgb | Self::Rgba => 0,
        }
    }
}

/// The canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canvas {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Whether its frames are an animation, be it of one frame.
    pub animated: bool,
    /// How often the animation runs, 0 for ever.
    pub plays: u32,
    /// The colours of all frames.
    pub gamut: Gamut,
}

/// One frame, without its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Left edge on the canvas.
    pub x: u32,
    /// Upper edge on the canvas.
    pub y: u32,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// How long it is shown: numerator and denominator in seconds. The denominator is never 0.
    pub delay: (u32, u32),
    /// What becomes of its place.
    pub dispose: Dispose,
    /// How it is drawn.
    pub blend: Blend,
    /// Its samples.
    pub layout: Layout,
}

impl Frame {
    /// A still image that fills its canvas.
    pub const fn still(width: u32, height: u32, layout: Layout) -> Self {
        Self { x: 0, y: 0, width, height, delay: (0, 1), dispose: Dispose::Keep, blend: Blend::Source, layout }
    }

    /// Bytes of its colours and pixels; `None` where they are more than an address space holds.
    pub fn data_bytes(&self) -> Option<usize> {
        let pixels = usize::try_from(self.width).ok()?.checked_mul(usize::try_from(self.height).ok()?)?;
        pixels.checked_mul(self.layout.pixel_bytes())?.checked_add(self.layout.palette_bytes())
    }
}

/// What is wrong with a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PictureError {
    /// No room for what is to be written.
    #[error("the picture does not fit into {0} bytes")]
    Full(usize),
    /// Shorter than what it announces, or longer.
    #[error("the picture is not as long as it says")]
    Length,
    /// Not the header this module writes.
    #[error("the picture has a malformed header")]
    Header,
    /// More pixels or frames than allowed, or none.
    #[error("the picture is larger than was allowed")]
    Limits,
    /// A frame that is malformed, lies outside of its canvas, or not where it should.
    #[error("frame {0} of the picture is malformed")]
    Frame(usize),
}

/// The header and the table of a picture that keeps to the rules of this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The canvas.
    pub canvas: Canvas,
    /// The frames, each with the place of its colours and pixels.
    frames: Vec<(Frame, usize, usize)>,
}

impl Table {
    /// Length of header and table, from the header.
    pub fn bytes(header: &[u8; HEADER_BYTES], limits: &ImageLimits) -> Result<usize, PictureError> {
        let frames = number(header, 12);
        if frames == 0 || frames > limits.max_frames {
            return Err(PictureError::Limits);
        }
        let frames = usize::try_from(frames).map_err(|_| PictureError::Limits)?;
        frames.checked_mul(FRAME_BYTES).and_then(|bytes| bytes.checked_add(HEADER_BYTES)).ok_or(PictureError::Limits)
    }

    /// Reads header and table from the beginning of a picture of `len` bytes in all.
    pub fn read(beginning: &[u8], len: u64, limits: &ImageLimits) -> Result<Self, PictureError> {
        let header = beginning.first_chunk::<HEADER_BYTES>().ok_or(PictureError::Length)?;
        let canvas = read_canvas(header, limits)?;
        let bytes = Self::bytes(header, limits)?;
        let table = beginning.get(HEADER_BYTES..bytes).ok_or(PictureError::Length)?;
        let len = usize::try_from(len).map_err(|_| PictureError::Length)?;
        let mut frames = Vec::with_capacity(table.len() / FRAME_BYTES);
        let mut end = bytes;
        let mut pixels = 0_u64;
        for (index, line) in table.chunks_exact(FRAME_BYTES).enumerate() {
            let malformed = PictureError::Frame(index);
            let (frame, offset) = read_frame(line).ok_or(malformed)?;
            let data = frame.data_bytes().ok_or(malformed)?;
            let place = end.checked_next_multiple_of(ALIGNMENT).ok_or(malformed)?;
            let right = frame.x.checked_add(frame.width).ok_or(malformed)?;
            let lower = frame.y.checked_add(frame.height).ok_or(malformed)?;
            let outside = frame.width == 0 || frame.height == 0 || right > canvas.width || lower > canvas.height;
            if outside || offset != place as u64 {
                return Err(malformed);
            }
            end = place.checked_add(data).filter(|&end| end <= len).ok_or(PictureError::Length)?;
            pixels = pixels.saturating_add(u64::from(frame.width) * u64::from(frame.height));
            frames.push((frame, place, end));
        }
        if end != len {
            return Err(PictureError::Length);
        }
        if pixels > limits.max_total_pixels.max(limits.max_pixels) {
            return Err(PictureError::Limits);
        }
        if !canvas.animated {
            let [(frame, ..)] = frames.as_slice() else { return Err(PictureError::Header) };
            if (frame.width, frame.height) != (canvas.width, canvas.height) {
                return Err(PictureError::Frame(0));
            }
        }
        Ok(Self { canvas, frames })
    }
}

/// What the host has to know of a picture of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// How many frames.
    pub frames: u32,
    /// Whether it comes as [planes](Planes).
    pub planes: bool,
}

impl Outline {
    /// How much of a picture [`Self::read`] needs, from the header.
    pub fn bytes(header: &[u8; HEADER_BYTES], limits: &ImageLimits) -> Result<usize, PictureError> {
        if PlanesHeader::is_in(header) { Ok(HEADER_BYTES) } else { Table::bytes(header, limits) }
    }

    /// Reads the beginning of a picture of `len` bytes in all.
    pub fn read(beginning: &[u8], len: u64, limits: &ImageLimits) -> Result<Self, PictureError> {
        if PlanesHeader::is_in(beginning) {
            let header = beginning.first_chunk().ok_or(PictureError::Length)?;
            let PlanesHeader { width, height, .. } = PlanesHeader::read(header, len, limits)?;
            return Ok(Self { width, height, frames: 1, planes: true });
        }
        let Table { canvas, frames } = Table::read(beginning, len, limits)?;
        let frames = u32::try_from(frames.len()).map_err(|_| PictureError::Limits)?;
        Ok(Self { width: canvas.width, height: canvas.height, frames, planes: false })
    }
}

/// A picture with its pixels.
#[derive(Debug)]
pub struct Picture<'a> {
    table: Table,
    bytes: &'a [u8],
}

impl<'a> Picture<'a> {
    /// The picture in these bytes, which may be anything.
    pub fn read(bytes: &'a [u8], limits: &ImageLimits) -> Result<Self, PictureError> {
        Ok(Self { table: Table::read(bytes, bytes.len() as u64, limits)?, bytes })
    }

    /// The canvas.
    pub const fn canvas(&self) -> &Canvas {
        &self.table.canvas
    }

    /// The frames with their pixels, in order.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = Pixels<'a>> + '_ {
        self.table.frames.iter().map(|&(frame, start, end)| {
            let (palette, samples) = self.bytes[start..end].split_at(frame.layout.palette_bytes());
            Pixels { frame, palette, samples }
        })
    }
}

/// A frame with its pixels.
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a> {
    /// The frame.
    pub frame: Frame,
    /// Of an indexed frame: 256 colours of four bytes; else empty.
    pub palette: &'a [u8],
    /// Rows of samples without gaps.
    pub samples: &'a [u8],
}

/// Writes a picture.
#[derive(Debug)]
pub struct PictureWriter<'a> {
    output: &'a mut [u8],
    frames: usize,
    max_frames: usize,
    end: usize,
}

impl<'a> PictureWriter<'a> {
    /// Begins a picture of at most `max_frames` frames; the room for their lines is kept free.
    pub fn begin(output: &'a mut [u8], canvas: &Canvas, max_frames: usize) -> Result<Self, PictureError> {
        let full = PictureError::Full(output.len());
        let end = max_frames.checked_mul(FRAME_BYTES).and_then(|bytes| bytes.checked_add(HEADER_BYTES)).ok_or(full)?;
        if end > output.len() {
            return Err(full);
        }
        let header = &mut output[..HEADER_BYTES];
        header.fill(0);
        header[..4].copy_from_slice(MAGIC);
        header[4..8].copy_from_slice(&canvas.width.to_le_bytes());
        header[8..12].copy_from_slice(&canvas.height.to_le_bytes());
        header[16..20].copy_from_slice(&canvas.plays.to_le_bytes());
        header[20] = canvas.gamut.code();
        header[21] = u8::from(canvas.animated);
        Ok(Self { output, frames: 0, max_frames, end })
    }

    /// Adds a frame and answers the room for its colours, if it has any, and its samples.
    pub fn frame(&mut self, frame: &Frame) -> Result<&mut [u8], PictureError> {
        let full = PictureError::Full(self.output.len());
        if self.frames >= self.max_frames {
            return Err(PictureError::Limits);
        }
        let start = self.end.checked_next_multiple_of(ALIGNMENT).ok_or(full)?;
        let end = frame.data_bytes().and_then(|data| start.checked_add(data)).ok_or(full)?;
        if end > self.output.len() {
            return Err(full);
        }
        let line = HEADER_BYTES + self.frames * FRAME_BYTES;
        write_frame(&mut self.output[line..line + FRAME_BYTES], frame, start as u64);
        self.frames += 1;
        self.end = end;
        Ok(&mut self.output[start..end])
    }

    /// Sets how often the animation runs, where that is known only at its end.
    pub fn set_plays(&mut self, plays: u32) {
        self.output[16..20].copy_from_slice(&plays.to_le_bytes());
    }

    /// Ends the picture and answers its length. Where fewer frames came than there was room for, pixels move up.
    pub fn finish(self) -> Result<u64, PictureError> {
        let Self { output, frames, max_frames, mut end } = self;
        let count = u32::try_from(frames).map_err(|_| PictureError::Limits)?;
        output[12..16].copy_from_slice(&count.to_le_bytes());
        if frames < max_frames {
            end = HEADER_BYTES + frames * FRAME_BYTES;
            for index in 0..frames {
                let at = HEADER_BYTES + index * FRAME_BYTES;
                let line = &output[at..at + FRAME_BYTES];
                let malformed = PictureError::Frame(index);
                let (frame, offset) = read_frame(line).ok_or(malformed)?;
                let from = usize::try_from(offset).map_err(|_| malformed)?;
                let data = frame.data_bytes().ok_or(malformed)?;
                let to = end.next_multiple_of(ALIGNMENT);
                if to != from {
                    output.copy_within(from..from + data, to);
                    output[at..at + 8].copy_from_slice(&(to as u64).to_le_bytes());
                }
                end = to + data;
            }
        }
        Ok(end as u64)
    }
}

fn read_canvas(header: &[u8; HEADER_BYTES], limits: &ImageLimits) -> Result<Canvas, PictureError> {
    let (animated, rest) = (header[21], &header[22..]);
    if header[..4] != *MAGIC || animated > 1 || rest.iter().any(|&byte| byte != 0) {
        return Err(PictureError::Header);
    }
    let canvas = Canvas {
        width: number(header, 4),
        height: number(header, 8),
        animated: animated == 1,
        plays: number(header, 16),
        gamut: Gamut::from_code(header[20]).ok_or(PictureError::Header)?,
    };
    check_size(canvas.width, canvas.height, limits)?;
    Ok(canvas)
}

fn check_size(width: u32, height: u32, limits: &ImageLimits) -> Result<(), PictureError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > limits.max_pixels || width.max(height) > limits.max_side {
        return Err(PictureError::Limits);
    }
    Ok(())
}

fn read_frame(line: &[u8]) -> Option<(Frame, u64)> {
    let line = line.first_chunk::<FRAME_BYTES>()?;
    let offset = u64::from(number(line, 0)) | u64::from(number(line, 4)) << 32;
    let frame = Frame {
        x: number(line, 8),
        y: number(line, 12),
        width: number(line, 16),
        height: number(line, 20),
        delay: (number(line, 24), number(line, 28)),
        dispose: Dispose::from_code(line[32])?,
        blend: Blend::from_code(line[33])?,
        layout: Layout::from_code(line[34])?,
    };
    let sound = frame.delay.1 != 0 && line[35..].iter().all(|&byte| byte == 0);
    sound.then_some((frame, offset))
}

fn write_frame(line: &mut [u8], frame: &Frame, offset: u64) {
    line.fill(0);
    line[..8].copy_from_slice(&offset.to_le_bytes());
    let numbers = [frame.x, frame.y, frame.width, frame.height, frame.delay.0, frame.delay.1];
    for (slot, number) in line[8..32].chunks_exact_mut(4).zip(numbers) {
        slot.copy_from_slice(&number.to_le_bytes());
    }
    line[32..35].copy_from_slice(&[frame.dispose.code(), frame.blend.code(), frame.layout.code()]);
}

/// The number at a place that every caller has inside of its array.
fn number<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests;
