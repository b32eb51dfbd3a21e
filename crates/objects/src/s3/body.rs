//! Part of a spooled object as the body of a request.

use std::{
    io,
    ops::Range,
    os::unix::fs::FileExt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use lazaret_core::{Sha256Digest, Spooled};
use sha2::{Digest, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};

/// How much is read at a time, and so what a body costs in memory.
const CHUNK_BYTES: u64 = 256 * 1024;

/// A body of the bytes in `range`, read by position: it can be sent again, and beside others of the same object.
pub(super) fn stream(spooled: &Spooled, range: Range<u64>) -> ByteStream {
    let spooled = spooled.clone();
    let body = SdkBody::retryable(move || {
        SdkBody::from_body_1_x(Part { spooled: spooled.clone(), rest: range.clone(), reading: None })
    });
    ByteStream::new(body)
}

/// The digest of the bytes in `range`.
pub(super) async fn digest(spooled: &Spooled, range: Range<u64>) -> io::Result<Sha256Digest> {
    let spooled = spooled.clone();
    let hashing = spawn_blocking(move || {
        let mut hash = Sha256::new();
        let mut rest = range;
        while !rest.is_empty() {
            hash.update(read_chunk(&spooled, &mut rest)?);
        }
        Ok(Sha256Digest::from_bytes(hash.finalize().into()))
    });
    hashing.await.map_err(io::Error::other).flatten()
}

struct Part {
    spooled: Spooled,
    rest: Range<u64>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Body for Part {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let (spooled, mut chunk) = (self.spooled.clone(), self.rest.clone());
        let reading = self.reading.get_or_insert_with(|| spawn_blocking(move || read_chunk(&spooled, &mut chunk)));
        let read = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other).flatten();
        self.reading = None;
        if let Ok(bytes) = &read {
            self.rest.start += bytes.len() as u64;
        }
        Poll::Ready(Some(read.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.end - self.rest.start)
    }
}

/// Reads the beginning of `rest` and moves it forward.
fn read_chunk(spooled: &Spooled, rest: &mut Range<u64>) -> io::Result<Bytes> {
    let len = (rest.end - rest.start).min(CHUNK_BYTES);
    // At most `CHUNK_BYTES`, which fits into every usize.
    let mut chunk = vec![0; usize::try_from(len).unwrap_or_default()];
    spooled.file().read_exact_at(&mut chunk, rest.start)?;
    rest.start += len;
    Ok(chunk.into())
}
