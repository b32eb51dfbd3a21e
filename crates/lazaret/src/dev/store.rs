//! The S3 endpoint's storage: buckets and objects in one directory of the local disk.
//!
//! A development store for one machine, not a production one. What it shares with S3 is what the pipeline
//! leans on: an object changes as a whole or not at all, a body that is not what its sender declared never
//! becomes visible, and conditions on reads and writes are honoured.
//!
//! ```text
//! root/
//!   lock                            held by the one process that has the store open
//!   staging/                        what is still being written; emptied at every start
//!   buckets/<bucket>/bucket.json
//!   buckets/<bucket>/objects/<sha256 of the key>
//!   buckets/<bucket>/uploads/<upload id>/upload.json, 1, 2, …
//! ```
//! No part of a key ever becomes part of a path. An object is one file: its bytes, then a record of its key,
//! headers and digests (`store/record.rs`), so that one rename replaces data and metadata together and a reader that
//! opened the file keeps the version it began with.
//!
//! Architecture invariant: the files are the truth. The index in memory is rebuilt from them at start and
//! serves listings and conditional writes only.

mod buckets;
mod conditions;
mod digests;
mod fault;
mod index;
mod intake;
mod layout;
mod listing;
mod listings;
mod multipart;
mod objects;
mod reading;
mod record;
mod recovery;
mod s3;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tracing::Dispatch;

use self::index::Index;
use self::layout::Layout;

/// An object that a client has just brought to its end: durable and visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedUpload {
    /// The bucket it was written to.
    pub bucket: String,
    /// Its key, as the client meant it (never percent-encoded).
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its `ETag` without quotes: the MD5, or `<md5 of md5s>-<parts>` after a multipart upload.
    pub etag: String,
    /// Unique, and larger (as a string) than that of every earlier write of this process, in the order in which
    /// the writes became visible. This is what S3 calls the sequencer.
    pub sequencer: String,
}

/// Why a directory cannot be opened as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Two processes over one directory would not see each other's writes.
    #[error("another `lazaret dev` uses the folder {0}: stop it, or choose another one with --data-dir")]
    InUse(PathBuf),
    /// A file of the store does not hold what its name promises.
    #[error("the stored object {path} is damaged ({reason}): remove this file to go on without it")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The name is not one that S3 allows for a bucket.
    #[error("{0:?} cannot be a bucket's name: 3 to 63 lower-case letters, digits, dots and hyphens")]
    BucketName(String),
    /// The directory cannot be read or written.
    #[error("cannot use the folder {path}: {source}")]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl OpenError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}

/// Buckets and objects under one directory, served through [`s3s::S3`].
#[derive(Clone)]
pub struct DirStore {
    shared: Arc<Shared>,
}

struct Shared {
    layout: Layout,
    index: Mutex<Index>,
    completed: Box<dyn Fn(CompletedUpload) + Send + Sync>,
    /// Where failures are logged: requests run with logging off, see `serve`.
    log: Dispatch,
    /// Dropping it gives the directory free for the next process.
    _lock: File,
}

impl DirStore {
    /// Opens the store under `root`, creating the directory where it is missing. What an earlier process left
    /// half written is removed, what it finished is served again.
    ///
    /// `completed` is called on a blocking thread after an object has become durable (`PutObject`,
    /// `CompleteMultipartUpload`, `CopyObject`) and before the client is answered. It is not called again for objects
    /// found at start: list the bucket to find those.
    pub fn open(root: &Path, completed: impl Fn(CompletedUpload) + Send + Sync + 'static) -> Result<Self, OpenError> {
        let layout = Layout::new(root);
        layout.create().map_err(OpenError::io(root))?;
        let lock = lock(&layout)?;
        let index = recovery::recover(&layout)?;
        Ok(Self {
            shared: Arc::new(Shared {
                layout,
                index: Mutex::new(index),
                completed: Box::new(completed),
                log: tracing::dispatcher::get_default(Clone::clone),
                _lock: lock,
            }),
        })
    }

    /// Creates the bucket unless it is there already.
    pub fn ensure_bucket(&self, name: &str) -> Result<(), OpenError> {
        if !s3s::path::check_bucket_name(name) {
            return Err(OpenError::BucketName(name.to_owned()));
        }
        self.shared.add_bucket(name).map(|_created| ()).map_err(OpenError::io(&self.shared.layout.bucket(name)))
    }
}

impl Shared {
    /// The index is changed in single steps that cannot panic half way, so a poisoned lock still guards a
    /// consistent one.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(layout: &Layout) -> Result<File, OpenError> {
    let path = layout.lock();
    let file = File::create(&path).map_err(OpenError::io(&path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(OpenError::InUse(layout.root().to_owned())),
        Err(other) => Err(OpenError::io(&path)(other.into())),
    }
}
