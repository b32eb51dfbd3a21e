//! The kinds of PNG that are written: eight bits, no interlacing, each image in one chunk.

use fdeflate::Decompressor;
use lazaret_sandbox::format::ImageLimits;

use super::{Size, check_size};
use crate::encode::{png::profile_chunk, profile};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const CUT: &str = "a chunk is cut short";
const UNWANTED: &str = "it has chunks that pixels do not need";
/// How far back a deflate stream may point (RFC 1951, section 2).
const WINDOW: usize = 32 << 10;
/// Samples that are inflated before the window moves.
const BUFFER: usize = 256 << 10;

/// Walks through the chunks, which are to be exactly those that the encoder writes, and inflates the pixels.
pub(super) fn verify(file: &[u8], limits: &ImageLimits) -> Result<Size, String> {
    let mut chunks = Chunks(file.strip_prefix(SIGNATURE).ok_or("it has no signature")?);
    let header = chunks.expect(*b"IHDR")?;
    let malformed = "its header is not as ours are";
    let (width, rest) = header.split_first_chunk::<4>().ok_or(malformed)?;
    let (height, rest) = rest.split_first_chunk::<4>().ok_or(malformed)?;
    let [8, colour_type, 0, 0, 0] = *rest else { return Err(malformed.to_owned()) };
    let image = Image {
        width: u32::from_be_bytes(*width),
        height: u32::from_be_bytes(*height),
        pixel_bytes: pixel_bytes(colour_type).ok_or("its colour type is unknown")?,
    };
    check_size(image.width, image.height, limits)?;
    if let Some(profile) = chunks.take(*b"iCCP")? {
        check_profile(profile)?;
    }
    let animation = chunks.take(*b"acTL")?.map(|control| frame_count(control, limits)).transpose()?;
    check_palette(&mut chunks, colour_type)?;
    match animation {
        None => inflate(chunks.expect(*b"IDAT")?, image.width, image.height, image.pixel_bytes)?,
        Some(frames) => check_frames(&mut chunks, &image, frames)?,
    }
    if !chunks.expect(*b"IEND")?.is_empty() {
        return Err("its end has content".to_owned());
    }
    if !chunks.0.is_empty() {
        return Err("bytes follow its end".to_owned());
    }
    Ok((image.width, image.height, animation.unwrap_or(1)))
}

struct Image {
    width: u32,
    height: u32,
    pixel_bytes: usize,
}

/// The chunks that are left.
struct Chunks<'a>(&'a [u8]);

impl<'a> Chunks<'a> {
    /// The next chunk, if it is of this kind, with its checksum proven.
    fn take(&mut self, kind: [u8; 4]) -> Result<Option<&'a [u8]>, String> {
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or(CUT)?;
        if !rest.starts_with(&kind) {
            return Ok(None);
        }
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| CUT)?;
        let (body, rest) = length.checked_add(4).and_then(|length| rest.split_at_checked(length)).ok_or(CUT)?;
        let (checksum, rest) = rest.split_first_chunk::<4>().ok_or(CUT)?;
        if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
            return Err("a checksum is wrong".to_owned());
        }
        self.0 = rest;
        Ok(Some(&body[4..]))
    }

    fn expect(&mut self, kind: [u8; 4]) -> Result<&'a [u8], String> {
        self.take(kind)?.ok_or_else(|| UNWANTED.to_owned())
    }
}

/// Bytes of a pixel of eight bits a sample.
const fn pixel_bytes(colour_type: u8) -> Option<usize> {
    match colour_type {
        0 | 3 => Some(1),
        2 => Some(3),
        4 => Some(2),
        6 => Some(4),
        _ => None,
    }
}

fn check_profile(chunk: &[u8]) -> Result<(), String> {
    for gamut in profile::WIDE {
        let profile = profile::of(gamut).map_err(|error| error.to_string())?.ok_or("no profile can be made")?;
        if profile_chunk(&profile).is_some_and(|ours| ours == chunk) {
            return Ok(());
        }
    }
    Err("its profile is not one of ours".to_owned())
}

fn frame_count(control: &[u8], limits: &ImageLimits) -> Result<u32, String> {
    let [f, ra, me, s, ..] = *control else { return Err(CUT.to_owned()) };
    let frames = u32::from_be_bytes([f, ra, me, s]);
    if control.len() == 8 && (1..=limits.max_frames).contains(&frames) {
        Ok(frames)
    } else {
        Err(format!("{frames} frames are not allowed"))
    }
}

