//! Output memory: a file without a name that a child fills and nobody changes afterwards.

use std::{fs::File, io, os::fd::OwnedFd};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
};

/// A memfd of exactly `len` bytes that cannot grow.
///
/// It may shrink: the child has no descriptor of it by the time it reads hostile bytes, and the host cuts it to the
/// true length once the child is gone.
pub(super) fn create(len: u64) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd: OwnedFd = match memfd_create("lazaret-output", flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3 there is no such flag.
        Err(Errno::INVAL) => memfd_create("lazaret-output", flags)?,
        other => other?,
    };
    let file = File::from(fd);
    file.set_len(len)?;
    fcntl_add_seals(&file, SealFlags::GROW)?;
    Ok(file)
}

/// Cuts the file to its first `len` bytes and seals it against every change. Fails while anybody has it mapped for
/// writing, so a success proves that the child is gone.
pub(super) fn seal(file: &File, len: u64) -> io::Result<()> {
    file.set_len(len)?;
    fcntl_add_seals(file, SealFlags::SHRINK | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(())
}
