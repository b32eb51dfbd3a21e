//! A memfd between two processes, given back to the kernel where that delays nobody.

use std::{fs::File, io, ops::Deref, sync::Arc};

use super::{
    memfd,
    reaper::{Reaper, Remains},
};

/// A memfd. With the last clone its pages go back to the kernel, on the reaper's thread.
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

impl Drop for Inner {
    fn drop(&mut self) {
        self.reaper.take(Remains::Memory(Arc::clone(&self.file)));
    }
}
