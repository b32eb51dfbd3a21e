//! The members of a zip, each unpacked to its last byte.

use std::io::{BufRead, BufReader, Read};

use bzip2::bufread::BzDecoder;
use deflate64::Deflate64Decoder;
use flate2::bufread::DeflateDecoder;

use super::{
    Kind,
    content::{Content, Section},
    examine::{Packed, member},
    ledger::{Ledger, Walk},
    place::Place,
};
use crate::zip_directory::{Member, Members, Unreadable, method};

const BUFFER_BYTES: usize = 32 * 1024;

pub(super) fn walk(ledger: &Ledger<'_>, archive: Section<'_>, place: &Place<'_>) -> Walk {
    match walk_members(ledger, archive, place) {
        Ok(walked) => walked,
        Err(Unreadable::Read(error)) => ledger.broken(place, error),
        Err(error @ (Unreadable::Layout(_) | Unreadable::TooMany(_))) => {
            ledger.unreadable(place, Kind::Zip, error);
            Ok(())
        }
    }
}

fn walk_members(ledger: &Ledger<'_>, archive: Section<'_>, place: &Place<'_>) -> Result<Walk, Unreadable> {
    let mut members = Members::open(&archive, archive.len())?;
    if let Err(halt) = ledger.claims_entries(members.left()) {
        return Ok(Err(halt));
    }
    while let Some(found) = members.advance()? {
        if let Err(halt) = ledger.entry().and_then(|()| look_at(ledger, archive, &found, place)) {
            return Ok(Err(halt));
        }
    }
    Ok(Ok(()))
}

fn look_at(ledger: &Ledger<'_>, archive: Section<'_>, found: &Member<'_>, place: &Place<'_>) -> Walk {
    let place = place.member(found.name);
    if found.encrypted {
        ledger.encrypted(&place);
        return Ok(());
    }
    let Some(data) = archive.part(found.data_start, found.packed_size) else {
        ledger.unreadable(&place, Kind::Zip, "it reaches beyond the archive");
        return Ok(());
    };
    let capacity = usize::try_from(found.packed_size).unwrap_or(BUFFER_BYTES).clamp(1, BUFFER_BYTES);
    let source = BufReader::with_capacity(capacity, data);
    match found.method {
        method::STORED => member(ledger, Content::Placed(data), Packed::Not, &place),
        method::DEFLATE => unpack(ledger, found, DeflateDecoder::new(source), DeflateDecoder::into_inner, &place),
        method::DEFLATE64 => {
            unpack(ledger, found, Deflate64Decoder::with_buffer(source), Deflate64Decoder::into_inner, &place)
        }
        method::BZIP2 => unpack(ledger, found, BzDecoder::new(source), BzDecoder::into_inner, &place),
        other => {
            ledger.limits(|| format!("{place} is packed by method {other}, which no scanner unpacks"));
            Ok(())
        }
    }
}

/// The packed data has to be all there is, and to come to the size that the headers say: else readers differ in what
/// they see.
fn unpack<'a, D: Read>(
    ledger: &Ledger<'_>,
    found: &Member<'_>,
    decoder: D,
    into_source: fn(D) -> BufReader<Section<'a>>,
    place: &Place<'_>,
) -> Walk {
    let mut counted = Counted { decoder, count: 0, ended: false };
    member(ledger, Content::Flowing(&mut counted), Packed::Known(found.packed_size), place)?;
    if !counted.ended {
        return Ok(());
    }
    if counted.count != found.size {
        let (count, size) = (counted.count, found.size);
        ledger.unreadable(place, Kind::Zip, format_args!("it unpacks to {count} bytes, its headers say {size}"));
    }
    match into_source(counted.decoder).fill_buf() {
        Ok([]) => Ok(()),
        Ok(_) => {
            ledger.unreadable(place, Kind::Zip, "there are bytes behind its packed data");
            Ok(())
        }
        Err(error) => ledger.broken(place, error),
    }
}

struct Counted<D> {
    decoder: D,
    count: u64,
    /// The decoder came to its own end.
    ended: bool,
}

impl<D: Read> Read for Counted<D> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.decoder.read(buffer)?;
        self.count += count as u64;
        self.ended |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}
