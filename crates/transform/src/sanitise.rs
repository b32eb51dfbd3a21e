//! A document to a document, without what is active in it.
//!
//! Both kinds are parsed whole and written anew from what was understood; nothing is edited in place. What a writer
//! here would not write does not come through, and [`crate::verify`] asks that a second pass changes no byte.

pub(crate) mod pdf;
pub(crate) mod spelled;
pub(crate) mod svg;

use lazaret_sandbox::{
    Confined,
    format::{Artefact, DocumentFormat, Encoded, List, Sanitise},
};

use crate::failure::{Failure, output_full};

/// Parses the document in `input` and writes it anew.
pub fn sanitise(_confined: &Confined, task: &Sanitise, input: &[u8], output: &mut [u8]) -> Result<Encoded, Failure> {
    let len = match task.format {
        DocumentFormat::Pdf => pdf::sanitise(input, output)?,
        DocumentFormat::Svg => svg::sanitise(input, output)?,
    };
    let artefact = Artefact { offset: 0, len, format: task.format.into(), width: 0, height: 0, frames: 0 };
    let artefacts = List::of([artefact]).ok_or_else(output_full)?;
    Ok(Encoded { artefacts, thumbhash: List::new() })
}
