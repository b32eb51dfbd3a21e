//! A connection on which the reply can be read whatever became of the request.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use clamav_client::tokio::TransportProtocol;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::ClamdAddress;

/// Longer replies are cut, which makes them no reply.
pub(super) const MAX_REPLY_BYTES: usize = 16 * 1024;

/// What went wrong before clamd could say anything, carried through the transport's `io::Error`.
#[derive(Debug)]
pub(super) enum Fault {
    /// There is no connection.
    Connect(io::Error),
    /// The object could not be read.
    Spool(io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Spool(error) => write!(f, "cannot read the object: {error}"),
        }
    }
}

impl std::error::Error for Fault {}

/// One connection to clamd, not yet made.
pub(super) struct Line<'a> {
    address: &'a ClamdAddress,
    hung_up: HungUp,
}

impl<'a> Line<'a> {
    pub(super) fn new(address: &'a ClamdAddress) -> Self {
        Self { address, hung_up: HungUp::default() }
    }

    /// Tells the sender when there is no use in sending more.
    pub(super) fn hung_up(&self) -> HungUp {
        self.hung_up.clone()
    }
}

impl TransportProtocol for Line<'_> {
    type Stream = Connection;

    async fn connect(&self) -> io::Result<Connection> {
        let stream: Box<dyn Duplex> = match self.address {
            ClamdAddress::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(connect_fault)?),
            ClamdAddress::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(connect_fault)?;
                // Every chunk begins with four bytes of their own, which would wait for an acknowledgement.
                stream.set_nodelay(true).map_err(connect_fault)?;
                Box::new(stream)
            }
        };
        Ok(Connection { stream, hung_up: self.hung_up.clone(), received: 0 })
    }
}

pub(super) fn connect_fault(error: io::Error) -> io::Error {
    io::Error::other(Fault::Connect(error))
}

/// Set once clamd has closed its end.
#[derive(Debug, Clone, Default)]
pub(super) struct HungUp(Arc<AtomicBool>);

impl HungUp {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A stream that swallows what clamd no longer takes, so that what clamd said before is read. Without an answer the
/// reply is empty, which nobody reads as a verdict.
pub(super) struct Connection {
    stream: Box<dyn Duplex>,
    hung_up: HungUp,
    received: usize,
}

pub(super) fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.received >= MAX_REPLY_BYTES {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match ready!(Pin::new(&mut self.stream).poll_read(cx, buffer)) {
            Err(error) if is_hang_up(&error) => Poll::Ready(Ok(())),
            result => {
                self.received += buffer.filled().len() - before;
                Poll::Ready(result)
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.hung_up.get() {
            return Poll::Ready(Ok(bytes.len()));
        }
        match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes)) {
            Err(error) if is_hang_up(&error) => {
                self.hung_up.set();
                Poll::Ready(Ok(bytes.len()))
            }
            result => Poll::Ready(result),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
