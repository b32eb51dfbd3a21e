//! The queue port on RabbitMQ.

mod dead_letters;
mod held;
mod message;
mod session;
mod settings;
mod topology;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use lapin::BasicProperties;
use lazaret_amqp::{Failure, Message, Publisher, within};
use lazaret_core::ports::{Delivery, DeliveryTag, Queue, QueueError};
use tokio::{sync::Mutex, time::Instant};
use tracing::{debug, warn};
use uuid::Uuid;

pub use dead_letters::AmqpDeadLetters;
pub use settings::AmqpSettings;
pub use topology::{Declared, Topology, declare, look};

use held::{Held, Taken};
use session::{Session, Subscription};
use settings::Place;

/// How long a receive waits for the first message.
const LONG_POLL: Duration = Duration::from_secs(1);

/// The most deliveries of one receive, as the port says.
const MAX_RECEIVE: usize = 10;

/// When a message comes again that could not be moved to the dead-letter queue.
const REDELIVER_AFTER: Duration = Duration::from_secs(15);

/// A queue on RabbitMQ, by AMQP 0-9-1.
///
/// Deliveries are this consumer's for as long as its channel lives. A connection or channel that ended is opened again
/// by the next use; what it had delivered goes to others meanwhile, and settling it here changes nothing.
#[derive(Debug)]
pub struct AmqpQueue {
    place: Place,
    prefetch: u16,
    publisher: Publisher,
    /// Taken out while it is changed: a change that is given up half-way ends the session, so that nothing is lost in it.
    session: Mutex<Option<Session>>,
    held: Held,
    generations: AtomicU64,
}

impl AmqpQueue {
    /// A queue by its settings, which are refused if they cannot work. Nothing is connected until it is used.
    pub fn new(settings: &AmqpSettings) -> Result<Self, QueueError> {
        let place = Place::new(settings)?;
        Ok(Self {
            publisher: Publisher::new(Arc::clone(&place.broker), &format!("publishing {}", place.queue)),
            place,
            prefetch: settings.prefetch,
            session: Mutex::default(),
            held: Held::default(),
            generations: AtomicU64::new(0),
        })
    }

    /// A session that lives, taken out of its place.
    async fn alive(&self, slot: &mut Option<Session>) -> Result<Session, Failure> {
        match slot.take() {
            Some(session) if session.is_alive() => Ok(session),
            ended => {
                if ended.is_some() {
                    debug!(queue = self.place.queue, "connecting again");
                }
                drop(ended);
                self.held.clear();
                let generation = self.generations.fetch_add(1, Ordering::Relaxed);
                Session::open(&self.place, self.prefetch, generation).await
            }
        }
    }

    async fn subscription(&self) -> Result<Arc<Subscription>, Failure> {
        let mut slot = self.session.lock().await;
        let live = slot.as_ref().filter(|session| session.is_alive());
        if let Some(subscription) = live.and_then(|session| session.subscription.as_ref()) {
            return Ok(Arc::clone(subscription));
        }
        let mut session = self.alive(&mut slot).await?;
        let subscription = session.subscribe(&self.place).await?;
        *slot = Some(session);
        Ok(subscription)
    }

    /// Gives back what is to be given back by `now`, or all of it.
    async fn give_back_late(&self, now: Option<Instant>) {
        for taken in self.held.take_late(now) {
            self.say("give a message back", taken.requeue().await);
        }
    }

    /// A settlement that did not reach the broker hurts nobody: the message comes again, and its effect is durable.
    fn say(&self, what: &'static str, settled: Result<bool, Failure>) {
        let queue = &self.place.queue;
        match settled {
            Ok(true) => {}
            Ok(false) => warn!(queue, "the channel ended before it could {what}; the message comes again"),
            Err(failure) => {
                let error = failure.to_string();
                warn!(queue, error, "the broker did not answer as it was to {what}; the message may come again");
            }
        }
    }

    async fn settle(&self, tag: &DeliveryTag) {
        if let Some(taken) = self.held.remove(tag) {
            self.say("acknowledge a message", taken.acknowledge().await);
        }
    }

    async fn publish_again(&self, taken: &Taken, to: (&str, &str), reason: Option<&str>) -> Result<(), Failure> {
        let properties = message::copied(&taken.properties, reason);
        let (exchange, routing_key) = to;
        self.publisher.publish(Message { exchange, routing_key, properties, body: &taken.body }).await
    }
}

