//! The queue port inside one process, for a program that finds its work again when it starts.

mod dead_letters;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    pin::pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use lazaret_core::ports::{Delivery, DeliveryTag, Queue, QueueError};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

pub use dead_letters::EmbeddedDeadLetters;

/// What errors and logs call this queue.
const NAME: &str = "embedded";

/// The most deliveries of one receive, as the port says.
const MAX_RECEIVE: usize = 10;

/// Dead letters that are kept; older ones are only counted.
const MAX_DEAD_LETTERS: usize = 1000;

/// The longest a message is put back for: a month, which no clock overflows at.
const MAX_DELAY: Duration = Duration::from_hours(30 * 24);

/// Settings of the embedded queue.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedSettings {
    /// How long a delivery stays with its consumer.
    pub visibility_timeout: Duration,
    /// How long a receive waits for the first message.
    pub wait_time: Duration,
    /// Messages that the queue holds; more are refused, so that a flood of events cannot eat the memory.
    pub capacity: usize,
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        Self { visibility_timeout: Duration::from_mins(1), wait_time: Duration::from_secs(20), capacity: 1_000_000 }
    }
}

/// A queue in memory. It loses its messages with the process.
#[derive(Debug)]
pub struct EmbeddedQueue {
    settings: EmbeddedSettings,
    state: Mutex<State>,
    /// Notified when a message, or the time at which one comes back, is new.
    changed: Notify,
    dead: AtomicU64,
}

/// How many messages are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Ready to be received.
    pub ready: usize,
    /// With a consumer, or put back for later.
    pub hidden: usize,
    /// Dead letters since the start.
    pub dead: u64,
}

/// A message that nobody could understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message's id.
    pub message_id: String,
    /// The message as it came.
    pub body: Vec<u8>,
    /// Why it is here.
    pub reason: String,
}

#[derive(Debug)]
struct Message {
    id: u64,
    body: Vec<u8>,
}

/// When a hidden message comes back; the number keeps two of the same instant apart.
type Due = (Instant, u64);

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Message>,
    hidden: BTreeMap<Due, Hidden>,
    /// By the tag of the delivery. A message that came back, or was put back, is here no longer.
    held: HashMap<u64, Due>,
    dead: VecDeque<DeadLetter>,
    last_id: u64,
    last_tag: u64,
}

#[derive(Debug)]
struct Hidden {
    message: Message,
    tag: Option<u64>,
}

impl EmbeddedQueue {
    /// An empty queue.
    pub fn new(settings: EmbeddedSettings) -> Self {
        Self { settings, state: Mutex::default(), changed: Notify::new(), dead: AtomicU64::new(0) }
    }

    /// How many messages are where.
    pub fn depth(&self) -> Depth {
        let state = self.state();
        Depth { ready: state.ready.len(), hidden: state.hidden.len(), dead: self.dead.load(Ordering::Relaxed) }
    }

    /// The newest dead letters, oldest first.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.state().dead.iter().cloned().collect()
    }

    /// The state is whole between two statements that could panic, so a poisoned lock means nothing.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is ready now, or when to look again.
    fn take(&self, max: usize) -> Result<Vec<Delivery>, Option<Instant>> {
        let now = Instant::now();
        let mut state = self.state();
        state.wake(now);
        if state.ready.is_empty() {
            return Err(state.hidden.first_key_value().map(|((due, _), _)| *due));
        }
        let count = max.clamp(1, MAX_RECEIVE).min(state.ready.len());
        let taken: Vec<Message> = state.ready.drain(..count).collect();
        let until = now + self.settings.visibility_timeout;
        Ok(taken.into_iter().map(|message| state.deliver(message, until)).collect())
    }

    fn push(&self, body: Vec<u8>) -> Result<(), QueueError> {
        let mut state = self.state();
        let held = state.ready.len() + state.hidden.len();
        if held >= self.settings.capacity {
            let source = format!("it holds {held} messages, as many as it may").into();
            return Err(QueueError::Unavailable { queue: NAME.to_owned(), source });
        }
        state.last_id += 1;
        let message = Message { id: state.last_id, body };
        state.ready.push_back(message);
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Puts a held message elsewhere in time; a tag of a message that is no longer held changes nothing.
    fn put_back(&self, tag: &DeliveryTag, until: Instant, keep: bool) {
        let Some(number) = number(tag) else { return };
        let mut state = self.state();
        if let Some(Hidden { message, .. }) = state.release(number) {
            let due = (until, message.id);
            if keep {
                state.held.insert(number, due);
            }
            state.hidden.insert(due, Hidden { message, tag: keep.then_some(number) });
            drop(state);
            self.changed.notify_waiters();
        }
    }
}

