use std::{fmt, path::PathBuf};

use lapin::{Connection, ConnectionProperties, tcp::OwnedTLSConfig, uri::AMQPScheme, uri::AMQPUri};

use crate::{Failure, OwnedConnection, within};

/// How often both sides show that they live, in seconds, unless the URL says otherwise. A peer that is gone without a
/// word is noticed after two of them.
const HEARTBEAT_SECONDS: u16 = 10;

/// A virtual host of a broker, and how to reach it.
pub struct Broker {
    uri: AMQPUri,
    name: String,
    ca_certificate: Option<PathBuf>,
}

impl Broker {
    /// Reads `amqp://user:password@host:port/vhost` or `amqps://…`; nothing is connected yet. `ca_certificate` names a
    /// PEM file of authorities that are trusted beside those of the system.
    pub fn new(url: &str, ca_certificate: Option<PathBuf>) -> Result<Self, Failure> {
        // The parser's own text repeats the URL, password and all.
        let mut uri: AMQPUri = url.parse().map_err(|_| {
            Failure::refused("the broker's URL is not amqp://user:password@host:port/vhost, nor amqps://…")
        })?;
        if *uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS) == 0 {
            return Err(Failure::refused("heartbeat=0: without heartbeats nobody notices a broker that is gone"));
        }
        let vhost = if uri.vhost == "/" { "" } else { uri.vhost.as_str() };
        let name = format!("{}://{}:{}/{vhost}", uri.scheme, uri.authority.host, uri.authority.port);
        Ok(Self { uri, name, ca_certificate })
    }

    /// The URL without credentials.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new connection, named after its purpose in the broker's own lists.
    pub async fn connect(&self, purpose: &str) -> Result<OwnedConnection, Failure> {
        within(async {
            let properties = ConnectionProperties::default().with_connection_name(format!("lazaret {purpose}").into());
            let runtime = lapin::runtime::default_runtime().map_err(|error| Failure::broken(&error))?;
            let tls = self.tls().await?;
            let connected = Connection::connect_uri_with_config(self.uri.clone(), properties, tls, runtime).await;
            connected.map(OwnedConnection::new).map_err(|error| Failure::answered(&error))
        })
        .await
    }

    async fn tls(&self) -> Result<OwnedTLSConfig, Failure> {
        let Some(path) = self.ca_certificate.as_ref().filter(|_| self.uri.scheme == AMQPScheme::AMQPS) else {
            return Ok(OwnedTLSConfig::default());
        };
        let read = tokio::fs::read_to_string(path).await;
        let pem = read.map_err(|error| Failure::refused(&format!("cannot read {}: {error}", path.display())))?;
        Ok(OwnedTLSConfig { identity: None, cert_chain: Some(pem) })
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Broker");
        shown.field("name", &self.name).field("ca_certificate", &self.ca_certificate).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_named_without_credentials() {
        let broker = Broker::new("amqps://mill:the-secret@broker.example:5671/up%2floads?heartbeat=5", None).unwrap();
        assert_eq!(broker.name(), "amqps://broker.example:5671/up/loads");
        assert!(!format!("{broker:?}").contains("the-secret"));
        assert_eq!(broker.uri.query.heartbeat, Some(5));
        assert_eq!(Broker::new("amqp://host", None).unwrap().name(), "amqp://host:5672/");
    }

    #[test]
    fn a_broker_that_is_gone_is_always_noticed() {
        let failure = Broker::new("amqp://host?heartbeat=0", None).unwrap_err();
        assert!(matches!(&failure, Failure::Refused(text) if text.starts_with("heartbeat=0")), "{failure:?}");
    }

    #[test]
    fn a_url_that_cannot_be_read_is_not_repeated() {
        for url in ["http://user:the-secret@host", "user:the-secret@host", "amqp:user:the-secret"] {
            let failure = Broker::new(url, None).unwrap_err();
            assert!(matches!(&failure, Failure::Refused(text) if !text.contains("the-secret")), "{failure:?}");
        }
    }
}
