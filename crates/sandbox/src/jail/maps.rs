//! The input and the output: two maps instead of two descriptors.

#![expect(unsafe_code, reason = "mapping a file and advice about memory are unsafe")]

use std::{io, os::fd::AsFd};

use memmap2::{Mmap, MmapMut, MmapOptions};

use super::MissingLayer;
use crate::layer::Layer;

/// The maps of descriptors 0 and 1.
#[derive(Debug)]
pub(super) struct Maps {
    /// None: the input comes another way.
    input: Option<Mmap>,
    /// One page longer than the file: touching that page is SIGBUS, so a write past the end meets no neighbour. None:
    /// there is nothing to put out.
    output: Option<MmapMut>,
    output_bytes: usize,
}

impl Maps {
    /// Maps `input_bytes` of descriptor 0 and `output_bytes`, both multiples of the page size, of descriptor 1.
    pub(super) fn take(input_bytes: u64, output_bytes: u64) -> Result<Self, MissingLayer> {
        let missing = MissingLayer::because(Layer::Maps);
        let input_bytes = length("input", io::stdin(), input_bytes)?;
        // SAFETY: nobody changes the file any more when it is first looked at: the host says so with the task, or has the
        // map given back unseen. A host that broke this would only harm this process.
        let input = unsafe { MmapOptions::new().len(input_bytes).map_copy_read_only(&io::stdin()) };
        let input = input.map_err(&missing)?;
        let (output, output_bytes) = if output_bytes == 0 {
            (None, 0)
        } else {
            let output_bytes = length("output", io::stdout(), output_bytes)?;
            let guarded = output_bytes.checked_add(rustix::param::page_size());
            let guarded = guarded.ok_or_else(|| MissingLayer::new(Layer::Maps, "the output is too large"))?;
            // SAFETY: a new memfd that nobody else writes while this process lives. The host reads it, with system calls.
            let output = unsafe { MmapOptions::new().len(guarded).map_mut(&io::stdout()) };
            (Some(output.map_err(&missing)?), output_bytes)
        };
        Ok(Self { input: Some(input), output, output_bytes })
    }

    /// The first `input_bytes` of the input, and the output without its guard page. None: the input is shorter.
    pub(super) fn split(&mut self, input_bytes: u64) -> Option<(&[u8], &mut [u8])> {
        let input = self.input.as_deref()?.get(..usize::try_from(input_bytes).ok()?)?;
        let output = self.output.as_deref_mut().unwrap_or_default();
        Some((input, &mut output[..self.output_bytes]))
    }

    /// Gives back the input, which whoever wrote it may still write, and answers the output without its guard page.
    pub(super) fn output_alone(&mut self) -> &mut [u8] {
        self.input = None;
        let output = self.output.as_deref_mut().unwrap_or_default();
        &mut output[..self.output_bytes]
    }

    /// The first byte behind the output, which is in the guard page; without an output it is null.
    pub(super) fn past_output(&mut self) -> *mut u8 {
        self.output.as_mut().map_or(std::ptr::null_mut(), |output| &raw mut output[self.output_bytes])
    }

    /// The first byte of the input, which cannot be written; null where it is given back.
    pub(super) fn input(&self) -> *mut u8 {
        self.input.as_ref().map_or(std::ptr::null_mut(), |input| input.as_ptr().cast_mut())
    }
}

/// Has the kernel give `memory` its pages at once rather than one by one as they are first written. Only how long that
/// takes changes: a kernel before 5.14 refuses, and the pages come one by one.
pub fn populate(memory: &mut [u8]) {
    if memory.is_empty() {
        return;
    }
    let before = memory.as_ptr().addr() % rustix::param::page_size();
    let start = memory.as_mut_ptr().wrapping_sub(before);
    // SAFETY: the advice changes no byte, and pages are whole: the first and the last one are in part this memory's.
    let _refused = unsafe { libc::madvise(start.cast(), memory.len() + before, libc::MADV_POPULATE_WRITE) };
}

/// The length of a descriptor's file, which must be the one that was told.
fn length(name: &str, fd: impl AsFd, told: u64) -> Result<usize, MissingLayer> {
    let found = rustix::fs::fstat(fd).map_err(MissingLayer::because(Layer::Maps))?.st_size;
    match usize::try_from(told) {
        Ok(len) if u64::try_from(found).ok() == Some(told) && told > 0 => Ok(len),
        _ => Err(MissingLayer::new(Layer::Maps, format_args!("{name} is {found} bytes long, not {told}"))),
    }
}
