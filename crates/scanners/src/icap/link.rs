//! Connections to a server, kept for the next object, and no more of them than it wants.

use std::{
    io,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::net::{RecvFlags, recv};
use tokio::{
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
};

use super::{IcapUrl, exchange::Wire, options::Options, reader::Reader};

/// A connection that is not used holds a thread of many servers.
const IDLE_FOR: Duration = Duration::from_secs(15);

/// A connection, and what the server at its end said of itself: behind one address there may be several.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) wire: Wire<OwnedReadHalf, OwnedWriteHalf>,
    pub(super) options: Options,
    /// When it said so.
    pub(super) asked: Instant,
    /// Whether it lay idle since the last answer, so that the server may have closed it meanwhile.
    pub(super) was_idle: bool,
}

pub(super) async fn connect(url: &IcapUrl) -> io::Result<Wire<OwnedReadHalf, OwnedWriteHalf>> {
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
    // The chunk that ends a body would wait for an acknowledgement.
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    Ok(Wire { reader: Reader::new(reader), writer })
}

impl Link {
    /// Nothing came since the last answer, not even the end.
    fn is_quiet(&self) -> bool {
        let mut byte = [0; 1];
        let stream: &TcpStream = self.wire.reader.source().as_ref();
        let peeked = recv(stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        self.wire.reader.is_drained() && matches!(peeked, Err(rustix::io::Errno::AGAIN))
    }
}

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Links {
    wanted: NonZeroUsize,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    idle: Vec<(Link, Instant)>,
    in_use: usize,
    limit: usize,
    /// Whether one connection beside those in use is within what the server wants.
    room_to_check: bool,
}

/// The right to one connection.
#[derive(Debug)]
pub(super) struct Slot<'a>(&'a Links);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.state().in_use -= 1;
        self.0.freed.notify_one();
    }
}

impl Links {
    /// One at a time, until the server says how many it wants.
    pub(super) fn new(wanted: NonZeroUsize) -> Self {
        let state = State { idle: Vec::new(), in_use: 0, limit: 1, room_to_check: false };
        Self { wanted, state: Mutex::new(state), freed: Notify::new() }
    }

    /// Waits until a connection may be used.
    pub(super) async fn slot(&self) -> Slot<'_> {
        loop {
            let freed = self.freed.notified();
            {
                let mut state = self.state();
                if state.in_use < state.limit {
                    state.in_use += 1;
                    let more = state.in_use < state.limit;
                    drop(state);
                    if more {
                        self.freed.notify_one();
                    }
                    return Slot(self);
                }
            }
            freed.await;
        }
    }

    /// A slot for a question about the server itself, where that needs one.
    pub(super) async fn slot_to_check(&self) -> Option<Slot<'_>> {
        if self.state().room_to_check { None } else { Some(self.slot().await) }
    }

    /// Keeps to what the server says it wants. One connection of those is left for questions about the server itself.
    pub(super) fn limit(&self, announced: Option<usize>) {
        let mut state = self.state();
        let wanted = self.wanted.get();
        let announced = announced.unwrap_or(usize::MAX);
        state.limit = wanted.min(announced.saturating_sub(1)).max(1);
        state.room_to_check = announced > 1;
        drop(state);
        self.freed.notify_one();
    }

    /// A connection that was not closed.
    pub(super) fn take(&self) -> Option<Link> {
        let mut state = self.state();
        state.idle.retain(|(_, since)| since.elapsed() < IDLE_FOR);
        while let Some((link, _)) = state.idle.pop() {
            if link.is_quiet() {
                return Some(link);
            }
        }
        None
    }

    /// Keeps a connection on which an answer was read to its end.
    pub(super) fn put(&self, mut link: Link) {
        link.was_idle = true;
        let mut state = self.state();
        state.idle.retain(|(_, since)| since.elapsed() < IDLE_FOR);
        if state.idle.len() < state.limit {
            state.idle.push((link, Instant::now()));
        }
    }

    /// Closes all that are not in use.
    pub(super) fn clear(&self) {
        self.state().idle.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
