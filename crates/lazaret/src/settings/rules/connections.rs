//! Rules of the queue, the session database and the verdict events: what is connected to.

use std::error::Error;

use lazaret_core::error::chain;
use lazaret_queue::AmqpQueue;
use lazaret_sinks::WebhookError;
use url::Url;

use super::{MAX_VISIBILITY_TIMEOUT, MAX_WAIT_TIME, Outcome, ensure, is_http};
use crate::{
    settings::{Amqp, Events, EventsKind, Period, PrivateUrl, QueueKind, Sessions, Settings, SettingsError, Sqs},
    wiring::{self, QueueSettings},
};

/// The longest name of AMQP 0-9-1, in bytes (a short string).
const MAX_AMQP_NAME: usize = 255;
/// The longest name of a queue that leaves room for those of its retry and dead-letter queues.
const MAX_QUEUE_NAME: usize = 200;
/// The longest that one delivery of a verdict may take, in the pipeline.
const MAX_DELIVERY: Period = Period::from_secs(15);

pub(super) fn queue(settings: &Settings) -> Outcome {
    let queue = &settings.queue;
    ensure(
        queue.kind != QueueKind::Sqs || queue.sqs.is_some(),
        "queue.sqs",
        "queue.kind = \"sqs\" needs the section [queue.sqs] with the queue's url",
    )?;
    ensure(
        queue.kind != QueueKind::Amqp || queue.amqp.is_some(),
        "queue.amqp",
        "queue.kind = \"amqp\" needs the section [queue.amqp] with the broker's url and the queue's name",
    )?;
    queue.sqs.as_ref().map_or(Ok(()), sqs)?;
    queue.amqp.as_ref().map_or(Ok(()), amqp)?;
    if let QueueSettings::Amqp(amqp) = QueueSettings::of(settings) {
        AmqpQueue::new(&amqp).map_err(|error| SettingsError::rule("queue.amqp.url", cause(&error)))?;
    }
    Ok(())
}

