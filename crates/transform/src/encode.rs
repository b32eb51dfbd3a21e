//! Pixels to files: the second process of a job.

use lazaret_sandbox::{
    Confined,
    format::{Encode, Encoded},
};

use crate::failure::{Failure, decode_failed};

/// Encodes the picture in `input`: the image first, then every variant, one behind the other.
pub fn encode(_confined: &Confined, task: &Encode, _input: &[u8], _output: &mut [u8]) -> Result<Encoded, Failure> {
    Err(decode_failed(format_args!("{:?} is not encoded", task.format)))
}
