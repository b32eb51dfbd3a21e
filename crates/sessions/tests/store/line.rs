//! A network between the store and its database that can go silent, with every connection still open.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};
use url::Url;

/// How many more messages from the client pass; none limits them.
type Allowance = Option<usize>;

/// Until dropped.
pub(crate) struct Line {
    url: String,
    left: watch::Sender<Allowance>,
    _tasks: JoinSet<()>,
}

impl Line {
    pub(crate) async fn to(url: &str) -> Result<Self> {
        let mut url: Url = url.parse()?;
        let server = (url.host_str().context("a host")?.to_owned(), url.port().context("a port")?);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        url.set_ip_host(listener.local_addr()?.ip()).ok().context("an address")?;
        url.set_port(Some(listener.local_addr()?.port())).ok().context("a port")?;
        let (left, _) = watch::channel(None);
        let mut tasks = JoinSet::new();
        let shared = left.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = tokio::net::TcpStream::connect(&server).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                connections.spawn(pass(from_client, to_server, shared.clone(), true));
                connections.spawn(pass(from_server, to_client, shared.clone(), false));
            }
        });
        Ok(Self { url: url.into(), left, _tasks: tasks })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn freeze(&self) {
        self.freeze_after(0);
    }

    /// This many more messages from the client pass, and every answer to them but the last.
    pub(crate) fn freeze_after(&self, messages: usize) {
        self.left.send_replace(Some(messages));
    }

    /// Waits until nothing passes any more.
    pub(crate) async fn frozen(&self) -> Result<()> {
        let mut left = self.left.subscribe();
        tokio::time::timeout(Duration::from_secs(10), left.wait_for(|left| *left == Some(0))).await??;
        Ok(())
    }

    pub(crate) fn thaw(&self) {
        self.left.send_replace(None);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, left: watch::Sender<Allowance>, counted: bool) {
    let mut buffer = vec![0; 64 * 1024];
    let mut gate = left.subscribe();
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if gate.wait_for(|left| *left != Some(0)).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        if counted {
            left.send_modify(|left| *left = left.map(|left| left.saturating_sub(1)));
        }
    }
}
