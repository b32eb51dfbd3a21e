//! The object as a program's descriptor 0: for reading, with an offset of its own.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use lazaret_core::Spooled;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_get_seals, fstat, memfd_create, open};

/// The device of files in memory (`memfd_create(2)`).
///
/// Whoever has a descriptor of a file can open it anew through `/proc/self/fd` with every right its mode gives. Landlock
/// denies that for a file in a folder, not for one in memory: that must be sealed.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemoryDevice(u64);

impl MemoryDevice {
    pub(super) fn find() -> io::Result<Self> {
        Ok(Self(fstat(memfd_create("lazaret-device", MemfdFlags::CLOEXEC)?)?.st_dev))
    }

    /// Another opening of the object's file.
    pub(super) fn reopen(self, object: &Spooled) -> io::Result<OwnedFd> {
        let in_memory = fstat(object)?.st_dev == self.0;
        if in_memory {
            let seals = fcntl_get_seals(object)?;
            let kept = seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE);
            if !kept || !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
                return Err(io::Error::other("it is in memory and not sealed against being written, cut and extended"));
            }
        }
        let path = format!("/proc/self/fd/{}", object.as_fd().as_raw_fd());
        Ok(open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }
}
