//! Waiting for a descriptor without blocking.

#![expect(unsafe_code, reason = "registering a descriptor with the runtime is unsafe for want of a trait bound")]

use std::{io, os::fd::OwnedFd, sync::Arc};

use tokio::io::{Interest, unix::AsyncFd};

/// Registers a descriptor with the runtime, to wait until it is readable.
pub(super) fn watch(fd: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: an `OwnedFd` always answers the same descriptor, which stays open as long as the `AsyncFd` has its share of it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(Into::into)
}
