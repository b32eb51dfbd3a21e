//! The session database of one test: a file, or a database of its own on PostgreSQL.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use url::Url;

/// What sessions are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// A file.
    Sqlite,
    /// A database on the shared server.
    Postgres,
}

/// One database.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) url: String,
    /// The server's own database, and the name of ours.
    server: Option<(String, String)>,
}

impl Place {
    pub(crate) async fn create(database: Database, name: &str, folder: &Path, server: &str) -> Result<Self> {
        if database == Database::Sqlite {
            return Ok(Self { url: format!("sqlite:{}/lazaret.db", folder.display()), server: None });
        }
        let name = name.replace('-', "_");
        administer(server, &format!("CREATE DATABASE {name}")).await?;
        let mut url = Url::parse(server)?;
        url.set_path(&name);
        Ok(Self { url: url.into(), server: Some((server.to_owned(), name)) })
    }

    /// The same database through a proxy.
    pub(crate) fn through(&self, proxy: SocketAddr) -> Result<String> {
        let mut url = Url::parse(&self.url)?;
        url.set_ip_host(proxy.ip()).ok().context("a URL without a host")?;
        url.set_port(Some(proxy.port())).ok().context("a URL without a port")?;
        Ok(url.into())
    }

    /// Where the server listens, if there is one.
    pub(crate) fn address(&self) -> Result<Option<SocketAddr>> {
        if self.server.is_none() {
            return Ok(None);
        }
        let addresses = Url::parse(&self.url)?.socket_addrs(|| Some(5432))?;
        Ok(addresses.into_iter().find(SocketAddr::is_ipv4))
    }

    pub(crate) async fn remove(&self) -> Result<()> {
        let Some((server, name)) = &self.server else { return Ok(()) };
        administer(server, &format!("DROP DATABASE {name} WITH (FORCE)")).await
    }
}

async fn administer(server: &str, statement: &str) -> Result<()> {
    let mut connection = PgConnection::connect(server).await.context("no PostgreSQL")?;
    connection.execute(AssertSqlSafe(statement.to_owned())).await.with_context(|| statement.to_owned())?;
    Ok(connection.close().await?)
}
