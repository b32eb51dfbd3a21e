//! The exchanges and queues that a queue needs beside it.

use std::time::Duration;

use lapin::{
    Connection, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use lazaret_amqp::{Failure, within};
use lazaret_core::ports::QueueError;

use super::{AmqpSettings, settings::Place};

/// Where a delayed message waits: one queue per delay, because a queue lets messages go at its head only.
const RETRY_CLASSES: [(u32, &str); 4] = [(1, "1s"), (5, "5s"), (15, "15s"), (60, "60s")];

/// How often the broker may deliver a message of a queue that was declared here. RabbitMQ 4 has a limit of 20, and up to
/// 4.2 counts every message that a paused or restarted consumer gave back: healthy ones would be dead-lettered by a long
/// outage. Attempts are counted by the session store.
const DELIVERY_LIMIT: i32 = 1000;

/// The same for dead letters: looking at them counts as well, and there is nothing behind them.
const DEAD_LETTER_LIMIT: i32 = 1_000_000;

/// What a queue has beside it, and how it came there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// What was there, and is used as it is.
    pub existed: Vec<String>,
    /// What was missing, and was declared.
    pub made: Vec<String>,
}

/// What a queue has beside it, and what it lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// What is there.
    pub there: Vec<String>,
    /// What is missing.
    pub missing: Vec<String>,
}

/// Looks for the queue, its dead-letter exchange and queue, and its retry queues. Nothing is changed.
pub async fn look(settings: &AmqpSettings) -> Result<Topology, QueueError> {
    let place = Place::new(settings)?;
    let found = within(async {
        let connection = place.broker.connect(&format!("looking at {}", place.queue)).await?;
        let mut found = Topology::default();
        let exchange = exchange_is_there(&connection, &place.dead_letter_exchange).await?;
        found.file(exchange, format!("exchange {}", place.dead_letter_exchange));
        let retries = RETRY_CLASSES.iter().map(|(_, class)| format!("{}.retry.{class}", place.queue));
        for name in [place.dead_letter_queue.clone(), place.queue.clone()].into_iter().chain(retries) {
            found.file(queue_is_there(&connection, &name).await?, format!("queue {name}"));
        }
        Ok(found)
    });
    found.await.map_err(place.error("say what it has"))
}

impl Topology {
    fn file(&mut self, is_there: bool, shown: String) {
        let names = if is_there { &mut self.there } else { &mut self.missing };
        names.push(shown);
    }
}

/// Declares what is missing of the queue, its dead-letter exchange and queue, and its retry queues. What is there is not
/// touched, whatever its kind. Where all is there, no permission to configure is needed.
pub async fn declare(settings: &AmqpSettings) -> Result<Declared, QueueError> {
    let place = Place::new(settings)?;
    let declared = within(async {
        let connection = place.broker.connect(&format!("declaring {}", place.queue)).await?;
        ensure(&connection, &place).await
    });
    declared.await.map_err(place.error("declare its queues"))
}

/// The queue in which a message waits for at least `delay`: of the longest one, if none is as long.
pub(super) fn retry_queue(queue: &str, delay: Duration) -> String {
    let fits = |&&(seconds, _): &&(u32, &str)| delay <= Duration::from_secs(seconds.into());
    let (_, class) = RETRY_CLASSES.iter().find(fits).unwrap_or(&RETRY_CLASSES[RETRY_CLASSES.len() - 1]);
    format!("{queue}.retry.{class}")
}

pub(super) async fn ensure(connection: &Connection, place: &Place) -> Result<Declared, Failure> {
    let mut declared = Declared::default();
    let exchange = ensure_exchange(connection, &place.dead_letter_exchange, &mut declared).await?;
    let arguments = dead_letter_arguments();
    let queue = ensure_queue(connection, &place.dead_letter_queue, arguments, &mut declared).await?;
    // What routes where cannot be asked. Where both were there, somebody chose how they are bound.
    if exchange || queue {
        bind(connection, place).await?;
    }
    ensure_queue(connection, &place.queue, main_arguments(place), &mut declared).await?;
    for (seconds, class) in RETRY_CLASSES {
        let name = format!("{}.retry.{class}", place.queue);
        ensure_queue(connection, &name, retry_arguments(place, seconds), &mut declared).await?;
    }
    Ok(declared)
}

