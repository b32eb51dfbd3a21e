//! The members of a tar (POSIX.1-2024 pax, "ustar interchange format"; GNU tar manual, "Basic Tar Format").
//!
//! Readers differ in what they make of its rarer fields: sizes in binary form or in extended headers, links with data,
//! several tars behind each other, sparse files. Only what all of them read alike is walked; the rest is held.

use std::io::{self, Read};

use super::{
    Kind,
    content::{Content, fill},
    examine::{Packed, member},
    ledger::{Ledger, Walk},
    place::Place,
};

const BLOCK: usize = 512;

/// The longest extended header that is read, in bytes.
const MAX_EXTENDED_BYTES: u64 = 256 * 1024;

/// Whether a block is a member's header: its checksum is right, which no accident makes it.
pub(super) fn begins(head: &[u8]) -> bool {
    head.first_chunk::<BLOCK>().is_some_and(|block| block[0] != 0 && Header::parse(block).is_ok())
}

pub(super) fn walk(ledger: &Ledger<'_>, content: Content<'_>, place: &Place<'_>) -> Walk {
    match (Tar { ledger, content, place, told_size: None, is_sparse: false }).walk() {
        Ok(()) => Ok(()),
        Err(End::Halt(halt)) => Err(halt),
        Err(End::Read(error)) => ledger.broken(place, error),
        Err(End::Layout(why)) => {
            ledger.unreadable(place, Kind::Tar, why);
            Ok(())
        }
    }
}

/// Why a walk ends before the tar does.
enum End {
    Halt(super::ledger::Halt),
    Read(io::Error),
    Layout(&'static str),
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

struct Tar<'a, 'c> {
    ledger: &'a Ledger<'a>,
    content: Content<'c>,
    place: &'a Place<'a>,
    /// What an extended header says of the next member.
    told_size: Option<u64>,
    is_sparse: bool,
}

impl Tar<'_, '_> {
    fn walk(mut self) -> Result<(), End> {
        let mut block = [0; BLOCK];
        loop {
            match fill(&mut self.content, &mut block)? {
                0 => return Ok(()),
                BLOCK => {}
                _ => return Err(End::Layout("it ends within a header")),
            }
            if block == [0; BLOCK] {
                return self.end();
            }
            let header = Header::parse(&block).map_err(End::Layout)?;
            match header.kind {
                b'x' | b'X' | b'g' => self.read_extended(&header)?,
                // The long name of the next member or of its link.
                b'L' | b'K' => {
                    self.pass(header.size)?;
                    self.pass_padding(header.size)?;
                }
                b'S' => return Err(End::Layout("it has a sparse member, which no scanner unpacks")),
                b'M' => return Err(End::Layout("it is one part of several")),
                b'1'..=b'6' if header.size > 0 => {
                    return Err(End::Layout("a link, a device or a folder in it has a size"));
                }
                _ => self.look_at(&header)?,
            }
        }
    }

    fn look_at(&mut self, header: &Header<'_>) -> Result<(), End> {
        if self.told_size.take().is_some_and(|size| size != header.size) {
            return Err(End::Layout("an extended header gives a member another size"));
        }
        if self.is_sparse {
            return Err(End::Layout("it has a sparse member, which no scanner unpacks"));
        }
        self.ledger.entry()?;
        if header.size == 0 {
            return Ok(());
        }
        let (ledger, place) = (self.ledger, self.place.member(header.name));
        match &mut self.content {
            Content::Placed(rest) => {
                let data = rest.cut(header.size).ok_or(CUT_OFF)?;
                member(ledger, Content::Placed(data), Packed::Not, &place)?;
            }
            Content::Flowing(reader) => {
                let mut data = reader.take(header.size);
                member(ledger, Content::Flowing(&mut data), Packed::Not, &place)?;
                if data.limit() > 0 {
                    return Err(CUT_OFF);
                }
            }
        }
        self.pass_padding(header.size)
    }

    /// Records of an extended header: `length keyword=value\n`.
    fn read_extended(&mut self, header: &Header<'_>) -> Result<(), End> {
        const BAD: End = End::Layout("an extended header is not understood");
        if header.size > MAX_EXTENDED_BYTES {
            return Err(End::Layout("an extended header is too long to be looked at"));
        }
        // At most `MAX_EXTENDED_BYTES`, which fit any `usize`.
        let mut bytes = vec![0; usize::try_from(header.size).unwrap_or_default()];
        if fill(&mut self.content, &mut bytes)? < bytes.len() {
            return Err(CUT_OFF);
        }
        self.pass_padding(header.size)?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let digits = rest.iter().position(|&byte| byte == b' ').ok_or(BAD)?;
            let len = number(&rest[..digits], 10).and_then(|len| usize::try_from(len).ok()).ok_or(BAD)?;
            let (record, behind) = rest.split_at_checked(len).ok_or(BAD)?;
            let record = record.get(digits + 1..).and_then(|record| record.strip_suffix(b"\n")).ok_or(BAD)?;
            let equals = record.iter().position(|&byte| byte == b'=').ok_or(BAD)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            if key == b"size" {
                if header.kind == b'g' {
                    return Err(End::Layout("an extended header gives all members one size"));
                }
                self.told_size = Some(number(value, 10).ok_or(BAD)?);
            }
            self.is_sparse |= key.starts_with(b"GNU.sparse.");
            rest = behind;
        }
        Ok(())
    }

    /// What fills a member's last block.
    fn pass_padding(&mut self, size: u64) -> Result<(), End> {
        self.pass(size.wrapping_neg() % BLOCK as u64)
    }

    fn pass(&mut self, count: u64) -> Result<(), End> {
        match &mut self.content {
            Content::Placed(rest) => rest.cut(count).map(|_| ()).ok_or(CUT_OFF),
            Content::Flowing(reader) => {
                let passed = io::copy(&mut reader.take(count), &mut io::sink())?;
                if passed < count { Err(CUT_OFF) } else { Ok(()) }
            }
        }
    }

    /// Behind the first empty block some readers go on and others do not, so only empty ones may follow.
    fn end(&mut self) -> Result<(), End> {
        let mut buffer = [0; 16 * BLOCK];
        loop {
            let count = fill(&mut self.content, &mut buffer)?;
            if buffer[..count].iter().any(|&byte| byte != 0) {
                return Err(End::Layout("there are bytes behind its end"));
            }
            if count < buffer.len() {
                return Ok(());
            }
        }
    }
}

const CUT_OFF: End = End::Layout("a member is longer than what is left of it");

struct Header<'a> {
    name: &'a [u8],
    size: u64,
    kind: u8,
}

