//! What an examination has found and spent.
//!
//! One that meets a limit of the whole is stopped; one that meets a member which cannot be looked into goes on with the
//! next: an operator who releases what is encrypted has released nothing else.

use std::{
    cell::{Cell, RefCell},
    io,
};

use lazaret_core::HoldReason;

use super::{Bounds, Kind, Opaque, place::Place};

/// Below it nothing is a bomb, however well it is packed.
const RATIO_FLOOR: u64 = 10 * 1024 * 1024;

/// Why an examination ends before the archive does.
#[derive(Debug)]
pub(super) enum Halt {
    /// The spool could not be read.
    Read(io::Error),
    /// A limit of the whole was met, and is on record.
    Stopped,
}

pub(super) type Walk<T = ()> = Result<T, Halt>;

pub(super) struct Ledger<'l> {
    bounds: &'l Bounds,
    object_bytes: u64,
    entries: Cell<u64>,
    unpacked: Cell<u64>,
    memory: Cell<u64>,
    peak_memory: Cell<u64>,
    stopped: Cell<bool>,
    findings: RefCell<Vec<Opaque>>,
}

impl<'l> Ledger<'l> {
    pub(super) const fn new(bounds: &'l Bounds, object_bytes: u64) -> Self {
        Self {
            bounds,
            object_bytes,
            entries: Cell::new(0),
            unpacked: Cell::new(0),
            memory: Cell::new(0),
            peak_memory: Cell::new(0),
            stopped: Cell::new(false),
            findings: RefCell::new(Vec::new()),
        }
    }

    /// The first finding of each reason, in the order they were met.
    pub(super) fn into_findings(self) -> Vec<Opaque> {
        self.findings.into_inner()
    }

    #[cfg(test)]
    pub(super) const fn spent(&self) -> Spent {
        Spent { entries: self.entries.get(), unpacked: self.unpacked.get(), peak_memory: self.peak_memory.get() }
    }

    fn find(&self, reason: HoldReason, detail: impl FnOnce() -> String) {
        let mut findings = self.findings.borrow_mut();
        if findings.iter().all(|found| found.reason != reason) {
            findings.push(Opaque { reason, detail: detail() });
        }
    }

    fn stop(&self, detail: impl FnOnce() -> String) -> Halt {
        self.find(HoldReason::ScanLimits, detail);
        self.stopped.set(true);
        Halt::Stopped
    }

    pub(super) fn encrypted(&self, place: &Place<'_>) {
        self.find(HoldReason::Encrypted, || format!("{place} is encrypted"));
    }

    /// Something here is not looked into.
    pub(super) fn limits(&self, detail: impl FnOnce() -> String) {
        self.find(HoldReason::ScanLimits, detail);
    }

    /// An archive here cannot be walked.
    pub(super) fn unreadable(&self, place: &Place<'_>, kind: Kind, why: impl std::fmt::Display) {
        let kind = kind.name();
        self.limits(|| format!("{place} is not understood, so no scanner can look into all of it ({kind}): {why}"));
    }

    /// Reading broke off: the spool's fault, a limit's, or that of what is packed here.
    pub(super) fn broken(&self, place: &Place<'_>, error: io::Error) -> Walk {
        if self.stopped.get() {
            return Err(Halt::Stopped);
        }
        // What decoders say themselves comes without a number of the operating system.
        if error.raw_os_error().is_some() {
            return Err(Halt::Read(error));
        }
        if error.kind() == io::ErrorKind::OutOfMemory {
            self.limits(|| over_memory(place, self.bounds.limits.max_memory));
        } else {
            self.limits(|| format!("{place} does not unpack to its end: {error}"));
        }
        Ok(())
    }

    pub(super) fn is_too_deep(&self, place: &Place<'_>) -> bool {
        let limit = self.bounds.limits.max_depth;
        let too_deep = place.depth() > limit;
        if too_deep {
            self.limits(|| {
                format!("{place} lies deeper than limits.archive_depth of {limit} archives within each other")
            });
        }
        too_deep
    }

    /// A member more.
    pub(super) fn entry(&self) -> Walk {
        self.entries.set(self.entries.get() + 1);
        self.check_entries(self.entries.get())
    }

    /// A directory counts `count` members; they are not walked if that alone is too much.
    pub(super) fn claims_entries(&self, count: u64) -> Walk {
        self.check_entries(self.entries.get().saturating_add(count))
    }

    fn check_entries(&self, count: u64) -> Walk {
        let limit = self.bounds.limits.max_entries;
        if count <= limit {
            return Ok(());
        }
        Err(self.stop(|| format!("the archive has more members than limits.archive_entries of {limit}")))
    }

    /// `count` bytes more came out of a member.
    pub(super) fn unpacked(&self, count: u64, place: &Place<'_>) -> Walk {
        let (total, limit) = (self.unpacked.get().saturating_add(count), self.bounds.limits.max_total_size);
        self.unpacked.set(total);
        if total > limit {
            return Err(self.stop(|| {
                format!("the archive unpacks to more than limits.archive_unpacked of {limit} bytes, up to {place}")
            }));
        }
        self.check_ratio(total, self.object_bytes, &Place::OBJECT)
    }

    /// `unpacked` bytes come out of `packed` ones.
    pub(super) fn check_ratio(&self, unpacked: u64, packed: u64, place: &Place<'_>) -> Walk {
        let limit = self.bounds.limits.max_ratio;
        if unpacked <= RATIO_FLOOR || unpacked <= packed.saturating_mul(limit) {
            return Ok(());
        }
        Err(self.stop(|| {
            format!("{place} unpacks to {unpacked} bytes and more from {packed}: over limits.archive_ratio of {limit}")
        }))
    }

    /// A member is `size` bytes long so far: more than an engine looks at, it would pass over.
    pub(super) fn check_member(&self, size: u64, place: &Place<'_>) {
        if let Some(limit) = self.bounds.max_member.filter(|limit| size > *limit) {
            self.limits(|| format!("{place} unpacks to more than the {limit} bytes of a scanner's max_size"));
        }
    }

    /// What a header says of a member that is not unpacked here.
    pub(super) fn claim(&self, packed: u64, unpacked: u64, place: &Place<'_>) -> Walk {
        self.check_member(unpacked, place);
        self.unpacked(unpacked, place)?;
        self.check_ratio(unpacked, packed, place)
    }

    /// Room for `bytes`, given back with the grant. None: there is none left, which is on record.
    pub(super) fn grant(&self, bytes: u64, place: &Place<'_>) -> Option<Grant<'_>> {
        let (held, limit) = (self.memory.get().saturating_add(bytes), self.bounds.limits.max_memory);
        if held > limit {
            self.limits(|| over_memory(place, limit));
            return None;
        }
        self.memory.set(held);
        self.peak_memory.set(held.max(self.peak_memory.get()));
        Some(Grant { memory: &self.memory, bytes })
    }

    pub(super) const fn memory_left(&self) -> u64 {
        self.bounds.limits.max_memory.saturating_sub(self.memory.get())
    }

    pub(super) const fn max_entries(&self) -> u64 {
        self.bounds.limits.max_entries
    }
}

fn over_memory(place: &Place<'_>, limit: u64) -> String {
    format!("{place} takes more memory to look into than limits.archive_memory of {limit} bytes")
}

/// Memory that is in use.
pub(super) struct Grant<'l> {
    memory: &'l Cell<u64>,
    bytes: u64,
}

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        self.memory.set(self.memory.get().saturating_sub(self.bytes));
    }
}

#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spent {
    pub(super) entries: u64,
    pub(super) unpacked: u64,
    pub(super) peak_memory: u64,
}
