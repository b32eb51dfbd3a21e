//! WebP, still or animated, by libwebp; the container is written here (RFC 9649, sections 2.3 to 2.7).

use lazaret_sandbox::picture::{Blend, Dispose, Picture};
use webp::{Encoder, WebPConfig, WebPEncodingError, WebPMemory};

use super::{
    OutOfMemory, Settings,
    film::{Cut, Film, Shown, delay_in},
    indices::{Indexed, as_it_is},
    output::Output,
    raster::{Channels, Raster},
};
use crate::failure::{Failure, encode_failed, output_full, side_too_long};

/// The longest side that VP8 can code (RFC 6386, section 9.1).
const MAX_SIDE: u32 = 16_383;
/// Effort from 0 to 6. At 2, half of the default, a still image takes two thirds of the time for a little more bytes.
const STILL_EFFORT: i32 = 2;
/// The least: hundreds of frames share the CPU time of one job.
const FRAME_EFFORT: i32 = 0;

/// The flags of a file.
pub(crate) const ANIMATED: u8 = 0x02;
pub(crate) const WITH_ALPHA: u8 = 0x10;
pub(crate) const WITH_PROFILE: u8 = 0x20;
/// The flags of a frame.
pub(crate) const DISPOSED: u8 = 0x01;
pub(crate) const NOT_BLENDED: u8 = 0x02;
/// Place, size, duration and flags of a frame, before its chunks.
pub(crate) const FRAME_HEADER: usize = 16;
/// A see-through background, in the order blue, green, red, alpha.
pub(crate) const BACKGROUND: [u8; 4] = [0; 4];

/// Encodes a still image: without loss where it has few colours and that is not longer, as with drawings.
pub(crate) fn still(
    out_of_memory: OutOfMemory<'_>,
    image: Raster<'_>,
    settings: &Settings<'_>,
    attempt: u8,
    room: &mut [u8],
) -> Result<usize, Failure> {
    let image = image.into_colour();
    let encode = |lossless| encode(out_of_memory, &image, settings, attempt, Look { lossless, effort: STILL_EFFORT });
    let mut file = encode(false)?;
    if Indexed::of_few(&image, attempt, as_it_is).is_some() {
        let exact = encode(true)?;
        if exact.len() <= file.len() {
            file = exact;
        }
    }
    let mut output = Output::new(room);
    let Some(profile) = settings.profile else {
        output.append(&file)?;
        return Ok(output.len());
    };
    let alpha = if image.channels.alpha() { WITH_ALPHA } else { 0 };
    begin(&mut output, WITH_PROFILE | alpha, (image.width, image.height), Some(profile))?;
    for chunk in pixel_chunks(&file) {
        chunk?.write(&mut output)?;
    }
    end(&mut output)
}

/// Encodes an animation: frame by frame where WebP can hold the frames, else what changes on the canvas.
pub(crate) fn animation(
    out_of_memory: OutOfMemory<'_>,
    film: &Film<'_, '_>,
    settings: &Settings<'_>,
    attempt: u8,
    room: &mut [u8],
) -> Result<usize, Failure> {
    let mut output = Output::new(room);
    let profile = if settings.profile.is_some() { WITH_PROFILE } else { 0 };
    begin(&mut output, ANIMATED | WITH_ALPHA | profile, film.size, settings.profile)?;
    let plays = u16::try_from(film.plays()).unwrap_or(u16::MAX);
    let payload = [&BACKGROUND[..], &plays.to_le_bytes()].concat();
    Chunk { kind: *b"ANIM", payload: &payload }.write(&mut output)?;
    let cut = if is_of_a_webp(film.picture) { Cut::AsTheyAre } else { Cut::EvenChanges };
    film.play(cut, |shown| {
        let Shown { x, y, image, delay, dispose, blend } = shown;
        let image = image.into_colour();
        let coded = encode(out_of_memory, &image, settings, attempt, Look { lossless: false, effort: FRAME_EFFORT })?;
        let mut payload = Vec::with_capacity(FRAME_HEADER + coded.len());
        let duration = delay_in(1000, delay).min(0xff_ffff);
        payload.extend([x / 2, y / 2, image.width - 1, image.height - 1, duration].map(u24).concat());
        let disposed = if dispose == Dispose::Background { DISPOSED } else { 0 };
        let not_blended = if blend == Blend::Source { NOT_BLENDED } else { 0 };
        payload.push(disposed | not_blended);
        for chunk in pixel_chunks(&coded) {
            chunk?.append_to(&mut payload)?;
        }
        Chunk { kind: *b"ANMF", payload: &payload }.write(&mut output)
    })?;
    end(&mut output)
}

