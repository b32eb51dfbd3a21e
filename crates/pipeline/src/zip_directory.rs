//! The central directory of a zip (APPNOTE.TXT 6.3.10), walked one member at a time.
//!
//! No library does here: the ones we know look for the end record all over the file, make room for what the records
//! promise, or keep an index of all members, so that the uploader chooses the memory and the time. Here both are bounded:
//! two buffers of fixed size, one pass over the directory, at most two reads per member.
//!
//! Architecture invariant: only one layout is understood, in which every reader sees the same members. They follow each
//! other from the first byte on, each where the directory says and with what the directory says of it, and behind them
//! come the directory and the end record, to the last byte. Everything else is [`Unreadable`].

use std::{io, os::unix::fs::FileExt};

use thiserror::Error;

/// How many members are walked at all; what is looked into has a limit of its own.
pub(crate) const MAX_MEMBERS: u64 = 65_536;

/// The longest name that is looked at, in bytes.
const MAX_NAME_BYTES: usize = 4096;

/// The end record with the longest comment that its 16-bit length can state.
const TAIL_BYTES: u64 = (END_BYTES + 0xffff) as u64;

const END_BYTES: usize = 22;
const LOCATOR_BYTES: usize = 20;
const END64_BYTES: usize = 56;
const CENTRAL_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;

/// The largest data descriptor: signature, CRC, two 64-bit sizes (4.3.9).
const DESCRIPTOR_BYTES: u64 = 24;

/// Flags (4.4.4): encryption of three kinds, a descriptor behind the data, patch data.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const DESCRIPTOR: u16 = 1 << 3;
const PATCHED: u16 = 1 << 5;

/// Flags that say how hard the packer tried and in which alphabet the name is: writers differ in them, readers do not.
const HINTS: u16 = 1 << 1 | 1 << 2 | 1 << 11;

/// A size or offset that the ZIP64 field holds instead (4.5.3).
const IN_ZIP64: u64 = 0xffff_ffff;
const ZIP64_ID: u16 = 1;

/// Methods (4.4.5).
pub(crate) mod method {
    pub(crate) const STORED: u16 = 0;
    pub(crate) const DEFLATE: u16 = 8;
    pub(crate) const DEFLATE64: u16 = 9;
    pub(crate) const BZIP2: u16 = 12;
}

/// Why a directory cannot be walked to its end.
#[derive(Debug, Error)]
pub(crate) enum Unreadable {
    #[error("the spooled archive could not be read")]
    Read(#[from] io::Error),
    #[error("{0}")]
    Layout(&'static str),
    #[error("the archive has {0} members, more than {MAX_MEMBERS} members are not looked at")]
    TooMany(u64),
}

/// What the directory and the member's own header say together.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    pub(crate) name: &'a [u8],
    /// Whether either header says so.
    pub(crate) encrypted: bool,
    pub(crate) method: u16,
    /// Where the packed data begins and how long it is, in bytes.
    pub(crate) data_start: u64,
    pub(crate) packed_size: u64,
    /// How long it is unpacked, by its headers.
    pub(crate) size: u64,
}

/// A directory whose end record has been understood; its members are still to be walked.
#[derive(Debug)]
pub(crate) struct Members<'a, F> {
    file: &'a F,
    /// Members not yet walked.
    left: u64,
    /// The next central header.
    position: u64,
    /// Where the directory begins and ends.
    start: u64,
    end: u64,
    /// Where the member before this one ends at the latest and at the earliest.
    latest: u64,
    earliest: u64,
    window: Window,
    local: Vec<u8>,
}

