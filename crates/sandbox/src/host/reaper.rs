//! The thread that waits for what is over: children that were killed, and memory that goes back to the kernel. Either
//! can take tens of milliseconds, which no thread of the runtime has.

use std::{error::Error, fs::File, process::Child, sync::Arc, sync::mpsc, thread};

use tokio::sync::OwnedSemaphorePermit;

use super::{JailError, lacking};

/// A place among the jobs at work, held by all of a job's children until the last of them is gone.
pub(super) type Slot = Option<Arc<OwnedSemaphorePermit>>;

/// Something that is over.
pub(super) enum Remains {
    /// A child that was killed, with its job's place.
    Child(Child, Slot),
    /// Memory nobody needs any more.
    Memory(Arc<File>),
}

/// Hands things to the thread, which ends with the last handle.
#[derive(Debug, Clone)]
pub(super) struct Reaper {
    remains: mpsc::Sender<Remains>,
}

impl Reaper {
    pub(super) fn start() -> Result<Self, JailError> {
        let (remains, inbox) = mpsc::channel();
        thread::Builder::new()
            .name("jail-reaper".into())
            .spawn(move || inbox.into_iter().for_each(bury))
            .map_err(lacking("thread"))?;
        Ok(Self { remains })
    }

    /// Takes what is over. Without the thread, the work is done here.
    pub(super) fn take(&self, remains: Remains) {
        if let Err(mpsc::SendError(remains)) = self.remains.send(remains) {
            bury(remains);
        }
    }
}

fn bury(remains: Remains) {
    match remains {
        Remains::Child(mut child, slot) => {
            if let Err(error) = child.wait() {
                let (pid, error) = (child.id(), &error as &dyn Error);
                tracing::error!(pid, error, "a jailed child cannot be reaped");
            }
            drop(slot);
        }
        Remains::Memory(file) => drop(file),
    }
}
