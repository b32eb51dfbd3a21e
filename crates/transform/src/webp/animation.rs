//! Animated WebP, frame by frame: two canvases are held at a time, however long the animation is.
//!
//! The container is written here (RFC 9649, section 2.7.1). Every frame replaces the rectangle in which its canvas
//! differs from the one before.

use image::{AnimationDecoder, DynamicImage, ImageDecoder, RgbaImage, codecs::webp::WebPDecoder, imageops};
use lazaret_sandbox::{Done, ImageFormat};

use super::encode;
use crate::{
    Source, colour,
    failure::{Failure, FrameCount, decode_failed},
    output::Output,
    riff::{self, Chunk},
};

/// Place, size, duration and flags of a frame, before its chunks.
pub(super) const FRAME_HEADER: usize = 16;
/// Durations have 24 bits.
const MAX_DURATION_MS: u32 = 0x00ff_ffff;
const ANIMATED: u8 = 0x02;
const WITH_ALPHA: u8 = 0x10;
/// The frame replaces what is under it.
const DO_NOT_BLEND: u8 = 0x02;

pub(super) fn reencode(
    source: &Source<'_>,
    chunks: &[Chunk<'_>],
    mut decoder: WebPDecoder<std::io::Cursor<&[u8]>>,
    quality: f32,
    output: &mut Output<'_>,
) -> Result<Done, Failure> {
    let (width, height) = decoder.dimensions();
    let canvas_pixels = u64::from(width) * u64::from(height);
    let mut count = FrameCount::default();
    for _ in chunks.iter().filter(|chunk| chunk.kind == b"ANMF") {
        count.add(canvas_pixels, &source.limits)?;
    }
    let profile = decoder.icc_profile().map_err(decode_failed)?;
    let alpha = if decoder.color_type().has_alpha() { WITH_ALPHA } else { 0 };
    output.append(b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0")?;
    output.append(&[ANIMATED | alpha, 0, 0, 0])?;
    output.append(&[u24(width - 1), u24(height - 1)].concat())?;
    // A see-through background, and the loop count as it was.
    output.append(b"ANIM\x06\0\0\0\0\0\0\0")?;
    output.append(&loop_count(chunks).to_le_bytes())?;

    let mut frames = Frames { output, last_duration_at: None, written: 0 };
    let mut before: Option<RgbaImage> = None;
    let mut shown = 0;
    for frame in decoder.into_frames() {
        let frame = frame.map_err(decode_failed)?;
        shown += 1;
        let (numerator, denominator) = frame.delay().numer_denom_ms();
        let duration = (numerator / denominator.max(1)).min(MAX_DURATION_MS);
        let canvas = colour::to_srgb(DynamicImage::ImageRgba8(frame.into_buffer()), profile.as_deref()).into_rgba8();
        let changed = before.as_ref().map_or(Some([0, 0, width, height]), |before| difference(before, &canvas));
        match changed {
            None if frames.prolong(duration) => {}
            changed => {
                let [x, y, w, h] = changed.unwrap_or([0, 0, 1, 1]);
                let part = DynamicImage::ImageRgba8(imageops::crop_imm(&canvas, x, y, w, h).to_image());
                let part = if alpha == 0 { DynamicImage::ImageRgb8(part.into_rgb8()) } else { part };
                frames.write(x, y, duration, &part, &encode(source, &part, quality)?)?;
            }
        }
        before = Some(canvas);
    }
    if shown != count.frames() || frames.written == 0 {
        return Err(decode_failed("an animated WebP whose frames do not all decode"));
    }
    let frames = frames.written;
    let size = u32::try_from(output.len() - 8).map_err(|_| crate::failure::output_full())?;
    output.written_from(4)[..4].copy_from_slice(&size.to_le_bytes());
    Ok(Done { len: output.len() as u64, format: ImageFormat::WebP, width, height, frames })
}

/// Writes frames.
struct Frames<'o, 'm> {
    output: &'o mut Output<'m>,
    last_duration_at: Option<(usize, u32)>,
    written: u32,
}

impl Frames<'_, '_> {
    fn write(&mut self, x: u32, y: u32, duration: u32, part: &DynamicImage, file: &[u8]) -> Result<(), Failure> {
        let (chunks, _) = riff::file(file).map_err(decode_failed)?;
        let chunks = || chunks.iter().filter(|chunk| chunk.kind != b"VP8X");
        let len: usize = chunks().map(|chunk| 8 + chunk.payload.len().next_multiple_of(2)).sum();
        let len = u32::try_from(len + FRAME_HEADER).map_err(|_| crate::failure::output_full())?;
        self.output.append(b"ANMF")?;
        self.output.append(&len.to_le_bytes())?;
        self.output.append(&[u24(x / 2), u24(y / 2), u24(part.width() - 1), u24(part.height() - 1)].concat())?;
        self.last_duration_at = Some((self.output.len(), duration));
        self.output.append(&u24(duration))?;
        self.output.append(&[DO_NOT_BLEND])?;
        for Chunk { kind, payload } in chunks() {
            // The file that holds them is shorter than four gigabytes, as its header says.
            let length = u32::try_from(payload.len()).map_err(|_| crate::failure::output_full())?;
            self.output.append(kind)?;
            self.output.append(&length.to_le_bytes())?;
            self.output.append(payload)?;
            self.output.append(&[0][..payload.len() % 2])?;
        }
        self.written += 1;
        Ok(())
    }

    /// Shows the last frame for longer, where its duration can hold it.
    fn prolong(&mut self, by: u32) -> bool {
        let Some((at, duration)) = self.last_duration_at else { return false };
        let duration = duration + by;
        if duration > MAX_DURATION_MS {
            return false;
        }
        self.output.written_from(at)[..3].copy_from_slice(&u24(duration));
        self.last_duration_at = Some((at, duration));
        true
    }
}

/// The smallest rectangle around all differences, from an even place as the container demands: x, y, width, height.
fn difference(before: &RgbaImage, after: &RgbaImage) -> Option<[u32; 4]> {
    let row_bytes = before.width() as usize * 4;
    let (mut left, mut right) = (usize::MAX, 0);
    let (mut top, mut bottom) = (None, 0);
    for (y, (old, new)) in before.chunks_exact(row_bytes).zip(after.chunks_exact(row_bytes)).enumerate() {
        if old == new {
            continue;
        }
        top.get_or_insert(y);
        bottom = y;
        let differs = |(old, new): (&u8, &u8)| old != new;
        left = left.min(old.iter().zip(new).position(differs).unwrap_or(0) / 4);
        right = right.max(old.iter().zip(new).rposition(differs).unwrap_or(0) / 4);
    }
    let top = top?;
    let (x, y) = (left & !1, top & !1);
    let number = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    Some([number(x), number(y), number(right + 1 - x), number(bottom + 1 - y)])
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
