//! One member, or the archive that it is.

use std::{
    cell::Cell,
    io::{self, Cursor, Read},
};

use super::{
    Kind,
    content::{Content, Held, Section, fill},
    kind::HEAD_BYTES,
    ledger::{Ledger, Walk},
    packed,
    place::Place,
    rar, seven_zip, tar, zip,
};

/// What a member's bytes came out of.
#[derive(Clone, Copy)]
pub(super) enum Packed<'a> {
    /// Nothing: they lie in the archive as they are, or are weighed together with others.
    Not,
    /// So many bytes.
    Known(u64),
    /// A stream, of which so much has been read.
    SoFar(&'a Cell<u64>),
}

/// Looks at a member to its last byte, and into it where it is an archive.
pub(super) fn member(ledger: &Ledger<'_>, content: Content<'_>, packed: Packed<'_>, place: &Place<'_>) -> Walk {
    match content {
        Content::Placed(section) => {
            ledger.unpacked(section.len(), place)?;
            ledger.check_member(section.len(), place);
            let mut head = [0; HEAD_BYTES];
            match fill(&mut { section }, &mut head) {
                Ok(count) => match Kind::of(&head[..count]) {
                    Some(kind) => look_into(ledger, content, kind, place),
                    None => Ok(()),
                },
                Err(error) => ledger.broken(place, error),
            }
        }
        Content::Flowing(reader) => {
            let mut metered = Metered { reader, ledger, place, packed, count: 0, failed: false };
            match flow(ledger, &mut metered, place)? {
                Ok(()) => Ok(()),
                Err(error) => ledger.broken(place, error),
            }
        }
    }
}

fn flow(ledger: &Ledger<'_>, metered: &mut Metered<'_>, place: &Place<'_>) -> Walk<io::Result<()>> {
    let mut head = [0; HEAD_BYTES];
    let count = match fill(metered, &mut head) {
        Ok(count) => count,
        Err(error) => return Ok(Err(error)),
    };
    if let Some(kind) = Kind::of(&head[..count]) {
        let mut whole = Cursor::new(&head[..count]).chain(&mut *metered);
        look_into(ledger, Content::Flowing(&mut whole), kind, place)?;
    }
    Ok(io::copy(metered, &mut io::sink()).map(|_| ()))
}

/// Walks an archive.
pub(super) fn look_into(ledger: &Ledger<'_>, content: Content<'_>, kind: Kind, place: &Place<'_>) -> Walk {
    if ledger.is_too_deep(place) {
        return Ok(());
    }
    match kind {
        Kind::Zip => placed(ledger, content, place, zip::walk),
        Kind::SevenZip => placed(ledger, content, place, seven_zip::walk),
        Kind::Rar => placed(ledger, content, place, rar::walk),
        Kind::Tar => tar::walk(ledger, content, place),
        Kind::Gzip | Kind::Bzip2 | Kind::Xz => packed::walk(ledger, content, kind, place),
        Kind::Foreign(name) => {
            ledger.limits(|| format!("{place} is packed as {name}, which is not looked into"));
            Ok(())
        }
    }
}

/// Archives whose directory is at their end are copied where they come as a stream.
fn placed(
    ledger: &Ledger<'_>,
    content: Content<'_>,
    place: &Place<'_>,
    walk: fn(&Ledger<'_>, Section<'_>, &Place<'_>) -> Walk,
) -> Walk {
    match content {
        Content::Placed(section) => walk(ledger, section, place),
        Content::Flowing(reader) => match Held::of(reader, ledger, place)? {
            Some(held) => walk(ledger, held.section(), place),
            None => Ok(()),
        },
    }
}

/// Counts what is unpacked, whoever reads it, and ends it at a limit of the whole.
struct Metered<'a> {
    reader: &'a mut dyn Read,
    ledger: &'a Ledger<'a>,
    place: &'a Place<'a>,
    packed: Packed<'a>,
    count: u64,
    /// A decoder is not asked again after an error.
    failed: bool,
}

impl Metered<'_> {
    fn account(&mut self, more: u64) -> Walk {
        self.count += more;
        self.ledger.check_member(self.count, self.place);
        self.ledger.unpacked(more, self.place)?;
        match self.packed {
            Packed::Not => Ok(()),
            Packed::Known(packed) => self.ledger.check_ratio(self.count, packed, self.place),
            Packed::SoFar(packed) => self.ledger.check_ratio(self.count, packed.get(), self.place),
        }
    }
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other("it broke off before"));
        }
        let read = self.reader.read(buffer);
        self.failed = read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        let count = read?;
        if self.account(count as u64).is_err() {
            self.failed = true;
            return Err(io::Error::other("a limit was met"));
        }
        Ok(count)
    }
}
