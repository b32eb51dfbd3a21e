//! The kinds of WebP that are written: plain, or extended by alpha, a profile of ours and frames.

use lazaret_sandbox::format::ImageLimits;
use webp::{BitstreamFeatures, Decoder};

use super::{Size, check_size};
use crate::encode::{
    profile,
    webp::{ANIMATED, BACKGROUND, DISPOSED, FRAME_HEADER, NOT_BLENDED, WITH_ALPHA, WITH_PROFILE},
};

const CUT: &str = "a chunk is cut short";
const UNWANTED: &str = "it has chunks that pixels do not need";
const MALFORMED: &str = "its header is not as ours are";

/// Walks through the chunks, which are to be exactly those that the encoder writes, and decodes every frame.
pub(super) fn verify(file: &[u8], limits: &ImageLimits) -> Result<Size, String> {
    let rest = file.strip_prefix(b"RIFF").ok_or("it has no signature")?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(CUT)?;
    if u64::from(u32::from_le_bytes(*length)) != rest.len() as u64 {
        return Err("it is not as long as it says".to_owned());
    }
    let mut chunks = Chunks(rest.strip_prefix(b"WEBP").ok_or("it has no signature")?);
    let Some(header) = chunks.take(*b"VP8X")? else {
        let (width, height) = pixels(&mut chunks, false, None, limits)?;
        return chunks.end().map(|()| (width, height, 1));
    };
    let (&[flags, 0, 0, 0, w, id, th, h, ei, ght], []) = header.split_first_chunk::<10>().ok_or(MALFORMED)? else {
        return Err(MALFORMED.to_owned());
    };
    let (width, height) = (u24([w, id, th]) + 1, u24([h, ei, ght]) + 1);
    check_size(width, height, limits)?;
    if flags & !(ANIMATED | WITH_ALPHA | WITH_PROFILE) != 0 {
        return Err(MALFORMED.to_owned());
    }
    if flags & WITH_PROFILE != 0 {
        check_profile(chunks.expect(*b"ICCP")?)?;
    }
    let alpha = flags & WITH_ALPHA != 0;
    let frames = if flags & ANIMATED == 0 {
        pixels(&mut chunks, alpha, Some((width, height)), limits)?;
        1
    } else {
        frames(&mut chunks, (width, height), limits)?
    };
    chunks.end().map(|()| (width, height, frames))
}

/// The chunks that are left.
struct Chunks<'a>(&'a [u8]);

impl<'a> Chunks<'a> {
    /// The next chunk, if it is of this kind.
    fn take(&mut self, kind: [u8; 4]) -> Result<Option<&'a [u8]>, String> {
        if !self.0.starts_with(&kind) {
            return Ok(None);
        }
        let (length, rest) = self.0[4..].split_first_chunk::<4>().ok_or(CUT)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| CUT)?;
        let (payload, rest) = rest.split_at_checked(length).ok_or(CUT)?;
        self.0 = if length.is_multiple_of(2) { rest } else { rest.strip_prefix(&[0]).ok_or(CUT)? };
        Ok(Some(payload))
    }

    fn expect(&mut self, kind: [u8; 4]) -> Result<&'a [u8], String> {
        self.take(kind)?.ok_or_else(|| UNWANTED.to_owned())
    }

    fn end(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(UNWANTED.to_owned()) }
    }
}

fn check_profile(profile: &[u8]) -> Result<(), String> {
    for gamut in profile::WIDE {
        if profile::of(gamut).map_err(|error| error.to_string())?.is_some_and(|ours| ours == profile) {
            return Ok(());
        }
    }
    Err("its profile is not one of ours".to_owned())
}

/// Decodes one image, with alpha in a chunk of its own at most where that is announced. Answers its size, which is
/// `expected` where that is known.
fn pixels(
    chunks: &mut Chunks<'_>,
    alpha: bool,
    expected: Option<(u32, u32)>,
    limits: &ImageLimits,
) -> Result<(u32, u32), String> {
    let start = chunks.0;
    let separate = alpha && chunks.take(*b"ALPH")?.is_some();
    let lossless = !separate && chunks.take(*b"VP8L")?.is_some();
    if !lossless {
        chunks.expect(*b"VP8 ")?;
    }
    let coded = &start[..start.len() - chunks.0.len()];
    let mut file = b"RIFF\0\0\0\0WEBP".to_vec();
    if let (true, Some((width, height))) = (separate, expected) {
        file.extend(b"VP8X\x0a\0\0\0");
        file.extend([WITH_ALPHA, 0, 0, 0]);
        file.extend([width - 1, height - 1].iter().flat_map(|side| side.to_le_bytes().into_iter().take(3)));
    }
    file.extend(coded);
    let length = u32::try_from(file.len() - 8).map_err(|_| CUT)?;
    file[4..8].copy_from_slice(&length.to_le_bytes());
    let features = BitstreamFeatures::new(&file).ok_or("its pixels have no size")?;
    let size = (features.width(), features.height());
    if expected.is_some_and(|expected| expected != size) {
        return Err("its pixels are not as large as it says".to_owned());
    }
    check_size(size.0, size.1, limits)?;
    match Decoder::new(&file).decode() {
        Some(_) => Ok(size),
        None => Err("its pixels do not decode".to_owned()),
    }
}

/// Checks the frames of an animation and answers how many there are.
fn frames(chunks: &mut Chunks<'_>, (width, height): (u32, u32), limits: &ImageLimits) -> Result<u32, String> {
    let (background, plays) = chunks.expect(*b"ANIM")?.split_first_chunk::<4>().ok_or(CUT)?;
    if *background != BACKGROUND || plays.len() != 2 {
        return Err(MALFORMED.to_owned());
    }
    let mut frames = 0;
    while let Some(frame) = chunks.take(*b"ANMF")? {
        frames += 1;
        if frames > limits.max_frames {
            return Err(format!("more than {} frames are not allowed", limits.max_frames));
        }
        let (header, coded) = frame.split_first_chunk::<FRAME_HEADER>().ok_or(CUT)?;
        let number = |at: usize| u24([header[at], header[at + 1], header[at + 2]]);
        let (x, y) = (number(0) * 2, number(3) * 2);
        let size = (number(6) + 1, number(9) + 1);
        if x + size.0 > width || y + size.1 > height || header[15] & !(DISPOSED | NOT_BLENDED) != 0 {
            return Err(format!("frame {frames} is malformed"));
        }
        let mut coded = Chunks(coded);
        pixels(&mut coded, true, Some(size), limits)?;
        coded.end()?;
    }
    Ok(frames)
}

fn u24([low, middle, high]: [u8; 3]) -> u32 {
    u32::from_le_bytes([low, middle, high, 0])
}
