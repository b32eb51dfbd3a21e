use std::{
    io,
    pin::{Pin, pin},
};

use tokio::select;

use super::trouble::Trouble;

/// Why an upload ended early.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server takes no more. What it said before can still be read.
    Refused,
    /// The object could not be read.
    Spool(io::Error),
}

impl From<io::Error> for Failure {
    /// An error of the connection: what is lost of the answer with it, its reader tells.
    fn from(_: io::Error) -> Self {
        Self::Refused
    }
}

type Work<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// Sending, which goes on only while something else is waited for: a server may answer at any time, and one that sends
/// an object back while it comes stops taking it where nobody reads.
pub(super) struct Upload<'a> {
    /// None once it has ended.
    work: Option<Work<'a>>,
    done: bool,
}

impl<'a> Upload<'a> {
    pub(super) fn of(work: impl Future<Output = Result<(), Failure>> + Send + 'a) -> Self {
        Self { work: Some(Box::pin(work)), done: false }
    }

    /// Whether all was sent.
    pub(super) const fn is_done(&self) -> bool {
        self.done
    }

    /// Sends on until `reading` has ended. What could be sent by then has been: the sending is polled first.
    pub(super) async fn beside<T>(&mut self, reading: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        let mut reading = pin!(reading);
        while let Some(work) = &mut self.work {
            select! {
                biased;
                sent = work => {
                    self.work = None;
                    match sent {
                        Ok(()) => self.done = true,
                        Err(Failure::Refused) => {}
                        Err(Failure::Spool(error)) => return Err(Trouble::Spool(error)),
                    }
                }
                read = &mut reading => return read,
            }
        }
        reading.await
    }
}
