//! The commands, one connection each: what goes out, and the bytes that come back.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{fd::AsFd, unix::fs::FileExt},
    path::Path,
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use lazaret_core::Spooled;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::{
    io::{AsyncReadExt, Interest},
    net::UnixStream,
    task::spawn_blocking,
};

use super::{
    ClamdAddress,
    connection::{Fault, HungUp, Line, MAX_REPLY_BYTES, connect_fault, is_hang_up},
};

/// 4 KiB, the default of the transport, costs a third of the throughput.
const CHUNK_BYTES: usize = 128 * 1024;

/// Asks for the version.
pub(super) async fn version(address: &ClamdAddress) -> io::Result<Vec<u8>> {
    clamav_client::tokio::get_version(Line::new(address)).await
}

/// Sends a few bytes.
pub(super) async fn bytes(address: &ClamdAddress, bytes: &[u8]) -> io::Result<Vec<u8>> {
    clamav_client::tokio::scan_buffer(bytes, Line::new(address), Some(CHUNK_BYTES)).await
}

/// Sends all bytes of `object`.
pub(super) async fn stream(address: &ClamdAddress, object: &Spooled) -> io::Result<Vec<u8>> {
    let line = Line::new(address);
    let chunks = chunks(object.clone(), line.hung_up());
    clamav_client::tokio::scan_stream(chunks, line, Some(CHUNK_BYTES)).await
}

/// The object's bytes by position, until they or the connection end.
fn chunks(object: Spooled, hung_up: HungUp) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold(0, move |offset| {
        let (object, hung_up) = (object.clone(), hung_up.clone());
        async move {
            let rest = object.len() - offset;
            if rest == 0 || hung_up.get() {
                return Ok(None);
            }
            let len = usize::try_from(rest).map_or(CHUNK_BYTES, |rest| rest.min(CHUNK_BYTES));
            let read = spawn_blocking(move || {
                let mut chunk = vec![0; len];
                object.file().read_exact_at(&mut chunk, offset).map(|()| Bytes::from(chunk))
            });
            let chunk = read.await.map_err(io::Error::from).flatten();
            let chunk = chunk.map_err(|error| io::Error::other(Fault::Spool(error)))?;
            let next = offset + chunk.len() as u64;
            Ok(Some((chunk, next)))
        }
    })
}

/// Hands over the object's descriptor. clamd reads it by position.
pub(super) async fn descriptor(path: &Path, object: &Spooled) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path).await.map_err(connect_fault)?;
    match request(&stream, object).await {
        Err(error) if !is_hang_up(&error) => return Err(error),
        _ => {}
    }
    let mut reply = Vec::new();
    match (&mut stream).take(MAX_REPLY_BYTES as u64).read_to_end(&mut reply).await {
        Err(error) if !is_hang_up(&error) => Err(error),
        _ => Ok(reply),
    }
}

async fn request(stream: &UnixStream, object: &Spooled) -> io::Result<()> {
    let mut command: &[u8] = b"zFILDES\0";
    while !command.is_empty() {
        stream.writable().await?;
        match stream.try_write(command) {
            Ok(written) => command = &command[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    stream.async_io(Interest::WRITABLE, || send_descriptor(stream, object)).await
}

/// A descriptor travels with at least one byte, which clamd reads and drops (clamd(8), FILDES).
fn send_descriptor(stream: &UnixStream, object: &Spooled) -> io::Result<()> {
    let descriptors = [object.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for one descriptor"));
    }
    sendmsg(stream, &[IoSlice::new(b"\0")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
