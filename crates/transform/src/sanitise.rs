//! A document to a document, without what is active in it.

use lazaret_sandbox::{
    Confined,
    format::{Encoded, Sanitise},
};

use crate::failure::{Failure, decode_failed};

/// Parses the document in `input` and writes it anew.
pub fn sanitise(_confined: &Confined, task: &Sanitise, _input: &[u8], _output: &mut [u8]) -> Result<Encoded, Failure> {
    Err(decode_failed(format_args!("{} is not sanitised", task.format.media_type())))
}
