//! Animated WebP, frame by frame.
//!
//! The container is read here (RFC 9649, section 2.7.1): every frame is decoded as a still image, and keeps its place,
//! its duration and how it is blended and disposed of. No canvas is painted: the painter of `image-webp` 0.2 leaves
//! frames standing that are to be disposed of.

use std::io::Cursor;

use image_webp::WebPDecoder;
use lazaret_sandbox::{
    format::{Animation, Decode, Decoded},
    picture::{self, Blend, Canvas, Dispose, Layout, PictureWriter},
};

use super::{check_lossy, layout};
use crate::{
    decode::{
        colour::Colours,
        compose,
        riff::{self, Chunk},
    },
    failure::{Failure, FrameCount, check_size, decode_failed},
};

/// Place, size, duration and flags of a frame, before its chunks.
const FRAME_HEADER: usize = 16;
const WITH_ALPHA: u8 = 0x10;
const DISPOSED_OF: u8 = 0x01;
const NOT_BLENDED: u8 = 0x02;

pub(super) fn decode(
    task: &Decode,
    chunks: &[Chunk<'_>],
    (width, height): (u32, u32),
    colours: &Colours,
    output: &mut [u8],
) -> Result<Decoded, Failure> {
    let mut frames = Vec::new();
    let mut count = FrameCount::default();
    for chunk in chunks.iter().filter(|chunk| chunk.kind == b"ANMF") {
        let stored = Stored::read(chunk.payload).map_err(decode_failed)?;
        let frame = stored.frame;
        count.add(check_size(frame.width, frame.height, &task.limits)?, &task.limits)?;
        compose::check_place(&frame, width, height)?;
        frames.push(stored);
    }
    let canvas = Canvas { width, height, animated: true, plays: plays(chunks), gamut: colours.gamut() };
    let first = frames.first().ok_or_else(|| decode_failed("an animated WebP without frames"))?;
    if task.animation == Animation::FirstFrame {
        let mut pixels = Vec::new();
        let frame = first.decode(
            |frame| {
                pixels.resize(frame.data_bytes().unwrap_or_default(), 0);
                Ok(pixels.as_mut_slice())
            },
            colours,
        )?;
        return compose::first_frame(&canvas, &frame, &pixels, output);
    }
    let mut writer = PictureWriter::begin(output, &canvas, frames.len()).map_err(compose::no_room)?;
    for stored in &frames {
        stored.decode(|frame| writer.frame(frame).map_err(compose::no_room), colours)?;
    }
    Ok(Decoded { len: writer.finish().map_err(compose::no_room)? })
}

/// One frame as the input has it.
struct Stored<'a> {
    frame: picture::Frame,
    chunks: Vec<Chunk<'a>>,
}

impl<'a> Stored<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, &'static str> {
        let (header, chunks) = payload.split_first_chunk::<FRAME_HEADER>().ok_or("a WebP frame is cut short")?;
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], 0]);
        let flags = header[15];
        let frame = picture::Frame {
            x: number(0) * 2,
            y: number(3) * 2,
            width: number(6) + 1,
            height: number(9) + 1,
            delay: (number(12), 1000),
            dispose: if flags & DISPOSED_OF == 0 { Dispose::Keep } else { Dispose::Background },
            blend: if flags & NOT_BLENDED == 0 { Blend::Over } else { Blend::Source },
            layout: Layout::Rgba,
        };
        Ok(Self { frame, chunks: riff::chunks(chunks)? })
    }

    /// Decodes the frame into the room that it is given, as the still image that it would be in a file of its own.
    fn decode<'r>(
        &self,
        room: impl FnOnce(&picture::Frame) -> Result<&'r mut [u8], Failure>,
        colours: &Colours,
    ) -> Result<picture::Frame, Failure> {
        check_lossy(&self.chunks, (self.frame.width, self.frame.height))?;
        let file = self.file()?;
        let mut decoder = WebPDecoder::new(Cursor::new(file.as_slice())).map_err(decode_failed)?;
        if decoder.is_animated() || decoder.dimensions() != (self.frame.width, self.frame.height) {
            return Err(decode_failed("a WebP frame is not as large as it says"));
        }
        let frame = picture::Frame { layout: layout(&decoder), ..self.frame };
        let room = room(&frame)?;
        decoder.read_image(room).map_err(decode_failed)?;
        colours.apply(frame.layout, room);
        Ok(frame)
    }

    fn file(&self) -> Result<Vec<u8>, Failure> {
        let pixels = || self.chunks.iter().filter(|chunk| matches!(chunk.kind, b"ALPH" | b"VP8 " | b"VP8L"));
        let mut body = b"WEBP".to_vec();
        if pixels().any(|chunk| chunk.kind == b"ALPH") {
            let (width, height) = (u24(self.frame.width - 1), u24(self.frame.height - 1));
            body.extend_from_slice(b"VP8X\x0a\0\0\0");
            body.extend_from_slice(&[WITH_ALPHA, 0, 0, 0]);
            body.extend([width, height].concat());
        }
        let long = || decode_failed("a WebP frame is too long");
        for Chunk { kind, payload } in pixels() {
            body.extend_from_slice(kind);
            body.extend_from_slice(&u32::try_from(payload.len()).map_err(|_| long())?.to_le_bytes());
            body.extend_from_slice(payload);
            body.extend_from_slice(&[0][..payload.len() % 2]);
        }
        let length = u32::try_from(body.len()).map_err(|_| long())?;
        Ok([&b"RIFF"[..], &length.to_le_bytes(), &body].concat())
    }
}

/// How often the animation runs; 0 is for ever, which is what a file without a count means too.
fn plays(chunks: &[Chunk<'_>]) -> u32 {
    let animation = chunks.iter().find(|chunk| chunk.kind == b"ANIM");
    let count = animation.and_then(|chunk| chunk.payload.get(4..6));
    count.map_or(0, |count| u16::from_le_bytes([count[0], count[1]]).into())
}

/// The low 24 bits, little-endian.
fn u24(value: u32) -> [u8; 3] {
    let [low, middle, high, _] = value.to_le_bytes();
    [low, middle, high]
}