/// Whether every frame begins at even numbers and wants nothing restored, which WebP cannot.
fn is_of_a_webp(picture: &Picture<'_>) -> bool {
    let even = |number: u32| number.is_multiple_of(2);
    picture
        .frames()
        .map(|pixels| pixels.frame)
        .all(|frame| even(frame.x) && even(frame.y) && frame.dispose != Dispose::Previous)
}

/// How an image is coded.
#[derive(Clone, Copy)]
struct Look {
    lossless: bool,
    effort: i32,
}

/// Encodes one image as a whole file.
fn encode(
    out_of_memory: OutOfMemory<'_>,
    image: &Raster<'_>,
    settings: &Settings<'_>,
    attempt: u8,
    look: Look,
) -> Result<WebPMemory, Failure> {
    if image.width.max(image.height) > MAX_SIDE {
        return Err(side_too_long("WebP", MAX_SIDE));
    }
    let mut config = WebPConfig::new().map_err(|()| encode_failed("WebP", "libwebp has no default settings"))?;
    config.lossless = look.lossless.into();
    // Without loss, quality is effort.
    let quality = if look.lossless { 50 } else { settings.quality };
    config.quality = f32::from(quality.saturating_sub(attempt).max(1));
    config.method = look.effort;
    let (width, height) = (image.width, image.height);
    let encoder = match image.channels {
        Channels::Rgba | Channels::GreyAlpha => Encoder::from_rgba(&image.samples, width, height),
        Channels::Rgb | Channels::Grey => Encoder::from_rgb(&image.samples, width, height),
    };
    encoder.encode_advanced(&config).map_err(|error| match error {
        WebPEncodingError::VP8_ENC_ERROR_OUT_OF_MEMORY | WebPEncodingError::VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY => {
            match out_of_memory() {}
        }
        other => encode_failed("WebP", format_args!("{other:?}")),
    })
}

/// One chunk.
struct Chunk<'a> {
    kind: [u8; 4],
    payload: &'a [u8],
}

impl Chunk<'_> {
    fn write(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        output.append(&self.kind)?;
        output.append(&self.length()?)?;
        output.append(self.payload)?;
        output.append(self.padding())
    }

    fn append_to(&self, bytes: &mut Vec<u8>) -> Result<(), Failure> {
        bytes.extend(self.kind);
        bytes.extend(self.length()?);
        bytes.extend(self.payload);
        bytes.extend(self.padding());
        Ok(())
    }

    fn length(&self) -> Result<[u8; 4], Failure> {
        u32::try_from(self.payload.len()).map(u32::to_le_bytes).map_err(|_| output_full())
    }

    fn padding(&self) -> &'static [u8] {
        &[0][..self.payload.len() % 2]
    }
}

/// The chunks with pixels in a whole file that libwebp wrote.
fn pixel_chunks(file: &[u8]) -> impl Iterator<Item = Result<Chunk<'_>, Failure>> {
    let mut rest = file.get(12..).unwrap_or_default();
    let chunks = std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let chunk = split_chunk(&mut rest);
        if chunk.is_none() {
            rest = &[];
        }
        Some(chunk.ok_or_else(|| encode_failed("WebP", "libwebp wrote half a chunk")))
    });
    chunks.filter(|chunk| !matches!(chunk, Ok(Chunk { kind: [b'V', b'P', b'8', b'X'], .. })))
}

fn split_chunk<'a>(rest: &mut &'a [u8]) -> Option<Chunk<'a>> {
    let (kind, tail) = rest.split_first_chunk::<4>()?;
    let (length, tail) = tail.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let payload = tail.get(..length)?;
    *rest = tail.get(length.next_multiple_of(2)..).unwrap_or_default();
    Some(Chunk { kind: *kind, payload })
}

/// Writes what stands before the pixels of an extended file.
fn begin(output: &mut Output<'_>, flags: u8, size: (u32, u32), profile: Option<&[u8]>) -> Result<(), Failure> {
    if size.0.max(size.1) > MAX_SIDE {
        return Err(side_too_long("WebP", MAX_SIDE));
    }
    output.append(b"RIFF\0\0\0\0WEBP")?;
    let header = [&[flags, 0, 0, 0][..], &u24(size.0 - 1), &u24(size.1 - 1)].concat();
    Chunk { kind: *b"VP8X", payload: &header }.write(output)?;
    match profile {
        Some(profile) => Chunk { kind: *b"ICCP", payload: profile }.write(output),
        None => Ok(()),
    }
}

/// Writes the length of the whole into its place and answers it.
fn end(output: &mut Output<'_>) -> Result<usize, Failure> {
    let length = u32::try_from(output.len() - 8).map_err(|_| output_full())?;
    output.written_from(4)[..4].copy_from_slice(&length.to_le_bytes());
    Ok(output.len())
}

/// The low 24 bits, little-endian.
fn u24(value: u32) -> [u8; 3] {
    let [low, middle, high, _] = value.to_le_bytes();
    [low, middle, high]
}
