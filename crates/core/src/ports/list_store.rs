use async_trait::async_trait;

use super::SessionStoreError;
use crate::{ListEntry, ListEntryId, NewListEntry, Sha256Digest};

/// The allow and block lists.
///
/// * Time is the store's: no caller's clock decides whether an entry still counts.
/// * An entry is never changed and never deleted. What takes it back is written beside it, once.
#[async_trait]
pub trait ListStore: Send + Sync {
    /// Adds an entry. It counts as soon as this returns.
    async fn add(&self, new: &NewListEntry) -> Result<ListEntry, SessionStoreError>;

    /// Takes an entry back: it counts no more. One that was taken back stays as it is. None: there is no such entry.
    async fn remove(&self, id: ListEntryId, by: &str) -> Result<Option<ListEntry>, SessionStoreError>;

    /// Entries by their ids; `after` is the last one seen. Without `all`, those that count now.
    async fn entries(
        &self,
        all: bool,
        after: Option<ListEntryId>,
        limit: u32,
    ) -> Result<Vec<ListEntry>, SessionStoreError>;

    /// Every entry that counts now and is about one of these digests or, exactly, one of these signatures, by their ids.
    async fn matching(
        &self,
        digests: &[Sha256Digest],
        signatures: &[String],
    ) -> Result<Vec<ListEntry>, SessionStoreError>;
}
