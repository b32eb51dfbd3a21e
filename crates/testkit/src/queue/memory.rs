use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use lazaret_core::ports::{Delivery, DeliveryTag, Queue, QueueError};
use tokio::sync::Notify;

/// One operation of the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueOperation {
    /// `receive`
    Receive,
    /// `acknowledge`
    Acknowledge,
    /// `retry_after`
    RetryAfter,
    /// `dead_letter`
    DeadLetter,
    /// `extend`
    Extend,
    /// `pause`
    Pause,
    /// `send`
    Send,
    /// `check`
    Check,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It was acknowledged.
    Acknowledged,
    /// It was put back for later. The fake does not deliver it again; [`MemoryQueue::push`] does.
    Returned(Duration),
    /// It was dead-lettered with this reason.
    DeadLettered(String),
}

/// A queue for tests of a consumer: it hands out what it is given once and keeps a record of what became of it.
#[derive(Debug, Default)]
pub struct MemoryQueue {
    state: Mutex<State>,
    pushed: Arc<Notify>,
    settled: Arc<Notify>,
    visibility: Option<Duration>,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Delivery>,
    settled: Vec<(String, Settled)>,
    faults: HashMap<QueueOperation, usize>,
    calls: HashMap<QueueOperation, usize>,
    sent: Vec<String>,
    pushed: u64,
}

impl MemoryQueue {
    /// An empty queue whose deliveries stay with their consumer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same queue, saying that deliveries must be extended within `visibility`.
    #[must_use]
    pub fn with_visibility(mut self, visibility: Duration) -> Self {
        self.visibility = Some(visibility);
        self
    }

    /// Queues a message and gives its id.
    pub fn push(&self, body: impl Into<Vec<u8>>) -> String {
        self.push_with(body, BTreeMap::new())
    }

    /// Queues a message with attributes and gives its id.
    pub fn push_with(&self, body: impl Into<Vec<u8>>, attributes: BTreeMap<String, String>) -> String {
        let mut state = self.state();
        state.pushed += 1;
        let message_id = format!("message-{}", state.pushed);
        let tag = DeliveryTag::new(message_id.as_str());
        state.ready.push_back(Delivery { tag, message_id: message_id.clone(), body: body.into(), attributes });
        drop(state);
        self.pushed.notify_waiters();
        message_id
    }

    /// The next `count` calls of `operation` find the queue unavailable.
    pub fn fail(&self, operation: QueueOperation, count: usize) {
        self.state().faults.insert(operation, count);
    }

    /// How often `operation` was called.
    pub fn calls(&self, operation: QueueOperation) -> usize {
        self.state().calls.get(&operation).copied().unwrap_or_default()
    }

    /// What became of the deliveries, by message id, in the order it happened.
    pub fn settled(&self) -> Vec<(String, Settled)> {
        self.state().settled.clone()
    }

    /// The bodies that were sent through the port.
    pub fn sent(&self) -> Vec<String> {
        self.state().sent.clone()
    }

    /// Waits until `count` deliveries are settled and gives them all.
    pub async fn until_settled(&self, count: usize) -> Vec<(String, Settled)> {
        loop {
            let mut changed = std::pin::pin!(self.settled.notified());
            changed.as_mut().enable();
            let settled = self.settled();
            if settled.len() >= count {
                return settled;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, operation: QueueOperation) -> Result<(), QueueError> {
        let mut state = self.state();
        *state.calls.entry(operation).or_default() += 1;
        match state.faults.get_mut(&operation).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                Err(QueueError::Unavailable { queue: "memory".to_owned(), source: "injected fault".into() })
            }
            None => Ok(()),
        }
    }

    fn settle(&self, tag: &DeliveryTag, as_what: Settled) {
        self.state().settled.push((tag.as_str().to_owned(), as_what));
        self.settled.notify_waiters();
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, QueueError> {
        self.begin(QueueOperation::Receive)?;
        loop {
            let mut changed = std::pin::pin!(self.pushed.notified());
            changed.as_mut().enable();
            {
                let ready = &mut self.state().ready;
                if !ready.is_empty() {
                    let count = max.clamp(1, 10).min(ready.len());
                    return Ok(ready.drain(..count).collect());
                }
            }
            changed.await;
        }
    }

    async fn acknowledge(&self, tag: &DeliveryTag) -> Result<(), QueueError> {
        self.begin(QueueOperation::Acknowledge)?;
        self.settle(tag, Settled::Acknowledged);
        Ok(())
    }

    async fn retry_after(&self, tag: &DeliveryTag, delay: Duration) -> Result<(), QueueError> {
        self.begin(QueueOperation::RetryAfter)?;
        self.settle(tag, Settled::Returned(delay));
        Ok(())
    }

    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), QueueError> {
        self.begin(QueueOperation::DeadLetter)?;
        self.settle(&delivery.tag, Settled::DeadLettered(reason.to_owned()));
        Ok(())
    }

    async fn extend(&self, _tag: &DeliveryTag) -> Result<(), QueueError> {
        self.begin(QueueOperation::Extend)
    }

    async fn pause(&self) -> Result<(), QueueError> {
        self.begin(QueueOperation::Pause)
    }

    async fn send(&self, body: &str) -> Result<(), QueueError> {
        self.begin(QueueOperation::Send)?;
        self.state().sent.push(body.to_owned());
        Ok(())
    }

    fn visibility(&self) -> Option<Duration> {
        self.visibility
    }

    async fn check(&self) -> Result<(), QueueError> {
        self.begin(QueueOperation::Check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_record_says_what_became_of_each_message() {
        let queue = MemoryQueue::new();
        let ids = [queue.push("a"), queue.push("b"), queue.push("c")];
        let taken = queue.receive(10).await.unwrap();
        queue.fail(QueueOperation::Acknowledge, 1);
        assert!(queue.acknowledge(&taken[0].tag).await.is_err());
        queue.acknowledge(&taken[0].tag).await.unwrap();
        queue.retry_after(&taken[1].tag, Duration::from_secs(5)).await.unwrap();
        queue.dead_letter(&taken[2], "garbage").await.unwrap();
        let became = [
            Settled::Acknowledged,
            Settled::Returned(Duration::from_secs(5)),
            Settled::DeadLettered("garbage".to_owned()),
        ];
        let expected: Vec<_> = ids.into_iter().zip(became).collect();
        assert_eq!(queue.until_settled(3).await, expected);
        assert_eq!(queue.calls(QueueOperation::Acknowledge), 2);
    }
}
