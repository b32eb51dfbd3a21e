use std::{sync::Arc, time::Duration};

use lazaret_core::ports::StoreError;
use tokio::sync::Notify;

/// One operation of the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `head`
    Head,
    /// `fetch`
    Fetch,
    /// `publish`
    Publish,
    /// `read_back`
    ReadBack,
    /// `delete`
    Delete,
    /// `versions`
    Versions,
    /// `list`
    List,
    /// `list_uploads`
    ListUploads,
    /// `abort_upload`
    AbortUpload,
    /// `presign_put`
    PresignPut,
    /// `check`
    Check,
}

/// On which side of the operation's effect a fault strikes. A fault behind the effect is an answer that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing has happened yet.
    Before,
    /// It has happened, but the caller does not know.
    After,
}

/// What goes wrong with one call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The call fails.
    Fail(Effect, Failure),
    /// The call takes this much longer (on tokio's clock, which tests may pause).
    Delay(Effect, Duration),
    /// The call says that it is there, then waits until it is let go.
    Hold {
        /// On which side of the effect it waits.
        at: Effect,
        /// Notified once when the call has come this far.
        reached: Arc<Notify>,
        /// Lets the call go on.
        go_on: Arc<Notify>,
    },
}

/// The error a call fails with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// [`StoreError::Unavailable`]
    Unavailable,
    /// [`StoreError::Refused`]
    Refused,
    /// [`StoreError::Changed`]
    Changed,
    /// [`StoreError::Body`]
    Body,
    /// [`StoreError::Spool`], as on a full disk.
    Spool,
}

impl Failure {
    pub(super) fn about(self, action: &'static str, object: &str) -> StoreError {
        let object = object.to_owned();
        match self {
            Self::Unavailable => StoreError::Unavailable { action, object, source: "injected fault".into() },
            Self::Refused => StoreError::Refused { action, object, source: "injected fault".into() },
            Self::Changed => StoreError::Changed { object },
            Self::Body => StoreError::Body { object, detail: "injected fault".into() },
            Self::Spool => StoreError::Spool { dir: "injected fault".into(), source: rustix::io::Errno::NOSPC.into() },
        }
    }
}

impl Fault {
    pub(super) async fn strike(&self, side: Effect, action: &'static str, object: &str) -> Result<(), StoreError> {
        match self {
            Self::Fail(at, failure) if *at == side => Err(failure.about(action, object)),
            Self::Delay(at, time) if *at == side => {
                tokio::time::sleep(*time).await;
                Ok(())
            }
            Self::Hold { at, reached, go_on } if *at == side => {
                reached.notify_one();
                go_on.notified().await;
                Ok(())
            }
            Self::Fail(..) | Self::Delay(..) | Self::Hold { .. } => Ok(()),
        }
    }
}
