//! Room for the bytes of the objects in work: budgeted, hashed as they come, under no name.

mod file;
mod writer;

use std::{
    fmt, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::BytesMut;
use lazaret_core::{Spooled, ports::StoreError};
use rustix::fs::OFlags;
use thiserror::Error;
use tokio::{
    fs::OpenOptions,
    io::{AsyncRead, AsyncReadExt},
    sync::{OwnedSemaphorePermit, Semaphore},
};

pub use writer::SpoolWriter;

/// The budget is counted in pages, because a semaphore counts no further than `u32::MAX` in one request.
const UNIT_BYTES: u64 = 4096;

/// How much of a reader is taken at a time.
const READ_BYTES: usize = 256 * 1024;

/// Settings of the spool.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    /// Where large objects are written, in files that have no name.
    pub dir: PathBuf,
    /// Bytes that all jobs together may hold, in memory and on disk.
    pub budget_bytes: u64,
    /// Objects up to this size stay in memory.
    pub memory_limit_bytes: u64,
}

/// The space that all jobs share.
pub struct Spool {
    settings: SpoolSettings,
    budget: Arc<Semaphore>,
    used_bytes: Arc<AtomicU64>,
}

/// Space that one object may fill. It is given back when this is dropped.
pub struct SpoolReservation {
    bytes: u64,
    used_bytes: Arc<AtomicU64>,
    _permit: OwnedSemaphorePermit,
}

/// Why bytes could not be spooled.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// More was asked for than there is, used or not.
    #[error("{bytes} bytes do not fit into worker.spool_budget of {budget} bytes")]
    Budget {
        /// What was asked for.
        bytes: u64,
        /// The whole budget.
        budget: u64,
    },
    /// The system did not let us write: disk full, no permission, no such folder.
    #[error("spool in {} failed", dir.display())]
    System {
        /// The folder of the spool.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What came is not what was announced.
    #[error("body broke off: {detail}")]
    Body {
        /// What happened, with the bytes seen and expected.
        detail: String,
    },
}

impl SpoolError {
    /// The same as an error of the store, about `object`.
    pub fn about(self, object: impl Into<String>) -> StoreError {
        match self {
            Self::Budget { bytes, budget } => StoreError::SpoolBudget { object: object.into(), size: bytes, budget },
            Self::System { dir, source } => StoreError::Spool { dir: dir.display().to_string(), source },
            Self::Body { detail } => StoreError::Body { object: object.into(), detail },
        }
    }
}

impl Spool {
    /// Makes the folder where it is missing (mode 0700) and checks that a file without a name can be made there.
    pub fn new(settings: SpoolSettings) -> Result<Self, SpoolError> {
        let probe = || {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&settings.dir)?;
            file::read_only(&file::unnamed(&settings.dir, 1)?)
        };
        probe().map_err(|source| SpoolError::System { dir: settings.dir.clone(), source })?;
        let units = usize::try_from(units(settings.budget_bytes)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Ok(Self { settings, budget: Arc::new(Semaphore::new(units)), used_bytes: Arc::new(AtomicU64::new(0)) })
    }

    /// Reserves `bytes`. Where they are taken this waits, in the order of the calls, so that a large object is not
    /// starved by small ones.
    pub async fn reserve(&self, bytes: u64) -> Result<SpoolReservation, SpoolError> {
        let too_large = || SpoolError::Budget { bytes, budget: self.settings.budget_bytes };
        if bytes > self.settings.budget_bytes {
            return Err(too_large());
        }
        let units = u32::try_from(units(bytes)).map_err(|_| too_large())?;
        let permit = Arc::clone(&self.budget).acquire_many_owned(units).await.map_err(|_| too_large())?;
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(SpoolReservation { bytes, used_bytes: Arc::clone(&self.used_bytes), _permit: permit })
    }

    /// Bytes that are reserved now.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// The folder of the spool.
    pub fn dir(&self) -> &Path {
        &self.settings.dir
    }

    /// Begins an object of exactly `expected_bytes`, which must lie within the reservation.
    pub async fn begin(&self, reservation: SpoolReservation, expected_bytes: u64) -> Result<SpoolWriter, SpoolError> {
        if expected_bytes > reservation.bytes {
            return Err(SpoolError::Budget { bytes: expected_bytes, budget: reservation.bytes });
        }
        let in_memory = expected_bytes <= self.settings.memory_limit_bytes;
        SpoolWriter::open(self.settings.dir.clone(), in_memory, expected_bytes, reservation).await
    }

    /// Spools all of `reader`, which must hold exactly `expected_bytes`.
    pub async fn fill(
        &self,
        reservation: SpoolReservation,
        expected_bytes: u64,
        mut reader: impl AsyncRead + Unpin + Send,
    ) -> Result<Spooled, SpoolError> {
        let mut writer = self.begin(reservation, expected_bytes).await?;
        loop {
            let mut chunk = BytesMut::with_capacity(READ_BYTES);
            let read = reader.read_buf(&mut chunk).await.map_err(|error| SpoolError::Body {
                detail: format!("{error} after {} of {expected_bytes} bytes", writer.written_bytes()),
            })?;
            if read == 0 {
                return writer.finish().await;
            }
            writer.write(chunk.freeze()).await?;
        }
    }

    /// Spools a file that has a name, reserving its length first.
    pub async fn fill_from_file(&self, path: &Path) -> Result<Spooled, SpoolError> {
        let unreadable =
            |error: io::Error| SpoolError::Body { detail: format!("{} cannot be read: {error}", path.display()) };
        // The opening of a pipe would wait for its writer. A constant of few bits, so the cast keeps it.
        let nonblock = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path).await.map_err(unreadable)?;
        let metadata = file.metadata().await.map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(SpoolError::Body { detail: format!("{} is not a regular file", path.display()) });
        }
        let reservation = self.reserve(metadata.len()).await?;
        self.fill(reservation, metadata.len(), file).await
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("settings", &self.settings)
            .field("used_bytes", &self.used_bytes())
            .finish_non_exhaustive()
    }
}

impl SpoolReservation {
    /// What was reserved.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for SpoolReservation {
    fn drop(&mut self) {
        self.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl fmt::Debug for SpoolReservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolReservation").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

const fn units(bytes: u64) -> u64 {
    bytes.div_ceil(UNIT_BYTES)
}

#[cfg(test)]
mod tests;
