//! Why an operation was not done.

use std::io;

use s3s::{S3Error, S3ErrorCode};

/// Either the client is told why, or the disk failed and the log is told why.
#[derive(Debug)]
pub(super) enum Fault {
    /// The request cannot be granted.
    Refused(S3Error),
    /// The disk would not do it.
    Disk {
        /// What was tried, after "cannot".
        doing: &'static str,
        source: io::Error,
    },
}

impl From<S3Error> for Fault {
    fn from(error: S3Error) -> Self {
        Self::Refused(error)
    }
}

impl From<S3ErrorCode> for Fault {
    fn from(code: S3ErrorCode) -> Self {
        Self::Refused(S3Error::new(code))
    }
}

pub(super) fn refuse(code: S3ErrorCode, message: impl Into<String>) -> Fault {
    Fault::Refused(S3Error::with_message(code, message.into()))
}

pub(super) fn disk(doing: &'static str) -> impl FnOnce(io::Error) -> Fault {
    move |source| Fault::Disk { doing, source }
}

/// Runs `work` where it may block. It runs to its end even if the caller goes away.
pub(super) async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|gone| disk(doing)(io::Error::other(gone)))?
}