impl<'a> Header<'a> {
    fn parse(block: &'a [u8; BLOCK]) -> Result<Self, &'static str> {
        const CHECKSUM: std::ops::Range<usize> = 148..156;
        let told = octal(&block[CHECKSUM]).filter(|told| *told > 0).ok_or("a header has no checksum")?;
        let outside = block[..CHECKSUM.start].iter().chain(&block[CHECKSUM.end..]);
        let spaces = CHECKSUM.len() as u64 * u64::from(b' ');
        // Some old writers summed signed bytes.
        let unsigned: u64 = outside.clone().map(|&byte| u64::from(byte)).sum::<u64>() + spaces;
        let high = outside.filter(|&&byte| byte >= 0x80).count() as u64;
        if told != unsigned && Some(told) != unsigned.checked_sub(high * 256) {
            return Err("a header's checksum is wrong");
        }
        if block[124] & 0x80 != 0 {
            return Err("a member's size is in binary form");
        }
        let size = octal(&block[124..136]).ok_or("a member's size is not understood")?;
        let name = block[..100].split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(Self { name, size, kind: block[156] })
    }
}

/// Octal digits with spaces before and spaces or NULs behind; nothing is zero.
fn octal(field: &[u8]) -> Option<u64> {
    let end = field.iter().rposition(|byte| !matches!(byte, 0 | b' ')).map_or(0, |last| last + 1);
    let digits = field[..end].trim_ascii_start();
    if digits.is_empty() { Some(0) } else { number(digits, 8) }
}

fn number(digits: &[u8], radix: u64) -> Option<u64> {
    let value = |byte: u8| Some(u64::from(byte.checked_sub(b'0')?)).filter(|value| *value < radix);
    let add = |sum: u64, byte: &u8| sum.checked_mul(radix)?.checked_add(value(*byte)?);
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

#[cfg(test)]
mod tests;
