//! Files that no name leads to.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags, fallocate, fcntl_add_seals, memfd_create, open, unlink},
    io::Errno,
};

/// A file in memory (`memfd_create(2)`) that can be sealed.
pub(super) fn memory() -> io::Result<File> {
    Ok(memfd_create("lazaret-spool", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?.into())
}

/// A file in `dir` without a name, with `len` bytes of the disk set aside where the filesystem can do that, so that a
/// full disk shows before the object is read.
pub(super) fn unnamed(dir: &Path, len: u64) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let file = match open(dir, flags, Mode::RUSR | Mode::WUSR) {
        Ok(fd) => File::from(fd),
        // What open(2) says where the filesystem or the kernel has no O_TMPFILE.
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => created_and_unlinked(dir)?,
        Err(error) => return Err(error.into()),
    };
    match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, len.max(1)) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(file),
        Err(error) => Err(error.into()),
    }
}

/// For filesystems without `O_TMPFILE`: the name is gone before the first byte is written.
fn created_and_unlinked(dir: &Path) -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!(".spool-{}-{number}", std::process::id()));
        match open(&path, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => {
                unlink(&path)?;
                return Ok(File::from(fd));
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes a file in memory unchangeable for everybody, this process included, which has it nowhere mapped. `F_SEAL_WRITE`
/// would look for maps, and wait for every processor of the machine meanwhile.
pub(super) fn seal_memory(file: File) -> io::Result<File> {
    fcntl_add_seals(&file, SealFlags::FUTURE_WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}

/// Gives up the right to write. A file on disk cannot be sealed, but a descriptor that was opened for reading cannot
/// be made to write by those it is handed to.
pub(super) fn read_only(file: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn without_o_tmpfile_the_name_is_gone_before_the_first_byte() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = created_and_unlinked(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        file.write_all(b"bytes").unwrap();
        let mut text = String::new();
        read_only(&file).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "bytes");
    }

    #[test]
    fn a_name_left_by_another_process_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..100 {
            File::create(dir.path().join(format!(".spool-{}-{number}", std::process::id()))).unwrap();
        }
        created_and_unlinked(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 100);
    }
}
