//! The sink port on RabbitMQ.

use std::{fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};
use lazaret_amqp::{Broker, Failure, Message, Publisher};
use lazaret_core::ports::{EventSink, SinkError, VerdictEvent};

use crate::{MEDIA_TYPE, aws, body};

/// The longest name in AMQP.
const MAX_NAME_BYTES: usize = 255;

/// An exchange that takes verdict events.
#[derive(Clone)]
pub struct AmqpSinkSettings {
    /// `amqp://user:password@host:port/vhost`, or `amqps://…`.
    pub url: String,
    /// The exchange, which must be there. Empty: the default exchange, whose routing keys are queue names.
    pub exchange: String,
    /// What every event is routed by. At least one queue must get it.
    pub routing_key: String,
    /// A PEM file of authorities that may sign the broker's certificate, beside those of the system.
    pub ca_certificate: Option<PathBuf>,
}

impl fmt::Debug for AmqpSinkSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpSinkSettings")
            .field("exchange", &self.exchange)
            .field("routing_key", &self.routing_key)
            .field("ca_certificate", &self.ca_certificate)
            .finish_non_exhaustive()
    }
}

/// Publishes each event to an exchange, persistent, and waits until the broker has confirmed it. An event that no queue
/// would get is refused. One that is delivered after another was arrives after it.
#[derive(Debug)]
pub struct AmqpSink {
    name: String,
    exchange: String,
    routing_key: String,
    publisher: Publisher,
}

impl AmqpSink {
    /// A sink by its settings, which are refused if they cannot work. Nothing is connected until the first event.
    pub fn new(settings: AmqpSinkSettings) -> Result<Self, SinkError> {
        let AmqpSinkSettings { url, exchange, routing_key, ca_certificate } = settings;
        let broker = Broker::new(&url, ca_certificate).map_err(|failure| error("amqp", failure))?;
        let name = format!("{}, exchange {exchange:?}, routing key {routing_key:?}", broker.name());
        if exchange.len().max(routing_key.len()) > MAX_NAME_BYTES {
            let text = format!("exchange and routing key have at most {MAX_NAME_BYTES} bytes");
            return Err(error(broker.name(), Failure::Refused(text)));
        }
        Ok(Self { name, exchange, routing_key, publisher: Publisher::new(Arc::new(broker), "telling verdicts") })
    }
}

#[async_trait]
impl EventSink for AmqpSink {
    async fn deliver(&self, event: &VerdictEvent) -> Result<(), SinkError> {
        let body = body(&self.name, event)?;
        let message = Message {
            exchange: &self.exchange,
            routing_key: &self.routing_key,
            properties: properties(event),
            body: body.as_bytes(),
        };
        self.publisher.publish(message).await.map_err(|failure| error(&self.name, failure))
    }
}

/// The event's id is the message's, so that a receiver knows a redelivery; headers let an exchange route by them.
fn properties(event: &VerdictEvent) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in [(aws::TYPE, event.kind.clone()), (aws::SUBJECT, event.subject.to_string())] {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    let properties = BasicProperties::default().with_content_type(MEDIA_TYPE.into()).with_headers(headers);
    match ShortString::try_new(event.id.as_str()) {
        Ok(id) => properties.with_message_id(id),
        // Longer than AMQP has room for; the body has it too.
        Err(_) => properties,
    }
}

fn error(sink: &str, failure: Failure) -> SinkError {
    let sink = sink.to_owned();
    match failure {
        Failure::Unavailable(_) => SinkError::Unavailable { sink, source: Box::new(failure) },
        Failure::Refused(_) => SinkError::Refused { sink, source: Box::new(failure) },
    }
}

#[cfg(test)]
mod tests;
