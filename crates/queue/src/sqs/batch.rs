//! Small changes gathered into batches: many workers finish, wait or stop at once, and ten changes cost one request.

use std::{sync::Mutex, time::Duration};

use aws_sdk_sqs::{
    Client,
    types::{BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry},
};
use lazaret_core::ports::QueueError;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tracing::warn;

use super::{
    MAX_BATCH,
    failure::{self, Asked, Failure},
};

/// How long the first change of a batch waits for others.
const GATHER: Duration = Duration::from_millis(5);

/// Batches that are on their way at the same time.
const MAX_IN_FLIGHT: usize = 8;

/// What a batch changes about its messages.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// They are removed.
    Remove,
    /// They are hidden for a while from now; no time at all gives them back.
    Hide,
}

/// One message to change, and who waits for it.
struct Pending {
    receipt: String,
    /// For how long it is hidden.
    seconds: i32,
    done: oneshot::Sender<Result<(), QueueError>>,
}

/// What a batch was answered with: 200, whatever became of its entries.
struct Answer {
    successful: Vec<String>,
    failed: Vec<BatchResultErrorEntry>,
}

/// Changes messages of one queue in batches. Its tasks end with it.
pub(super) struct Batches {
    pending: mpsc::Sender<Pending>,
    asked: Asked,
    _gathering: Mutex<JoinSet<()>>,
}

impl Batches {
    pub(super) fn new(client: &Client, url: &str, change: Change) -> Self {
        let (pending, incoming) = mpsc::channel(MAX_BATCH * MAX_IN_FLIGHT);
        let action = match change {
            Change::Remove => "remove a message",
            Change::Hide => "change when a message is delivered again",
        };
        let asked = Asked::new(url, action);
        let sender = Sender { client: client.clone(), url: url.to_owned(), asked: asked.clone(), change };
        let mut gathering = JoinSet::new();
        gathering.spawn(gather(sender, incoming));
        Self { pending, asked, _gathering: Mutex::new(gathering) }
    }

    /// Returns when the queue has removed the message, or no longer knows this delivery of it.
    pub(super) async fn remove(&self, receipt: &str) -> Result<(), QueueError> {
        self.change(receipt, 0).await
    }

    /// Returns when the message is hidden for `seconds` from now, or the queue no longer knows this delivery of it.
    pub(super) async fn hide(&self, receipt: &str, seconds: i32) -> Result<(), QueueError> {
        self.change(receipt, seconds).await
    }

    /// Gives a message back without waiting. Where that fails, the message comes again when its time is over.
    pub(super) fn give_back(&self, receipt: String) {
        let (done, _) = oneshot::channel();
        if self.pending.try_send(Pending { receipt, seconds: 0, done }).is_err() {
            warn!("too many messages are given back at once; one waits for its visibility timeout");
        }
    }

