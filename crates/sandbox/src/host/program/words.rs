//! What the launching process is told: which jail to build, and the program's words.

use std::{
    ffi::OsString,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use lazaret_core::ports::JailedProgram;
use rustix::{
    cmsg_space,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send as send_frame, sendmsg},
};

use super::order;
use crate::wire::MAX_WORDS_BYTES;

/// Sends both messages, which wait in the socket until the process reads them. The second one carries the descriptor
/// that is to be the program's descriptor 2.
pub(super) fn send(wire: &OwnedFd, program: &JailedProgram, complaints: &OwnedFd) -> io::Result<()> {
    let words = words(program)?;
    send_frame(wire, &order(program)?.encode(), SendFlags::NOSIGNAL)?;
    let complaints = [complaints.as_fd()];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&complaints)) {
        return Err(io::Error::other("there is no room for a descriptor"));
    }
    // A message of this kind goes whole or not at all.
    sendmsg(wire, &[IoSlice::new(&words)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The program, its arguments and what it may read, each with a NUL behind it.
fn words(program: &JailedProgram) -> io::Result<Vec<u8>> {
    let mut words = Vec::new();
    let arguments = program.arguments.iter().map(OsString::as_os_str);
    let readable = program.readable.iter().map(|path| path.as_os_str());
    for word in [program.program.as_os_str()].into_iter().chain(arguments).chain(readable) {
        if word.as_bytes().contains(&0) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a word holds a NUL"));
        }
        words.extend_from_slice(word.as_bytes());
        words.push(0);
    }
    if words.len() > MAX_WORDS_BYTES {
        let error = format!("its words are {} bytes long, {MAX_WORDS_BYTES} is the limit", words.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
    }
    Ok(words)
}