/// What the client library says of its settings: the innermost cause.
fn cause(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

fn sqs(sqs: &Sqs) -> Outcome {
    for (key, url) in [
        ("url", Some(&sqs.url)),
        ("endpoint", sqs.endpoint.as_ref()),
        ("dead_letter_url", sqs.dead_letter_url.as_ref()),
    ] {
        ensure(url.is_none_or(is_http), format!("queue.sqs.{key}"), "an http or https URL is expected")?;
    }
    ensure(
        sqs.dead_letter_url.as_ref() != Some(&sqs.url),
        "queue.sqs.dead_letter_url",
        "it is the queue itself: name another queue",
    )?;
    ensure(
        sqs.wait_time <= MAX_WAIT_TIME,
        "queue.sqs.wait_time",
        format!("{} is longer than SQS allows: at most {MAX_WAIT_TIME}", sqs.wait_time),
    )?;
    ensure(
        sqs.visibility_timeout >= Period::from_secs(1) && sqs.visibility_timeout <= MAX_VISIBILITY_TIMEOUT,
        "queue.sqs.visibility_timeout",
        format!("{} is outside of what SQS allows: 1s to {MAX_VISIBILITY_TIMEOUT}", sqs.visibility_timeout),
    )
}

fn amqp(amqp: &Amqp) -> Outcome {
    broker(&amqp.url, amqp.ca_certificate.is_some(), "queue.amqp")?;
    amqp_name(&amqp.queue, MAX_QUEUE_NAME, "queue.amqp.queue")?;
    let exchange = amqp.dead_letter_exchange.as_ref();
    exchange.map_or(Ok(()), |name| amqp_name(name, MAX_AMQP_NAME, "queue.amqp.dead_letter_exchange"))
}

/// A broker's URL with its certificate (<https://www.rabbitmq.com/docs/uri-spec>).
fn broker(url: &PrivateUrl, certificate: bool, section: &str) -> Outcome {
    let parsed = url.parsed().filter(|url| matches!(url.scheme(), "amqp" | "amqps") && url.has_host());
    let parsed = parsed.filter(|url| !url.path().trim_start_matches('/').contains('/'));
    ensure(
        parsed.is_some(),
        format!("{section}.url"),
        "the URL of a broker is expected: \"amqp://user:password@host:5672/vhost\" or \"amqps://…\", with what is special \
         in user, password and vhost percent-encoded",
    )?;
    ensure(
        !certificate || parsed.is_some_and(|url| url.scheme() == "amqps"),
        format!("{section}.ca_certificate"),
        "a certificate is for TLS only: write \"amqps://\" in url, or leave it out",
    )
}

fn amqp_name(name: &str, max: usize, key: &str) -> Outcome {
    ensure(
        !name.is_empty() && name.len() <= max && !name.chars().any(char::is_control),
        key,
        format!("a name of 1 to {max} bytes is expected"),
    )?;
    ensure(!name.starts_with("amq."), key, "names that begin with \"amq.\" are the broker's own: choose another")
}

pub(super) fn sessions(sessions: &Sessions) -> Outcome {
    if sessions.is_postgres() {
        let database = sessions.url.parsed();
        return ensure(
            database.is_some_and(|url| names_host(&url) && names_database(&url)),
            "sessions.url",
            "host and database are expected: \"postgres://user:password@host:5432/database\", with what is special in user \
             and password percent-encoded",
        );
    }
    ensure(
        !sessions.is_in_memory(),
        "sessions.url",
        "a database in memory cannot be shared by processes: name a file, such as \"sqlite:/var/lib/lazaret/lazaret.db\"",
    )?;
    ensure(
        sessions.sqlite_path().is_some(),
        "sessions.url",
        "the URL of a database is expected: \"sqlite:\" and the path of a file, or \
         \"postgres://user:password@host:5432/database\"",
    )
}

/// A host, or the folder of a socket in the query.
fn names_host(url: &Url) -> bool {
    url.has_host() && url.host_str() != Some("")
        || url.query_pairs().any(|(name, _)| name == "host" || name == "hostaddr")
}

fn names_database(url: &Url) -> bool {
    let path = url.path().trim_start_matches('/');
    let in_query = url.query_pairs().any(|(name, value)| name == "dbname" && !value.is_empty());
    (!path.is_empty() && !path.contains('/')) || in_query
}

pub(super) fn events(events: &Events) -> Outcome {
    ensure(
        is_uri_reference(&events.source),
        "events.source",
        format!(
            "{:?} is no URI reference (RFC 3986), such as \"lazaret\" or \"https://uploads.example.com\"",
            events.source
        ),
    )?;
    for (kind, name, has_section, needs) in [
        (EventsKind::Sqs, "sqs", events.sqs.is_some(), "the queue's url"),
        (EventsKind::Sns, "sns", events.sns.is_some(), "the topic's topic_arn"),
        (EventsKind::Amqp, "amqp", events.amqp.is_some(), "the broker's url, an exchange and a routing_key"),
        (EventsKind::Webhook, "webhook", events.webhook.is_some(), "a url and a secret"),
    ] {
        ensure(
            events.kind != kind || has_section,
            format!("events.{name}"),
            format!("events.kind = {name:?} needs the section [events.{name}] with {needs}"),
        )?;
    }
    sections(events)
}

/// Verdicts do not come back as work, nor lie among the dead letters.
pub(super) fn no_circle(settings: &Settings) -> Outcome {
    let (queue, events) = (&settings.queue, &settings.events);
    if let (EventsKind::Sqs, Some(told), Some(consumed)) = (events.kind, &events.sqs, &queue.sqs) {
        ensure(
            told.url != consumed.url && Some(&told.url) != consumed.dead_letter_url.as_ref(),
            "events.sqs.url",
            "it is the queue that object events come from, or its dead-letter queue: verdicts need a queue of their own",
        )?;
    }
    if let (EventsKind::Amqp, Some(told), Some(consumed)) = (events.kind, &events.amqp, &queue.amqp) {
        ensure(
            !told.exchange.is_empty()
                || told.url.expose() != consumed.url.expose()
                || told.routing_key != consumed.queue,
            "events.amqp.routing_key",
            "it is the queue that object events come from: verdicts need a queue of their own",
        )?;
    }
    Ok(())
}

fn sections(events: &Events) -> Outcome {
    let http = "an http or https URL is expected";
    if let Some(sqs) = &events.sqs {
        ensure(is_http(&sqs.url), "events.sqs.url", http)?;
        ensure(sqs.endpoint.as_ref().is_none_or(is_http), "events.sqs.endpoint", http)?;
    }
    if let Some(sns) = &events.sns {
        let parts: Vec<_> = sns.topic_arn.splitn(6, ':').collect();
        ensure(
            parts.len() == 6 && parts[0] == "arn" && parts[2] == "sns" && !parts[5].is_empty(),
            "events.sns.topic_arn",
            format!("{:?} is no topic: \"arn:aws:sns:region:account:name\" is expected", sns.topic_arn),
        )?;
        ensure(sns.endpoint.as_ref().is_none_or(is_http), "events.sns.endpoint", http)?;
    }
    if let Some(amqp) = &events.amqp {
        broker(&amqp.url, amqp.ca_certificate.is_some(), "events.amqp")?;
        // The empty name is the default exchange, which AMQP lets everybody publish to.
        ensure(
            amqp.exchange.len() <= MAX_AMQP_NAME,
            "events.amqp.exchange",
            "a name of at most 255 bytes is expected",
        )?;
        ensure(
            amqp.routing_key.len() <= MAX_AMQP_NAME && !(amqp.exchange.is_empty() && amqp.routing_key.is_empty()),
            "events.amqp.routing_key",
            "at most 255 bytes are expected, and with the default exchange the name of a queue",
        )?;
        wiring::amqp_sink(amqp).map_err(|error| SettingsError::rule("events.amqp.url", cause(&error)))?;
    }
    if let Some(webhook) = &events.webhook {
        ensure(is_http(&webhook.url), "events.webhook.url", http)?;
        ensure(
            !webhook.timeout.is_zero() && webhook.timeout <= MAX_DELIVERY,
            "events.webhook.timeout",
            format!("a time longer than nothing and of at most {MAX_DELIVERY} is expected"),
        )?;
        match wiring::webhook_sink(webhook) {
            Err(error @ WebhookError::Secret) => {
                return Err(SettingsError::rule("events.webhook.secret", error.to_string()));
            }
            Err(error) => return Err(SettingsError::rule("events.webhook.url", chain(&error))),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Whether the text has only characters that a URI reference may have
/// (<https://www.rfc-editor.org/rfc/rfc3986#section-2>).
fn is_uri_reference(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
    !text.is_empty() && text.chars().all(allowed)
}
