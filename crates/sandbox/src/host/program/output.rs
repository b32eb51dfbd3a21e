//! What a program writes.

use std::{collections::VecDeque, io, os::fd::OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::{
    io::{AsyncReadExt, Take},
    net::unix::pipe,
};

/// Kept of what a program says to people.
const TAIL_BYTES: usize = 4 << 10;
const CHUNK_BYTES: usize = 16 << 10;

/// Why a program is not heard to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// It says more than it may.
    Flood,
    /// It cannot be heard.
    Unable(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Unable(error)
    }
}

/// A pipe: our end, and the program's.
pub(super) fn pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((pipe::Receiver::from_owned_fd(ours)?, theirs))
}

/// All of it, up to the limit.
pub(super) async fn whole(pipe: &mut pipe::Receiver, limit: u64) -> Result<Vec<u8>, Stop> {
    let mut answer = Vec::new();
    let mut pipe: Take<_> = pipe.take(limit.saturating_add(1));
    pipe.read_to_end(&mut answer).await?;
    if answer.len() as u64 > limit { Err(Stop::Flood) } else { Ok(answer) }
}

/// Reads until the end and keeps the last of it. There is no limit: the program's CPU time is one.
pub(super) async fn tail(pipe: &mut pipe::Receiver, tail: &mut Tail) -> Result<(), Stop> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match pipe.read(&mut chunk).await? {
            0 => return Ok(()),
            len => tail.push(&chunk[..len]),
        }
    }
}

/// The last of what was said.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        let surplus = self.0.len().saturating_sub(TAIL_BYTES);
        self.0.drain(..surplus);
    }

    /// As lines for people: what is no text and what could steer a terminal is replaced.
    pub(super) fn into_text(self) -> String {
        let bytes: Vec<_> = self.0.into();
        let text = String::from_utf8_lossy(&bytes);
        let shown = |c: char| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c };
        text.trim_end().chars().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_of_it() {
        let mut tail = Tail::default();
        tail.push(b"the beginning");
        tail.push(&vec![b'x'; TAIL_BYTES]);
        tail.push(b" the \x1b[31mend\n\xff\n");
        let text = tail.into_text();
        assert!(!text.contains("the beginning") && text.starts_with("xxx"), "{text}");
        assert!(text.ends_with("x the \u{fffd}[31mend\n\u{fffd}"), "{text}");
    }
}
