use std::{fmt, path::PathBuf, sync::Arc};

use lazaret_amqp::{Broker, Failure};
use lazaret_core::ports::QueueError;

/// The longest name that leaves room for those made from it within the 255 bytes of an AMQP name.
const MAX_NAME_BYTES: usize = 200;

/// The longest name in AMQP.
const MAX_AMQP_BYTES: usize = 255;

/// How to reach a queue on RabbitMQ.
#[derive(Clone)]
pub struct AmqpSettings {
    /// `amqp://user:password@host:port/vhost`, or `amqps://…`.
    pub url: String,
    /// The queue's name; those of its retry and dead-letter queues begin with it.
    pub queue: String,
    /// Deliveries that this consumer holds at once: as many as it can work on, so that the rest stays with others.
    pub prefetch: u16,
    /// Where dead letters are published. None: `{queue}.dead-letters`.
    pub dead_letter_exchange: Option<String>,
    /// A PEM file of authorities that may sign the broker's certificate, beside those of the system.
    pub ca_certificate: Option<PathBuf>,
}

impl AmqpSettings {
    /// A queue with ten deliveries at once and the dead-letter exchange of its own name.
    pub fn new(url: impl Into<String>, queue: impl Into<String>) -> Self {
        Self { url: url.into(), queue: queue.into(), prefetch: 10, dead_letter_exchange: None, ca_certificate: None }
    }
}

impl fmt::Debug for AmqpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpSettings")
            .field("queue", &self.queue)
            .field("prefetch", &self.prefetch)
            .field("dead_letter_exchange", &self.dead_letter_exchange)
            .field("ca_certificate", &self.ca_certificate)
            .finish_non_exhaustive()
    }
}

/// A queue by its names, on its broker.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) broker: Arc<Broker>,
    pub(super) queue: String,
    pub(super) dead_letter_exchange: String,
    pub(super) dead_letter_queue: String,
    /// Broker and queue, for errors.
    name: String,
}

impl Place {
    pub(super) fn new(settings: &AmqpSettings) -> Result<Self, QueueError> {
        let refused = |text: String| QueueError::Refused {
            queue: settings.queue.chars().take(MAX_NAME_BYTES).collect(),
            action: "take its settings",
            source: Box::new(Failure::Refused(text)),
        };
        if settings.queue.is_empty() || settings.queue.len() > MAX_NAME_BYTES {
            return Err(refused(format!("the queue's name must have 1 to {MAX_NAME_BYTES} bytes")));
        }
        if settings.dead_letter_exchange.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_AMQP_BYTES) {
            return Err(refused(format!("the dead-letter exchange's name must have 1 to {MAX_AMQP_BYTES} bytes")));
        }
        if settings.prefetch == 0 {
            return Err(refused(
                "a prefetch of 0 has no limit, and would take every message from the others".to_owned(),
            ));
        }
        let broker = Broker::new(&settings.url, settings.ca_certificate.clone());
        let broker = broker.map_err(|failure| refused(failure.to_string()))?;
        let dead_letters = format!("{}.dead-letters", settings.queue);
        Ok(Self {
            name: format!("{} on {}", settings.queue, broker.name()),
            broker: Arc::new(broker),
            queue: settings.queue.clone(),
            dead_letter_exchange: settings.dead_letter_exchange.clone().unwrap_or_else(|| dead_letters.clone()),
            dead_letter_queue: dead_letters,
        })
    }

    /// The error of the port for what the broker did not do.
    pub(super) fn error(&self, action: &'static str) -> impl Fn(Failure) -> QueueError {
        move |failure| {
            let queue = self.name.clone();
            match failure {
                Failure::Unavailable(_) => QueueError::Unavailable { queue, source: Box::new(failure) },
                Failure::Refused(_) => QueueError::Refused { queue, action, source: Box::new(failure) },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lazaret_core::error::chain;

    use super::*;

    #[test]
    fn neither_settings_nor_errors_show_the_password() {
        let settings = AmqpSettings::new("amqp://mill:the-secret@host/vhost", "uploads");
        let place = Place::new(&settings).unwrap();
        let error = place.error("do it")(Failure::Unavailable("down".to_owned()));
        assert_eq!(chain(&error), "queue uploads on amqp://host:5672/vhost is unavailable: down");
        assert!(!format!("{settings:?}{place:?}{error:?}").contains("the-secret"));
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let good = AmqpSettings::new("amqp://host", "uploads");
        let url = AmqpSettings { url: "http://host".to_owned(), ..good.clone() };
        let unlimited = AmqpSettings { prefetch: 0, ..good.clone() };
        let long = AmqpSettings { queue: "q".repeat(201), ..good.clone() };
        let exchange = AmqpSettings { dead_letter_exchange: Some(String::new()), ..good.clone() };
        let nameless = AmqpSettings { queue: String::new(), ..good };
        for settings in [url, unlimited, long, nameless, exchange] {
            assert!(matches!(Place::new(&settings), Err(QueueError::Refused { .. })), "{settings:?}");
        }
    }
}
