#![doc = include_str!("../README.md")]

mod call;
mod connect;
mod dialect;
mod error;
mod payload;
mod schema;
mod store;

use std::sync::Arc;

pub use connect::StoreOptions;
use lazaret_core::ports::{SessionStore, SessionStoreError};
pub use schema::{MigrationReport, migrate};
pub use store::SqlSessionStore;

/// The store where it is known to be on SQLite.
pub type SqliteSessionStore = SqlSessionStore;
/// How a store on SQLite is used.
pub type SqliteOptions = StoreOptions;

/// Opens the store at `url`: `sqlite:/path/to/file`, `sqlite::memory:` or `postgres://user@host:port/database`. It must
/// have been migrated, else [`SessionStoreError::NotMigrated`].
pub async fn open(url: &str, options: &StoreOptions) -> Result<Arc<dyn SessionStore>, SessionStoreError> {
    Ok(Arc::new(SqlSessionStore::open(url, options).await?))
}
