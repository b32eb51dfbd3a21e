use std::{
    collections::{BTreeSet, VecDeque},
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use lazaret_core::{
    UploadId,
    ports::{EventSink, SinkError, VerdictEvent},
};
use tokio::sync::Notify;

/// What errors call this sink.
const NAME: &str = "memory";

/// A sink that keeps what it is given, in order.
#[derive(Debug, Default)]
pub struct MemorySink {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<VerdictEvent>,
    faults: VecDeque<Fault>,
    refused: BTreeSet<UploadId>,
    failing: BTreeSet<UploadId>,
    attempts: usize,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Unavailable,
    Refused,
    /// The event is taken, and nobody learns of it.
    AnswerLost,
}

impl MemorySink {
    /// A sink that takes everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was taken, in order; a redelivery is there again.
    pub fn events(&self) -> Vec<VerdictEvent> {
        self.state().events.clone()
    }

    /// How often a delivery was tried, failed ones included.
    pub fn attempts(&self) -> usize {
        self.state().attempts
    }

    /// After the faults set before, `count` deliveries find the sink unavailable.
    pub fn fail(&self, count: usize) {
        self.add(Fault::Unavailable, count);
    }

    /// After the faults set before, `count` deliveries are refused.
    pub fn refuse(&self, count: usize) {
        self.add(Fault::Refused, count);
    }

    /// After the faults set before, `count` events are taken while their sender is told that the sink is unavailable.
    pub fn lose_answers(&self, count: usize) {
        self.add(Fault::AnswerLost, count);
    }

    /// Refuses every event of one upload until [`MemorySink::accept_upload`]; those of others are taken.
    pub fn refuse_upload(&self, upload: UploadId) {
        self.state().refused.insert(upload);
    }

    /// Ends [`MemorySink::refuse_upload`].
    pub fn accept_upload(&self, upload: UploadId) {
        self.state().refused.remove(&upload);
    }

    /// Is unavailable for every event of one upload from now on; those of others are taken.
    pub fn fail_upload(&self, upload: UploadId) {
        self.state().failing.insert(upload);
    }

    /// Waits until `count` events were taken and gives them all.
    pub async fn until_taken(&self, count: usize) -> Vec<VerdictEvent> {
        self.until(|state| state.events.len() >= count).await.0
    }

    /// Waits until a delivery was tried `count` times, and gives how often it was by then.
    pub async fn until_tried(&self, count: usize) -> usize {
        self.until(|state| state.attempts >= count).await.1
    }

    async fn until(&self, enough: impl Fn(&State) -> bool) -> (Vec<VerdictEvent>, usize) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let state = self.state();
                if enough(&state) {
                    return (state.events.clone(), state.attempts);
                }
            }
            changed.await;
        }
    }

    fn add(&self, fault: Fault, count: usize) {
        self.state().faults.extend(std::iter::repeat_n(fault, count));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: &VerdictEvent) -> Result<(), SinkError> {
        let mut state = self.state();
        state.attempts += 1;
        let fault = match state.faults.pop_front() {
            None if state.refused.contains(&event.subject) => Some(Fault::Refused),
            None if state.failing.contains(&event.subject) => Some(Fault::Unavailable),
            fault => fault,
        };
        if matches!(fault, None | Some(Fault::AnswerLost)) {
            state.events.push(event.clone());
        }
        let (sink, source) = (NAME.to_owned(), "injected fault".into());
        match fault {
            None => Ok(()),
            Some(Fault::Unavailable | Fault::AnswerLost) => Err(SinkError::Unavailable { sink, source }),
            Some(Fault::Refused) => Err(SinkError::Refused { sink, source }),
        }
    }
}

#[async_trait]
impl EventSink for MemorySink {
    async fn deliver(&self, event: &VerdictEvent) -> Result<(), SinkError> {
        let result = self.take(event);
        self.changed.notify_waiters();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Received, Setup, conforms, event},
        *,
    };

    #[async_trait]
    impl Received for MemorySink {
        async fn received(&self) -> anyhow::Result<Vec<String>> {
            Ok(self.events().iter().map(serde_json::to_string).collect::<Result<_, _>>()?)
        }
    }

    #[tokio::test]
    async fn the_contract_is_kept() {
        let (sink, down, refusing) = (MemorySink::new(), MemorySink::new(), MemorySink::new());
        down.fail(1);
        refusing.refuse(1);
        let setup = Setup { sink: &sink, received: &sink, down: &down, refusing: &refusing, secrets: &["secret"] };
        conforms(setup).await.unwrap();
    }

    #[tokio::test]
    async fn faults_come_in_the_order_they_were_set() {
        let (sink, event) = (MemorySink::new(), event(1, 1));
        sink.fail(1);
        sink.lose_answers(1);
        sink.refuse_upload(event.subject);
        assert!(matches!(sink.deliver(&event).await, Err(SinkError::Unavailable { .. })));
        assert!(sink.events().is_empty());
        assert!(matches!(sink.deliver(&event).await, Err(SinkError::Unavailable { .. })));
        assert!(matches!(sink.deliver(&event).await, Err(SinkError::Refused { .. })));
        sink.accept_upload(event.subject);
        sink.deliver(&event).await.unwrap();
        assert_eq!(sink.until_taken(2).await, [event.clone(), event.clone()]);
        assert_eq!(sink.until_tried(4).await, 4);
        sink.fail_upload(event.subject);
        assert!(matches!(sink.deliver(&event).await, Err(SinkError::Unavailable { .. })));
    }
}
