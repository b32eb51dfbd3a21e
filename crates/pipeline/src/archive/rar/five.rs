//! Blocks of version 5.

use super::{CUT_OFF, End, File, Ledger, MARK_5, Place, Section, checksum, look_at, read};

const MAIN: u64 = 1;
const FILE: u64 = 2;
const SERVICE: u64 = 3;
const ENCRYPTION: u64 = 4;
const END: u64 = 5;

/// Flags of every header.
const HAS_EXTRA: u64 = 0x01;
const HAS_DATA: u64 = 0x02;
const SPLIT: u64 = 0x08 | 0x10;

/// Flags of the archive.
const VOLUME: u64 = 0x01;

/// Flags of a file.
const FOLDER: u64 = 0x01;
const HAS_TIME: u64 = 0x02;
const HAS_CHECKSUM: u64 = 0x04;
const UNKNOWN_SIZE: u64 = 0x08;

/// What packs a file: nothing, where none of these bits is set.
const METHOD: u64 = 7 << 7;

/// The record of a file that is encrypted.
const FILE_ENCRYPTION: u64 = 1;

/// A checksum, and a size in three bytes at most.
const SIZE_AT: u64 = 4;
const MAX_SIZE_BYTES: u64 = 3;

pub(super) fn walk(ledger: &Ledger<'_>, archive: Section<'_>, place: &Place<'_>) -> Result<(), End> {
    let mut position = MARK_5.len() as u64;
    let mut began = false;
    loop {
        let left = archive.len() - position;
        let start = read(archive, position, left.min(SIZE_AT + MAX_SIZE_BYTES))?;
        let mut fields = Fields(start.get(4..).ok_or("it ends without a last header")?);
        let size = fields.number()?;
        let size_bytes = start.len() as u64 - SIZE_AT - fields.0.len() as u64;
        let len = SIZE_AT + size_bytes + size;
        let header = read(archive, position, len)?;
        let told = u32::from_le_bytes(*header.first_chunk().ok_or(SHORT)?);
        if checksum(&header[4..]) != told {
            return Err(End::Layout("a header's checksum is wrong"));
        }
        // `len` bytes were read, and fit a `usize`.
        let body = header.get(usize::try_from(SIZE_AT + size_bytes).unwrap_or_default()..).ok_or(SHORT)?;
        let block = Block::parse(body)?;
        let data_start = position + len;
        if block.kind == ENCRYPTION {
            return Err(End::Encrypted);
        }
        if began == (block.kind == MAIN) {
            return Err(End::Layout("its first header is not the archive's, or another one is"));
        }
        began = true;
        look_at_block(ledger, archive, &block, data_start, place)?;
        position = data_start.checked_add(block.data).filter(|end| *end <= archive.len()).ok_or(CUT_OFF)?;
        if block.kind == END {
            return if position == archive.len() { Ok(()) } else { Err(End::Layout("there are bytes behind its end")) };
        }
    }
}

fn look_at_block(
    ledger: &Ledger<'_>,
    archive: Section<'_>,
    block: &Block<'_>,
    data_start: u64,
    place: &Place<'_>,
) -> Result<(), End> {
    match block.kind {
        MAIN if Fields(block.fields).number()? & VOLUME != 0 => Err(End::Layout("it is one part of several")),
        FILE => look_at(ledger, archive, &block.file()?, data_start, place),
        SERVICE => {
            if block.file()?.is_encrypted {
                ledger.encrypted(place);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

const SHORT: &str = "a header is shorter than headers are";

struct Block<'a> {
    kind: u64,
    flags: u64,
    data: u64,
    fields: &'a [u8],
    extra: &'a [u8],
}

impl<'a> Block<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, End> {
        let mut fields = Fields(body);
        let (kind, flags) = (fields.number()?, fields.number()?);
        let extra = if flags & HAS_EXTRA == 0 { 0 } else { fields.number()? };
        let data = if flags & HAS_DATA == 0 { 0 } else { fields.number()? };
        let extra = usize::try_from(extra).ok().and_then(|extra| fields.0.len().checked_sub(extra)).ok_or(SHORT)?;
        let (fields, extra) = fields.0.split_at(extra);
        Ok(Self { kind, flags, data, fields, extra })
    }

    fn file(&self) -> Result<File<'a>, End> {
        let mut fields = Fields(self.fields);
        let (flags, size) = (fields.number()?, fields.number()?);
        let _attributes = fields.number()?;
        fields.take(if flags & HAS_TIME == 0 { 0 } else { 4 })?;
        fields.take(if flags & HAS_CHECKSUM == 0 { 0 } else { 4 })?;
        let compression = fields.number()?;
        let _system = fields.number()?;
        let name = fields.number()?;
        Ok(File {
            name: fields.take(name)?,
            is_encrypted: self.has_record(FILE_ENCRYPTION)?,
            is_split: self.flags & SPLIT != 0,
            is_stored: compression & METHOD == 0,
            is_folder: flags & FOLDER != 0,
            packed_size: self.data,
            size: (flags & UNKNOWN_SIZE == 0).then_some(size),
        })
    }

    fn has_record(&self, kind: u64) -> Result<bool, End> {
        let mut extra = Fields(self.extra);
        while !extra.0.is_empty() {
            let len = extra.number()?;
            if Fields(extra.take(len)?).number()? == kind {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What is left of a header's fields.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Seven bits in each byte, the lowest first; the top bit says that there are more.
    fn number(&mut self) -> Result<u64, End> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if bits.checked_shl(shift).is_none_or(|shifted| shifted >> shift != bits) {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(End::Layout("a number in a header is too large"))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], End> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let (taken, rest) = self.0.split_at_checked(len).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }
}
