use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use lapin::{Channel, options::BasicGetOptions};
use lazaret_amqp::{Failure, Message, OwnedConnection, Publisher, within};
use lazaret_core::ports::{DeadLetter, DeadLetterQueue, DeliveryTag, QueueError};
use tokio::sync::Mutex;
use tracing::warn;

use super::{
    AmqpSettings, MAX_RECEIVE,
    held::{Origin, Taken},
    message,
    settings::Place,
    topology,
};

/// The dead-letter queue of a queue on RabbitMQ, `{queue}.dead-letters`. Letters are held by a channel: dropped, it gives
/// them back.
#[derive(Debug)]
pub struct AmqpDeadLetters {
    place: Place,
    publisher: Publisher,
    /// Taken out while letters are fetched: what is given up half-way closes the channel, and nothing is stuck in it.
    desk: Mutex<Option<Desk>>,
    generations: AtomicU64,
}

#[derive(Debug)]
struct Desk {
    connection: OwnedConnection,
    channel: Arc<Channel>,
    origin: Origin,
    held: HashMap<DeliveryTag, Taken>,
}

impl AmqpDeadLetters {
    /// The dead letters of the queue in `settings`. Nothing is connected until it is used.
    pub fn new(settings: &AmqpSettings) -> Result<Self, QueueError> {
        let place = Place::new(settings)?;
        Ok(Self {
            publisher: Publisher::new(Arc::clone(&place.broker), &format!("redriving {}", place.queue)),
            place,
            desk: Mutex::default(),
            generations: AtomicU64::new(0),
        })
    }

    async fn open(&self) -> Result<Desk, Failure> {
        let connection = self.place.broker.connect(&format!("reading {}", self.place.dead_letter_queue)).await?;
        topology::ensure(&connection, &self.place).await?;
        let channel = connection.create_channel().await.map_err(|error| Failure::answered(&error))?;
        let channel = Arc::new(channel);
        let origin = Origin::new(&channel, 0, self.generations.fetch_add(1, Ordering::Relaxed));
        Ok(Desk { connection, channel, origin, held: HashMap::new() })
    }

    async fn fetch(&self, max: usize) -> Result<Vec<DeadLetter>, Failure> {
        let mut slot = self.desk.lock().await;
        let mut desk = match slot.take() {
            Some(desk) if desk.is_alive() => desk,
            Some(_) | None => self.open().await?,
        };
        let mut letters = Vec::new();
        while letters.len() < max
            && let Some(letter) = desk.get(&self.place.dead_letter_queue).await?
        {
            letters.push(letter);
        }
        *slot = Some(desk);
        Ok(letters)
    }

    async fn put_back(&self, letter: &DeadLetter) -> Result<(), Failure> {
        let mut slot = self.desk.lock().await;
        let desk = slot.as_mut().filter(|desk| desk.is_alive());
        let Some((desk, taken)) = desk.and_then(|desk| desk.held.remove(&letter.tag).map(|taken| (desk, taken))) else {
            return Err(Failure::unavailable("the connection that held this dead letter has ended: it comes again"));
        };
        let properties = message::copied(&taken.properties, None);
        let message = Message { exchange: "", routing_key: &self.place.queue, properties, body: &letter.body };
        if let Err(failure) = self.publisher.publish(message).await {
            desk.held.insert(letter.tag.clone(), taken);
            return Err(failure);
        }
        if !matches!(taken.acknowledge().await, Ok(true)) {
            warn!(queue = self.place.queue, "a message was redriven, and its dead letter is still there");
        }
        Ok(())
    }
}

impl Desk {
    fn is_alive(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    async fn get(&mut self, queue: &str) -> Result<Option<DeadLetter>, Failure> {
        let got = self.channel.basic_get(queue.into(), BasicGetOptions::default()).await;
        let Some(mut got) = got.map_err(|error| Failure::answered(&error))? else { return Ok(None) };
        let tag = self.origin.tag(got.delivery.delivery_tag);
        // The letter alone has the body: whoever looks at many does not keep them all.
        let body = std::mem::take(&mut got.delivery.data);
        let taken = Taken::new(got.delivery, self.origin.clone());
        let letter = DeadLetter {
            tag: tag.clone(),
            message_id: message::message_id(&taken.properties, &body),
            body,
            attributes: message::attributes(&taken.properties),
            reason: message::reason(&taken.properties),
        };
        self.held.insert(tag, taken);
        Ok(Some(letter))
    }
}

#[async_trait]
impl DeadLetterQueue for AmqpDeadLetters {
    async fn receive(&self, max: usize) -> Result<Vec<DeadLetter>, QueueError> {
        within(self.fetch(max.clamp(1, MAX_RECEIVE))).await.map_err(self.place.error("hand out dead letters"))
    }

    async fn give_back(&self, tags: &[DeliveryTag]) -> Result<(), QueueError> {
        let mut slot = self.desk.lock().await;
        let Some(desk) = slot.as_mut().filter(|desk| desk.is_alive()) else { return Ok(()) };
        for tag in tags {
            if let Some(taken) = desk.held.remove(tag) {
                taken.requeue().await.map_err(self.place.error("take dead letters back"))?;
            }
        }
        Ok(())
    }

    async fn redrive(&self, letter: &DeadLetter) -> Result<(), QueueError> {
        within(Box::pin(self.put_back(letter))).await.map_err(self.place.error("take a redriven message"))
    }
}
