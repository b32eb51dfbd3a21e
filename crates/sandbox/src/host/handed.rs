//! What a child gets to work on.

use std::{fs::File, os::unix::fs::FileExt};

use lazaret_core::Spooled;

use super::{
    JailError,
    attend::Order,
    lacking, memfd,
    memory::{INLINE_BYTES, Memory, blocking},
};
use crate::wire::{Input, MAX_FOLLOWING_BYTES, Task, ToChild};

/// A child's input, out of reach of whoever wrote it.
#[derive(Debug)]
pub(super) enum Handed {
    /// In the memory that the child has mapped: cut, and written by nobody any more.
    Mapped,
    /// A copy, which follows the task.
    Copied(Vec<u8>),
}

impl Handed {
    /// The input of a job: a little is copied, and more goes where a sealed child has it mapped already.
    pub(super) async fn input(memory: &Memory, input: &Spooled) -> Result<Self, JailError> {
        if let Some(copy) = Self::copy(input.file(), input.len())? {
            return Ok(copy);
        }
        let (memory, spooled) = (memory.clone(), input.clone());
        blocking("copy of the input", input.len() > INLINE_BYTES, move || {
            memfd::copy(spooled.file(), 0, &memory, spooled.len())?;
            memfd::seal(&memory, spooled.len())
        })
        .await?;
        Ok(Self::Mapped)
    }

    /// A copy of the first `len` bytes; none of what is too long to follow a task. Whatever the writer does meanwhile, what
    /// is checked is what is handed over.
    pub(super) fn copy(file: &File, len: u64) -> Result<Option<Self>, JailError> {
        let Some(len) = usize::try_from(len).ok().filter(|&len| len <= MAX_FOLLOWING_BYTES) else { return Ok(None) };
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0).map_err(lacking("copy"))?;
        Ok(Some(Self::Copied(bytes)))
    }

    /// The task on this input.
    pub(super) fn order(&self, task: &Task) -> Order<'_> {
        match self {
            Self::Mapped => Order { message: ToChild::Work(*task, Input::Mapped), input: &[] },
            Self::Copied(bytes) => Order { message: ToChild::Work(*task, Input::Follows), input: bytes },
        }
    }

    /// The bytes, where they are a copy.
    pub(super) fn copied(&self) -> Option<&[u8]> {
        match self {
            Self::Mapped => None,
            Self::Copied(bytes) => Some(bytes),
        }
    }
}
