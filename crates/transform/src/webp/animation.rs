//! Animated WebP, frame by frame, however long the animation is.
//!
//! The container is read and written here (RFC 9649, section 2.7.1): every frame is decoded and encoded as a still
//! image, and keeps its place, its duration and how it is blended and disposed of. No canvas is painted: the painter
//! of `image-webp` 0.2 leaves frames standing that are to be disposed of.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, codecs::webp::WebPDecoder};
use lazaret_sandbox::{Done, ImageFormat};

use super::encode;
use crate::{
    Source, colour,
    failure::{Failure, FrameCount, check_size, decode_failed, output_full},
    output::Output,
    riff::{self, Chunk},
    still,
};

/// Place, size, duration and flags of a frame, before its chunks.
pub(super) const FRAME_HEADER: usize = 16;
/// The least: hundreds of frames share the CPU time of one job.
const EFFORT: i32 = 0;
const ANIMATED: u8 = 0x02;
const WITH_ALPHA: u8 = 0x10;
/// The flags of a frame: disposed of, not blended. The other six are reserved.
const FRAME_FLAGS: u8 = 0x03;

pub(super) fn reencode(
    source: &Source<'_>,
    chunks: &[Chunk<'_>],
    mut decoder: WebPDecoder<Cursor<&[u8]>>,
    quality: f32,
    output: &mut Output<'_>,
) -> Result<Done, Failure> {
    let (width, height) = decoder.dimensions();
    let profile = decoder.icc_profile().map_err(decode_failed)?;
    let alpha = if decoder.color_type().has_alpha() { WITH_ALPHA } else { 0 };
    let mut frames = Vec::new();
    let mut count = FrameCount::default();
    for chunk in chunks.iter().filter(|chunk| chunk.kind == b"ANMF") {
        let frame = Frame::read(chunk.payload).map_err(decode_failed)?;
        count.add(check_size(frame.width, frame.height, &source.limits)?, &source.limits)?;
        if frame.x + frame.width > width || frame.y + frame.height > height {
            return Err(decode_failed("a WebP frame reaches out of its canvas"));
        }
        frames.push(frame);
    }
    if frames.is_empty() {
        return Err(decode_failed("an animated WebP without frames"));
    }

    output.append(b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0")?;
    output.append(&[ANIMATED | alpha, 0, 0, 0])?;
    output.append(&[u24(width - 1), u24(height - 1)].concat())?;
    // A see-through background, and the loop count as it was.
    output.append(b"ANIM\x06\0\0\0\0\0\0\0")?;
    output.append(&loop_count(chunks).to_le_bytes())?;
    for frame in &frames {
        let image = colour::to_srgb(frame.decode(source)?, profile.as_deref());
        frame.write(&encode(source, &image, quality, EFFORT)?, output)?;
    }
    let size = u32::try_from(output.len() - 8).map_err(|_| output_full())?;
    output.written_from(4)[..4].copy_from_slice(&size.to_le_bytes());
    Ok(Done { len: output.len() as u64, format: ImageFormat::WebP, width, height, frames: count.frames() })
}

/// One frame as the input has it.
struct Frame<'a> {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    duration_ms: u32,
    flags: u8,
    chunks: Vec<Chunk<'a>>,
}

impl<'a> Frame<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, &'static str> {
        let (header, chunks) = payload.split_first_chunk::<FRAME_HEADER>().ok_or("a WebP frame is cut short")?;
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], 0]);
        Ok(Self {
            x: number(0) * 2,
            y: number(3) * 2,
            width: number(6) + 1,
            height: number(9) + 1,
            duration_ms: number(12),
            flags: header[15] & FRAME_FLAGS,
            chunks: riff::chunks(chunks)?,
        })
    }

    /// Decodes the frame's pixels, as the still image that they would be in a file of their own.
    fn decode(&self, source: &Source<'_>) -> Result<DynamicImage, Failure> {
        let pixels = || self.chunks.iter().filter(|chunk| matches!(chunk.kind, b"ALPH" | b"VP8 " | b"VP8L"));
        let mut body = b"WEBP".to_vec();
        if pixels().any(|chunk| chunk.kind == b"ALPH") {
            body.extend_from_slice(b"VP8X\x0a\0\0\0");
            body.extend_from_slice(&[WITH_ALPHA, 0, 0, 0]);
            body.extend([u24(self.width - 1), u24(self.height - 1)].concat());
        }
        for chunk in pixels() {
            body.extend(chunk_header(chunk)?);
            body.extend_from_slice(chunk.payload);
            body.extend_from_slice(&[0][..chunk.payload.len() % 2]);
        }
        let length = u32::try_from(body.len()).map_err(|_| decode_failed("a WebP frame is too long"))?;
        let file = [&b"RIFF"[..], &length.to_le_bytes(), &body].concat();
        let decoder = WebPDecoder::new(Cursor::new(file.as_slice())).map_err(decode_failed)?;
        if decoder.dimensions() != (self.width, self.height) {
            return Err(decode_failed("a WebP frame is not as large as it says"));
        }
        still::decode(source, decoder)
    }

    /// Writes the frame with the pixels of a whole still file.
    fn write(&self, file: &[u8], output: &mut Output<'_>) -> Result<(), Failure> {
        let (chunks, _) = riff::file(file).map_err(decode_failed)?;
        let pixels = || chunks.iter().filter(|chunk| chunk.kind != b"VP8X");
        let len: usize = pixels().map(|chunk| 8 + chunk.payload.len().next_multiple_of(2)).sum();
        let len = u32::try_from(len + FRAME_HEADER).map_err(|_| output_full())?;
        output.append(b"ANMF")?;
        output.append(&len.to_le_bytes())?;
        let [x, y] = [self.x / 2, self.y / 2];
        output.append(&[x, y, self.width - 1, self.height - 1, self.duration_ms].map(u24).concat())?;
        output.append(&[self.flags])?;
        for chunk in pixels() {
            output.append(&chunk_header(chunk)?)?;
            output.append(chunk.payload)?;
            output.append(&[0][..chunk.payload.len() % 2])?;
        }
        Ok(())
    }
}

/// The kind and the length of a chunk, as they stand before its payload.
fn chunk_header(chunk: &Chunk<'_>) -> Result<Vec<u8>, Failure> {
    let length = u32::try_from(chunk.payload.len()).map_err(|_| output_full())?;
    Ok([chunk.kind, &length.to_le_bytes()].concat())
}

/// How often the animation runs; 0 is for ever, which is what a file without a count means too.
fn loop_count(chunks: &[Chunk<'_>]) -> u16 {
    let animation = chunks.iter().find(|chunk| chunk.kind == b"ANIM");
    animation.and_then(|chunk| chunk.payload.get(4..6)).map_or(0, |count| u16::from_le_bytes([count[0], count[1]]))
}

/// The low 24 bits, little-endian.
fn u24(value: u32) -> [u8; 3] {
    let [low, middle, high, _] = value.to_le_bytes();
    [low, middle, high]
}
