//! Archives are looked into before any engine is asked: what it would pass over in silence is held here, with its
//! reason.
//!
//! zip, gzip, bzip2, xz, tar and 7z are unpacked to the last byte, in memory of a fixed size, as deep as archives lie in
//! each other; of rar the headers are walked. What is encrypted is `encrypted`; what goes past a limit, and what readers
//! do not agree about, is `scan-limits`.
//!
//! Architecture invariant: an archive is never passed because it was not understood. Time is in proportion to the object
//! and to `ArchiveLimits::max_total_size`; no clock is read, so an archive has one answer on every machine.

mod content;
mod examine;
mod kind;
mod ledger;
mod limits;
mod packed;
mod place;
mod rar;
mod seven_zip;
mod tar;
mod zip;

use std::io;

use lazaret_core::{HoldReason, MediaType, Policy, Spooled, ports::Decision};

use crate::station::Station;
use content::{Content, Section};
use ledger::{Halt, Ledger};
use place::Place;

use kind::HEAD_BYTES;
pub(crate) use kind::Kind;
pub use limits::ArchiveLimits;

/// Why an archive cannot be checked whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opaque {
    pub(crate) reason: HoldReason,
    pub(crate) detail: String,
}

/// How much of an archive is looked at, here and by the engines behind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) limits: ArchiveLimits,
    /// The longest member that every engine looks at whole.
    pub(crate) max_member: Option<u64>,
}

impl Bounds {
    /// Those of the scanners that have to call it clean.
    pub(crate) fn of(station: &Station, policy: &Policy) -> Self {
        let slots = policy.scanners.iter().filter_map(|name| station.scanner(name));
        Self { limits: station.settings.archive, max_member: slots.map(|slot| slot.max_size).min() }
    }
}

/// What keeps an object from being checked whole: at most one finding of each reason, in the order they were met.
/// Blocking. Other types have nothing to say here.
pub(crate) fn opaque_members(object: &Spooled, media_type: &MediaType, bounds: &Bounds) -> io::Result<Vec<Opaque>> {
    let Some(kind) = kind_of(object, media_type)? else { return Ok(Vec::new()) };
    let ledger = Ledger::new(bounds, object.len());
    let content = Content::Placed(Section::of_file(object.file(), object.len()));
    match examine::look_into(&ledger, content, kind, &Place::OBJECT) {
        Ok(()) | Err(Halt::Stopped) => Ok(ledger.into_findings()),
        Err(Halt::Read(error)) => Err(error),
    }
}

/// By its type, or by its first bytes where it is packed in a way that is not looked into here.
fn kind_of(object: &Spooled, media_type: &MediaType) -> io::Result<Option<Kind>> {
    let by_type = Kind::of_type(media_type);
    if by_type.is_some() || media_type.top_level() != "application" {
        return Ok(by_type);
    }
    let mut head = [0; HEAD_BYTES];
    let len = content::fill(&mut Section::of_file(object.file(), object.len()), &mut head)?;
    Ok(Kind::of(&head[..len]).filter(|kind| matches!(kind, Kind::Foreign(_))))
}

/// What scanners and archive come to together: a finding about the bytes first, then what was seen in the archive
/// itself, which knows its reason better than a scanner that met a limit. What an operator has released is passed over:
/// each reason by itself.
pub(crate) fn first_of(scanned: Option<Decision>, opaque: &[Opaque], overrides: &[HoldReason]) -> Option<Decision> {
    let hold = |opaque: &Opaque| Decision::Hold { reason: opaque.reason, detail: opaque.detail.clone() };
    match scanned {
        Some(Decision::Reject { .. }) => scanned,
        Some(Decision::Publish(_) | Decision::Hold { .. }) | None => {
            opaque.iter().find(|opaque| !overrides.contains(&opaque.reason)).map(hold).or(scanned)
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
