//! The headers of a rar, of the format before version 5 (`technote.txt` of RAR 4) and of version 5 (RARLAB, "RAR 5.0
//! archive format"). Nobody but RARLAB may write what packs them, and no free library unpacks all of them: what their
//! headers say counts, and only members that are stored as they are are looked into.

mod five;
mod four;

use std::{io, os::unix::fs::FileExt};

use flate2::Crc;

use super::{
    Kind,
    content::{Content, Section},
    examine::{Packed, member},
    ledger::{Halt, Ledger, Walk},
    place::Place,
};

/// The longest header that is read, in bytes; names are 64 KiB at most.
const MAX_HEADER_BYTES: u64 = 128 * 1024;

const MARK_5: &[u8] = b"Rar!\x1a\x07\x01\0";

/// Why a walk ends before the archive does.
enum End {
    Halt(Halt),
    Read(io::Error),
    Layout(&'static str),
    /// All behind this is encrypted.
    Encrypted,
}

impl From<Halt> for End {
    fn from(halt: Halt) -> Self {
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
    let mut mark = [0; MARK_5.len()];
    let read = archive.read_at(&mut mark, 0);
    let walked = match read {
        Err(error) => Err(error.into()),
        Ok(count) if mark[..count] == *MARK_5 => five::walk(ledger, archive, place),
        Ok(_) => four::walk(ledger, archive, place),
    };
    match walked {
        Ok(()) => Ok(()),
        Err(End::Halt(halt)) => Err(halt),
        Err(End::Read(error)) => ledger.broken(place, error),
        Err(End::Layout(why)) => {
            ledger.unreadable(place, Kind::Rar, why);
            Ok(())
        }
        Err(End::Encrypted) => {
            ledger.encrypted(place);
            Ok(())
        }
    }
}

/// What a header says of a file.
#[expect(clippy::struct_excessive_bools, reason = "each is one flag of the header, in any combination")]
struct File<'a> {
    name: &'a [u8],
    is_encrypted: bool,
    /// It goes on in another part of the archive, or began there.
    is_split: bool,
    is_stored: bool,
    is_folder: bool,
    packed_size: u64,
    /// None: its writer did not know.
    size: Option<u64>,
}

/// `data_start` is where the packed data begins.
fn look_at(
    ledger: &Ledger<'_>,
    archive: Section<'_>,
    file: &File<'_>,
    data_start: u64,
    place: &Place<'_>,
) -> Result<(), End> {
    ledger.entry()?;
    let is_outermost = place.depth() == Place::OBJECT.depth();
    let place = place.member(file.name);
    if file.is_encrypted {
        ledger.encrypted(&place);
        return Ok(());
    }
    if file.is_split {
        return Err(End::Layout("it is one part of several"));
    }
    let size = file.size.ok_or("a member's size is not known")?;
    if file.is_folder && (size, file.packed_size) == (0, 0) {
        return Ok(());
    }
    if !file.is_stored {
        ledger.claim(file.packed_size, size, &place)?;
        // Of a RAR that is the object itself an engine has shown whether it looks into it.
        if !is_outermost {
            ledger.limits(|| format!("{place} is packed in a rar within another archive, which is not looked into"));
        }
        return Ok(());
    }
    if size != file.packed_size {
        return Err(End::Layout("a member that is stored as it is has two sizes"));
    }
    let data = archive.part(data_start, size).ok_or(CUT_OFF)?;
    Ok(member(ledger, Content::Placed(data), Packed::Not, &place)?)
}

const CUT_OFF: &str = "a member is longer than what is left of it";

/// Reads a header of `len` bytes.
fn read(archive: Section<'_>, position: u64, len: u64) -> Result<Vec<u8>, End> {
    if len > MAX_HEADER_BYTES {
        return Err(End::Layout("a header is too long to be looked at"));
    }
    let mut section = archive.part(position, len).ok_or("it ends within a header")?;
    // At most `MAX_HEADER_BYTES`, which fit any `usize`.
    let mut header = vec![0; usize::try_from(len).unwrap_or_default()];
    io::Read::read_exact(&mut section, &mut header)?;
    Ok(header)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests;
