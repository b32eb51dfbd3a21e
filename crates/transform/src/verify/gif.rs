//! The one kind of GIF that is written: 89a, a palette for each frame, no interlacing.

use lazaret_sandbox::format::ImageLimits;
use weezl::{BitOrder, LzwStatus, decode::Decoder};

use super::{Size, check_size};

const CUT: &str = "a block is cut short";
const UNWANTED: &str = "it has blocks that pixels do not need";
/// What the encoder writes where there is no palette for all frames: one of two blacks.
const SCREEN: &[u8] = &[0x80, 0, 0, 0, 0, 0, 0, 0, 0];
/// The extension that browsers take the number of repetitions from, up to that number.
const LOOP_COUNT: &[u8] = b"\x21\xff\x0bNETSCAPE2.0\x03\x01";

/// Walks through the blocks, which are to be exactly those that the encoder writes, and decodes every frame.
pub(super) fn verify(file: &[u8], limits: &ImageLimits) -> Result<Size, String> {
    let rest = file.strip_prefix(b"GIF89a").ok_or("it has no signature")?;
    let (&[w, idth, h, eight], rest) = rest.split_first_chunk::<4>().ok_or(CUT)?;
    let (width, height) = (u16::from_le_bytes([w, idth]), u16::from_le_bytes([h, eight]));
    check_size(width.into(), height.into(), limits)?;
    let rest = rest.strip_prefix(SCREEN).ok_or("its screen is not as ours are")?;
    let mut rest = match rest.strip_prefix(LOOP_COUNT) {
        Some([_, _, 0, rest @ ..]) => rest,
        Some(_) => return Err(CUT.to_owned()),
        None => rest,
    };
    let mut frames = 0;
    while rest != [0x3b] {
        frames += 1;
        if frames > limits.max_frames {
            return Err(format!("more than {} frames are not allowed", limits.max_frames));
        }
        rest = frame(rest, width, height)?;
    }
    Ok((width.into(), height.into(), frames))
}

/// Checks a frame with its control and answers what follows.
fn frame(rest: &[u8], width: u16, height: u16) -> Result<&[u8], String> {
    let [0x21, 0xf9, 4, flags, _, _, _, 0, rest @ ..] = rest else { return Err(UNWANTED.to_owned()) };
    // The upper three bits are reserved; four to seven are no disposals; nobody is asked for input.
    if flags & 0xe2 != 0 || flags >> 2 > 3 {
        return Err("a frame's control is malformed".to_owned());
    }
    let (&[0x2c, l, eft, t, op, w, idth, h, eight, flags], rest) = rest.split_first_chunk::<10>().ok_or(CUT)? else {
        return Err(UNWANTED.to_owned());
    };
    let side = |low, high| usize::from(u16::from_le_bytes([low, high]));
    let (left, top, frame_width, frame_height) = (side(l, eft), side(t, op), side(w, idth), side(h, eight));
    let inside = left + frame_width <= usize::from(width) && top + frame_height <= usize::from(height);
    if !inside || flags & 0xf8 != 0x80 {
        return Err("a frame is malformed".to_owned());
    }
    let rest = rest.get(3 << ((flags & 7) + 1)..).ok_or(CUT)?;
    let (&code_size, rest) = rest.split_first().ok_or(CUT)?;
    if !(2..=8).contains(&code_size) {
        return Err("a frame's code size is malformed".to_owned());
    }
    let (data, rest) = sub_blocks(rest)?;
    decode(&data, code_size, frame_width * frame_height)?;
    Ok(rest)
}

/// Decodes exactly so many pixels, and not a byte is left.
fn decode(data: &[u8], code_size: u8, count: usize) -> Result<(), String> {
    let wrong = "a frame's pixels are too few or too many";
    let (last, before) = data.split_last().ok_or(CUT)?;
    // Room for one more, so that the end is read and one too many is seen.
    let mut frame = Frame { decoder: Decoder::new(BitOrder::Lsb, code_size), pixels: vec![0; count + 1], end: 0 };
    // The decoder reads ahead: that the data ends with its last byte shows when the others do not end it.
    if frame.feed(before)? {
        return Err(wrong.to_owned());
    }
    if frame.feed(&[*last])? && frame.end == count { Ok(()) } else { Err(wrong.to_owned()) }
}

/// A frame on the way to its pixels.
struct Frame {
    decoder: Decoder,
    pixels: Vec<u8>,
    end: usize,
}

impl Frame {
    /// Decodes all of `data` and answers whether the pixels ended with it.
    fn feed(&mut self, mut data: &[u8]) -> Result<bool, String> {
        loop {
            let step = self.decoder.decode_bytes(data, &mut self.pixels[self.end..]);
            data = data.get(step.consumed_in..).unwrap_or_default();
            self.end += step.consumed_out;
            match step.status.map_err(|error| format!("a frame's pixels do not decode: {error}"))? {
                LzwStatus::Ok if step.consumed_in > 0 || step.consumed_out > 0 => {}
                status if data.is_empty() => return Ok(matches!(status, LzwStatus::Done)),
                _ => return Err("bytes follow a frame's pixels".to_owned()),
            }
        }
    }
}

/// The content of a chain of sub-blocks, and what follows.
fn sub_blocks(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let mut data = Vec::new();
    loop {
        let (&len, tail) = rest.split_first().ok_or(CUT)?;
        let (block, tail) = tail.split_at_checked(len.into()).ok_or(CUT)?;
        rest = tail;
        if len == 0 {
            return Ok((data, rest));
        }
        data.extend_from_slice(block);
    }
}
