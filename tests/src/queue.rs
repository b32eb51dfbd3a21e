//! The queue that objects are told on, seen with a client of our own: SQS or RabbitMQ.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_sdk_sqs::types::QueueAttributeName;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use serde_json::json;

use crate::wait::until_true;

/// What notifications travel on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// SQS; the store itself sends notifications.
    Sqs,
    /// RabbitMQ; the harness sends what MinIO would.
    Amqp,
}

/// One queue.
#[derive(Debug, Clone)]
pub struct Queue(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Sqs { client: aws_sdk_sqs::Client, url: String, arn: String },
    Amqp { channel: Channel, name: String, beside: Vec<String> },
}

impl Queue {
    /// A new queue of SQS that S3 may send to.
    pub(crate) async fn sqs(client: &aws_sdk_sqs::Client, name: &str) -> Result<Self> {
        let created = client.create_queue().queue_name(name).send().await.context("the queue cannot be made")?;
        let url = created.queue_url().context("a queue without a URL")?.to_owned();
        let attributes = client.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::QueueArn);
        let arn = attributes.send().await?.attributes().and_then(|map| map.get(&QueueAttributeName::QueueArn).cloned());
        let arn = arn.context("a queue without an ARN")?;
        // S3 refuses to notify a queue whose policy does not let it.
        let policy = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": "s3.amazonaws.com" },
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }] });
        let request = client.set_queue_attributes().queue_url(&url);
        request.attributes(QueueAttributeName::Policy, policy.to_string()).send().await?;
        Ok(Self(Kind::Sqs { client: client.clone(), url, arn }))
    }

    /// A queue of RabbitMQ that is there, or will be, with the queues where its messages wait meanwhile.
    pub(crate) const fn amqp(channel: Channel, name: String, beside: Vec<String>) -> Self {
        Self(Kind::Amqp { channel, name, beside })
    }

    /// What the settings call it: the URL of an SQS queue, the name of another.
    pub fn name(&self) -> &str {
        match &self.0 {
            Kind::Sqs { url, .. } => url,
            Kind::Amqp { name, .. } => name,
        }
    }

    /// The name that S3 knows an SQS queue by.
    pub(crate) fn arn(&self) -> Option<&str> {
        match &self.0 {
            Kind::Sqs { arn, .. } => Some(arn),
            Kind::Amqp { .. } => None,
        }
    }

    /// Puts a message on the queue.
    pub async fn send(&self, body: &str) -> Result<()> {
        match &self.0 {
            Kind::Sqs { client, url, .. } => {
                client.send_message().queue_url(url).message_body(body).send().await?;
            }
            Kind::Amqp { channel, name, .. } => {
                let properties = BasicProperties::default().with_delivery_mode(2);
                let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                let published =
                    channel.basic_publish("".into(), name.as_str().into(), options, body.as_bytes(), properties);
                match published.await?.await? {
                    Confirmation::Ack(None) => {}
                    other => bail!("RabbitMQ does not take a message for {name}: {other:?}"),
                }
            }
        }
        Ok(())
    }

    /// Messages waiting, and messages handed out and not yet deleted. RabbitMQ does not tell the latter: there they wait
    /// again as soon as their consumer is gone.
    pub async fn left(&self) -> Result<(u64, u64)> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Waiting, ApproximateNumberOfMessagesNotVisible as Out,
        };
        match &self.0 {
            Kind::Sqs { client, url, .. } => {
                let request = client.get_queue_attributes().queue_url(url);
                let answer = request.attribute_names(Waiting).attribute_names(Out).send().await?;
                let number = |name| -> Result<u64> {
                    let text = answer.attributes().and_then(|map| map.get(&name)).context("an attribute is missing")?;
                    Ok(text.parse()?)
                };
                Ok((number(Waiting)?, number(Out)?))
            }
            Kind::Amqp { channel, name, beside } => {
                let mut waiting = 0;
                for name in beside.iter().chain([name]) {
                    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
                    let state = channel.queue_declare(name.as_str().into(), passive, FieldTable::default()).await?;
                    waiting += u64::from(state.message_count());
                }
                Ok((waiting, 0))
            }
        }
    }

    /// Returns once no message is left.
    pub async fn drained(&self, within: Duration) -> Result<()> {
        until_true("the queue is empty", within, async || Ok(self.left().await? == (0, 0))).await
    }

    /// Takes up to ten messages off the queue: bodies with their attributes or headers.
    pub async fn take(&self) -> Result<Vec<(String, String)>> {
        let mut taken = Vec::new();
        match &self.0 {
            Kind::Sqs { client, url, .. } => {
                let request = client.receive_message().queue_url(url).max_number_of_messages(10);
                let answer = request.message_attribute_names("All").send().await?;
                for message in answer.messages() {
                    let handle = message.receipt_handle().context("a message without a handle")?;
                    client.delete_message().queue_url(url).receipt_handle(handle).send().await?;
                    let attributes = format!("{:?}", message.message_attributes());
                    taken.push((message.body().unwrap_or_default().to_owned(), attributes));
                }
            }
            Kind::Amqp { channel, name, .. } => {
                let options = BasicGetOptions { no_ack: true };
                while let Some(message) = channel.basic_get(name.as_str().into(), options).await?
                    && taken.len() < 10
                {
                    let body = String::from_utf8(message.delivery.data)?;
                    taken.push((body, format!("{:?}", message.delivery.properties.headers())));
                }
            }
        }
        Ok(taken)
    }
}

/// Where messages of a queue of RabbitMQ wait for their next try.
pub(crate) fn retry_queues(name: &str) -> Vec<String> {
    ["1s", "5s", "15s", "60s"].map(|class| format!("{name}.retry.{class}")).into()
}

/// A channel with publisher confirms. It lives as long as the connection.
pub(crate) async fn channel(url: &str) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.context("no RabbitMQ")?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

/// Removes queues and an exchange that a test made.
pub(crate) async fn remove(url: &str, queues: &[String], exchange: &str) -> Result<()> {
    let (connection, channel) = channel(url).await?;
    for queue in queues {
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    }
    channel.exchange_delete(exchange.into(), lapin::options::ExchangeDeleteOptions::default()).await?;
    Ok(connection.close(200, "done".into()).await?)
}

/// The message that S3 would send.
pub fn notification(bucket: &str, key: &str) -> String {
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": { "bucket": { "name": bucket }, "object": { "key": key } },
    }] })
    .to_string()
}

/// The message that MinIO would send to an exchange.
pub fn minio_notification(bucket: &str, key: &str) -> String {
    let encoded = key.replace('/', "%2F");
    json!({ "EventName": "s3:ObjectCreated:Put", "Key": format!("{bucket}/{key}"), "Records": [{
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "eventName": "s3:ObjectCreated:Put",
        "s3": { "s3SchemaVersion": "1.0", "bucket": { "name": bucket }, "object": { "key": encoded } },
    }] })
    .to_string()
}
