//! What one request is, and where its answer ends.

mod amqp;
mod clamd;
mod http;
mod postgres;

use super::Protocol;

/// The client's side of one connection.
#[derive(Debug)]
pub(super) enum Dialect {
    Http(http::Client),
    Postgres(postgres::Client),
    Amqp(amqp::Client),
    Clamd,
}

/// A whole piece of what a client sends.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) bytes: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) answer: Answer,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Counted, under this name.
    Request(String),
    /// Passed on as it is: nothing depends on it.
    Uncounted,
    /// Not passed on; answered by us.
    Refused(&'static [u8]),
}

/// Where the answer ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// With the body, if it has one.
    Http { of_head: bool },
    /// When PostgreSQL waits for us.
    Postgres,
    /// With a NUL or a line.
    Clamd,
    /// None is due, or none that could be told from what comes by itself.
    Quiet,
}

impl Answer {
    pub(super) const fn is_due(self) -> bool {
        !matches!(self, Self::Quiet)
    }

    pub(super) fn is_complete(self, bytes: &[u8]) -> bool {
        match self {
            Self::Http { of_head } => http::is_complete(bytes, of_head),
            Self::Postgres => postgres::is_complete(bytes),
            Self::Clamd => bytes.ends_with(b"\0") || bytes.ends_with(b"\n"),
            Self::Quiet => false,
        }
    }
}

impl Dialect {
    pub(super) fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http => Self::Http(http::Client::default()),
            Protocol::Postgres => Self::Postgres(postgres::Client::default()),
            Protocol::Amqp => Self::Amqp(amqp::Client::default()),
            Protocol::Clamd => Self::Clamd,
        }
    }

    /// The first whole piece, taken off the buffer; none as long as it is not all there.
    pub(super) fn take(&mut self, buffer: &mut Vec<u8>) -> Option<Unit> {
        let (length, kind, answer) = match self {
            Self::Http(client) => client.first(buffer)?,
            Self::Postgres(client) => client.first(buffer)?,
            Self::Amqp(client) => client.first(buffer)?,
            Self::Clamd => clamd::first(buffer)?,
        };
        Some(Unit { bytes: buffer.drain(..length).collect(), kind, answer })
    }

    /// What the client has to hear before it sends the rest.
    pub(super) fn interim(&mut self, buffer: &[u8]) -> Option<&'static [u8]> {
        match self {
            Self::Http(client) => client.interim(buffer),
            Self::Postgres(_) | Self::Amqp(_) | Self::Clamd => None,
        }
    }
}

/// A piece: its length, what it is, what answers it.
type Piece = (usize, Kind, Answer);

fn u32_at(buffer: &[u8], at: usize) -> Option<usize> {
    let bytes = buffer.get(at..at + 4)?;
    usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
}
