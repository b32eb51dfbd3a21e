//! The thread that starts children.
//!
//! The parent-death signal follows the *thread* that started a child, so a pool thread of the runtime will not do:
//! it may end while the worker lives. This one lives as long as the [`crate::Jail`].

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

use tokio::sync::oneshot;

use super::{JailError, prisoner::Prisoner};

/// The three descriptors of a child.
#[derive(Debug)]
pub(super) struct Descriptors {
    pub(super) input: OwnedFd,
    pub(super) output: OwnedFd,
    pub(super) wire: OwnedFd,
}

struct Order {
    descriptors: Descriptors,
    /// When nobody waits any more, the prisoner comes back with the failed send, and its drop ends it.
    reply: oneshot::Sender<io::Result<Prisoner>>,
}

/// A handle of the thread, which ends with the last handle.
#[derive(Debug, Clone)]
pub(super) struct Spawner {
    orders: mpsc::Sender<Order>,
}

impl Spawner {
    pub(super) fn start(program: PathBuf) -> Result<Self, JailError> {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::Builder::new()
            .name("jail-spawner".into())
            .spawn(move || {
                for Order { descriptors, reply } in inbox {
                    drop(reply.send(spawn(&program, descriptors)));
                }
            })
            .map_err(|source| JailError::Resource { what: "thread", source })?;
        Ok(Self { orders })
    }

    pub(super) async fn spawn(&self, descriptors: Descriptors) -> Result<io::Result<Prisoner>, JailError> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(Order { descriptors, reply }).map_err(|_| JailError::Closed)?;
        answer.await.map_err(|_| JailError::Closed)
    }
}

/// Nothing that would make the standard library fork (`pre_exec`, user ids): with a large heap that costs tens of
/// milliseconds where `posix_spawn` takes one.
fn spawn(program: &Path, descriptors: Descriptors) -> io::Result<Prisoner> {
    let child = Command::new(program)
        .env_clear()
        .env("RUST_BACKTRACE", "0")
        .current_dir("/")
        // A signal to our group, such as Ctrl-C, must not end work that we still drain.
        .process_group(0)
        .stdin(Stdio::from(descriptors.input))
        .stdout(Stdio::from(descriptors.output))
        .stderr(Stdio::from(descriptors.wire))
        .spawn()?;
    Prisoner::new(child)
}
