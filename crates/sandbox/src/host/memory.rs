//! A memfd between two processes, given back to the kernel where that delays nobody.

use std::{fs::File, io, ops::Deref, os::unix::fs::MetadataExt, sync::Arc};

use tokio::task::spawn_blocking;

use super::{
    JailError, lacking, memfd,
    reaper::{Reaper, Remains},
};

/// What a thread of the runtime copies or gives back by itself: some ten microseconds' work.
pub(super) const INLINE_BYTES: u64 = 128 << 10;

/// A memfd. With the last clone its pages go back to the kernel, on the reaper's thread where they are many.
#[derive(Debug, Clone)]
pub(super) struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Arc<File>,
    reaper: Reaper,
}

impl Memory {
    pub(super) fn create(name: &str, len: u64, reaper: &Reaper) -> io::Result<Self> {
        let file = Arc::new(memfd::create(name, len)?);
        Ok(Self(Arc::new(Inner { file, reaper: reaper.clone() })))
    }
}

impl Deref for Memory {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0.file
    }
}

/// Whether much of it is written, however little of it was announced.
pub(super) fn is_large(memory: &File) -> bool {
    // In units of 512 bytes (inode(7)).
    memory.metadata().map_or(true, |metadata| metadata.blocks() > INLINE_BYTES / 512)
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Little is given back sooner than a thread is woken.
        if is_large(&self.file) {
            self.reaper.take(Remains::Memory(Arc::clone(&self.file)));
        }
    }
}

/// Work that takes longer than a thread of the runtime has, where it is long. Short work is done sooner than another
/// thread is woken.
pub(super) async fn blocking<T: Send + 'static>(
    what: &'static str,
    long: bool,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, JailError> {
    let done = if long { spawn_blocking(work).await.map_err(lacking(what))? } else { work() };
    done.map_err(lacking(what))
}
