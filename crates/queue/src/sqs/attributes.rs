//! What a queue itself is set to, and where that contradicts our settings.

use std::{collections::HashMap, time::Duration};

use aws_sdk_sqs::{Client, types::QueueAttributeName};
use lazaret_core::ports::QueueError;
use serde_json::Value;

use super::{SqsSettings, failure::Asked, message::is_fifo};

/// Receives for which nobody is to blame: a worker that drains, a dependency that is down.
const RECEIVES_TO_SPARE: u32 = 100;

/// The most that SQS allows.
const MAX_RECEIVE_COUNT: u32 = 1000;

/// What a queue itself is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqsAttributes {
    /// The queue's ARN.
    pub arn: String,
    /// How long it hides a message where a receive does not say.
    pub visibility_timeout: Duration,
    /// How long it keeps a message.
    pub retention: Option<Duration>,
    /// After how many receives its redrive policy moves a message away. None: it has no such policy.
    pub max_receive_count: Option<u32>,
    /// The ARN of the queue that its redrive policy moves messages to.
    pub dead_letter_target: Option<String>,
    /// The ARN of the queue at `dead_letter_url`, where that is set.
    pub dead_letter_arn: Option<String>,
    /// Whether it is a FIFO queue.
    pub fifo: bool,
}

impl SqsAttributes {
    pub(super) async fn ask(client: &Client, url: &str, dead_letter_url: Option<&str>) -> Result<Self, QueueError> {
        let told = told(client, url, QueueAttributeName::All).await?;
        let dead_letter_arn = match dead_letter_url {
            Some(url) => told_arn(client, url).await?,
            None => None,
        };
        let seconds = |name| told.get(&name).and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let policy = told.get(&QueueAttributeName::RedrivePolicy).and_then(|text| policy(text));
        let (max_receive_count, dead_letter_target) = policy.unzip();
        Ok(Self {
            arn: told.get(&QueueAttributeName::QueueArn).cloned().unwrap_or_default(),
            // SQS says this is the default.
            visibility_timeout: seconds(QueueAttributeName::VisibilityTimeout).unwrap_or(Duration::from_secs(30)),
            retention: seconds(QueueAttributeName::MessageRetentionPeriod),
            max_receive_count,
            dead_letter_target,
            dead_letter_arn,
            fifo: told.get(&QueueAttributeName::FifoQueue).map_or_else(|| is_fifo(url), |text| text == "true"),
        })
    }

    /// Where the queue contradicts our settings, a sentence each. `max_attempts` is how often a worker tries one upload.
    pub fn contradictions(&self, ours: &SqsSettings, max_attempts: u32) -> Vec<String> {
        let (count, needed) = (self.max_receive_count, max_attempts.saturating_add(RECEIVES_TO_SPARE));
        let needed = needed.min(MAX_RECEIVE_COUNT);
        let mut found = Vec::new();
        if let Some(count) = count.filter(|count| *count <= max_attempts) {
            found.push(format!(
                "the redrive policy moves a message away after {count} receives, and worker.max_attempts is \
                 {max_attempts}: uploads would be lost from the queue before they are held; set maxReceiveCount to \
                 {needed} or more"
            ));
        } else if let Some(count) = count.filter(|count| *count < needed) {
            found.push(format!(
                "the redrive policy moves a message away after {count} receives, and messages that a worker returns when \
                 it stops or waits for a dependency are counted too; set maxReceiveCount to {needed} or more"
            ));
        }
        if self.visibility_timeout < ours.visibility_timeout {
            found.push(format!(
                "the queue hides a message for {:?} and queue.sqs.visibility_timeout is {:?}: Lazaret asks for its own \
                 with every receive, but whoever else reads the queue gets the shorter one",
                self.visibility_timeout, ours.visibility_timeout
            ));
        }
        match (&self.dead_letter_target, &self.dead_letter_arn) {
            (Some(target), Some(arn)) if target != arn => found.push(format!(
                "the redrive policy moves messages to {target}, and queue.sqs.dead_letter_url is {arn}: `lazaret \
                 dead-letters` shows the latter only"
            )),
            (Some(target), None) => found.push(format!(
                "the redrive policy moves messages to {target}, and queue.sqs.dead_letter_url is not set: `lazaret \
                 dead-letters` shows nothing, and what cannot be understood is removed"
            )),
            (Some(_) | None, _) => {}
        }
        if self.dead_letter_arn.as_ref() == Some(&self.arn) {
            found.push(
                "queue.sqs.dead_letter_url is the queue itself: dead letters would come again forever".to_owned(),
            );
        }
        found
    }
}

