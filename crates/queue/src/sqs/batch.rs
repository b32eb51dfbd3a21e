//! Acknowledgements gathered into batches: many workers finish at once, and ten deletions cost one request.

use std::{sync::Mutex, time::Duration};

use aws_sdk_sqs::{
    Client, operation::delete_message_batch::DeleteMessageBatchOutput, types::DeleteMessageBatchRequestEntry,
};
use lazaret_core::ports::{DeliveryTag, QueueError};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    MAX_BATCH,
    failure::{self, Asked},
};

/// How long the first acknowledgement of a batch waits for others.
const GATHER: Duration = Duration::from_millis(5);

/// Batches that are on their way at the same time.
const MAX_IN_FLIGHT: usize = 8;

/// One message to delete, and who waits for it.
struct Pending {
    receipt: String,
    done: oneshot::Sender<Result<(), QueueError>>,
}

/// Deletes messages in batches. Its tasks end with it.
pub(super) struct Deleter {
    pending: mpsc::Sender<Pending>,
    asked: Asked,
    _gathering: Mutex<JoinSet<()>>,
}

impl Deleter {
    pub(super) fn new(client: Client, url: String) -> Self {
        let (pending, incoming) = mpsc::channel(MAX_BATCH * MAX_IN_FLIGHT);
        let asked = Asked::new(&url, "remove a message");
        let mut gathering = JoinSet::new();
        gathering.spawn(gather(client, url, asked.clone(), incoming));
        Self { pending, asked, _gathering: Mutex::new(gathering) }
    }

    /// Returns when the queue has removed the message, or no longer knows this delivery of it.
    pub(super) async fn delete(&self, tag: &DeliveryTag) -> Result<(), QueueError> {
        let gone = || self.asked.unavailable("the task that removes messages has ended");
        let (done, answer) = oneshot::channel();
        let pending = Pending { receipt: tag.as_str().to_owned(), done };
        self.pending.send(pending).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn gather(client: Client, url: String, asked: Asked, mut incoming: mpsc::Receiver<Pending>) {
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
        sending.spawn(send(client.clone(), url.clone(), asked.clone(), batch));
        // Those that are through are forgotten, so that the set does not grow.
        while sending.try_join_next().is_some() {}
    }
    sending.join_all().await;
}

async fn send(client: Client, url: String, asked: Asked, batch: Vec<Pending>) {
    let mut request = client.delete_message_batch().queue_url(url);
    let mut asking = Vec::with_capacity(batch.len());
    for (place, pending) in batch.into_iter().enumerate() {
        let entry = DeleteMessageBatchRequestEntry::builder().id(place.to_string()).receipt_handle(pending.receipt);
        match entry.build() {
            Ok(entry) => {
                request = request.entries(entry);
                asking.push((place.to_string(), pending.done));
            }
            Err(error) => answer_to(pending.done, Err(asked.refused(&error.to_string()))),
        }
    }
    let answer = request.send().await;
    for (id, done) in asking {
        let result = match &answer {
            Ok(answer) => outcome(answer, &id, &asked),
            Err(error) => Err(asked.failed(error)),
        };
        answer_to(done, result);
    }
}

/// A caller that gave up needs no answer: its message is gone, or is delivered again.
fn answer_to(done: oneshot::Sender<Result<(), QueueError>>, result: Result<(), QueueError>) {
    drop(done.send(result));
}

/// What became of one entry. A batch is answered with 200 whatever became of its entries.
fn outcome(answer: &DeleteMessageBatchOutput, id: &str, asked: &Asked) -> Result<(), QueueError> {
    if answer.successful().iter().any(|entry| entry.id() == id) {
        return Ok(());
    }
    let Some(failed) = answer.failed().iter().find(|entry| entry.id() == id) else {
        return Err(asked.unavailable("the answer to a batch says nothing of one of its entries"));
    };
    let message = failed.message().unwrap_or("no message");
    if failure::names_unknown_receipt(failed.code(), message) {
        return Ok(());
    }
    Err(asked.failed_entry(failed.code(), message, failed.sender_fault()))
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::types::{BatchResultErrorEntry, DeleteMessageBatchResultEntry};

    use super::*;

    fn failed(id: &str, code: &str, sender_fault: bool) -> BatchResultErrorEntry {
        BatchResultErrorEntry::builder().id(id).code(code).sender_fault(sender_fault).build().unwrap()
    }

    #[test]
    fn each_caller_learns_what_became_of_its_own_message() {
        let asked = Asked::new("http://host/1/q", "remove a message");
        let answer = DeleteMessageBatchOutput::builder()
            .successful(DeleteMessageBatchResultEntry::builder().id("0").build().unwrap())
            .failed(failed("1", "InternalError", false))
            .failed(failed("2", "ReceiptHandleIsInvalid", true))
            .failed(failed("3", "AccessDenied", true))
            .build()
            .unwrap();
        assert!(outcome(&answer, "0", &asked).is_ok());
        assert!(matches!(outcome(&answer, "1", &asked), Err(QueueError::Unavailable { .. })));
        assert!(outcome(&answer, "2", &asked).is_ok());
        assert!(matches!(outcome(&answer, "3", &asked), Err(QueueError::Refused { .. })));
        assert!(matches!(outcome(&answer, "4", &asked), Err(QueueError::Unavailable { .. })));
    }
}
