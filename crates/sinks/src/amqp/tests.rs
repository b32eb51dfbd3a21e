//! Against a real broker: `LAZARET_TEST_AMQP_URL`.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use lapin::{
    Channel, Connection, ConnectionProperties, ExchangeKind,
    message::Delivery,
    options::{
        BasicGetOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
};
use lazaret_core::error::chain;
use lazaret_testkit::sinks::{Received, Setup, conforms, event};
use uuid::Uuid;

use super::*;

const SECRET: &str = "the-secret-of-the-broker";

struct Target {
    /// Of the exchange and of the queue bound to it.
    name: String,
    channel: Channel,
    _connection: Connection,
    bodies: Mutex<Vec<String>>,
}

fn url() -> String {
    std::env::var("LAZARET_TEST_AMQP_URL")
        .expect("LAZARET_TEST_AMQP_URL must name a RabbitMQ; `cargo xtask test` starts one")
}

fn settings(url: String, exchange: &str, routing_key: &str) -> AmqpSinkSettings {
    let [exchange, routing_key] = [exchange, routing_key].map(str::to_owned);
    AmqpSinkSettings { url, exchange, routing_key, ca_certificate: None }
}

fn sink(exchange: &str, routing_key: &str) -> AmqpSink {
    AmqpSink::new(settings(url(), exchange, routing_key)).unwrap()
}

impl Target {
    async fn new() -> Self {
        let connection = Connection::connect(&url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let name = format!("verdicts-{}", Uuid::now_v7().simple());
        let short = || ShortString::from(name.as_str());
        let (none, topic) = (FieldTable::default, ExchangeKind::Topic);
        channel.exchange_declare(short(), topic, ExchangeDeclareOptions::default(), none()).await.unwrap();
        channel.queue_declare(short(), QueueDeclareOptions::durable(), none()).await.unwrap();
        let key = "verdicts.#".into();
        channel.queue_bind(short(), short(), key, QueueBindOptions::default(), none()).await.unwrap();
        Self { name, channel, _connection: connection, bodies: Mutex::default() }
    }

    async fn take(&self) -> lapin::Result<Option<Delivery>> {
        let got = self.channel.basic_get(self.name.as_str().into(), BasicGetOptions { no_ack: true }).await?;
        Ok(got.map(|got| got.delivery))
    }

    async fn remove(self) {
        let name = || ShortString::from(self.name.as_str());
        self.channel.queue_delete(name(), QueueDeleteOptions::default()).await.unwrap();
        self.channel.exchange_delete(name(), ExchangeDeleteOptions::default()).await.unwrap();
    }
}

#[async_trait]
impl Received for Target {
    async fn received(&self) -> Result<Vec<String>> {
        while let Some(delivery) = self.take().await? {
            let body = String::from_utf8(delivery.data)?;
            self.bodies.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        }
        Ok(self.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

#[tokio::test]
async fn the_contract_is_kept() {
    let target = Target::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("amqp://user:{SECRET}@{}", listener.local_addr().unwrap());
    drop(listener);
    let down = AmqpSink::new(settings(nobody, "", "verdicts")).unwrap();
    let with_secret = url().replace("guest:guest", &format!("guest:{SECRET}"));
    let refusing = AmqpSink::new(settings(with_secret, &target.name, "verdicts.all")).unwrap();
    let sink = sink(&target.name, "verdicts.all");
    let setup = Setup { sink: &sink, received: &target, down: &down, refusing: &refusing, secrets: &[SECRET] };
    conforms(setup).await.unwrap();
    target.remove().await;
}

#[tokio::test]
async fn what_arrives_says_what_it_is_and_stays() {
    let target = Target::new().await;
    let (event, sink) = (event(1, 1), sink(&target.name, "verdicts.all"));
    sink.deliver(&event).await.unwrap();
    let properties = target.take().await.unwrap().expect("the event").properties;
    assert_eq!(properties.delivery_mode(), &Some(2));
    assert_eq!(properties.content_type().as_ref().map(ShortString::as_str), Some(MEDIA_TYPE));
    assert_eq!(properties.message_id().as_ref().map(ShortString::as_str), Some(event.id.as_str()));
    let headers = properties.headers().clone().unwrap();
    let expected = [("subject", event.subject.to_string()), ("type", event.kind.clone())];
    for (name, value) in expected {
        assert_eq!(headers.inner().get(name), Some(&AMQPValue::LongString(value.into())));
    }
    target.remove().await;
}

#[tokio::test]
async fn an_event_that_nobody_would_get_is_refused() {
    let target = Target::new().await;
    for (exchange, key, said) in [
        (target.name.as_str(), "elsewhere", "312 NO_ROUTE"),
        ("", "no-such-queue", "312 NO_ROUTE"),
        ("no-such-exchange", "verdicts", "NOT_FOUND - no exchange 'no-such-exchange' in vhost '/'"),
    ] {
        let sink = sink(exchange, key);
        for _ in 0..2 {
            let error = sink.deliver(&event(1, 1)).await.unwrap_err();
            assert!(matches!(error, SinkError::Refused { .. }) && chain(&error).ends_with(said), "{}", chain(&error));
        }
    }
    target.remove().await;
}

#[test]
fn settings_that_cannot_work_are_refused_without_the_password() {
    let long = "k".repeat(256);
    let url = format!("amqp://user:{SECRET}@host/vhost");
    for settings in [settings(format!("http://user:{SECRET}@host"), "", "key"), settings(url.clone(), "", &long)] {
        let error = AmqpSink::new(settings.clone()).unwrap_err();
        assert!(matches!(error, SinkError::Refused { .. }), "{error:?}");
        assert!(!format!("{settings:?}{error:?}{}", chain(&error)).contains(SECRET));
    }
    assert!(!format!("{:?}", AmqpSink::new(settings(url, "", "key")).unwrap()).contains(SECRET));
}
