//! Delivery tags: the receipt handle, and since when it is held. SQS hides a message for at most twelve hours from its
//! receive, whatever is asked in between, and refuses to hide it for longer
//! (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>).

use std::time::Duration;

use lazaret_core::ports::DeliveryTag;
use tokio::time::Instant;

/// The longest a message can be hidden, in all.
pub(super) const MAX_HIDDEN: Duration = Duration::from_hours(12);

/// Not asked for: what rounding to whole seconds and a request on its way may take.
const MARGIN: Duration = Duration::from_secs(5);

/// Makes and reads the tags of one adapter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Receipts {
    start: Instant,
}

impl Receipts {
    pub(super) fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// The tag of a message that was asked for at `asked`, which is before it was handed out.
    pub(super) fn tag(self, handle: &str, asked: Instant) -> DeliveryTag {
        DeliveryTag::new(format!("{}|{handle}", asked.duration_since(self.start).as_millis()))
    }

    /// For how long the message can still be hidden. A tag that is none of ours has all of its time: the queue decides.
    pub(super) fn left(self, tag: &DeliveryTag) -> Duration {
        let held = split(tag).0.map(|asked| self.start.elapsed().saturating_sub(Duration::from_millis(asked)));
        MAX_HIDDEN.saturating_sub(held.unwrap_or_default()).saturating_sub(MARGIN)
    }
}

/// The receipt handle in a tag.
pub(super) fn handle(tag: &DeliveryTag) -> &str {
    split(tag).1
}

fn split(tag: &DeliveryTag) -> (Option<u64>, &str) {
    let text = tag.as_str();
    match text.split_once('|').map(|(asked, handle)| (asked.parse(), handle)) {
        Some((Ok(asked), handle)) => (Some(asked), handle),
        Some((Err(_), _)) | None => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tag_knows_how_long_its_message_can_still_be_hidden() {
        let receipts = Receipts::new();
        tokio::time::advance(Duration::from_hours(1)).await;
        let tag = receipts.tag("AQEB|x==", Instant::now());
        assert_eq!(handle(&tag), "AQEB|x==");
        assert_eq!(receipts.left(&tag) + MARGIN, MAX_HIDDEN);
        tokio::time::advance(Duration::from_hours(11)).await;
        assert_eq!(receipts.left(&tag) + MARGIN, Duration::from_hours(1));
        tokio::time::advance(Duration::from_hours(2)).await;
        assert_eq!(receipts.left(&tag), Duration::ZERO);
        for strange in ["no-such-receipt", "x|y", "|y", ""] {
            let tag = DeliveryTag::new(strange);
            assert_eq!((handle(&tag), receipts.left(&tag) + MARGIN), (strange, MAX_HIDDEN));
        }
    }
}
