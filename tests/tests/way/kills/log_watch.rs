//! Writes to SQLite's write-ahead log, as inotify(7) tells them.

use std::{
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init},
};

/// How long the end of a watch may take.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Watches until dropped.
#[derive(Debug)]
pub(super) struct LogWatch {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LogWatch {
    /// Calls `then` at the n-th write from now.
    pub(super) fn start(database: &Path, nth: usize, then: impl FnOnce() + Send + 'static) -> Result<Self> {
        let log = PathBuf::from(format!("{}-wal", database.display()));
        let events = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        add_watch(&events, &log, WatchFlags::MODIFY).with_context(|| format!("no log {}", log.display()))?;
        let ended = Arc::<AtomicBool>::default();
        let stop = Arc::clone(&ended);
        let thread = thread::spawn(move || watch(&events, &stop, nth, then));
        Ok(Self { ended, thread: Some(thread) })
    }
}

impl Drop for LogWatch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn watch(events: &OwnedFd, stop: &AtomicBool, nth: usize, then: impl FnOnce()) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let (mut then, mut writes) = (Some(then), 0);
    while !stop.load(Ordering::SeqCst) {
        let mut ready = [PollFd::new(events, PollFlags::IN)];
        if !poll(&mut ready, Some(&LOOK_EVERY)).is_ok_and(|ready| ready > 0) {
            continue;
        }
        let mut reader = Reader::new(events, &mut buffer);
        while reader.next().is_ok() {
            writes += 1;
            if writes >= nth
                && let Some(then) = then.take()
            {
                then();
            }
        }
    }
}