impl<'a, F: FileExt> Members<'a, F> {
    /// Finds the directory of a file of `len` bytes. Blocking, as is all here.
    pub(crate) fn open(file: &'a F, len: u64) -> Result<Self, Unreadable> {
        let (count, start, size, end) = find_end(file, len)?;
        if start.checked_add(size) != Some(end) {
            return Err(Unreadable::Layout("the directory does not end where its end record begins"));
        }
        if count > MAX_MEMBERS {
            return Err(Unreadable::TooMany(count));
        }
        let (position, window) = (start, Window::default());
        Ok(Self { file, left: count, position, start, end, latest: 0, earliest: 0, window, local: Vec::new() })
    }

    /// How many members are still to be walked, as the directory counts them.
    pub(crate) const fn left(&self) -> u64 {
        self.left
    }

    /// The next member; `None` behind the last.
    pub(crate) fn advance(&mut self) -> Result<Option<Member<'_>>, Unreadable> {
        if self.left == 0 {
            return if self.position != self.end {
                Err(Unreadable::Layout("the directory has more than the members that it counts"))
            } else if self.start > self.latest {
                Err(Unreadable::Layout("there are bytes between the last member and the directory"))
            } else {
                Ok(None)
            };
        }
        self.left -= 1;
        let header = self.window.get(self.file, self.position, CENTRAL_BYTES, self.end)?;
        let (name_len, extra_len, comment_len) = (u16_at(header, 28), u16_at(header, 30), u16_at(header, 32));
        let (name_len, extra_len) = (usize::from(name_len), usize::from(extra_len));
        if name_len > MAX_NAME_BYTES {
            return Err(Unreadable::Layout("a member's name is too long to be looked at"));
        }
        let whole = CENTRAL_BYTES + name_len + extra_len;
        let entry = self.window.get(self.file, self.position, whole, self.end)?;
        let central = Central::parse(entry, name_len)?;
        self.position += whole as u64 + u64::from(comment_len);
        if central.offset < self.earliest || central.offset > self.latest {
            return Err(Unreadable::Layout("the members do not follow each other from the first byte on"));
        }
        let local = read_local(self.file, &mut self.local, &central, self.start)?;
        let data_start = central.offset + local.bytes;
        let Some(data_end) = data_start.checked_add(central.packed_size).filter(|end| *end <= self.start) else {
            return Err(Unreadable::Layout("a member reaches into the directory"));
        };
        self.earliest = data_end;
        self.latest = data_end + if central.flags & DESCRIPTOR == 0 { 0 } else { DESCRIPTOR_BYTES };
        Ok(Some(Member {
            encrypted: (central.flags | local.flags) & ENCRYPTED != 0,
            method: central.method,
            data_start,
            packed_size: central.packed_size,
            size: central.size,
            name: central.name,
        }))
    }
}

/// The count of members, the directory's offset and size, and where the end records begin.
fn find_end(file: &impl FileExt, len: u64) -> Result<(u64, u64, u64, u64), Unreadable> {
    const NONE: Unreadable = Unreadable::Layout("the archive has no end record that reaches to its last byte");
    let tail_start = len.saturating_sub(TAIL_BYTES);
    // At most `TAIL_BYTES`, which fit any `usize`.
    let mut tail = vec![0; usize::try_from(len - tail_start).unwrap_or_default()];
    file.read_exact_at(&mut tail, tail_start)?;
    let mut at = tail.len().checked_sub(4).ok_or(NONE)?;
    while !tail[at..].starts_with(b"PK\x05\x06") {
        at = at.checked_sub(1).ok_or(NONE)?;
    }
    // The last signature must be the one: readers that look for it from behind do not check the comment's length.
    let record = tail[at..].first_chunk::<END_BYTES>().ok_or(NONE)?;
    if at + END_BYTES + usize::from(u16_at(record, 20)) != tail.len() {
        return Err(NONE);
    }
    let end = tail_start + at as u64;
    if u16_at(record, 4) != 0 || u16_at(record, 6) != 0 || u16_at(record, 8) != u16_at(record, 10) {
        return Err(Unreadable::Layout("the archive is one part of several"));
    }
    let (count, size, start) = (u64::from(u16_at(record, 10)), u32_at(record, 12), u32_at(record, 16));
    let Some(locator_at) = end.checked_sub(LOCATOR_BYTES as u64) else { return Ok((count, start, size, end)) };
    let mut locator = [0; LOCATOR_BYTES];
    file.read_exact_at(&mut locator, locator_at)?;
    if !locator.starts_with(b"PK\x06\x07") {
        return Ok((count, start, size, end));
    }
    find_end64(file, &locator, locator_at, (count, start, size))
}

