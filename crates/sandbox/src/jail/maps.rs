//! The input and the output: two maps instead of two descriptors.

#![expect(unsafe_code, reason = "mapping a file and closing a standard descriptor are unsafe")]

use std::io;

use memmap2::{Mmap, MmapMut, MmapOptions};

use super::MissingLayer;
use crate::layer::Layer;

/// The maps of descriptors 0 and 1, which are closed once mapped.
#[derive(Debug)]
pub(super) struct Maps {
    input: Mmap,
    /// One page longer than the file: touching that page is SIGBUS, so a write past the end meets no neighbour.
    output: MmapMut,
    output_bytes: usize,
}

impl Maps {
    /// Maps `input_bytes` of descriptor 0 and `output_bytes`, a multiple of the page size, of descriptor 1.
    pub(super) fn take(input_bytes: u64, output_bytes: u64) -> Result<Self, MissingLayer> {
        let missing = MissingLayer::because(Layer::Maps);
        let (stdin, stdout) = (io::stdin(), io::stdout());
        for (name, found, told) in [
            ("input", rustix::fs::fstat(&stdin).map_err(&missing)?.st_size, input_bytes),
            ("output", rustix::fs::fstat(&stdout).map_err(&missing)?.st_size, output_bytes),
        ] {
            if u64::try_from(found).ok() != Some(told) || told == 0 {
                let detail = format_args!("{name} is {found} bytes long, not {told}").to_string();
                return Err(MissingLayer::new(Layer::Maps, detail));
            }
        }
        let too_large = |_| MissingLayer::new(Layer::Maps, "the file is larger than the address space");
        let input_bytes = usize::try_from(input_bytes).map_err(too_large)?;
        let output_bytes = usize::try_from(output_bytes).map_err(too_large)?;
        let guarded = output_bytes.checked_add(rustix::param::page_size());
        let guarded = guarded.ok_or_else(|| MissingLayer::new(Layer::Maps, "the output is too large"))?;
        // SAFETY: the host changes neither file while this process lives, and nobody else has them: the input is
        // sealed or unlinked, the output is a new memfd. A host that broke this would only harm this process.
        let (input, output) = unsafe {
            (
                MmapOptions::new().len(input_bytes).map_copy_read_only(&stdin),
                MmapOptions::new().len(guarded).map_mut(&stdout),
            )
        };
        let maps = Self {
            input: input.map_err(MissingLayer::because(Layer::Maps))?,
            output: output.map_err(MissingLayer::because(Layer::Maps))?,
            output_bytes,
        };
        // SAFETY: nothing in this process reads standard input or writes standard output, before or after.
        if unsafe { libc::close(0) | libc::close(1) } != 0 {
            return Err(MissingLayer::new(Layer::Descriptors, io::Error::last_os_error()));
        }
        Ok(maps)
    }

    /// The input, and the output without its guard page.
    pub(super) fn split(&mut self) -> (&[u8], &mut [u8]) {
        (&self.input, &mut self.output[..self.output_bytes])
    }

    /// The first byte behind the output, which is in the guard page.
    pub(super) fn past_output(&mut self) -> &mut u8 {
        &mut self.output[self.output_bytes]
    }
}
