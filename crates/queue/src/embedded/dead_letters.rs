use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use lazaret_core::ports::{self, DeadLetterQueue, DeliveryTag, QueueError};

use super::{DeadLetter, EmbeddedQueue, MAX_DEAD_LETTERS, MAX_RECEIVE, number};

/// The dead letters of an embedded queue, as one holder in the same process sees them. What it holds goes back when it is
/// dropped.
#[derive(Debug)]
pub struct EmbeddedDeadLetters {
    queue: Arc<EmbeddedQueue>,
    held: Mutex<HashMap<u64, DeadLetter>>,
}

impl EmbeddedDeadLetters {
    /// A holder of the queue's dead letters.
    pub fn new(queue: Arc<EmbeddedQueue>) -> Self {
        Self { queue, held: Mutex::default() }
    }

    /// The map is whole between two statements that could panic, so a poisoned lock means nothing.
    fn held(&self) -> MutexGuard<'_, HashMap<u64, DeadLetter>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts letters back where they were: in front.
    fn put_back(&self, letters: impl DoubleEndedIterator<Item = DeadLetter>) {
        let dead = &mut self.queue.state().dead;
        for letter in letters.rev() {
            if dead.len() < MAX_DEAD_LETTERS {
                dead.push_front(letter);
            }
        }
    }
}

#[async_trait]
impl DeadLetterQueue for EmbeddedDeadLetters {
    async fn receive(&self, max: usize) -> Result<Vec<ports::DeadLetter>, QueueError> {
        let taken: Vec<(u64, DeadLetter)> = {
            let mut state = self.queue.state();
            let count = max.clamp(1, MAX_RECEIVE).min(state.dead.len());
            let letters: Vec<DeadLetter> = state.dead.drain(..count).collect();
            let first = state.last_tag + 1;
            state.last_tag += letters.len() as u64;
            (first..).zip(letters).collect()
        };
        self.held().extend(taken.iter().cloned());
        let letter = |(tag, DeadLetter { message_id, body, reason }): (u64, DeadLetter)| ports::DeadLetter {
            tag: DeliveryTag::new(tag.to_string()),
            message_id,
            body,
            attributes: BTreeMap::new(),
            reason: Some(reason),
        };
        Ok(taken.into_iter().map(letter).collect())
    }

    async fn give_back(&self, tags: &[DeliveryTag]) -> Result<(), QueueError> {
        let letters: Vec<_> = {
            let mut held = self.held();
            tags.iter().filter_map(number).filter_map(|tag| held.remove(&tag)).collect()
        };
        self.put_back(letters.into_iter());
        Ok(())
    }

    async fn redrive(&self, letter: &ports::DeadLetter) -> Result<(), QueueError> {
        let Some(tag) = number(&letter.tag).filter(|tag| self.held().contains_key(tag)) else { return Ok(()) };
        self.queue.push(letter.body.clone())?;
        self.held().remove(&tag);
        Ok(())
    }
}

impl Drop for EmbeddedDeadLetters {
    fn drop(&mut self) {
        let held: BTreeMap<u64, DeadLetter> = self.held().drain().collect();
        self.put_back(held.into_values());
    }
}
