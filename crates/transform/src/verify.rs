//! Files to a yes or no: the last process of every job.

mod expected;
mod gif;
mod jpeg;
pub(crate) mod pdf;
mod png;
pub(crate) mod svg;
mod webp;

use lazaret_sandbox::{
    Confined, RefusalCode,
    format::{Artefact, ArtefactFormat, ImageLimits, Verify},
};

use crate::{carried::active_content, failure::Failure};

/// Looks at every file anew: its structure, that nothing trails, that it spells nothing active, that it decodes, and
/// that it is as large as announced.
pub fn verify(_confined: &Confined, task: &Verify, input: &[u8]) -> Result<(), Failure> {
    look(task, input)
}

fn look(task: &Verify, input: &[u8]) -> Result<(), Failure> {
    let mut rest = input;
    let mut end = 0;
    for (index, artefact) in task.artefacts.iter().enumerate() {
        let refused = |why: &str| {
            Failure::new(
                RefusalCode::Unverified,
                format_args!("file {index} ({}): {why}", artefact.format.media_type()),
            )
        };
        if artefact.offset != end {
            return Err(refused("it does not begin where the one before it ends"));
        }
        let len = usize::try_from(artefact.len).ok().filter(|&len| len > 0);
        let (file, behind) =
            len.and_then(|len| rest.split_at_checked(len)).ok_or_else(|| refused("it is cut short"))?;
        look_at(file, &artefact, &task.limits).map_err(|why| refused(&why))?;
        (rest, end) = (behind, end + artefact.len);
    }
    if !rest.is_empty() || end == 0 {
        return Err(Failure::new(RefusalCode::Unverified, format_args!("{} bytes belong to no file", rest.len())));
    }
    Ok(())
}

/// What pixels a file has: width, height, frames.
type Size = (u32, u32, u32);

/// Looks at one file.
fn look_at(file: &[u8], artefact: &Artefact, limits: &ImageLimits) -> Result<(), String> {
    let announced = (artefact.width, artefact.height, artefact.frames);
    let found = match artefact.format {
        ArtefactFormat::Jpeg => jpeg::verify(file, limits)?,
        ArtefactFormat::Png => png::verify(file, limits)?,
        ArtefactFormat::Gif => gif::verify(file, limits)?,
        ArtefactFormat::WebP => webp::verify(file, limits)?,
        ArtefactFormat::Pdf | ArtefactFormat::Svg if announced != (0, 0, 0) => {
            return Err("a document has no pixels to announce".to_owned());
        }
        ArtefactFormat::Pdf => return pdf::verify(file),
        ArtefactFormat::Svg => return svg::verify(file),
    };
    if found != announced || found.2 == 0 {
        return Err(format!("its width, height and frames are {found:?}, announced were {announced:?}"));
    }
    match active_content(file) {
        Some(found) => Err(format!("it spells {found:?}")),
        None => Ok(()),
    }
}

/// Whether a size is allowed, before anything of that size is allocated.
fn check_size(width: u32, height: u32, limits: &ImageLimits) -> Result<(), String> {
    let pixels = u64::from(width) * u64::from(height);
    let allowed = pixels > 0 && pixels <= limits.max_pixels && width.max(height) <= limits.max_side;
    if allowed { Ok(()) } else { Err(format!("{width}x{height} pixels are not allowed")) }
}

#[cfg(test)]
pub(crate) mod tests;
