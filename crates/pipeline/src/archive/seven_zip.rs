//! The members of a 7z (7-Zip's DOC/7zFormat.txt and DOC/Methods.txt).
//!
//! The header is read whole, unpacked first where it is packed, within fixed bounds. What is packed by chains of LZMA,
//! LZMA2 and branch filters is unpacked and looked into; dictionaries are never larger than what they are for.

mod chain;
mod header;

use std::{
    io::{self, Read},
    iter,
    os::unix::fs::FileExt,
};

use super::{
    Kind,
    content::{Content, Section, fill},
    examine::{Packed, member},
    ledger::{Grant, Ledger, Walk},
    place::Place,
};
use chain::Unpackable;
use header::{Archive, Block, Header, Streams};

/// The longest header that is read, packed or not, in bytes: some ten thousand members.
const MAX_HEADER_BYTES: u64 = 2 * 1024 * 1024;

/// How much memory it takes with its parts, for each byte of it.
const MEMORY_PER_HEADER_BYTE: u64 = 12;

/// How often a header may be packed.
const MAX_PACKED_HEADERS: u32 = 4;

const START_BYTES: u64 = 32;

/// Why a walk ends before the archive does.
enum End {
    Halt(super::ledger::Halt),
    Read(io::Error),
    Layout(&'static str),
    /// What kept it is on record.
    Told,
}

impl From<super::ledger::Halt> for End {
    fn from(halt: super::ledger::Halt) -> Self {
        Self::Halt(halt)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<&'static str> for End {
    fn from(why: &'static str) -> Self {
        Self::Layout(why)
    }
}

pub(super) fn walk(ledger: &Ledger<'_>, archive: Section<'_>, place: &Place<'_>) -> Walk {
    match walk_members(ledger, archive, place) {
        Ok(()) | Err(End::Told) => Ok(()),
        Err(End::Halt(halt)) => Err(halt),
        Err(End::Read(error)) => ledger.broken(place, error),
        Err(End::Layout(why)) => {
            ledger.unreadable(place, Kind::SevenZip, why);
            Ok(())
        }
    }
}

fn walk_members(ledger: &Ledger<'_>, archive: Section<'_>, place: &Place<'_>) -> Result<(), End> {
    let mut start = [0; 32];
    if fill(&mut { archive }, &mut start)? < start.len() {
        return Err(End::Layout("it ends within its first header"));
    }
    let at = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| start[at + index]));
    let (offset, size) = (at(12), at(20));
    if start[6] != 0 {
        return Err(End::Layout("it is of a version that is not known"));
    }
    // Without a header 7-Zip looks for one from behind.
    if offset.checked_add(size).and_then(|end| end.checked_add(START_BYTES)) != Some(archive.len()) {
        return Err(End::Layout("its header does not reach to its last byte"));
    }
    if size == 0 {
        return Ok(());
    }
    if size > MAX_HEADER_BYTES {
        return Err(End::Layout("its header is too long to be looked at"));
    }
    let mut memory = vec![ledger.grant(MEMORY_PER_HEADER_BYTE * size, place).ok_or(End::Told)?];
    // At most `MAX_HEADER_BYTES`, which fit any `usize`.
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    archive.read_exact_at(&mut bytes, START_BYTES + offset)?;
    for _ in 0..=MAX_PACKED_HEADERS {
        match Header::parse(&bytes, ledger.max_entries())? {
            Header::Plain(parsed) => return look_at(ledger, archive, &parsed, place),
            Header::TooMany(members) => return Ok(ledger.claims_entries(members)?),
            Header::Packed(streams) => {
                let (unpacked, grant) = unpack_header(ledger, archive, &streams, place)?;
                bytes = unpacked;
                memory.push(grant);
            }
        }
    }
    Err(End::Layout("its header is packed again and again"))
}

fn unpack_header<'l>(
    ledger: &'l Ledger<'_>,
    archive: Section<'_>,
    streams: &Streams,
    place: &Place<'_>,
) -> Result<(Vec<u8>, Grant<'l>), End> {
    let mut blocks = streams.blocks(START_BYTES);
    let (Some(block), None) = (blocks.next(), blocks.next()) else {
        return Err(End::Layout("its packed header is not understood"));
    };
    let block = block?;
    if block.folder.is_encrypted() {
        ledger.encrypted(place);
        return Err(End::Told);
    }
    let size = block.folder.size();
    if size > MAX_HEADER_BYTES {
        return Err(End::Layout("its header is too long to be looked at"));
    }
    let grant = ledger.grant(MEMORY_PER_HEADER_BYTE * size, place).ok_or(End::Told)?;
    let mut unpacked = open(ledger, archive, &block, place)?.ok_or(End::Told)?;
    // At most `MAX_HEADER_BYTES`, which fit any `usize`.
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    unpacked.reader.read_exact(&mut bytes)?;
    Ok((bytes, grant))
}

/// What comes out of a folder. None: it is not unpacked here, which is on record.
fn open<'a>(
    ledger: &'a Ledger<'_>,
    archive: Section<'a>,
    block: &Block<'_>,
    place: &Place<'_>,
) -> Result<Option<chain::Unpacked<'a>>, End> {
    let Some(data) = archive.part(block.start, block.packed_size) else {
        return Err(End::Layout("its packed streams reach beyond it"));
    };
    match chain::open(ledger, block.folder, data, place)? {
        Unpackable::Yes(unpacked) => Ok(Some(unpacked)),
        Unpackable::NoRoom => Ok(None),
        Unpackable::No(method) => {
            ledger.limits(|| format!("{place} is packed by {method}, which is not looked into"));
            Ok(None)
        }
    }
}

fn look_at(ledger: &Ledger<'_>, archive: Section<'_>, parsed: &Archive<'_>, place: &Place<'_>) -> Result<(), End> {
    ledger.claims_entries(parsed.files)?;
    for _ in 0..parsed.files {
        ledger.entry()?;
    }
    let mut names = parsed.names_with_data();
    for block in parsed.streams.blocks(START_BYTES) {
        let block = block?;
        look_at_block(ledger, archive, &block, &mut names, place)?;
    }
    Ok(())
}

/// The members of one folder lie behind each other in what it unpacks to.
fn look_at_block(
    ledger: &Ledger<'_>,
    archive: Section<'_>,
    block: &Block<'_>,
    names: &mut dyn Iterator<Item = Vec<u8>>,
    place: &Place<'_>,
) -> Result<(), End> {
    let members = &block.folder.members;
    let nameless = iter::repeat_with(Vec::new);
    let names: Vec<_> = names.take(members.len()).chain(nameless).take(members.len()).collect();
    let Some(first) = names.first() else { return Ok(()) };
    let here = place.member(first);
    if block.folder.is_encrypted() {
        ledger.encrypted(&here);
        return Ok(());
    }
    ledger.check_ratio(block.folder.size(), block.packed_size, &here)?;
    let Some(mut unpacked) = open(ledger, archive, block, &here)? else {
        return Ok(ledger.claim(block.packed_size, block.folder.size(), &here)?);
    };
    for (size, name) in members.iter().zip(&names) {
        let here = place.member(name);
        let mut data = (&mut unpacked.reader).take(*size);
        member(ledger, Content::Flowing(&mut data), Packed::Not, &here)?;
        if data.limit() > 0 {
            ledger.unreadable(&here, Kind::SevenZip, "it is longer than what its data unpacks to");
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
