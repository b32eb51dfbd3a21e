//! The bytes of an archive or of a member: in a file, in memory, or as they come out of what they are packed in.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
};

use super::{
    ledger::{Grant, Ledger, Walk},
    place::Place,
};

/// Bytes that can be read anywhere, or once from the first to the last.
pub(super) enum Content<'a> {
    Placed(Section<'a>),
    Flowing(&'a mut dyn Read),
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Placed(section) => section.read(buffer),
            Self::Flowing(reader) => reader.read(buffer),
        }
    }
}

/// Reads until `buffer` is full or the bytes end.
pub(super) fn fill(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[derive(Clone, Copy)]
enum Source<'a> {
    File(&'a File),
    Held(&'a Held<'a>),
}

/// A part of a file or of a held copy. Reading it moves its start.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    source: Source<'a>,
    start: u64,
    len: u64,
}

impl<'a> Section<'a> {
    pub(super) const fn of_file(file: &'a File, len: u64) -> Self {
        Self { source: Source::File(file), start: 0, len }
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// `len` bytes from `start`. None: they are not all here.
    pub(super) fn part(&self, start: u64, len: u64) -> Option<Self> {
        let end = start.checked_add(len)?;
        (end <= self.len).then(|| Self { source: self.source, start: self.start + start, len })
    }

    /// The first `len` bytes, which the section begins behind from now on. None: they are not all here.
    pub(super) fn cut(&mut self, len: u64) -> Option<Self> {
        let part = self.part(0, len)?;
        self.start += len;
        self.len -= len;
        Some(part)
    }
}

impl FileExt for Section<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.len.saturating_sub(offset);
        let count = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        match self.source {
            Source::File(file) => file.read_at(&mut buffer[..count], self.start + offset),
            Source::Held(held) => Ok(held.read_at(&mut buffer[..count], self.start + offset)),
        }
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.read_at(buffer, 0)?;
        self.start += count as u64;
        self.len -= count as u64;
        Ok(count)
    }
}

/// A copy in memory of what came out of something packed, in pieces that are never moved.
pub(super) struct Held<'l> {
    pieces: Vec<(Box<[u8]>, Grant<'l>)>,
    len: u64,
}

impl<'l> Held<'l> {
    const PIECE: usize = 64 * 1024;

    /// None: there is no room, or it does not unpack; both are on record.
    pub(super) fn of(reader: &mut dyn Read, ledger: &'l Ledger<'_>, place: &Place<'_>) -> Walk<Option<Self>> {
        let mut held = Self { pieces: Vec::new(), len: 0 };
        loop {
            let Some(grant) = ledger.grant(Self::PIECE as u64, place) else { return Ok(None) };
            let mut piece = vec![0; Self::PIECE].into_boxed_slice();
            let count = match fill(reader, &mut piece) {
                Ok(count) => count,
                Err(error) => return ledger.broken(place, error).map(|()| None),
            };
            held.pieces.push((piece, grant));
            held.len += count as u64;
            if count < Self::PIECE {
                return Ok(Some(held));
            }
        }
    }

    pub(super) fn section(&self) -> Section<'_> {
        Section { source: Source::Held(self), start: 0, len: self.len }
    }

    /// What one piece has of it. `offset` is within the copy where `buffer` has a length.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> usize {
        let piece = usize::try_from(offset / Self::PIECE as u64).ok().and_then(|index| self.pieces.get(index));
        let within = usize::try_from(offset % Self::PIECE as u64).unwrap_or_default();
        let available = piece.and_then(|(bytes, _)| bytes.get(within..)).unwrap_or_default();
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        count
    }
}
