//! Writing into the output map.

use std::io::{self, Write};

use crate::failure::{Failure, output_full};

/// The output from its front. A write that does not fit whole fails.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    memory: &'a mut [u8],
    len: usize,
    overflowed: bool,
}

impl<'a> Output<'a> {
    pub(crate) fn new(memory: &'a mut [u8]) -> Self {
        Self { memory, len: 0, overflowed: false }
    }

    /// Bytes written.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The result of an encoder that wrote here: its failure, whatever it says, is for want of room where there was
    /// no room.
    pub(crate) fn judge<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        if self.overflowed { Err(output_full()) } else { result }
    }

    /// Appends all of `bytes`.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.write_all(bytes).map_err(|_| output_full())
    }

    /// What was written from `at` on, to put in a length known only later.
    pub(crate) fn written_from(&mut self, at: usize) -> &mut [u8] {
        &mut self.memory[at..self.len]
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.len.checked_add(bytes.len()).filter(|&end| end <= self.memory.len());
        let Some(end) = end else {
            self.overflowed = true;
            return Err(io::ErrorKind::WriteZero.into());
        };
        self.memory[self.len..end].copy_from_slice(bytes);
        self.len = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
