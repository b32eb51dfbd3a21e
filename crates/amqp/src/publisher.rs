use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt, future::pending};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, Event,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use tokio::sync::Mutex;

use crate::{Broker, Failure, within};

/// Written to disk by the broker before it confirms.
const PERSISTENT: u8 = 2;

/// A message to publish.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// Empty: the default exchange, whose routing keys are queue names.
    pub exchange: &'a str,
    /// What the exchange routes by.
    pub routing_key: &'a str,
    /// Headers, message id, content type. It is made persistent in any case.
    pub properties: BasicProperties,
    /// The message itself.
    pub body: &'a [u8],
}

/// Publishes on a connection of its own, one message at a time, and returns once the broker has taken it over.
///
/// One at a time, because lapin gives a returned message to whichever confirm comes next: with two in flight, the one
/// that nobody will ever get could pass for delivered.
#[derive(Debug)]
pub struct Publisher {
    broker: Arc<Broker>,
    purpose: String,
    line: Mutex<Option<Line>>,
}

struct Line {
    connection: Connection,
    channel: Channel,
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    /// A message is still on its way, whose confirm nobody waits for: to be replaced, not used.
    spent: bool,
}

impl Publisher {
    /// Nothing is connected until the first message.
    pub fn new(broker: Arc<Broker>, purpose: &str) -> Self {
        Self { broker, purpose: purpose.to_owned(), line: Mutex::default() }
    }

    /// Publishes, persistent and mandatory: a message that no queue would get is refused. A failure says nothing about
    /// whether the message was published.
    pub async fn publish(&self, message: Message<'_>) -> Result<(), Failure> {
        within(async {
            let mut slot = self.line.lock().await;
            // Out of its place while it is used: given up half-way, it is not used again.
            let mut line = match slot.take() {
                Some(line) if line.connection.status().blocked() => {
                    *slot = Some(line);
                    return Err(Failure::unavailable("the broker still takes no messages"));
                }
                Some(line) if line.channel.status().connected() && !line.spent => line,
                Some(_) | None => self.open().await?,
            };
            let published = line.publish(message).await;
            if line.channel.status().connected() {
                *slot = Some(line);
            }
            published
        })
        .await
    }

    async fn open(&self) -> Result<Line, Failure> {
        let connection = self.broker.connect(&self.purpose).await?;
        let events = Box::pin(connection.events_listener());
        let opened = async {
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(channel)
        };
        let channel = opened.await.map_err(|error: lapin::Error| Failure::answered(&error))?;
        Ok(Line { connection, channel, events, spent: false })
    }
}

impl Line {
    async fn publish(&mut self, message: Message<'_>) -> Result<(), Failure> {
        let [exchange, routing_key] = [short(message.exchange)?, short(message.routing_key)?];
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = message.properties.with_delivery_mode(PERSISTENT);
        let sent = self.channel.basic_publish(exchange, routing_key, options, message.body, properties);
        let events = &mut self.events;
        let confirmed = tokio::select! {
            confirmed = async { sent.await?.await } => confirmed.map_err(|error| Failure::answered(&error))?,
            reason = blocked(events) => {
                self.spent = true;
                return Err(Failure::unavailable(&format!("the broker takes no messages: {reason}")));
            }
        };
        match confirmed {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
                Err(Failure::refused(&format!("{} {}", returned.reply_code, returned.reply_text)))
            }
            Confirmation::Nack(None) => Err(Failure::unavailable("the queue did not take the message: full or down")),
            Confirmation::NotRequested => Err(Failure::refused("the channel confirms nothing")),
        }
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("channel", &self.channel.id()).field("spent", &self.spent).finish_non_exhaustive()
    }
}

/// Waits for the broker to say that it is short of memory or disk.
async fn blocked(events: &mut (impl Stream<Item = Event> + Unpin)) -> String {
    while let Some(event) = events.next().await {
        if let Event::ConnectionBlocked(reason) = event {
            return reason;
        }
    }
    pending().await
}

fn short(text: &str) -> Result<ShortString, Failure> {
    ShortString::try_new(text).map_err(|_| Failure::refused(&format!("{text:?} is longer than 255 bytes")))
}