#[async_trait]
impl Queue for AmqpQueue {
    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, QueueError> {
        let max = max.clamp(1, MAX_RECEIVE);
        self.give_back_late(Some(Instant::now())).await;
        let end = Instant::now() + LONG_POLL;
        let refused = self.place.error("hand out messages");
        // Twice, because the first consumer may turn out to be cancelled.
        for _ in 0..2 {
            let subscription = within(self.subscription()).await.map_err(&refused)?;
            let left = end.saturating_duration_since(Instant::now());
            let came = subscription.next(max, left, &self.held).await.map_err(&refused)?;
            if !came.is_empty() || !subscription.has_ended() {
                return Ok(came);
            }
        }
        Ok(Vec::new())
    }

    async fn acknowledge(&self, tag: &DeliveryTag) -> Result<(), QueueError> {
        self.settle(tag).await;
        Ok(())
    }

    /// At once, the message goes back. Later, a copy of it waits in a retry queue for the next longer of 1 s, 5 s, 15 s
    /// and 60 s, the most there is, and comes back as a new message: nothing that counts deliveries counts it. If the copy
    /// cannot be published, the message stays in our hands that long.
    async fn retry_after(&self, tag: &DeliveryTag, delay: Duration) -> Result<(), QueueError> {
        let Some(taken) = self.held.get(tag) else { return Ok(()) };
        if delay.is_zero() {
            self.held.remove(tag);
            self.say("give a message back", taken.requeue().await);
            return Ok(());
        }
        let retry_queue = topology::retry_queue(&self.place.queue, delay);
        match self.publish_again(&taken, ("", &retry_queue), None).await {
            Ok(()) => self.settle(tag).await,
            Err(failure) => {
                let error = failure.to_string();
                warn!(queue = self.place.queue, error, "no copy for later could be published; the message waits here");
                self.held.put_late(tag, delay);
            }
        }
        Ok(())
    }

    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), QueueError> {
        let Some(taken) = self.held.get(&delivery.tag) else { return Ok(()) };
        let to = (self.place.dead_letter_exchange.as_str(), self.place.queue.as_str());
        match self.publish_again(&taken, to, Some(reason)).await {
            Ok(()) => {
                self.settle(&delivery.tag).await;
                Ok(())
            }
            Err(failure) => {
                self.held.put_late(&delivery.tag, REDELIVER_AFTER);
                Err(self.place.error("take a dead letter")(failure))
            }
        }
    }

    /// Nothing to do: a delivery is ours for as long as the channel lives. The broker's `consumer_timeout`, half an hour
    /// as it comes, bounds that and cannot be extended.
    async fn extend(&self, _tag: &DeliveryTag) -> Result<(), QueueError> {
        Ok(())
    }

    async fn pause(&self) -> Result<(), QueueError> {
        self.give_back_late(None).await;
        let mut slot = self.session.lock().await;
        let Some(mut session) = slot.take() else { return Ok(()) };
        let unsubscribed = within(async { session.unsubscribe().await.map_err(|error| Failure::broken(&error)) }).await;
        match unsubscribed {
            Ok(()) => *slot = Some(session),
            // The session ends here, which gives back everything.
            Err(failure) => debug!(queue = self.place.queue, error = %failure, "the connection ended in a pause"),
        }
        Ok(())
    }

    async fn send(&self, body: &str) -> Result<(), QueueError> {
        let message = Message {
            exchange: "",
            routing_key: &self.place.queue,
            properties: BasicProperties::default().with_message_id(Uuid::now_v7().to_string().into()),
            body: body.as_bytes(),
        };
        self.publisher.publish(message).await.map_err(self.place.error("take a message"))
    }

    fn visibility(&self) -> Option<Duration> {
        None
    }

    /// One question while the queue is there. Where it is not, what is missing is declared as the first receive does, for
    /// nobody receives until this succeeds. Whether we may read shows at the first receive only.
    async fn check(&self) -> Result<(), QueueError> {
        let checked = within(async {
            let mut slot = self.session.lock().await;
            if !slot.as_ref().is_some_and(Session::is_alive) {
                let session = self.alive(&mut slot).await?;
                *slot = Some(session);
            }
            match slot.as_ref() {
                Some(session) if topology::queue_is_there(&session.connection, &self.place.queue).await? => Ok(()),
                Some(session) => topology::ensure(&session.connection, &self.place).await.map(drop),
                None => Err(Failure::unavailable("not connected")),
            }
        });
        checked.await.map_err(self.place.error("say who it is"))
    }
}

#[cfg(test)]
mod tests;
