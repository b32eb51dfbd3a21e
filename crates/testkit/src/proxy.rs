//! A proxy in front of a real server, which counts requests and makes chosen ones fail before or after their effect.

mod dialect;
mod faults;
mod relay;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, mpsc},
};

use anyhow::{Context, Result};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::{Builder, Runtime},
    task::JoinSet,
};

pub use faults::{Fault, Faults, Request, Then};
use relay::Link;

/// As many connections wait to be accepted as with the listeners of the standard library.
const BACKLOG: u32 = 128;

/// Proxies answer while the test itself is busy: with a child it waits for, say, that speaks through one of them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("proxy")
        .enable_all()
        .build()
        .expect("a test cannot do without threads")
});

/// What is spoken through a proxy, and with it what one request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 with connections that stay: a request with its body. Held in memory whole before it is passed on.
    Http,
    /// PostgreSQL, version 3, without TLS: the start-up, one simple query, or everything up to one Sync or Flush.
    Postgres,
    /// AMQP 0-9-1: one frame of the client that is not a heartbeat.
    Amqp,
    /// clamd over TCP: one command, with the stream that belongs to it.
    Clamd,
}

/// One proxy, until dropped: then its connections are cut and its port is free.
#[derive(Debug)]
pub struct Proxy {
    link: Arc<Link>,
    address: SocketAddr,
    open: Arc<Mutex<Open>>,
}

/// The listener and all connections.
#[derive(Debug, Default)]
struct Open {
    up: bool,
    /// Has the address while nobody listens at it.
    placeholder: Option<TcpSocket>,
    tasks: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port of loopback and passes on to `server`. Requests are counted with those of every other
    /// proxy that shares `faults`.
    pub fn start(name: &str, protocol: Protocol, server: SocketAddr, faults: &Faults) -> Result<Self> {
        let link = Arc::new(Link { name: name.to_owned(), protocol, server, faults: faults.clone() });
        let (listener, address) = listen()?;
        let proxy = Self { link, address, open: Arc::default() };
        proxy.accept(listener);
        Ok(proxy)
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Refuses connections and cuts those there are, until [`Proxy::up`]. The address stays this proxy's own.
    pub fn down(&self) -> Result<()> {
        self.close();
        let hold = || -> io::Result<_> {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(self.address)?;
            // Connections of before may linger at the address; others that allow for such must not listen there.
            socket.set_reuseaddr(false)?;
            Ok(socket)
        };
        let placeholder = hold().with_context(|| format!("a proxy cannot keep {}", self.address))?;
        lock(&self.open).placeholder = Some(placeholder);
        Ok(())
    }

    fn close(&self) {
        // The listener and the sockets belong to the tasks, and go with them.
        let Open { mut tasks, .. } = std::mem::take(&mut *lock(&self.open));
        tasks.abort_all();
        let (alive, ended) = mpsc::channel::<()>();
        let mut end = JoinSet::new();
        let all = async move {
            while tasks.join_next().await.is_some() {}
            drop(alive);
        };
        end.spawn_on(all, RUNTIME.handle());
        for () in &ended {}
    }

    /// Listens again, at the same address.
    pub fn up(&self) -> Result<()> {
        let placeholder = lock(&self.open).placeholder.take().context("only a proxy that is down can come up")?;
        let listen = || -> io::Result<_> {
            placeholder.set_reuseaddr(true)?;
            let _inside = RUNTIME.enter();
            placeholder.listen(BACKLOG)
        };
        self.accept(listen().with_context(|| format!("a proxy cannot listen at {} again", self.address))?);
        Ok(())
    }

    /// Cuts the connections there are; new ones are welcome.
    pub fn cut(&self) -> Result<()> {
        self.down()?;
        self.up()
    }

    fn accept(&self, listener: TcpListener) {
        let (link, shared) = (Arc::clone(&self.link), Arc::clone(&self.open));
        let accepting = async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let mut open = lock(&shared);
                if !open.up {
                    return;
                }
                let link = Arc::clone(&link);
                // A connection that breaks is what both of its ends see.
                open.tasks.spawn_on(async move { drop(relay::relay(client, &link).await) }, RUNTIME.handle());
                while open.tasks.try_join_next().is_some() {}
            }
        };
        let mut open = lock(&self.open);
        open.up = true;
        open.tasks.spawn_on(accepting, RUNTIME.handle());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen() -> Result<(TcpListener, SocketAddr)> {
    let bind = || -> io::Result<_> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let _inside = RUNTIME.enter();
        Ok((TcpListener::from_std(listener)?, address))
    };
    bind().context("a proxy cannot listen on loopback")
}
