//! Taking bytes into a file that nobody sees yet.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::StreamExt;
use s3s::dto::StreamingBlob;
use s3s::{S3ErrorCode, StdError};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::digests::{Checksums, Declared, Digests, Hasher};
use super::fault::{Fault, blocking, disk, refuse};
use super::record;

/// Bytes gathered before they are hashed and written, so that neither runs on the threads that serve sockets.
const BATCH_BYTES: usize = 512 * 1024;
const WRITE: &str = "write what is being uploaded";

/// A file in the staging directory; gone when dropped.
pub(super) struct Intake {
    file: NamedTempFile,
    hasher: Hasher,
    size: u64,
}

/// A file whose bytes are all there.
pub(super) struct Staged {
    file: NamedTempFile,
    pub(super) size: u64,
    pub(super) digests: Digests,
}

impl Intake {
    pub(super) fn new(staging: PathBuf, hasher: Hasher) -> io::Result<Self> {
        Ok(Self { file: NamedTempFile::new_in(staging)?, hasher, size: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.as_file_mut().write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Takes exactly `length` bytes from where `source` stands.
    pub(super) fn copy(&mut self, source: &File, length: u64) -> io::Result<()> {
        let mut buffer = vec![0; BATCH_BYTES];
        let mut source = source.take(length);
        let before = self.size;
        loop {
            match source.read(&mut buffer)? {
                0 if self.size - before == length => return Ok(()),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.write(&buffer[..read])?,
            }
        }
    }

    pub(super) fn finish(self) -> Staged {
        Staged { file: self.file, size: self.size, digests: self.hasher.finish() }
    }
}

impl Staged {
    /// Lays the record behind the bytes and waits until both are on the disk. What comes back is complete but for
    /// its place.
    pub(super) fn seal<R: Serialize>(mut self, record: &R) -> io::Result<NamedTempFile> {
        record::append(self.file.as_file_mut(), record)?;
        self.file.as_file().sync_all()?;
        Ok(self.file)
    }
}

/// Takes a request's body and holds it to what the client declared.
pub(super) async fn receive(
    staging: PathBuf,
    body: Option<StreamingBlob>,
    declared: Declared,
) -> Result<(Staged, Checksums), Fault> {
    let length = declared.length.ok_or(S3ErrorCode::MissingContentLength)?;
    let hasher = declared.hasher();
    let mut intake = blocking(WRITE, move || Intake::new(staging, hasher).map_err(disk(WRITE))).await?;
    let mut batch = Vec::new();
    let mut gathered = 0;
    let mut left = length;
    let mut body = body.unwrap_or_else(|| s3s::Body::empty().into());
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| torn(&error))?;
        left = left
            .checked_sub(chunk.len() as u64)
            .ok_or_else(|| refuse(S3ErrorCode::IncompleteBody, "the body is longer than declared"))?;
        gathered += chunk.len();
        batch.push(chunk);
        if gathered >= BATCH_BYTES {
            intake = absorb(intake, std::mem::take(&mut batch)).await?;
            gathered = 0;
        }
    }
    let staged = absorb(intake, batch).await?.finish();
    let checksums = declared.verify(staged.size, &staged.digests)?;
    Ok((staged, checksums))
}

async fn absorb(mut intake: Intake, batch: Vec<Bytes>) -> Result<Intake, Fault> {
    blocking(WRITE, move || {
        batch.iter().try_for_each(|bytes| intake.write(bytes)).map_err(disk(WRITE))?;
        Ok(intake)
    })
    .await
}

/// s3s keeps the types of these errors to itself; their names are in their text.
fn torn(error: &StdError) -> Fault {
    let text = error.to_string();
    let code = if text.contains("Sha256Mismatch") {
        S3ErrorCode::BadDigest
    } else if text.contains("SignatureMismatch") {
        S3ErrorCode::SignatureDoesNotMatch
    } else {
        S3ErrorCode::IncompleteBody
    };
    refuse(code, text)
}
