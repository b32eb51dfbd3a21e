//! One delivery: decode, pass every record, then acknowledge, return or dead-letter it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use lazaret_core::{
    Disposition, ObjectEvent,
    error::chain,
    ports::{Delivery, QueueError},
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, info_span, warn};

use super::Availability;
use crate::{
    bus::Bus,
    metrics,
    passage::{Passage, PassageError, Passed, panic_message},
};

/// How long a delivery waits after a failure of its own object.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// How long a delivery waits while a dependency is away. Consumption has paused by then.
pub(super) const UNAVAILABLE_DELAY: Duration = Duration::from_secs(2);
/// The longest wait for another worker's lease before the delivery looks again.
const LONGEST_BUSY_DELAY: Duration = Duration::from_mins(1);

pub(super) struct Settler {
    pub(super) passage: Passage,
    pub(super) bus: Bus,
    pub(super) availability: Arc<Availability>,
    pub(super) hard_stop: CancellationToken,
}

/// What becomes of the delivery, from harmless to grave: with many records the gravest wins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Acknowledge(&'static str),
    Retry(&'static str, Duration),
    DeadLetter(&'static str, String),
}

impl Settler {
    pub(super) async fn settle(&self, delivery: Delivery) {
        let span = info_span!("delivery", message.id = %delivery.message_id);
        (self.bus.span_parent)(&span, &delivery.attributes);
        let in_flight = InFlight::begin();
        let fate = tokio::select! {
            fate = self.handle_whole(&delivery).instrument(span.clone()) => fate,
            never = self.keep_visible(&delivery).instrument(span.clone()) => match never {},
        };
        drop(in_flight);
        self.conclude(&delivery, fate).instrument(span).await;
    }

    /// Keeps the delivery ours as long as the work lasts.
    async fn keep_visible(&self, delivery: &Delivery) -> std::convert::Infallible {
        let Some(visibility) = self.bus.queue.visibility() else { return std::future::pending().await };
        let mut ticks = interval(visibility / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if let Err(error) = self.bus.queue.extend(&delivery.tag).await {
                // The lease in the session store keeps others away even if the message comes again.
                warn!(error = chain(&error), "the delivery could not be kept invisible");
            }
        }
    }

    /// A panic in one delivery must neither end the others nor keep this one from coming again. Its attempt stays
    /// counted, so that it ends held.
    async fn handle_whole(&self, delivery: &Delivery) -> Fate {
        match AssertUnwindSafe(self.handle(delivery)).catch_unwind().await {
            Ok(fate) => fate,
            Err(panic) => {
                error!(panic = panic_message(&*panic), "a delivery's work broke off");
                Fate::Retry("retry", RETRY_DELAY)
            }
        }
    }

    async fn handle(&self, delivery: &Delivery) -> Fate {
        let message = match (self.bus.decode)(&delivery.body, &delivery.attributes) {
            Ok(message) => message,
            Err(reason) => {
                warn!(reason, "a message is not understood, dead-lettered");
                return Fate::DeadLetter("dead-letter", reason);
            }
        };
        if !message.ignored.is_empty() {
            debug!(ignored = ?message.ignored, "records that are none of our business");
        }
        let mut fate = Fate::Acknowledge("not-ours");
        for event in &message.created {
            if self.hard_stop.is_cancelled() {
                return graver(fate, Fate::Retry("interrupted", Duration::ZERO));
            }
            fate = graver(fate, self.pass(event).await);
        }
        if message.bad.is_empty() {
            return fate;
        }
        let reason = message.bad.join("; ");
        let spoiled = graver(fate, Fate::DeadLetter("dead-letter", reason.clone()));
        // Said once: a message that comes again for another record says it then.
        if let Fate::DeadLetter(..) = spoiled {
            warn!(reason, "records of a message are not understood, dead-lettered");
        }
        spoiled
    }

    async fn pass(&self, event: &ObjectEvent) -> Fate {
        match self.passage.pass(event, &self.hard_stop).await {
            Ok(passed) => fate_of(&passed, event),
            Err(error) => fate_of_error(&error, event),
        }
    }

    async fn conclude(&self, delivery: &Delivery, fate: Fate) {
        let queue = &self.bus.queue;
        let (result, concluded): (_, Result<(), QueueError>) = match &fate {
            Fate::Acknowledge(result) => (*result, queue.acknowledge(&delivery.tag).await),
            Fate::Retry(result, delay) => (*result, queue.retry_after(&delivery.tag, *delay).await),
            Fate::DeadLetter(result, reason) => (*result, queue.dead_letter(delivery, reason).await),
        };
        ::metrics::counter!(metrics::DELIVERIES, "result" => result).increment(1);
        if let Err(error) = concluded {
            // The effect is durable; the message comes again and finds it.
            warn!(error = chain(&error), "a delivery could not be concluded and will come again");
            self.availability.lost(&error);
        }
    }
}

fn fate_of_error(error: &PassageError, event: &ObjectEvent) -> Fate {
    match error.disposition() {
        Disposition::Unavailable => Fate::Retry("unavailable", UNAVAILABLE_DELAY),
        Disposition::Retry => {
            warn!(object.key = %event.key, error = chain(error), "an attempt failed, will retry");
            Fate::Retry("retry", RETRY_DELAY)
        }
        Disposition::Reject | Disposition::DeadLetter => {
            warn!(object.key = %event.key, error = chain(error), "an event cannot be worked on, dead-lettered");
            Fate::DeadLetter("dead-letter", chain(error))
        }
    }
}

fn fate_of(passed: &Passed, event: &ObjectEvent) -> Fate {
    match passed {
        Passed::NotOurs => Fate::Acknowledge("not-ours"),
        Passed::Orphan => Fate::Acknowledge("orphan"),
        Passed::Missing => {
            info!(object.key = %event.key, "the event's object is not there");
            Fate::Acknowledge("missing")
        }
        Passed::AwaitsFinalize => Fate::Acknowledge("awaits-finalize"),
        Passed::AlreadySettled => Fate::Acknowledge("already-settled"),
        Passed::Settled(_) => Fate::Acknowledge("settled"),
        Passed::Busy(remaining) => Fate::Retry("busy", (*remaining).clamp(Duration::from_secs(1), LONGEST_BUSY_DELAY)),
        Passed::Interrupted => Fate::Retry("interrupted", Duration::ZERO),
        Passed::Exhausted => Fate::DeadLetter("exhausted", "attempts-exhausted".to_owned()),
    }
}

/// A record that must be tried again keeps the whole message; the others are settled by then and say so next time.
fn graver(one: Fate, other: Fate) -> Fate {
    let gravity = |fate: &Fate| match fate {
        Fate::Acknowledge("not-ours") => (0, Duration::ZERO),
        Fate::Acknowledge(_) => (1, Duration::ZERO),
        Fate::DeadLetter(..) => (2, Duration::ZERO),
        Fate::Retry(_, delay) => (3, *delay),
    };
    if gravity(&other) > gravity(&one) { other } else { one }
}

struct InFlight;

impl InFlight {
    fn begin() -> Self {
        ::metrics::gauge!(metrics::IN_FLIGHT).increment(1.0);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        ::metrics::gauge!(metrics::IN_FLIGHT).decrement(1.0);
    }
}