/// The ZIP64 end record, which has to lie right before its locator and to agree with the end record.
fn find_end64(
    file: &impl FileExt,
    locator: &[u8],
    locator_at: u64,
    (count, start, size): (u64, u64, u64),
) -> Result<(u64, u64, u64, u64), Unreadable> {
    const BAD: Unreadable = Unreadable::Layout("the ZIP64 end record is not understood");
    let end = locator_at.checked_sub(END64_BYTES as u64).ok_or(BAD)?;
    let mut record = [0; END64_BYTES];
    file.read_exact_at(&mut record, end)?;
    let lone = u32_at(locator, 4) == 0 && u32_at(locator, 16) <= 1 && u32_at(&record, 16) == 0;
    let placed = u64_at(locator, 8) == end && record.starts_with(b"PK\x06\x06") && u64_at(&record, 4) == 44;
    let (count64, size64, start64) = (u64_at(&record, 32), u64_at(&record, 40), u64_at(&record, 48));
    let agrees = (count == 0xffff || count == count64)
        && (size == IN_ZIP64 || size == size64)
        && (start == IN_ZIP64 || start == start64);
    if !(lone && placed && agrees && u32_at(&record, 20) == 0 && u64_at(&record, 24) == count64) {
        return Err(BAD);
    }
    Ok((count64, start64, size64, end))
}

/// A central header (4.3.12).
struct Central<'a> {
    flags: u16,
    method: u16,
    packed_size: u64,
    size: u64,
    offset: u64,
    name: &'a [u8],
}

impl<'a> Central<'a> {
    /// `entry` is a header of at least `CENTRAL_BYTES` with its name and its extra fields.
    fn parse(entry: &'a [u8], name_len: usize) -> Result<Self, Unreadable> {
        if !entry.starts_with(b"PK\x01\x02") {
            return Err(Unreadable::Layout("the directory holds something else than members"));
        }
        if u16_at(entry, 34) != 0 {
            return Err(Unreadable::Layout("a member lies in another part of the archive"));
        }
        let (name, extra) = entry[CENTRAL_BYTES..].split_at(name_len);
        let (mut size, mut packed_size, mut offset) = (u32_at(entry, 24), u32_at(entry, 20), u32_at(entry, 42));
        fill_from_zip64(extra, &mut [&mut size, &mut packed_size, &mut offset])?;
        Ok(Self { flags: u16_at(entry, 8), method: u16_at(entry, 10), packed_size, size, offset, name })
    }
}

/// What a local header (4.3.7) adds: its own flags, and its length with name and extra fields.
struct Local {
    flags: u16,
    bytes: u64,
}

