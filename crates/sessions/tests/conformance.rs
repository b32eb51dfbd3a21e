//! The contract of the session store, on SQLite: in memory, in a file, and in a file shared by two stores.

use std::sync::Arc;

use anyhow::Result;
use lazaret_core::ports::SessionStore;
use lazaret_sessions::{SqliteOptions, SqliteSessionStore, migrate};
use lazaret_testkit::sessions;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() -> Result<()> {
    sessions::conforms(async || {
        let store = SqliteSessionStore::open("sqlite::memory:", &SqliteOptions::default()).await?;
        Ok(Arc::new(store) as Arc<dyn SessionStore>)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    sessions::conforms(async || Ok(Arc::new(open(&new_file(&folder).await?).await?) as Arc<dyn SessionStore>)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_on_one_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    sessions::conforms_shared(async || {
        let url = new_file(&folder).await?;
        Ok((Arc::new(open(&url).await?) as Arc<dyn SessionStore>, Arc::new(open(&url).await?) as Arc<dyn SessionStore>))
    })
    .await
}

/// A migrated database in a file of its own.
async fn new_file(folder: &tempfile::TempDir) -> Result<String> {
    let file = tempfile::Builder::new().suffix(".db").tempfile_in(folder)?.into_temp_path().keep()?;
    let url = format!("sqlite:{}", file.display());
    migrate(&url).await?;
    Ok(url)
}

async fn open(url: &str) -> Result<SqliteSessionStore> {
    Ok(SqliteSessionStore::open(url, &SqliteOptions::default()).await?)
}
