//! The contract of the session store.

use std::sync::Arc;

use anyhow::Result;
use lazaret_core::ports::{ListStore, SessionStore};
use lazaret_sessions::{SqlSessionStore, StoreOptions};
use lazaret_testkit::{lists, sessions};

use crate::database::{Database, Engine, on_both};

on_both!(alone, two_on_one_database, lists_alone, lists_of_two_on_one_database);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() -> Result<()> {
    sessions::conforms(async || {
        let store = SqlSessionStore::open("sqlite::memory:", &StoreOptions::default()).await?;
        Ok(Arc::new(store) as Arc<dyn SessionStore>)
    })
    .await
}

async fn alone(engine: Engine) -> Result<()> {
    let database = Database::empty(engine).await?;
    sessions::conforms(async || Ok(lazaret_sessions::open(&database.another().await?, &StoreOptions::default()).await?))
        .await
}

async fn two_on_one_database(engine: Engine) -> Result<()> {
    let database = Database::empty(engine).await?;
    sessions::conforms_shared(async || {
        let (url, options) = (database.another().await?, StoreOptions::default());
        Ok((lazaret_sessions::open(&url, &options).await?, lazaret_sessions::open(&url, &options).await?))
    })
    .await
}

async fn opened(url: &str) -> Result<Arc<dyn ListStore>> {
    Ok(Arc::new(SqlSessionStore::open(url, &StoreOptions::default()).await?))
}

async fn lists_alone(engine: Engine) -> Result<()> {
    let database = Database::empty(engine).await?;
    lists::conforms(async || opened(&database.another().await?).await).await
}

async fn lists_of_two_on_one_database(engine: Engine) -> Result<()> {
    let database = Database::empty(engine).await?;
    lists::conforms_shared(async || {
        let url = database.another().await?;
        Ok((opened(&url).await?, opened(&url).await?))
    })
    .await
}
