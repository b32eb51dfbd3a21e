//! The bytes of one object, on this machine, under a name that nobody knows.

use std::{
    any::Any,
    fmt,
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use crate::Sha256Digest;

/// An object read once and hashed as it came: a sealed memfd or an unlinked file. Clones share the descriptor and
/// the reserved space, which is given back with the last of them.
///
/// The descriptor's offset is shared between clones, so readers use positioned reads (`pread`) or a map.
#[derive(Clone)]
pub struct Spooled {
    file: Arc<File>,
    len: u64,
    sha256: Sha256Digest,
    _reservation: Arc<dyn Any + Send + Sync>,
}

impl Spooled {
    /// `file` holds exactly `len` bytes with this digest; `reservation` is dropped when the last clone goes.
    pub fn new(file: File, len: u64, sha256: Sha256Digest, reservation: impl Any + Send + Sync) -> Self {
        Self { file: Arc::new(file), len, sha256, _reservation: Arc::new(reservation) }
    }

    /// Length in bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Digest of all bytes.
    pub const fn sha256(&self) -> &Sha256Digest {
        &self.sha256
    }

    /// The open file, for positioned reads.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl AsFd for Spooled {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Debug for Spooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spooled").field("len", &self.len).field("sha256", &self.sha256).finish_non_exhaustive()
    }
}
