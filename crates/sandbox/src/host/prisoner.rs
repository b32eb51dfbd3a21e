//! One child: its process, killed and reaped whatever happens.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::{Child, ExitStatus},
    sync::Arc,
};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{
    reaper::{Reaper, Remains, Slot},
    watch::watch,
};

/// A running child. Dropped before its end was seen, it is killed at once and reaped elsewhere.
#[derive(Debug)]
pub(super) struct Prisoner {
    /// None: it is reaped.
    child: Option<Child>,
    pidfd: Arc<OwnedFd>,
    slot: Slot,
    reaper: Reaper,
}

impl Prisoner {
    /// Takes charge of a child that has just been started.
    pub(super) fn new(child: Child, reaper: Reaper) -> io::Result<Self> {
        let pidfd = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the child has no process id"))
            .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
        match pidfd {
            Ok(pidfd) => Ok(Self { child: Some(child), pidfd: Arc::new(pidfd), slot: None, reaper }),
            Err(error) => {
                end(child, None, &reaper);
                Err(error)
            }
        }
    }

    /// Makes it hold its job's place until it is gone.
    pub(super) fn hold(&mut self, slot: Slot) {
        self.slot = slot;
    }

    /// Readable when the child has ended.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits for the end of the child.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let Some(child) = &mut self.child else { return Err(io::Error::other("the child is reaped already")) };
        let status = if let Some(status) = child.try_wait()? {
            status
        } else {
            let _ready = watch(Arc::clone(&self.pidfd))?.readable().await?;
            child.wait()?
        };
        self.child = None;
        Ok(status)
    }

    /// Kills the child and waits for its end.
    pub(super) async fn kill(&mut self) -> io::Result<()> {
        if let Some(child) = &mut self.child {
            child.kill()?;
            self.wait().await?;
        }
        Ok(())
    }
}

impl Drop for Prisoner {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            end(child, self.slot.take(), &self.reaper);
        }
    }
}

fn end(mut child: Child, slot: Slot, reaper: &Reaper) {
    if let Err(error) = child.kill() {
        let (pid, error) = (child.id(), &error as &dyn std::error::Error);
        tracing::error!(pid, error, "a jailed child cannot be killed");
    }
    reaper.take(Remains::Child(child, slot));
}
