//! One life of the consuming connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions},
    types::FieldTable,
};
use lazaret_amqp::{Failure, OwnedConnection};
use tokio::time::timeout;
use tracing::warn;

use super::{
    held::{Held, Origin},
    settings::Place,
    topology,
};

/// A channel whose deliveries are ours for as long as it is open. Dropped, its connection ends, and they go to others.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: OwnedConnection,
    /// Held here alone: nobody else may keep it open.
    channel: Arc<Channel>,
    pub(super) subscription: Option<Arc<Subscription>>,
    prefetch: u16,
    /// Delivery tags count from one in every channel; with this they are told apart.
    generation: u64,
}

/// A consumer on the channel, until either side cancels it.
#[derive(Debug)]
pub(super) struct Subscription {
    consumer: Consumer,
    origin: Origin,
    ended: AtomicBool,
}

impl Session {
    pub(super) async fn open(place: &Place, prefetch: u16, generation: u64) -> Result<Self, Failure> {
        let connection = place.broker.connect(&format!("consuming {}", place.queue)).await?;
        let channel = connection.create_channel().await.map_err(|error| Failure::answered(&error))?;
        Ok(Self { connection, channel: Arc::new(channel), subscription: None, prefetch, generation })
    }

    /// Whether its deliveries are ours. A broker that cancels a consumer has taken them back, or they are gone with their
    /// queue.
    pub(super) fn is_alive(&self) -> bool {
        let cancelled = self.subscription.as_ref().is_some_and(|subscription| subscription.has_ended());
        self.connection.status().connected() && self.channel.status().connected() && !cancelled
    }

    /// Takes part in the queue, after what is missing of it was declared.
    pub(super) async fn subscribe(&mut self, place: &Place) -> Result<Arc<Subscription>, Failure> {
        topology::ensure(&self.connection, place).await?;
        let consuming = async {
            // Deliveries from before a pause do not count in a new consumer's prefetch: as long as they are in work, up
            // to twice as many are in our hands.
            self.channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
            let options = BasicConsumeOptions::default();
            self.channel.basic_consume(place.queue.as_str().into(), "".into(), options, FieldTable::default()).await
        };
        let consumer = consuming.await.map_err(|error| Failure::answered(&error))?;
        let origin = Origin::new(&self.channel, self.prefetch, self.generation);
        let subscription = Arc::new(Subscription { consumer, origin, ended: AtomicBool::new(false) });
        self.subscription = Some(Arc::clone(&subscription));
        Ok(subscription)
    }

    /// Takes part no longer, and gives back what nobody was handed.
    pub(super) async fn unsubscribe(&mut self) -> lapin::Result<()> {
        let Some(subscription) = self.subscription.take() else { return Ok(()) };
        if subscription.ended.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let mut consumer = subscription.consumer.clone();
        self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
        // All that the broker sent before its answer is here by now.
        while let Some(Some(Ok(delivery))) = consumer.next().now_or_never() {
            delivery.acker.nack(BasicNackOptions { requeue: true, multiple: false }).await?;
        }
        Ok(())
    }
}

impl Subscription {
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Up to `max` deliveries, once the first is there. What comes is in `held` before anybody could drop this future.
    pub(super) async fn next(
        &self,
        max: usize,
        within: Duration,
        held: &Held,
    ) -> Result<Vec<lazaret_core::ports::Delivery>, Failure> {
        let mut consumer = self.consumer.clone();
        let Ok(first) = timeout(within, consumer.next()).await else { return Ok(Vec::new()) };
        let mut came = Vec::new();
        let mut next = Some(first);
        while let Some(item) = next {
            match item {
                Some(Ok(delivery)) => came.push(delivery),
                Some(Err(error)) if came.is_empty() => return Err(Failure::broken(&error)),
                // The channel is dead; the next receive finds it so.
                Some(Err(_)) => break,
                None => {
                    self.end();
                    break;
                }
            }
            next = if came.len() < max { consumer.next().now_or_never() } else { None };
        }
        Ok(self.hand_out(came, held))
    }

    fn hand_out(&self, came: Vec<Delivery>, held: &Held) -> Vec<lazaret_core::ports::Delivery> {
        came.into_iter().map(|delivery| held.take(delivery, &self.origin)).collect()
    }

    /// The broker cancels a consumer whose queue is deleted or moves, or that holds a delivery for too long.
    fn end(&self) {
        if !self.ended.swap(true, Ordering::Relaxed) {
            warn!(queue = %self.consumer.queue(), "the broker cancelled the consumer");
        }
    }
}
