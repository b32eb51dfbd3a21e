//! Streams that are packed as one: gzip (RFC 1952), bzip2, xz.

use std::{
    cell::Cell,
    io::{self, BufReader, Read},
};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use super::{
    Kind,
    content::Content,
    examine::{Packed, member},
    ledger::{Ledger, Walk},
    place::Place,
};

const BUFFER_BYTES: usize = 32 * 1024;

/// Looks at what comes out of a stream. All three may be several streams, one behind the other, and what else is behind
/// them is an error to the decoders.
pub(super) fn walk(ledger: &Ledger<'_>, mut content: Content<'_>, kind: Kind, place: &Place<'_>) -> Walk {
    ledger.entry()?;
    let (packed, unpacked) = (Cell::new(0), Cell::new(0));
    let source =
        BufReader::with_capacity(BUFFER_BYTES, Source { content: &mut content, packed: &packed, unpacked: &unpacked });
    let mut memory = None;
    let decoder: Box<dyn Read + '_> = match kind {
        Kind::Bzip2 => Box::new(MultiBzDecoder::new(source)),
        Kind::Xz => {
            // The dictionary's size comes with each block, so what it may be is set aside.
            let room = ledger.memory_left() / 4 * 3;
            memory = ledger.grant(room, place);
            Box::new(XzReader::new_mem_limit(source, true, u32::try_from(room / 1024).unwrap_or(u32::MAX)))
        }
        _ => Box::new(MultiGzDecoder::new(source)),
    };
    let mut counted = Unpacked { decoder, count: &unpacked };
    let walked = member(ledger, Content::Flowing(&mut counted), Packed::SoFar(&packed), &place.member(b""));
    drop(memory);
    walked
}

/// The packed side. Streams with nothing in them cost time and end nowhere: no honest packer writes much more than it
/// reads.
struct Source<'a, 'c> {
    content: &'a mut Content<'c>,
    packed: &'a Cell<u64>,
    unpacked: &'a Cell<u64>,
}

impl Source<'_, '_> {
    const OVERHEAD: u64 = 1024 * 1024;
}

impl Read for Source<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let packed = self.packed.get();
        if packed > self.unpacked.get().saturating_mul(2).saturating_add(Self::OVERHEAD) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is much longer packed than unpacked"));
        }
        let count = self.content.read(buffer)?;
        self.packed.set(packed + count as u64);
        Ok(count)
    }
}

struct Unpacked<'a> {
    decoder: Box<dyn Read + 'a>,
    count: &'a Cell<u64>,
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}
