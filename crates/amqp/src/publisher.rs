use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use tokio::{
    sync::{Mutex as Turn, Semaphore},
    time::sleep,
};

use crate::{Broker, Failure, OwnedConnection, within};

/// Written to disk by the broker before it confirms.
const PERSISTENT: u8 = 2;

/// Messages that are on their way at the same time, each on a channel of its own.
const AT_ONCE: usize = 8;

/// How often it is looked whether the broker has said that it is short of memory or disk.
const LOOK_EVERY: Duration = Duration::from_millis(100);

const BLOCKED: &str = "the broker takes no messages: it is short of memory or disk";

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

/// Publishes on a connection of its own, and returns once the broker has taken the message over.
///
/// A channel has one message at a time, because lapin gives a returned message to whichever confirm of its channel comes
/// next: with two in flight, the one that nobody will ever get could pass for delivered.
#[derive(Debug)]
pub struct Publisher {
    broker: Arc<Broker>,
    purpose: String,
    line: Turn<Option<Arc<Line>>>,
    places: Semaphore,
}

#[derive(Debug)]
struct Line {
    connection: OwnedConnection,
    idle: Mutex<Vec<Channel>>,
    /// Somebody waited for an answer in vain: to be replaced, not used.
    is_spent: AtomicBool,
}

impl Publisher {
    /// Nothing is connected until the first message.
    pub fn new(broker: Arc<Broker>, purpose: &str) -> Self {
        Self { broker, purpose: purpose.to_owned(), line: Turn::default(), places: Semaphore::new(AT_ONCE) }
    }

    /// Publishes, persistent and mandatory: a message that no queue would get is refused. A failure says nothing about
    /// whether the message was published.
    pub async fn publish(&self, message: Message<'_>) -> Result<(), Failure> {
        within(async {
            let _place = self.places.acquire().await.map_err(|_| Failure::unavailable("publishing has ended"))?;
            let line = self.line().await?;
            if line.connection.status().blocked() {
                return Err(Failure::unavailable(BLOCKED));
            }
            line.publish(message).await
        })
        .await
    }

    /// A connection that lives. Whether it was blocked when it ended says nothing of the next one.
    async fn line(&self) -> Result<Arc<Line>, Failure> {
        let mut slot = self.line.lock().await;
        if let Some(line) = slot.as_ref().filter(|line| line.is_usable()) {
            return Ok(Arc::clone(line));
        }
        let connection = self.broker.connect(&self.purpose).await?;
        let line = Arc::new(Line { connection, idle: Mutex::default(), is_spent: AtomicBool::new(false) });
        *slot = Some(Arc::clone(&line));
        Ok(line)
    }
}

impl Line {
    fn is_usable(&self) -> bool {
        self.connection.status().connected() && !self.is_spent.load(Ordering::Relaxed)
    }

    async fn publish(&self, message: Message<'_>) -> Result<(), Failure> {
        let waiting = Waiting(self);
        // A channel goes back only with its message confirmed: no later one may get that one's answer.
        let channel = self.channel().await?;
        let confirmed = tokio::select! {
            confirmed = send(&channel, message) => confirmed,
            () = self.blocked() => {
                waiting.end();
                return Err(Failure::unavailable(BLOCKED));
            }
        };
        waiting.end();
        let confirmed = confirmed?;
        if channel.status().connected() {
            self.idle().push(channel);
        }
        match confirmed {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
                Err(Failure::refused(&format!("{} {}", returned.reply_code, returned.reply_text)))
            }
            Confirmation::Nack(None) => Err(Failure::unavailable("the queue did not take the message: full or down")),
            Confirmation::NotRequested => Err(Failure::refused("the channel confirms nothing")),
        }
    }

    async fn channel(&self) -> Result<Channel, Failure> {
        while let Some(channel) = { self.idle().pop() } {
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        let opened = async {
            let channel = self.connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(channel)
        };
        opened.await.map_err(|error: lapin::Error| Failure::answered(&error))
    }

    /// Waits for the broker to say that it is short of memory or disk.
    async fn blocked(&self) {
        while !self.connection.status().blocked() {
            sleep(LOOK_EVERY).await;
        }
    }

    /// A list is whole whatever panics, so a poisoned lock means nothing.
    fn idle(&self) -> MutexGuard<'_, Vec<Channel>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request on its way. Dropped before its end, nobody knows what the broker still does, and the connection is spent.
struct Waiting<'a>(&'a Line);

impl Waiting<'_> {
    fn end(self) {
        std::mem::forget(self);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.is_spent.store(true, Ordering::Relaxed);
    }
}

async fn send(channel: &Channel, message: Message<'_>) -> Result<Confirmation, Failure> {
    let [exchange, routing_key] = [short(message.exchange)?, short(message.routing_key)?];
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = message.properties.with_delivery_mode(PERSISTENT);
    let confirmed =
        async { channel.basic_publish(exchange, routing_key, options, message.body, properties).await?.await };
    confirmed.await.map_err(|error| Failure::answered(&error))
}

fn short(text: &str) -> Result<ShortString, Failure> {
    ShortString::try_new(text).map_err(|_| Failure::refused(&format!("{text:?} is longer than 255 bytes")))
}