/// A palette is there exactly where pixels are indices, and alpha only beside one.
fn check_palette(chunks: &mut Chunks<'_>, colour_type: u8) -> Result<(), String> {
    if colour_type != 3 {
        return Ok(());
    }
    let colours = chunks.expect(*b"PLTE")?.len();
    let alpha = chunks.take(*b"tRNS")?.map_or(0, <[u8]>::len);
    let sound = colours % 3 == 0 && (1..=256).contains(&(colours / 3)) && alpha <= colours / 3;
    if sound { Ok(()) } else { Err("its palette is not as ours are".to_owned()) }
}

/// Frames with their controls, numbered without a gap; the first fills the canvas.
fn check_frames(chunks: &mut Chunks<'_>, image: &Image, frames: u32) -> Result<(), String> {
    let mut expected = 0_u32;
    let mut next = |bytes: &[u8; 4]| {
        let right = u32::from_be_bytes(*bytes) == expected;
        expected = expected.wrapping_add(1);
        if right { Ok(()) } else { Err("its frames are numbered wrongly".to_owned()) }
    };
    for index in 0..frames {
        let control = chunks.expect(*b"fcTL")?;
        let control: &[u8; 26] =
            control.try_into().map_err(|_| format!("a frame's control of {} bytes", control.len()))?;
        let number = |at: usize| u32::from_be_bytes([control[at], control[at + 1], control[at + 2], control[at + 3]]);
        next(&[control[0], control[1], control[2], control[3]])?;
        let (width, height, x, y) = (number(4), number(8), number(12), number(16));
        let inside = width > 0
            && height > 0
            && x.checked_add(width).is_some_and(|right| right <= image.width)
            && y.checked_add(height).is_some_and(|lower| lower <= image.height);
        let whole = (width, height) == (image.width, image.height);
        if !inside || index == 0 && !whole || control[24] > 2 || control[25] > 1 {
            return Err(format!("frame {index} is malformed"));
        }
        let data = if index == 0 {
            chunks.expect(*b"IDAT")?
        } else {
            let (number, data) = chunks.expect(*b"fdAT")?.split_first_chunk::<4>().ok_or(CUT)?;
            next(number)?;
            data
        };
        inflate(data, width, height, image.pixel_bytes)?;
    }
    Ok(())
}

/// Inflates one image: rows that begin with a filter, as many as there should be, and not a byte more on either side.
fn inflate(stream: &[u8], width: u32, height: u32, pixel_bytes: usize) -> Result<(), String> {
    let side = |pixels: u32| usize::try_from(pixels).map_err(|_| CUT);
    let row = side(width)? * pixel_bytes + 1;
    let total = row.checked_mul(side(height)?).ok_or(CUT)?;
    let (last, before) = stream.split_last().ok_or(CUT)?;
    let mut rows = Rows { row, produced: 0, total };
    let mut inflater = Inflater { stream: Decompressor::new(), buffer: vec![0; WINDOW + BUFFER], end: 0 };
    inflater.feed(before, &mut rows)?;
    // The inflater reads ahead: that the stream ends with its last byte shows when the others do not end it.
    if inflater.stream.is_done() {
        return Err("bytes follow its pixels".to_owned());
    }
    inflater.feed(&[*last], &mut rows)?;
    if inflater.stream.is_done() && rows.produced == total {
        Ok(())
    } else {
        Err("its pixels are cut short".to_owned())
    }
}

/// Counts rows.
struct Rows {
    row: usize,
    produced: usize,
    total: usize,
}

impl Rows {
    /// The next samples: not too many, and every row with a filter that there is.
    fn add(&mut self, samples: &[u8]) -> Result<(), String> {
        let first = self.produced.next_multiple_of(self.row) - self.produced;
        let filters = samples.get(first..).unwrap_or_default().iter().step_by(self.row);
        self.produced += samples.len();
        if self.produced > self.total {
            return Err("it has more pixels than it says".to_owned());
        }
        if filters.into_iter().all(|&filter| filter <= 4) { Ok(()) } else { Err("a filter is unknown".to_owned()) }
    }
}

/// Inflates through a window.
struct Inflater {
    stream: Decompressor,
    buffer: Vec<u8>,
    end: usize,
}

impl Inflater {
    fn feed(&mut self, mut input: &[u8], rows: &mut Rows) -> Result<(), String> {
        loop {
            if self.end == self.buffer.len() {
                self.buffer.copy_within(self.end - WINDOW.., 0);
                self.end = WINDOW;
            }
            let (consumed, produced) = self
                .stream
                .read(input, &mut self.buffer, self.end, false)
                .map_err(|error| format!("its pixels do not inflate: {error:?}"))?;
            rows.add(&self.buffer[self.end..self.end + produced])?;
            self.end += produced;
            input = &input[consumed..];
            if self.stream.is_done() || consumed == 0 && produced == 0 {
                break;
            }
        }
        if input.is_empty() { Ok(()) } else { Err("bytes follow its pixels".to_owned()) }
    }
}
