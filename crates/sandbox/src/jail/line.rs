//! This end of the wire.
//!
//! It comes as descriptor 2, and moves to 0 before any hostile byte is read: libraries print to 1 and 2 what they have to
//! say of their input, and their words are not ours.

#![expect(unsafe_code, reason = "moving a standard descriptor is unsafe")]

use std::{
    io,
    os::fd::{BorrowedFd, RawFd},
    sync::atomic::{AtomicI32, Ordering},
};

use rustix::net::{SocketType, sockopt::socket_type};

use super::{MissingLayer, require};
use crate::layer::Layer;

/// Where the wire is once the jail is complete.
pub(super) const WIRE: RawFd = libc::STDIN_FILENO;

static NOW: AtomicI32 = AtomicI32::new(libc::STDERR_FILENO);

/// The wire, wherever it is.
pub(super) fn wire() -> BorrowedFd<'static> {
    // SAFETY: a descriptor of this number is open from before the first instruction of this process to its end.
    unsafe { BorrowedFd::borrow_raw(NOW.load(Ordering::Relaxed)) }
}

/// Leaves nothing but the wire, as [`WIRE`]. Standard input and output must not be needed any more.
pub(super) fn leave_only_wire() -> Result<(), MissingLayer> {
    let missing = || MissingLayer::new(Layer::Descriptors, io::Error::last_os_error());
    // SAFETY: no value owns a standard descriptor. Nothing reads the input any more, what is printed from here on is an
    // error to whoever prints it, and what reads and writes the wire asks for its number.
    unsafe {
        if libc::dup2(libc::STDERR_FILENO, WIRE) == -1 {
            return Err(missing());
        }
        NOW.store(WIRE, Ordering::Relaxed);
        if libc::close(libc::STDOUT_FILENO) | libc::close(libc::STDERR_FILENO) != 0 {
            return Err(missing());
        }
    }
    let only = is_closed(libc::STDOUT_FILENO) && is_closed(libc::STDERR_FILENO);
    require(Layer::Descriptors, only, "the kernel left some open")?;
    let moved = socket_type(wire()).map_err(MissingLayer::because(Layer::Descriptors))? == SocketType::SEQPACKET;
    require(Layer::Descriptors, moved, "the wire is not where it was moved to")
}

fn is_closed(fd: RawFd) -> bool {
    // SAFETY: asking for the flags of a descriptor changes nothing, whether it is open or not.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EBADF)
}