/// Reads the header that the directory points to; scanners go by it, so it has to say the same.
fn read_local(
    file: &impl FileExt,
    buffer: &mut Vec<u8>,
    central: &Central<'_>,
    limit: u64,
) -> Result<Local, Unreadable> {
    const DIFFERS: Unreadable = Unreadable::Layout("a member's own header differs from the directory");
    const BEYOND: Unreadable = Unreadable::Layout("a member's header reaches into the directory");
    let named = LOCAL_BYTES + central.name.len();
    if central.offset + named as u64 > limit {
        return Err(BEYOND);
    }
    buffer.resize(named, 0);
    file.read_exact_at(buffer, central.offset)?;
    if !buffer.starts_with(b"PK\x03\x04") {
        return Err(Unreadable::Layout("a member is not where the directory says"));
    }
    let (flags, extra_len) = (u16_at(buffer, 6), usize::from(u16_at(buffer, 28)));
    let bytes = (named + extra_len) as u64;
    if central.offset + bytes > limit {
        return Err(BEYOND);
    }
    if (flags | central.flags) & ENCRYPTED != 0 {
        // Nobody looks inside, and strong encryption masks the other fields.
        return Ok(Local { flags, bytes });
    }
    if (flags ^ central.flags) & !HINTS != 0
        || flags & PATCHED != 0
        || u16_at(buffer, 8) != central.method
        || usize::from(u16_at(buffer, 26)) != central.name.len()
        || &buffer[LOCAL_BYTES..] != central.name
        || central.method == method::STORED && central.size != central.packed_size
    {
        return Err(DIFFERS);
    }
    let (mut size, mut packed_size) = (u32_at(buffer, 22), u32_at(buffer, 18));
    if size == IN_ZIP64 || packed_size == IN_ZIP64 {
        buffer.resize(named + extra_len, 0);
        file.read_exact_at(&mut buffer[named..], central.offset + named as u64)?;
        fill_from_zip64(&buffer[named..], &mut [&mut size, &mut packed_size])?;
    }
    // What a writer does not know yet is told behind the data; Info-ZIP knows the one size and not the other.
    let agrees = |told: u64, size: u64| told == size || told == 0 && flags & DESCRIPTOR != 0;
    let agree = agrees(size, central.size) && agrees(packed_size, central.packed_size);
    if agree { Ok(Local { flags, bytes }) } else { Err(DIFFERS) }
}

/// Replaces the values that the header leaves to the ZIP64 field, in the field's order.
fn fill_from_zip64(mut extra: &[u8], values: &mut [&mut u64]) -> Result<(), Unreadable> {
    const SHORT: Unreadable = Unreadable::Layout("a member's ZIP64 field is missing or short");
    if values.iter().all(|value| **value != IN_ZIP64) {
        return Ok(());
    }
    let mut field = loop {
        let (head, rest) = extra.split_first_chunk::<4>().ok_or(SHORT)?;
        let (field, rest) = rest.split_at_checked(usize::from(u16_at(head, 2))).ok_or(SHORT)?;
        if u16_at(head, 0) == ZIP64_ID {
            break field;
        }
        extra = rest;
    };
    for value in values.iter_mut().filter(|value| ***value == IN_ZIP64) {
        let (number, rest) = field.split_first_chunk::<8>().ok_or(SHORT)?;
        **value = u64::from_le_bytes(*number);
        field = rest;
    }
    Ok(())
}

/// The part of the directory that is in memory.
#[derive(Debug, Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// More than a header with the longest name and the longest extra fields.
    const BYTES: u64 = 128 * 1024;

    /// `count` bytes at `position`, which have to end before `end`. `count` is less than [`Window::BYTES`].
    fn get(&mut self, file: &impl FileExt, position: u64, count: usize, end: u64) -> Result<&[u8], Unreadable> {
        if position.checked_add(count as u64).is_none_or(|beyond| beyond > end) {
            return Err(Unreadable::Layout("the directory ends within a member"));
        }
        let held = self.start..self.start + self.bytes.len() as u64;
        if !held.contains(&position) || position + count as u64 > held.end {
            // At most `BYTES`, which fit any `usize`.
            self.bytes.resize(usize::try_from((end - position).min(Self::BYTES)).unwrap_or_default(), 0);
            self.start = position;
            file.read_exact_at(&mut self.bytes, position)?;
        }
        // Within the window, as was just seen to.
        let at = usize::try_from(position - self.start).unwrap_or_default();
        Ok(&self.bytes[at..at + count])
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u16_at(bytes, at)) | u64::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u32_at(bytes, at) | u32_at(bytes, at + 4) << 32
}

#[cfg(test)]
mod tests;
