use std::{fs::File, io, mem, os::unix::fs::FileExt, path::PathBuf};

use bytes::Bytes;
use lazaret_core::{Sha256Digest, Spooled};
use sha2::{Digest, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{SpoolError, SpoolReservation, file};

/// Bytes gathered before they are hashed and written: while one such chunk is, the next one gathers. Two of them are
/// what an object in work costs in memory beside its spool.
const CHUNK_BYTES: usize = 1024 * 1024;

/// One object on its way into the spool. Dropped before [`SpoolWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct SpoolWriter {
    dir: PathBuf,
    expected_bytes: u64,
    written_bytes: u64,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    sink: Sink,
}

/// Where the bytes go; away while a chunk is being written.
#[derive(Debug)]
enum Sink {
    Idle(Box<Output>),
    Busy(JoinHandle<io::Result<Box<Output>>>),
    Failed,
}

/// The reservation lives beside the file: space is given back when the file is closed, not when a writer is dropped
/// whose last chunk is still being written.
#[derive(Debug)]
struct Output {
    file: File,
    in_memory: bool,
    hash: Sha256,
    position: u64,
    reservation: SpoolReservation,
}

impl SpoolWriter {
    pub(super) async fn open(
        dir: PathBuf,
        in_memory: bool,
        expected_bytes: u64,
        reservation: SpoolReservation,
    ) -> Result<Self, SpoolError> {
        let file = if in_memory {
            file::memory()
        } else {
            let dir = dir.clone();
            blocking(move || file::unnamed(&dir, expected_bytes)).await
        };
        match file {
            Ok(file) => {
                let output = Output { file, in_memory, hash: Sha256::new(), position: 0, reservation };
                Ok(Self {
                    dir,
                    expected_bytes,
                    written_bytes: 0,
                    gathered: Vec::new(),
                    gathered_bytes: 0,
                    sink: Sink::Idle(Box::new(output)),
                })
            }
            Err(source) => Err(SpoolError::System { dir, source }),
        }
    }

    /// How many bytes came so far.
    pub const fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Takes the next bytes. More than were expected are an error.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), SpoolError> {
        self.written_bytes += bytes.len() as u64;
        if self.written_bytes > self.expected_bytes {
            return Err(SpoolError::Body {
                detail: format!("{} bytes came and {} were expected", self.written_bytes, self.expected_bytes),
            });
        }
        self.gathered_bytes += bytes.len();
        self.gathered.push(bytes);
        if self.gathered_bytes >= CHUNK_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Seals the object. Fewer bytes than were expected are an error.
    pub async fn finish(mut self) -> Result<Spooled, SpoolError> {
        if self.written_bytes != self.expected_bytes {
            return Err(SpoolError::Body {
                detail: format!("it ended after {} of {} bytes", self.written_bytes, self.expected_bytes),
            });
        }
        self.flush().await?;
        let output = self.idle().await?;
        blocking(move || output.seal()).await.map_err(|source| SpoolError::System { dir: self.dir, source })
    }

    async fn flush(&mut self) -> Result<(), SpoolError> {
        let mut output = self.idle().await?;
        let chunk = mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        self.sink = Sink::Busy(spawn_blocking(move || {
            for bytes in chunk {
                output.append(&bytes)?;
            }
            Ok(output)
        }));
        Ok(())
    }

    async fn idle(&mut self) -> Result<Box<Output>, SpoolError> {
        let written = match mem::replace(&mut self.sink, Sink::Failed) {
            Sink::Idle(output) => Ok(output),
            Sink::Busy(task) => task.await.map_err(io::Error::other).flatten(),
            Sink::Failed => Err(io::Error::other("an earlier write failed or was given up")),
        };
        written.map_err(|source| SpoolError::System { dir: self.dir.clone(), source })
    }
}

impl Output {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.file.write_all_at(bytes, self.position)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn seal(self) -> io::Result<Spooled> {
        let file = if self.in_memory { file::seal_memory(self.file)? } else { file::read_only(&self.file)? };
        let sha256 = Sha256Digest::from_bytes(self.hash.finalize().into());
        Ok(Spooled::new(file, self.position, sha256, self.reservation))
    }
}

/// Disks block; the runtime must not.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other).flatten()
}
