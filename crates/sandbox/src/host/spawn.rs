//! How a child is started.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::{
    io::ioctl_fionbio,
    net::{
        AddressFamily, SocketFlags, SocketType, socketpair,
        sockopt::{set_socket_send_buffer_size, socket_send_buffer_size},
    },
};

use crate::wire::MAX_FOLLOWING_BYTES;

/// Room for two messages, a set-up and a task, and an input, with what the kernel needs for each.
const SEND_BUFFER_BYTES: usize = 2 * MAX_FOLLOWING_BYTES;

/// The three descriptors of a child.
#[derive(Debug)]
pub(super) struct Descriptors {
    pub(super) input: OwnedFd,
    /// None: it puts nothing out.
    pub(super) output: Option<OwnedFd>,
    pub(super) wire: OwnedFd,
}

/// A pair of connected sockets that keep messages apart. Ours, the first, never blocks.
pub(super) fn wire_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    ioctl_fionbio(&ours, true)?;
    // What a host's settings give by themselves may hold no input, and what they give at most neither.
    set_socket_send_buffer_size(&ours, SEND_BUFFER_BYTES)?;
    if socket_send_buffer_size(&ours)? < SEND_BUFFER_BYTES {
        return Err(io::Error::other(format!("net.core.wmem_max allows less than {SEND_BUFFER_BYTES} bytes")));
    }
    Ok((ours, theirs))
}

/// Nothing that would make the standard library fork (`pre_exec`, user ids): with a large heap that costs tens of
/// milliseconds where `posix_spawn` takes one.
pub(super) fn spawn(program: &Path, descriptors: Descriptors) -> io::Result<Child> {
    Command::new(program)
        .env_clear()
        .env("RUST_BACKTRACE", "0")
        .current_dir("/")
        // A signal to our group, such as Ctrl-C, must not end work that we still drain.
        .process_group(0)
        .stdin(Stdio::from(descriptors.input))
        .stdout(descriptors.output.map_or_else(Stdio::null, Stdio::from))
        .stderr(Stdio::from(descriptors.wire))
        .spawn()
}
