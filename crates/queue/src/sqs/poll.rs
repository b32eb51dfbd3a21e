//! Long polls that lose nothing when nobody waits for them any more.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_sqs::{operation::receive_message::builders::ReceiveMessageFluentBuilder, types::Message};
use lazaret_core::ports::QueueError;
use tokio::{sync::oneshot, task::JoinSet, time::Instant};

use super::{MAX_BATCH, batch::Batches, failure::Asked};

/// Polls one queue. A poll runs in a task of its own to its end, since the server may hand out messages to a request
/// whose sender has gone: what it brings then is given back at once, instead of being hidden from everybody for a
/// visibility timeout. Its tasks end with it.
pub(super) struct Polls {
    request: ReceiveMessageFluentBuilder,
    hider: Arc<Batches>,
    asked: Asked,
    running: Mutex<JoinSet<()>>,
}

/// Messages on their way from a poll to whoever waits for it.
struct Brought {
    messages: Vec<Message>,
    hider: Arc<Batches>,
}

impl Polls {
    /// Polls with copies of `request`, which names everything but how many messages may come.
    pub(super) fn new(request: ReceiveMessageFluentBuilder, hider: Arc<Batches>, asked: Asked) -> Self {
        Self { request, hider, asked, running: Mutex::default() }
    }

    /// Up to `max` messages, and a time before which none of them was handed out.
    pub(super) async fn receive(&self, max: usize) -> Result<(Vec<Message>, Instant), QueueError> {
        // One to ten, so the conversion holds.
        let max = i32::try_from(max.clamp(1, MAX_BATCH)).unwrap_or(1);
        let request = self.request.clone().max_number_of_messages(max);
        let (hider, asked) = (Arc::clone(&self.hider), self.asked.clone());
        let (done, answer) = oneshot::channel();
        let start = Instant::now();
        self.start(async move {
            let brought = match request.send().await {
                Ok(answer) => Ok(Brought { messages: answer.messages.unwrap_or_default(), hider }),
                Err(error) => Err(asked.failed(&error)),
            };
            // Where nobody waits any more, the drop gives the messages back.
            drop(done.send(brought));
        });
        let brought = answer.await.map_err(|_| self.asked.unavailable("the task that polls has ended"))??;
        Ok((brought.take(), start))
    }

    fn start(&self, poll: impl Future<Output = ()> + Send + 'static) {
        // The set is whole whatever panics, so a poisoned lock means nothing.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        while running.try_join_next().is_some() {}
        running.spawn(poll);
    }
}

impl Brought {
    fn take(mut self) -> Vec<Message> {
        std::mem::take(&mut self.messages)
    }
}

impl Drop for Brought {
    fn drop(&mut self) {
        for handle in self.messages.drain(..).filter_map(|message| message.receipt_handle) {
            self.hider.give_back(handle);
        }
    }
}
