//! The deliveries in this consumer's hands.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use lapin::{
    Acker, BasicProperties, Channel,
    options::{BasicAckOptions, BasicNackOptions, BasicQosOptions},
};
use lazaret_amqp::{Failure, within};
use lazaret_core::ports::{Delivery, DeliveryTag};
use tokio::time::Instant;

use super::message;

/// The channel that a delivery came over.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    channel: Weak<Channel>,
    prefetch: u16,
    generation: u64,
}

/// One delivery: what settles it, and what a copy of it is made of.
#[derive(Debug)]
pub(super) struct Taken {
    acker: Acker,
    origin: Origin,
    pub(super) properties: BasicProperties,
    pub(super) body: Vec<u8>,
}

/// Every delivery that was handed out and not settled.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    taken: HashMap<DeliveryTag, Arc<Taken>>,
    late: Vec<(Instant, DeliveryTag)>,
}

impl Origin {
    pub(super) fn new(channel: &Arc<Channel>, prefetch: u16, generation: u64) -> Self {
        Self { channel: Arc::downgrade(channel), prefetch, generation }
    }

    pub(super) fn tag(&self, number: u64) -> DeliveryTag {
        DeliveryTag::new(format!("{}.{number}", self.generation))
    }
}

impl Taken {
    pub(super) fn new(delivery: lapin::message::Delivery, origin: Origin) -> Self {
        Self { acker: delivery.acker, origin, properties: delivery.properties, body: delivery.data }
    }

    /// Whether the channel lives: if not, the delivery is somebody else's by now.
    pub(super) fn is_ours(&self) -> bool {
        self.acker.usable()
    }

    /// Acknowledges, and waits until the broker has read it. False: it comes again.
    pub(super) async fn acknowledge(&self) -> Result<bool, Failure> {
        settled(async {
            if !self.acker.ack(BasicAckOptions::default()).await? {
                return Ok(false);
            }
            // An acknowledgement has no answer. A channel works in order, so the answer to what follows is one; the
            // prefetch is what it was.
            let Some(channel) = self.origin.channel.upgrade() else { return Ok(false) };
            channel.basic_qos(self.origin.prefetch, BasicQosOptions::default()).await?;
            Ok(true)
        })
        .await
    }

    /// Gives the delivery back at once. False: it was given back already.
    pub(super) async fn requeue(&self) -> Result<bool, Failure> {
        settled(self.acker.nack(BasicNackOptions { requeue: true, multiple: false })).await
    }
}

/// A broker that reads no more keeps nobody who settles a delivery.
async fn settled(settling: impl Future<Output = lapin::Result<bool>>) -> Result<bool, Failure> {
    within(async { settling.await.map_err(|error| Failure::broken(&error)) }).await
}

impl Held {
    /// Remembers a delivery and gives what the worker sees of it.
    pub(super) fn take(&self, delivery: lapin::message::Delivery, origin: &Origin) -> Delivery {
        let tag = origin.tag(delivery.delivery_tag);
        let handed = Delivery {
            tag: tag.clone(),
            message_id: message::message_id(&delivery.properties, &delivery.data),
            body: delivery.data.clone(),
            attributes: message::attributes(&delivery.properties),
        };
        self.state().taken.insert(tag, Arc::new(Taken::new(delivery, origin.clone())));
        handed
    }

    /// The delivery, if its tag is known and its channel lives.
    pub(super) fn get(&self, tag: &DeliveryTag) -> Option<Arc<Taken>> {
        let mut state = self.state();
        let taken = state.taken.get(tag).cloned()?;
        if !taken.is_ours() {
            state.taken.remove(tag);
            return None;
        }
        Some(taken)
    }

    pub(super) fn remove(&self, tag: &DeliveryTag) -> Option<Arc<Taken>> {
        self.state().taken.remove(tag)
    }

    /// Has the delivery given back after `delay`.
    pub(super) fn put_late(&self, tag: &DeliveryTag, delay: Duration) {
        self.state().late.push((Instant::now() + delay, tag.clone()));
    }

    /// What is to be given back by `now`; None: everything that is to be given back at all.
    pub(super) fn take_late(&self, now: Option<Instant>) -> Vec<Arc<Taken>> {
        let mut state = self.state();
        let is_due = |(due, _): &mut (Instant, DeliveryTag)| now.is_none_or(|now| *due <= now);
        let due: Vec<_> = state.late.extract_if(.., is_due).collect();
        due.into_iter().filter_map(|(_, tag)| state.taken.remove(&tag)).collect()
    }

    /// The channel is gone, and all of this with it.
    pub(super) fn clear(&self) {
        *self.state() = State::default();
    }

    /// The state is whole between two statements that could panic, so a poisoned lock means nothing.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
