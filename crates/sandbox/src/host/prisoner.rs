//! One child: its process, killed and reaped whatever happens.

use std::{
    io,
    os::fd::OwnedFd,
    process::{Child, ExitStatus},
};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::watch::watch;

/// A running child. Dropped before its end was seen, it is killed and reaped on the spot.
#[derive(Debug)]
pub(super) struct Prisoner {
    child: Child,
    pidfd: OwnedFd,
    reaped: bool,
}

impl Prisoner {
    /// Takes charge of a child that has just been started.
    pub(super) fn new(mut child: Child) -> io::Result<Self> {
        let pidfd = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the child has no process id"))
            .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
        match pidfd {
            Ok(pidfd) => Ok(Self { child, pidfd, reaped: false }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    /// Waits for the end of the child.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let ended = watch(self.pidfd.try_clone()?)?;
        let _ready = ended.readable().await?;
        drop(ended);
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(status)
    }

    /// Kills the child and waits for its end.
    pub(super) async fn kill(&mut self) -> io::Result<()> {
        if !self.reaped {
            self.child.kill()?;
            self.wait().await?;
        }
        Ok(())
    }
}

/// The last resort, where nobody can wait any more: blocks until the child is gone, which takes the kernel as long as
/// it takes to give back its memory.
impl Drop for Prisoner {
    fn drop(&mut self) {
        if !self.reaped {
            end(&mut self.child);
        }
    }
}

fn end(child: &mut Child) {
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        tracing::error!(pid = child.id(), error = &error as &dyn std::error::Error, "a jailed child cannot be reaped");
    }
}
