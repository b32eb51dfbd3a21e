//! Bytes to pixels: the first process of a job.

use lazaret_sandbox::{
    Confined,
    format::{Decode, Decoded},
};

use crate::failure::{Failure, decode_failed};

/// Decodes the input into a picture (`lazaret_sandbox::picture`): upright, eight bits a channel, in sRGB or the gamut
/// that the task keeps.
pub fn decode(_confined: &Confined, task: &Decode, _input: &[u8], _output: &mut [u8]) -> Result<Decoded, Failure> {
    Err(decode_failed(format_args!("{} is not decoded", task.format.media_type())))
}
