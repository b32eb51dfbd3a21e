//! Whether what is written is what is there.

use std::io::{self, Write};

/// Takes the bytes it knows and no others.
pub(super) struct Expected<'a> {
    rest: &'a [u8],
}

impl<'a> Expected<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all were written.
    pub(super) fn end(&self) -> Result<(), String> {
        let trailing = self.rest.len();
        if trailing == 0 { Ok(()) } else { Err(format!("{trailing} bytes trail")) }
    }
}

impl Write for Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest = self.rest.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
