//! A job before the job.

use lazaret_sandbox::{
    Confined, Done, Job, Refusal, Task,
    format::{Animation, Colour, Decode, Encode, ImageFormat, ImageLimits, List, MultiPage, OutputFormat, Verify},
    picture::{Canvas, Frame, Gamut, Layout, PictureWriter},
};

use crate::{failure::decode_failed, transform};

/// Width and height of the image.
const SIDE: u32 = 16;
/// Room for it, as pixels and as a file.
const ROOM_BYTES: usize = 4096;

/// Encodes a tiny PNG, verifies and decodes it: nobody knows yet which of the three this process will be for. What small
/// images need of the program and the heap is in memory afterwards, and no one waits for it.
pub fn rehearse(confined: &Confined) -> Result<(), Refusal> {
    let limits = ImageLimits { max_pixels: 256, max_side: SIDE, max_frames: 1, max_total_pixels: 256 };
    let picture = picture().map_err(decode_failed)?;
    let mut files = vec![0; ROOM_BYTES];
    let task = Encode {
        input_bytes: picture.len() as u64,
        limits,
        format: OutputFormat::Png,
        quality: 80,
        max_side: 0,
        background: [0; 3],
        original_bytes: 0,
        variants: List::new(),
    };
    let job = Job { task: Task::Encode(task), input: &picture, output: &mut files };
    let Done::Encoded(encoded) = transform(confined, job)? else { return Err(decode_failed("no file").into()) };
    let len = encoded.artefacts.iter().map(|artefact| artefact.len).sum();
    let file = usize::try_from(len).ok().and_then(|len| files.get(..len)).unwrap_or_default();
    let task = Verify { input_bytes: len, limits, artefacts: encoded.artefacts };
    transform(confined, Job { task: Task::Verify(task), input: file, output: &mut [] })?;
    let task = Decode {
        input_bytes: len,
        format: ImageFormat::Png,
        limits,
        animation: Animation::FirstFrame,
        pages: MultiPage::First,
        colour: Colour::Srgb,
        draw_side: 0,
        planes_side: 0,
    };
    let mut pixels = vec![0; ROOM_BYTES];
    transform(confined, Job { task: Task::Decode(task), input: file, output: &mut pixels }).map(drop)
}

/// Sixteen by sixteen pixels of many colours.
fn picture() -> Result<Vec<u8>, lazaret_sandbox::picture::PictureError> {
    let canvas = Canvas { width: SIDE, height: SIDE, animated: false, plays: 0, gamut: Gamut::Srgb };
    let mut picture = vec![0; ROOM_BYTES];
    let mut writer = PictureWriter::begin(&mut picture, &canvas, 1)?;
    for (sample, value) in writer.frame(&Frame::still(SIDE, SIDE, Layout::Rgb))?.iter_mut().zip((0..=255).cycle()) {
        *sample = value;
    }
    let len = writer.finish()?;
    picture.truncate(usize::try_from(len).unwrap_or_default());
    Ok(picture)
}
