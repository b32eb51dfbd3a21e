//! Databases that one test has to itself.

use anyhow::{Context, Result};
use lazaret_sessions::{SqlSessionStore, StoreOptions, migrate};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, PgConnection};
use url::Url;
use uuid::Uuid;

/// Which database a test is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// Runs tests that take an [`Engine`] on each of them.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() -> anyhow::Result<()> {
                super::$test(crate::database::Engine::Sqlite).await
            })+
        }

        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() -> anyhow::Result<()> {
                super::$test(crate::database::Engine::Postgres).await
            })+
        }
    };
}
pub(crate) use on_both;

/// A database, empty at first, that is gone when this is dropped.
pub(crate) struct Database {
    pub(crate) engine: Engine,
    url: String,
    folder: tempfile::TempDir,
}

fn server() -> Url {
    std::env::var("LAZARET_TEST_POSTGRES_URL")
        .expect("LAZARET_TEST_POSTGRES_URL must name a PostgreSQL server; `cargo xtask test` starts one")
        .parse()
        .expect("LAZARET_TEST_POSTGRES_URL must be a URL")
}

impl Database {
    pub(crate) async fn empty(engine: Engine) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let url = match engine {
            Engine::Sqlite => format!("sqlite:{}", folder.path().join("lazaret.db").display()),
            Engine::Postgres => {
                let name = format!("lazaret_test_{}", Uuid::now_v7().simple());
                let mut connection = PgConnection::connect(server().as_str()).await?;
                sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await?;
                connection.close().await?;
                let mut url = server();
                url.set_path(&name);
                url.into()
            }
        };
        Ok(Self { engine, url, folder })
    }

    pub(crate) async fn migrated(engine: Engine) -> Result<Self> {
        let database = Self::empty(engine).await?;
        migrate(&database.url).await?;
        Ok(database)
    }

    /// The URL of one more database like this one: on PostgreSQL a schema in the same, which is made a lot faster.
    pub(crate) async fn another(&self) -> Result<String> {
        let name = format!("lazaret_{}", Uuid::now_v7().simple());
        let url = match self.engine {
            Engine::Sqlite => format!("sqlite:{}", self.folder.path().join(name).display()),
            Engine::Postgres => {
                self.run(&format!("create schema {name}")).await?;
                format!("{}?options[search_path]={name}", self.url)
            }
        };
        migrate(&url).await?;
        Ok(url)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its name on the server.
    pub(crate) fn name(&self) -> String {
        self.url.parse::<Url>().unwrap().path().trim_start_matches('/').to_owned()
    }

    pub(crate) async fn open(&self) -> Result<SqlSessionStore> {
        Ok(SqlSessionStore::open(&self.url, &StoreOptions::default()).await?)
    }

    /// A connection beside the store's.
    pub(crate) async fn connect(&self) -> Result<AnyConnection> {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(&self.url).await.context("cannot connect")
    }

    /// Runs statements on a connection of their own.
    pub(crate) async fn run(&self, statements: &str) -> Result<()> {
        let mut connection = self.connect().await?;
        let done = sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await;
        connection.close().await?;
        done.map(drop).context("statements of a test")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.engine == Engine::Sqlite {
            return;
        }
        let name = self.name();
        // The test's runtime may be gone by now, or be the thread this is dropped on.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = PgConnection::connect(server().as_str()).await?;
                let drop = format!("drop database if exists {name} with (force)");
                sqlx::query(AssertSqlSafe(drop)).execute(&mut connection).await?;
                connection.close().await
            })
        });
        let removed = removal.join().unwrap();
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}