/// Whether the queue is there.
pub(super) async fn queue_is_there(connection: &Connection, name: &str) -> Result<bool, Failure> {
    // The broker closes the channel when it is not, so each question has its own.
    let asked = async {
        let channel = connection.create_channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.into(), passive, FieldTable::default()).await.map(drop)
    };
    there(asked.await)
}

async fn ensure_queue(
    connection: &Connection,
    name: &str,
    arguments: FieldTable,
    declared: &mut Declared,
) -> Result<bool, Failure> {
    let shown = format!("queue {name}");
    if queue_is_there(connection, name).await? {
        declared.existed.push(shown);
        return Ok(false);
    }
    let made = async {
        let channel = connection.create_channel().await?;
        channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await.map(drop)
    };
    made.await.map_err(|error| Failure::answered(&error))?;
    declared.made.push(shown);
    Ok(true)
}

async fn ensure_exchange(connection: &Connection, name: &str, declared: &mut Declared) -> Result<bool, Failure> {
    let shown = format!("exchange {name}");
    if exchange_is_there(connection, name).await? {
        declared.existed.push(shown);
        return Ok(false);
    }
    declare_exchange(connection, name, false).await.map_err(|error| Failure::answered(&error))?;
    declared.made.push(shown);
    Ok(true)
}

async fn exchange_is_there(connection: &Connection, name: &str) -> Result<bool, Failure> {
    there(declare_exchange(connection, name, true).await)
}

async fn declare_exchange(connection: &Connection, name: &str, passive: bool) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(name.into(), ExchangeKind::Direct, options, FieldTable::default()).await
}

async fn bind(connection: &Connection, place: &Place) -> Result<(), Failure> {
    let [queue, exchange, key] = [&place.dead_letter_queue, &place.dead_letter_exchange, &place.queue];
    let bound = async {
        let channel = connection.create_channel().await?;
        let options = QueueBindOptions::default();
        let names = [queue, exchange, key].map(|name| name.as_str().into());
        let [queue, exchange, key] = names;
        channel.queue_bind(queue, exchange, key, options, FieldTable::default()).await
    };
    bound.await.map_err(|error| Failure::answered(&error))
}

fn there(answer: lapin::Result<()>) -> Result<bool, Failure> {
    match answer {
        Ok(()) => Ok(true),
        Err(error) => match Failure::answered(&error) {
            Failure::Refused(text) if text.starts_with("NOT_FOUND") => Ok(false),
            failure => Err(failure),
        },
    }
}

/// A queue that loses nothing when a node does: replicated, and dead letters leave it only once they arrived. The latter
/// needs a queue that refuses what is too much instead of dropping it
/// (<https://www.rabbitmq.com/docs/quorum-queues#dead-lettering>).
fn main_arguments(place: &Place) -> FieldTable {
    let mut arguments = quorum(DELIVERY_LIMIT);
    dead_letter_to(&mut arguments, &place.dead_letter_exchange, &place.queue);
    arguments
}

fn dead_letter_arguments() -> FieldTable {
    quorum(DEAD_LETTER_LIMIT)
}

fn retry_arguments(place: &Place, seconds: u32) -> FieldTable {
    let mut arguments = quorum(DELIVERY_LIMIT);
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(i64::from(seconds) * 1000));
    dead_letter_to(&mut arguments, "", &place.queue);
    arguments
}

fn quorum(delivery_limit: i32) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(delivery_limit));
    arguments
}

fn dead_letter_to(arguments: &mut FieldTable, exchange: &str, routing_key: &str) {
    arguments.insert("x-dead-letter-exchange".into(), text(exchange));
    arguments.insert("x-dead-letter-routing-key".into(), text(routing_key));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_rounds_up_to_its_class() {
        let class = |millis| retry_queue("q", Duration::from_millis(millis));
        assert_eq!(class(1), "q.retry.1s");
        assert_eq!(class(1000), "q.retry.1s");
        assert_eq!(class(1001), "q.retry.5s");
        assert_eq!(class(15_000), "q.retry.15s");
        assert_eq!(class(15_001), "q.retry.60s");
        assert_eq!(class(3_600_000), "q.retry.60s");
    }
}
