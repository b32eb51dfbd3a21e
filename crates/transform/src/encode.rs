//! Pixels to files: the second process of a job.

mod compose;
mod film;
mod gif;
mod indices;
pub(crate) mod jpeg;
mod output;
mod placeholder;
pub(crate) mod png;
pub(crate) mod profile;
mod raster;
mod resize;
pub(crate) mod webp;

use std::convert::Infallible;

use lazaret_sandbox::{
    Confined,
    format::{Artefact, ArtefactFormat, Encode, Encoded, List, MAX_ARTEFACTS},
    jail::end_out_of_memory,
    picture::{Layout, Picture, Pixels, Planes, PlanesHeader},
};

use self::{
    film::Film,
    raster::Raster,
    resize::{Care, fit, resize},
};
use crate::{
    carried::active_content,
    failure::{Failure, decode_failed},
};

/// How often an image is encoded in another way because its bytes spelled something.
const ATTEMPTS: u8 = 4;

/// How a file is encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings<'a> {
    /// Of lossy formats, 1 to 100.
    quality: u8,
    /// Behind what is transparent, in formats without alpha.
    background: [u8; 3],
    /// What the original would be long if it were of this size.
    original_bytes: u64,
    /// Of colours other than sRGB.
    profile: Option<&'a [u8]>,
}

/// Encodes the picture in `input`: the image first, then every variant, one behind the other.
///
/// Variants are still images of the first frame, in the format of the image. Those of a GIF are PNG: what was made
/// smaller has more colours than a GIF holds.
pub fn encode(confined: &Confined, task: &Encode, input: &[u8], output: &mut [u8]) -> Result<Encoded, Failure> {
    encode_or_end(&|| -> Infallible { end_out_of_memory(confined) }, task, input, output)
}

impl Settings<'_> {
    /// Of a lossy format, a little less each time.
    fn quality_of(&self, attempt: u8) -> u8 {
        self.quality.saturating_sub(attempt).clamp(1, 100)
    }
}

/// What ends the process when a library in C gets no memory; Rust's own allocations end it themselves.
pub(crate) type OutOfMemory<'a> = &'a dyn Fn() -> Infallible;

pub(crate) fn encode_or_end(
    out_of_memory: OutOfMemory<'_>,
    task: &Encode,
    input: &[u8],
    output: &mut [u8],
) -> Result<Encoded, Failure> {
    if let Some(planes) = Planes::find(input, &task.limits).map_err(decode_failed)? {
        return of_planes(task, &planes, output);
    }
    let picture = Picture::read(input, &task.limits).map_err(decode_failed)?;
    let first = Raster::first(&picture).ok_or_else(|| decode_failed("a picture without a frame"))?;
    let profile = profile::of(picture.canvas().gamut)?;
    let job = Job { out_of_memory, task, picture: &picture, first: &first, profile: profile.as_deref() };
    let mut files = Files { output, end: 0, artefacts: List::new() };
    let size = fit(first.width, first.height, task.max_side);
    job.image(size, &mut files)?;
    for side in task.variants.iter() {
        job.variant(fit(size.0, size.1, side), &mut files)?;
    }
    Ok(Encoded { artefacts: files.artefacts, thumbhash: placeholder::thumbhash(&first)? })
}

/// One JPEG of what is stored as one stores it.
fn of_planes(task: &Encode, planes: &Planes<'_>, output: &mut [u8]) -> Result<Encoded, Failure> {
    let PlanesHeader { width, height, gamut } = planes.header;
    if width.max(height) > task.planes_side() {
        return Err(decode_failed("planes where they are not wanted"));
    }
    let profile = profile::of(gamut)?;
    let settings = Settings {
        quality: task.quality,
        background: task.background,
        original_bytes: task.original_bytes,
        profile: profile.as_deref(),
    };
    let mut files = Files { output, end: 0, artefacts: List::new() };
    files.add(ArtefactFormat::Jpeg, (width, height), 1, |attempt, room| {
        jpeg::of_planes(planes, &settings, attempt, room)
    })?;
    Ok(Encoded { artefacts: files.artefacts, thumbhash: placeholder::of_planes(planes)? })
}

struct Job<'a> {
    out_of_memory: OutOfMemory<'a>,
    task: &'a Encode,
    picture: &'a Picture<'a>,
    first: &'a Raster<'a>,
    profile: Option<&'a [u8]>,
}