async fn told(
    client: &Client,
    url: &str,
    name: QueueAttributeName,
) -> Result<HashMap<QueueAttributeName, String>, QueueError> {
    let answer = client.get_queue_attributes().queue_url(url).attribute_names(name).send().await;
    let answer = answer.map_err(|error| Asked::new(url, "say who it is").failed(&error))?;
    Ok(answer.attributes.unwrap_or_default())
}

/// The ARN of a queue. It is the smallest question that shows whether a queue is there and lets us ask.
pub(super) async fn told_arn(client: &Client, url: &str) -> Result<Option<String>, QueueError> {
    Ok(told(client, url, QueueAttributeName::QueueArn).await?.remove(&QueueAttributeName::QueueArn))
}

/// Receive count and target of a redrive policy; servers write the count as a number or as text.
fn policy(text: &str) -> Option<(u32, String)> {
    let policy: Value = serde_json::from_str(text).ok()?;
    let count = match policy.get("maxReceiveCount")? {
        Value::String(text) => text.parse().ok()?,
        count => u32::try_from(count.as_u64()?).ok()?,
    };
    Some((count, policy.get("deadLetterTargetArn")?.as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes() -> SqsAttributes {
        SqsAttributes {
            arn: "arn:aws:sqs:eu-west-1:1:uploads".to_owned(),
            visibility_timeout: Duration::from_mins(1),
            retention: None,
            max_receive_count: Some(1000),
            dead_letter_target: Some("arn:aws:sqs:eu-west-1:1:dead".to_owned()),
            dead_letter_arn: Some("arn:aws:sqs:eu-west-1:1:dead".to_owned()),
            fifo: false,
        }
    }

    #[test]
    fn contradictions_are_said_in_words() {
        let ours = SqsSettings::new("https://sqs.eu-west-1.amazonaws.com/1/uploads");
        let said = |found: &SqsAttributes| found.contradictions(&ours, 5).join("\n");
        assert_eq!(said(&attributes()), "");
        let no_policy = SqsAttributes { max_receive_count: None, dead_letter_target: None, ..attributes() };
        assert_eq!(said(&no_policy), "");
        let burns = said(&SqsAttributes { max_receive_count: Some(5), ..attributes() });
        assert!(burns.contains("after 5 receives, and worker.max_attempts is 5"), "{burns}");
        let tight = said(&SqsAttributes { max_receive_count: Some(6), ..attributes() });
        assert!(tight.contains("counted too; set maxReceiveCount to 105"), "{tight}");
        let short = said(&SqsAttributes { visibility_timeout: Duration::from_secs(30), ..attributes() });
        assert!(short.contains("for 30s and queue.sqs.visibility_timeout is 60s"), "{short}");
        let elsewhere = said(&SqsAttributes { dead_letter_arn: Some("arn:…:other".to_owned()), ..attributes() });
        assert!(elsewhere.contains("dead_letter_url is arn:…:other"), "{elsewhere}");
        let unset = said(&SqsAttributes { dead_letter_arn: None, ..attributes() });
        assert!(unset.contains("dead_letter_url is not set"), "{unset}");
        let itself = SqsAttributes { arn: "arn:aws:sqs:eu-west-1:1:dead".to_owned(), ..attributes() };
        assert!(said(&itself).contains("the queue itself"));
    }

    #[test]
    fn a_policy_is_read_with_its_count_as_number_or_text() {
        let target = "arn:aws:sqs:eu-west-1:1:dead".to_owned();
        let text = |count: &str| format!("{{\"deadLetterTargetArn\": \"{target}\", \"maxReceiveCount\": {count}}}");
        assert_eq!(policy(&text("7")), Some((7, target.clone())));
        assert_eq!(policy(&text("\"7\"")), Some((7, target.clone())));
        for bad in ["", "[]", "{}", &text("-1"), &text("\"many\"")] {
            assert_eq!(policy(bad), None);
        }
    }
}
