//! Queues, their dead letters, and where verdicts are told.

use std::{num::NonZero, sync::Arc};

use anyhow::Result;
use lazaret_core::{
    Timestamp,
    ports::{DeadLetterQueue, EventSink, Queue, SinkError},
};
use lazaret_pipeline::Verdicts;
use lazaret_queue::{AmqpDeadLetters, AmqpQueue, AmqpSettings, SqsDeadLetters, SqsQueue, SqsSettings};
use lazaret_sinks::{
    AmqpSink, AmqpSinkSettings, SnsSink, SnsSinkSettings, SqsSink, SqsSinkSettings, WebhookError, WebhookSettings,
    WebhookSink,
};
use url::Url;

use super::credentials;
use crate::{
    failure::UsageError,
    settings::{Amqp, AmqpEvents, EventsKind, QueueKind, Settings, Sqs, WebhookEvents},
};

/// The queue of the settings, by how it is reached.
#[derive(Debug)]
pub enum QueueSettings {
    /// On SQS.
    Sqs(SqsSettings),
    /// On RabbitMQ.
    Amqp(AmqpSettings),
    /// Inside `lazaret dev`, where nobody else reaches it.
    Embedded,
}

impl QueueSettings {
    /// What the settings say. The rules of settings make sure that the section of the kind is there.
    pub fn of(settings: &Settings) -> Self {
        let queue = &settings.queue;
        match (queue.kind, &queue.sqs, &queue.amqp) {
            (QueueKind::Sqs, Some(queue), _) => Self::Sqs(sqs(settings, queue)),
            (QueueKind::Amqp, _, Some(queue)) => Self::Amqp(amqp(settings, queue)),
            (QueueKind::Sqs | QueueKind::Amqp | QueueKind::Embedded, _, _) => Self::Embedded,
        }
    }
}

/// The queue that workers consume.
pub async fn queue(settings: &Settings) -> Result<Arc<dyn Queue>> {
    match QueueSettings::of(settings) {
        QueueSettings::Sqs(settings) => Ok(Arc::new(SqsQueue::connect(settings).await)),
        QueueSettings::Amqp(settings) => Ok(Arc::new(AmqpQueue::new(&settings)?)),
        QueueSettings::Embedded => Err(UsageError(
            "queue.kind = \"embedded\" lives inside `lazaret dev`, which has its own worker; for `lazaret worker` set \
             queue.kind = \"sqs\" and [queue.sqs], or queue.kind = \"amqp\" and [queue.amqp]"
                .to_owned(),
        )
        .into()),
    }
}

/// The dead letters beside it.
pub async fn dead_letters(settings: &Settings) -> Result<Arc<dyn DeadLetterQueue>> {
    match QueueSettings::of(settings) {
        QueueSettings::Sqs(settings) => Ok(Arc::new(SqsDeadLetters::connect(settings).await?)),
        QueueSettings::Amqp(settings) => Ok(Arc::new(AmqpDeadLetters::new(&settings)?)),
        QueueSettings::Embedded => Err(UsageError(
            "queue.kind = \"embedded\" keeps dead letters in the memory of `lazaret dev`, which logs the reason of each"
                .to_owned(),
        )
        .into()),
    }
}

/// Without the slash that a URL without a path is printed with.
fn text(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

fn sqs(settings: &Settings, sqs: &Sqs) -> SqsSettings {
    SqsSettings {
        url: sqs.url.as_str().to_owned(),
        endpoint: sqs.endpoint.as_ref().map(text),
        region: sqs_region(settings, &sqs.url, sqs.region.as_ref()),
        credentials: credentials(settings),
        wait_time: sqs.wait_time.get(),
        visibility_timeout: sqs.visibility_timeout.get(),
        dead_letter_url: sqs.dead_letter_url.as_ref().map(|url| url.as_str().to_owned()),
    }
}

/// The URL of a queue on AWS holds its region.
fn sqs_region(settings: &Settings, url: &Url, region: Option<&String>) -> Option<String> {
    region.cloned().or_else(|| (!on_aws(url)).then(|| settings.storage.region.clone()))
}

fn on_aws(url: &Url) -> bool {
    url.host_str().is_some_and(|host| host.starts_with("sqs.") && host.contains(".amazonaws.com"))
}

fn amqp(settings: &Settings, amqp: &Amqp) -> AmqpSettings {
    let slots = u16::try_from(settings.worker.concurrency()).unwrap_or(u16::MAX);
    AmqpSettings {
        url: amqp.url.expose().to_owned(),
        queue: amqp.queue.clone(),
        prefetch: amqp.prefetch.map_or(slots, NonZero::get),
        dead_letter_exchange: amqp.dead_letter_exchange.clone(),
        ca_certificate: amqp.ca_certificate.clone(),
    }
}

/// Where verdicts are told. Nothing is asked of it yet.
pub async fn verdicts(settings: &Settings) -> Result<Option<Verdicts>> {
    let events = &settings.events;
    let sink: Arc<dyn EventSink> = match (events.kind, &events.sqs, &events.sns, &events.amqp, &events.webhook) {
        (EventsKind::Sqs, Some(sqs), ..) => Arc::new(
            SqsSink::connect(SqsSinkSettings {
                url: sqs.url.as_str().to_owned(),
                endpoint: sqs.endpoint.as_ref().map(text),
                region: sqs_region(settings, &sqs.url, sqs.region.as_ref()),
                credentials: credentials(settings),
            })
            .await,
        ),
        (EventsKind::Sns, _, Some(sns), ..) => Arc::new(
            SnsSink::connect(SnsSinkSettings {
                topic_arn: sns.topic_arn.clone(),
                endpoint: sns.endpoint.as_ref().map(text),
                region: sns.region.clone(),
                credentials: credentials(settings),
            })
            .await,
        ),
        (EventsKind::Amqp, _, _, Some(amqp), _) => Arc::new(amqp_sink(amqp)?),
        (EventsKind::Webhook, _, _, _, Some(webhook)) => Arc::new(webhook_sink(webhook)?),
        // The rules of settings make sure that the section of the kind is there.
        (EventsKind::None | EventsKind::Sqs | EventsKind::Sns | EventsKind::Amqp | EventsKind::Webhook, ..) => {
            return Ok(None);
        }
    };
    Ok(Some(Verdicts { sink, source: events.source.clone() }))
}

/// The exchange, whose URL the client library may not read.
pub(crate) fn amqp_sink(amqp: &AmqpEvents) -> Result<AmqpSink, SinkError> {
    AmqpSink::new(AmqpSinkSettings {
        url: amqp.url.expose().to_owned(),
        exchange: amqp.exchange.clone(),
        routing_key: amqp.routing_key.clone(),
        ca_certificate: amqp.ca_certificate.clone(),
    })
}

/// The webhook, whose secret may be no key.
pub(crate) fn webhook_sink(webhook: &WebhookEvents) -> Result<WebhookSink, WebhookError> {
    #[expect(clippy::disallowed_methods, reason = "the clock of the sink, which takes it as an argument")]
    let clock = Timestamp::now;
    let secret = webhook.secret.expose().to_owned();
    WebhookSink::new(WebhookSettings { url: webhook.url.clone(), secret, timeout: webhook.timeout.get(), clock })
}