impl Job<'_> {
    /// Writes the image itself, with all its frames where its format has any.
    fn image(&self, size: (u32, u32), files: &mut Files<'_>) -> Result<(), Failure> {
        let format = ArtefactFormat::from(self.task.format);
        let settings = self.settings(size);
        if self.picture.canvas().animated && format != ArtefactFormat::Jpeg {
            let film = Film { picture: self.picture, size };
            return files.add(format, size, film.frames(), |attempt, room| match format {
                ArtefactFormat::Gif => gif::animation(&film, attempt, room),
                ArtefactFormat::WebP => webp::animation(self.out_of_memory, &film, &settings, attempt, room),
                _ => png::animation(&film, &settings, attempt, room),
            });
        }
        if let Some(pixels) = self.indexed_still().filter(|_| size == (self.first.width, self.first.height)) {
            match format {
                ArtefactFormat::Png => {
                    return files
                        .add(format, size, 1, |attempt, room| png::of_frame(&pixels, &settings, attempt, room));
                }
                ArtefactFormat::Gif => {
                    return files.add(format, size, 1, |attempt, room| gif::of_frame(&pixels, attempt, room));
                }
                _ => {}
            }
        }
        self.still(format, size, files)
    }

    fn variant(&self, size: (u32, u32), files: &mut Files<'_>) -> Result<(), Failure> {
        let format = match ArtefactFormat::from(self.task.format) {
            ArtefactFormat::Gif => ArtefactFormat::Png,
            other => other,
        };
        self.still(format, size, files)
    }

    /// Writes the first frame in this size.
    fn still(&self, format: ArtefactFormat, size: (u32, u32), files: &mut Files<'_>) -> Result<(), Failure> {
        let image = resize(self.first, size, Care::Fine)?;
        let settings = self.settings(size);
        files.add(format, size, 1, |attempt, room| match format {
            ArtefactFormat::Jpeg => jpeg::still(image.view(), &settings, attempt, room),
            ArtefactFormat::Gif => gif::still(&image, attempt, room),
            ArtefactFormat::WebP => webp::still(self.out_of_memory, image.view(), &settings, attempt, room),
            _ => png::still(image.view(), &settings, attempt, room),
        })
    }

    /// The only frame, where it is indexed.
    fn indexed_still(&self) -> Option<Pixels<'_>> {
        let pixels = self.picture.frames().next()?;
        (!self.picture.canvas().animated && pixels.frame.layout == Layout::Indexed).then_some(pixels)
    }

    fn settings(&self, (width, height): (u32, u32)) -> Settings<'_> {
        let pixels = |width: u32, height: u32| u128::from(width) * u128::from(height);
        let share = u128::from(self.task.original_bytes) * pixels(width, height);
        let original_bytes = share / pixels(self.first.width, self.first.height).max(1);
        Settings {
            quality: self.task.quality,
            background: self.task.background,
            original_bytes: u64::try_from(original_bytes).unwrap_or(u64::MAX),
            profile: self.profile,
        }
    }
}

/// The files, one behind the other.
struct Files<'a> {
    output: &'a mut [u8],
    end: usize,
    artefacts: List<Artefact, MAX_ARTEFACTS>,
}

impl Files<'_> {
    /// Adds a file of pixels, encoded in another way as long as its bytes spell what a browser would act on.
    fn add(
        &mut self,
        format: ArtefactFormat,
        (width, height): (u32, u32),
        frames: usize,
        encode: impl Fn(u8, &mut [u8]) -> Result<usize, Failure>,
    ) -> Result<(), Failure> {
        let room = &mut self.output[self.end..];
        let mut spelled = "";
        for attempt in 0..ATTEMPTS {
            let len = encode(attempt, room)?;
            if let Some(found) = active_content(&room[..len]) {
                spelled = found;
                continue;
            }
            let frames = u32::try_from(frames).map_err(decode_failed)?;
            let artefact = Artefact { offset: self.end as u64, len: len as u64, format, width, height, frames };
            self.artefacts.push(artefact).map_err(|_| decode_failed("more variants than a job has"))?;
            self.end += len;
            return Ok(());
        }
        Err(decode_failed(format_args!("the pixels spell {spelled:?} however they are encoded")))
    }
}

#[cfg(test)]
pub(crate) mod tests;
