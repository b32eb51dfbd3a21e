//! `Read` and `Seek` over a spooled object, without touching the descriptor's shared offset.

use std::{
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
};

use lazaret_core::Spooled;

pub(crate) struct PositionedReader<'a> {
    object: &'a Spooled,
    position: u64,
}

impl<'a> PositionedReader<'a> {
    pub(crate) const fn new(object: &'a Spooled) -> Self {
        Self { object, position: 0 }
    }
}

impl Read for PositionedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.object.file().read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for PositionedReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.object.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}
