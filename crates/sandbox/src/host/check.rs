//! What an encoder says about its files, which is hostile: it is believed only where it can be.

use crate::{
    format::{Artefact, ArtefactFormat, DocumentFormat, Encode, Encoded},
    picture::Outline,
};

/// What an honest encoder answers.
#[derive(Debug)]
pub(super) struct Expected {
    format: ArtefactFormat,
    variants: ArtefactFormat,
    /// The bounds of each file, the object first; of a document there are none.
    bounds: Vec<Option<Bounds>>,
}

/// The most that a file can show.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    width: u32,
    height: u32,
    side: u32,
    frames: u32,
}

impl Expected {
    /// The image and its variants, none of them larger than the picture or with more frames.
    pub(super) fn files(task: &Encode, outline: &Outline) -> Self {
        let Outline { width, height, frames, .. } = *outline;
        let side = |side| if side == 0 { u32::MAX } else { side };
        let object = Bounds { width, height, side: side(task.max_side), frames };
        let variants = task.variants.iter().map(|max_side| Bounds { side: side(max_side), frames: 1, ..object });
        let bounds = std::iter::once(object).chain(variants).map(Some).collect();
        Self { format: task.format.into(), variants: task.format.of_variants().into(), bounds }
    }

    /// One document.
    pub(super) fn document(format: DocumentFormat) -> Self {
        Self { format: format.into(), variants: format.into(), bounds: vec![None] }
    }
}

/// The length of all files together, or what is not so.
pub(super) fn files(encoded: &Encoded, expected: &Expected, capacity: u64) -> Result<u64, String> {
    let (found, wanted) = (encoded.artefacts.len(), expected.bounds.len());
    if found != wanted {
        return Err(format!("claims {found} files instead of {wanted}"));
    }
    let mut end = 0_u64;
    let formats = std::iter::once(expected.format).chain(std::iter::repeat(expected.variants));
    for ((artefact, bounds), wanted) in encoded.artefacts.iter().zip(&expected.bounds).zip(formats) {
        let Artefact { offset, len, format, width, height, frames } = artefact;
        let next = offset.checked_add(len).filter(|&next| next <= capacity);
        let Some(next) = next.filter(|_| offset == end && len > 0) else {
            return Err(format!("claims {len} bytes at {offset} of an output of {capacity}, behind {end}"));
        };
        end = next;
        if format != wanted {
            return Err(format!("claims {} instead of {}", format.media_type(), wanted.media_type()));
        }
        let possible = match bounds {
            Some(bounds) => {
                (1..=bounds.width.min(bounds.side)).contains(&width)
                    && (1..=bounds.height.min(bounds.side)).contains(&height)
                    && (1..=bounds.frames).contains(&frames)
            }
            None => (width, height, frames) == (0, 0, 0),
        };
        if !possible {
            return Err(format!("claims {frames} frames of {width}x{height} pixels"));
        }
    }
    if !expected.format.is_image() && !encoded.thumbhash.is_empty() {
        return Err("claims that a document looks like something".into());
    }
    Ok(end)
}
