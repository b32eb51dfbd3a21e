//! Files to a yes or no: the last process of every job.

use lazaret_sandbox::{Confined, format::Verify};

use crate::failure::{Failure, decode_failed};

/// Looks at every file anew: its structure, that nothing trails, that it spells nothing active, that it decodes, and
/// that it is as large as announced.
pub fn verify(_confined: &Confined, task: &Verify, _input: &[u8]) -> Result<(), Failure> {
    Err(decode_failed(format_args!("{} files are not verified", task.artefacts.len())))
}
