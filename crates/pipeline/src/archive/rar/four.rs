//! Blocks of the format before version 5.

use super::{CUT_OFF, End, File, Ledger, Place, Section, checksum, look_at, read};

const MARK_BYTES: u64 = 7;

/// What every block begins with: checksum, type, flags, size.
const COMMON_BYTES: u64 = 7;

/// A file's header up to its name.
const FILE_BYTES: usize = 32;

const MAIN: u8 = 0x73;
const FILE: u8 = 0x74;
const SERVICE: u8 = 0x7a;
const END: u8 = 0x7b;

/// The header's size is followed by that of data behind it.
const HAS_DATA: u16 = 0x8000;

/// Flags of the archive.
const VOLUME: u16 = 0x0001;
const ENCRYPTED_HEADERS: u16 = 0x0080;

/// Flags of a file.
const SPLIT: u16 = 0x0001 | 0x0002;
const ENCRYPTED: u16 = 0x0004;
const LARGE: u16 = 0x0100;
const FOLDER: u16 = 0x00e0;

const STORED: u8 = 0x30;

pub(super) fn walk(ledger: &Ledger<'_>, archive: Section<'_>, place: &Place<'_>) -> Result<(), End> {
    let mut position = MARK_BYTES;
    let mut began = false;
    while position < archive.len() {
        let common = read(archive, position, COMMON_BYTES)?;
        let (kind, flags, len) = (common[2], u16_at(&common, 3), u64::from(u16_at(&common, 5)));
        if len < COMMON_BYTES {
            return Err(End::Layout("a header is shorter than headers are"));
        }
        let header = read(archive, position, len)?;
        if began == (kind == MAIN) {
            return Err(End::Layout("its first header is not the archive's, or another one is"));
        }
        began = true;
        // The low half of a CRC-32.
        if checksum(&header[2..]) & 0xffff != u32::from(u16_at(&header, 0)) {
            return Err(End::Layout("a header's checksum is wrong"));
        }
        let data_start = position + len;
        let mut data = if flags & HAS_DATA == 0 { 0 } else { u32_at(&header, 7)? };
        match kind {
            MAIN if flags & ENCRYPTED_HEADERS != 0 => return Err(End::Encrypted),
            MAIN if flags & VOLUME != 0 => return Err(End::Layout("it is one part of several")),
            FILE | SERVICE => {
                let file = parse(&header, flags)?;
                data = file.packed_size;
                if kind == FILE {
                    look_at(ledger, archive, &file, data_start, place)?;
                } else if file.is_encrypted {
                    ledger.encrypted(place);
                }
            }
            _ => {}
        }
        position = data_start.checked_add(data).filter(|end| *end <= archive.len()).ok_or(CUT_OFF)?;
        if kind == END {
            return if position == archive.len() { Ok(()) } else { Err(End::Layout("there are bytes behind its end")) };
        }
    }
    if began { Ok(()) } else { Err(End::Layout("it has no header")) }
}

fn parse(header: &[u8], flags: u16) -> Result<File<'_>, End> {
    const SHORT: &str = "a file's header is shorter than those are";
    let rest = header.get(FILE_BYTES..).ok_or(SHORT)?;
    let (high, rest) = if flags & LARGE == 0 { (&[0; 8][..], rest) } else { rest.split_at_checked(8).ok_or(SHORT)? };
    let name = rest.get(..usize::from(u16_at(header, 26))).ok_or(SHORT)?;
    let is_folder = flags & FOLDER == FOLDER;
    Ok(File {
        // A name in another alphabet follows the plain one.
        name: name.split(|&byte| byte == 0).next().unwrap_or_default(),
        is_encrypted: flags & ENCRYPTED != 0,
        is_split: flags & SPLIT != 0,
        is_stored: header[25] == STORED,
        is_folder,
        packed_size: u32_at(header, 7)? | u32_at(high, 0)? << 32,
        size: Some(u32_at(header, 11)? | u32_at(high, 4)? << 32),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u64, End> {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    Ok(u64::from(u32::from_le_bytes(*bytes.ok_or("a header is shorter than headers are")?)))
}
