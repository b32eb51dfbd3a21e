//! Memory that goes from process to process: files without a name that nobody changes once they are sealed.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
};

use super::attend::Gone;

/// Copied at once, so that a thread stays in the kernel for long enough to be worth it.
const CHUNK_BYTES: usize = 256 << 10;

/// A memfd of exactly `len` bytes that cannot grow. None of them takes memory before it is written.
///
/// It may shrink: the children have no descriptor of it by the time they read hostile bytes, and the host cuts it to
/// the true length.
pub(super) fn create(name: &str, len: u64) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd: OwnedFd = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3 there is no such flag.
        Err(Errno::INVAL) => memfd_create(name, flags)?,
        other => other?,
    };
    let file = File::from(fd);
    file.set_len(len)?;
    fcntl_add_seals(&file, SealFlags::GROW)?;
    Ok(file)
}

/// Cuts the file to its first `len` bytes and seals it against being written by whoever cannot write it yet. Who could,
/// the one process that had it mapped for writing, is gone.
///
/// `F_SEAL_WRITE`, which looks for maps itself, has every processor of the machine put down what it holds of any file and
/// waits for that (`memfd_wait_for_pins` in the kernel), which takes longer than a small image.
pub(super) fn freeze(file: &File, len: u64, _writer: Gone) -> io::Result<()> {
    file.set_len(len)?;
    fcntl_add_seals(file, SealFlags::FUTURE_WRITE)?;
    Ok(())
}

/// Cuts and seals, for good, a file that this process alone wrote, with no map of it, or that is frozen already.
pub(super) fn seal(file: &File, len: u64) -> io::Result<()> {
    file.set_len(len)?;
    fcntl_add_seals(file, SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(())
}

/// A sealed memfd of these bytes.
pub(super) fn of(bytes: &[u8]) -> io::Result<File> {
    let len = bytes.len() as u64;
    let file = create("lazaret-file", len)?;
    file.write_all_at(bytes, 0)?;
    seal(&file, len)?;
    Ok(file)
}

/// Copies `len` bytes from `offset` of one file to the beginning of another. Neither file's own offset matters or
/// changes.
pub(super) fn copy(from: &File, mut offset: u64, to: &File, len: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES.min(usize::try_from(len).unwrap_or(CHUNK_BYTES))];
    let mut done = 0;
    while done < len {
        let chunk = usize::try_from(len - done).map_or(buffer.len(), |left| left.min(buffer.len()));
        from.read_exact_at(&mut buffer[..chunk], offset)?;
        to.write_all_at(&buffer[..chunk], done)?;
        done += chunk as u64;
        offset += chunk as u64;
    }
    Ok(())
}