impl State {
    /// Makes ready whatever is due.
    fn wake(&mut self, now: Instant) {
        while let Some(entry) = self.hidden.first_entry()
            && entry.key().0 <= now
        {
            let Hidden { message, tag } = entry.remove();
            if let Some(tag) = tag {
                self.held.remove(&tag);
            }
            self.ready.push_back(message);
        }
    }

    fn deliver(&mut self, message: Message, until: Instant) -> Delivery {
        self.last_tag += 1;
        let (tag, due) = (self.last_tag, (until, message.id));
        let delivery = Delivery {
            tag: DeliveryTag::new(tag.to_string()),
            message_id: message.id.to_string(),
            body: message.body.clone(),
            attributes: BTreeMap::new(),
        };
        self.held.insert(tag, due);
        self.hidden.insert(due, Hidden { message, tag: Some(tag) });
        delivery
    }

    /// Takes a held message out of its consumer's hands.
    fn release(&mut self, tag: u64) -> Option<Hidden> {
        let due = self.held.remove(&tag)?;
        self.hidden.remove(&due)
    }
}

fn number(tag: &DeliveryTag) -> Option<u64> {
    tag.as_str().parse().ok()
}

#[async_trait]
impl Queue for EmbeddedQueue {
    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, QueueError> {
        let end = Instant::now() + self.settings.wait_time;
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on a change wakes us, so none is missed between the look and the wait.
            changed.as_mut().enable();
            let due = match self.take(max) {
                Ok(deliveries) => return Ok(deliveries),
                Err(due) => due.map_or(end, |due| due.min(end)),
            };
            if Instant::now() >= end {
                return Ok(Vec::new());
            }
            tokio::select! {
                () = changed => {}
                () = sleep_until(due) => {}
            }
        }
    }

    async fn acknowledge(&self, tag: &DeliveryTag) -> Result<(), QueueError> {
        if let Some(number) = number(tag) {
            self.state().release(number);
        }
        Ok(())
    }

    async fn retry_after(&self, tag: &DeliveryTag, delay: Duration) -> Result<(), QueueError> {
        self.put_back(tag, Instant::now() + delay.min(MAX_DELAY), false);
        Ok(())
    }

    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), QueueError> {
        let Some(number) = number(&delivery.tag) else { return Ok(()) };
        let mut state = self.state();
        if let Some(Hidden { message, .. }) = state.release(number) {
            if state.dead.len() == MAX_DEAD_LETTERS {
                state.dead.pop_front();
            }
            let message_id = message.id.to_string();
            state.dead.push_back(DeadLetter { message_id, body: message.body, reason: reason.to_owned() });
            self.dead.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn extend(&self, tag: &DeliveryTag) -> Result<(), QueueError> {
        self.put_back(tag, Instant::now() + self.settings.visibility_timeout, true);
        Ok(())
    }

    /// Nothing is brought here before it is asked for.
    async fn pause(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn send(&self, body: &str) -> Result<(), QueueError> {
        self.push(body.as_bytes().to_vec())
    }

    fn visibility(&self) -> Option<Duration> {
        Some(self.settings.visibility_timeout)
    }

    async fn check(&self) -> Result<(), QueueError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