    async fn change(&self, receipt: &str, seconds: i32) -> Result<(), QueueError> {
        let gone = || self.asked.unavailable("the task that sends batches has ended");
        let (done, answer) = oneshot::channel();
        let pending = Pending { receipt: receipt.to_owned(), seconds, done };
        self.pending.send(pending).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn gather(sender: Sender, mut incoming: mpsc::Receiver<Pending>) {
    let mut sending = JoinSet::new();
    while let Some(first) = incoming.recv().await {
        let mut batch = vec![first];
        let until = Instant::now() + GATHER;
        while batch.len() < MAX_BATCH
            && let Ok(Some(next)) = timeout_at(until, incoming.recv()).await
        {
            batch.push(next);
        }
        while sending.len() >= MAX_IN_FLIGHT {
            sending.join_next().await;
        }
        sending.spawn(sender.clone().send(batch));
        // Those that are through are forgotten, so that the set does not grow.
        while sending.try_join_next().is_some() {}
    }
    sending.join_all().await;
}

/// Sends the batches of one kind.
#[derive(Clone)]
struct Sender {
    client: Client,
    url: String,
    asked: Asked,
    change: Change,
}

impl Sender {
    async fn send(self, batch: Vec<Pending>) {
        let answer = match self.change {
            Change::Remove => self.remove(&batch).await,
            Change::Hide => self.hide(&batch).await,
        };
        for (place, pending) in batch.into_iter().enumerate() {
            let result = match &answer {
                Ok(answer) => outcome(answer, &place.to_string(), &self.asked),
                Err(failure) => Err(self.asked.error(failure)),
            };
            // A caller that gave up needs no answer: its message is gone, or is delivered again.
            drop(pending.done.send(result));
        }
    }

    async fn remove(&self, batch: &[Pending]) -> Result<Answer, Failure> {
        let entry = |(place, pending): (usize, &Pending)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(place.to_string());
            entry.receipt_handle(&pending.receipt).build().map_err(Failure::of_input)
        };
        let entries = batch.iter().enumerate().map(entry).collect::<Result<_, _>>()?;
        let request = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = request.send().await.map_err(|error| Failure::of(&error))?;
        let successful = answer.successful.into_iter().map(|entry| entry.id).collect();
        Ok(Answer { successful, failed: answer.failed })
    }

    async fn hide(&self, batch: &[Pending]) -> Result<Answer, Failure> {
        let entry = |(place, pending): (usize, &Pending)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(place.to_string());
            let entry = entry.receipt_handle(&pending.receipt).visibility_timeout(pending.seconds);
            entry.build().map_err(Failure::of_input)
        };
        let entries = batch.iter().enumerate().map(entry).collect::<Result<_, _>>()?;
        let request = self.client.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = request.send().await.map_err(|error| Failure::of(&error))?;
        let successful = answer.successful.into_iter().map(|entry| entry.id).collect();
        Ok(Answer { successful, failed: answer.failed })
    }
}

/// What became of one entry.
fn outcome(answer: &Answer, id: &str, asked: &Asked) -> Result<(), QueueError> {
    if answer.successful.iter().any(|successful| successful == id) {
        return Ok(());
    }
    let Some(failed) = answer.failed.iter().find(|entry| entry.id() == id) else {
        return Err(asked.unavailable("the answer to a batch says nothing of one of its entries"));
    };
    let message = failed.message().unwrap_or("no message");
    if failure::names_unknown_receipt(failed.code(), message) {
        return Ok(());
    }
    if failure::names_longest_time(message) {
        warn!("a message was hidden for as long as it can be; it is delivered again while it may still be in work");
        return Ok(());
    }
    Err(asked.failed_entry(failed.code(), message, failed.sender_fault()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(id: &str, code: &str, message: &str, sender_fault: bool) -> BatchResultErrorEntry {
        let entry = BatchResultErrorEntry::builder().id(id).code(code).message(message);
        entry.sender_fault(sender_fault).build().unwrap()
    }

    #[test]
    fn each_caller_learns_what_became_of_its_own_message() {
        let asked = Asked::new("http://host/1/q", "remove a message");
        let limit = "Value 60 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the \
                     message is beyond the limit [43200 seconds]";
        let answer = Answer {
            successful: vec!["0".to_owned()],
            failed: vec![
                failed("1", "InternalError", "", false),
                failed("2", "ReceiptHandleIsInvalid", "", true),
                failed("3", "AccessDenied", "", true),
                failed("5", "InvalidParameterValue", limit, true),
                failed("6", "InvalidParameterValue", "Value -1 for parameter VisibilityTimeout is invalid.", true),
            ],
        };
        assert!(outcome(&answer, "0", &asked).is_ok());
        assert!(matches!(outcome(&answer, "1", &asked), Err(QueueError::Unavailable { .. })));
        assert!(outcome(&answer, "2", &asked).is_ok());
        assert!(matches!(outcome(&answer, "3", &asked), Err(QueueError::Refused { .. })));
        assert!(matches!(outcome(&answer, "4", &asked), Err(QueueError::Unavailable { .. })));
        assert!(outcome(&answer, "5", &asked).is_ok());
        assert!(matches!(outcome(&answer, "6", &asked), Err(QueueError::Refused { .. })));
    }
}
