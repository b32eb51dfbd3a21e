//! Proxies between a worker and everything that it depends on.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use lazaret_testkit::proxy::{Faults, Protocol, Proxy};
use url::Url;

use crate::{queue::Bus, station::Station};

/// One proxy for each dependency; their requests are counted together. Only workers speak through them: the command line
/// and the test itself go straight to the servers.
#[derive(Debug)]
pub struct Proxies {
    /// The count and the faults to come.
    pub faults: Faults,
    /// S3.
    pub store: Proxy,
    /// SQS or RabbitMQ.
    pub queue: Proxy,
    /// clamd, over TCP.
    pub clamd: Proxy,
    /// PostgreSQL; SQLite has none.
    pub database: Option<Proxy>,
}

impl Proxies {
    /// Proxies named `store`, `queue`, `clamd` and `database`, which workers that `station` starts from now on speak
    /// through.
    pub fn between(station: &mut Station) -> Result<Self> {
        let faults = Faults::new();
        let start = |name: &str, protocol, server| Proxy::start(name, protocol, server, &faults);
        let store = start("store", Protocol::Http, server_of(&station.servers.s3)?)?;
        station.set_for_workers("storage.endpoint", format!("http://{}", store.address()));
        let queue = match station.bus {
            Bus::Sqs => {
                let queue = start("queue", Protocol::Http, server_of(&station.servers.sqs)?)?;
                station.set_for_workers("queue.sqs.endpoint", format!("http://{}", queue.address()));
                queue
            }
            Bus::Amqp => {
                let mut url = Url::parse(&station.servers.amqp)?;
                let queue = start("queue", Protocol::Amqp, server_of(&station.servers.amqp)?)?;
                url.set_port(Some(queue.address().port())).ok().context("a URL without a port")?;
                station.set_for_workers("queue.amqp.url", url);
                queue
            }
        };
        let clamd = start("clamd", Protocol::Clamd, station.servers.clamd_tcp)?;
        station.set_for_workers("scanner.0.address", format!("tcp:{}", clamd.address()));
        let database = match station.database_server()? {
            None => None,
            Some(server) => {
                let database = start("database", Protocol::Postgres, server)?;
                let url = station.database_through(database.address())?;
                station.set_for_workers("sessions.url", url);
                Some(database)
            }
        };
        Ok(Self { faults, store, queue, clamd, database })
    }
}

/// Where the server at `url` listens.
pub fn server_of(url: &str) -> Result<SocketAddr> {
    let addresses = Url::parse(url)?.socket_addrs(|| None)?;
    addresses.into_iter().find(SocketAddr::is_ipv4).with_context(|| format!("{url} is not on this machine"))
}
