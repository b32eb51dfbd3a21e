//! A queue of one test's own on the shared broker, and what a test does behind the adapter's back.

use std::sync::atomic::AtomicU32;

use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
    types::FieldTable,
};

use super::*;

/// Names that nobody else uses; what was declared under them is deleted at the end.
pub(super) struct Rig {
    pub(super) settings: AmqpSettings,
    at: String,
}

pub(super) fn broker_url() -> String {
    std::env::var("LAZARET_TEST_AMQP_URL")
        .expect("LAZARET_TEST_AMQP_URL must name a RabbitMQ; `cargo xtask test` starts one")
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::at(&broker_url())
    }

    pub(super) fn at(url: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("uploads-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { settings: AmqpSettings::new(url, name), at: url.to_owned() }
    }

    /// The same names, reached another way.
    pub(super) fn through(&self, url: &str) -> AmqpSettings {
        AmqpSettings { url: url.to_owned(), ..self.settings.clone() }
    }

    pub(super) fn queue(&self) -> AmqpQueue {
        AmqpQueue::new(&self.settings).expect("settings that work")
    }

    pub(super) fn dead_letters(&self) -> AmqpDeadLetters {
        AmqpDeadLetters::new(&self.settings).expect("settings that work")
    }

    pub(super) fn named(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.settings.queue)
    }

    pub(super) async fn connection(&self) -> Connection {
        Connection::connect(&self.at, ConnectionProperties::default()).await.expect("a broker")
    }

    /// Publishes as strangers do.
    pub(super) async fn publish(&self, body: &[u8], properties: BasicProperties) {
        let connection = self.connection().await;
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let key = self.settings.queue.as_str().into();
        let sent = channel.basic_publish("".into(), key, options, body, properties).await.expect("a message sent");
        assert!(matches!(sent.await, Ok(lapin::Confirmation::Ack(None))), "nobody took the message");
    }

    /// How many messages are ready for anybody.
    pub(super) async fn ready(&self, suffix: &str) -> u32 {
        let connection = self.connection().await;
        let channel = connection.create_channel().await.expect("a channel");
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = channel.queue_declare(self.named(suffix).into(), passive, FieldTable::default()).await;
        asked.expect("the queue").message_count()
    }

    pub(super) async fn delete_queue(&self) {
        delete(&self.connection().await, &self.settings.queue).await;
    }

    /// Takes what is at the head of a queue for good.
    pub(super) async fn pull(&self, suffix: &str) -> Option<lapin::message::Delivery> {
        let connection = self.connection().await;
        let channel: Channel = connection.create_channel().await.expect("a channel");
        let got = channel.basic_get(self.named(suffix).into(), BasicGetOptions { no_ack: true }).await;
        got.expect("the queue").map(|got| got.delivery)
    }
}

/// Deletes a queue behind the adapter's back.
pub(super) async fn delete(connection: &Connection, name: &str) {
    let channel = connection.create_channel().await.expect("a channel");
    channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.expect("a queue deleted");
}

/// The next message; a consumer that has to connect again says so first.
pub(super) async fn next(queue: &AmqpQueue) -> Delivery {
    let end = Clock::now() + Duration::from_secs(30);
    loop {
        match queue.receive(1).await {
            Ok(mut came) => {
                if let Some(delivery) = came.pop() {
                    return delivery;
                }
            }
            Err(error) => assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}"),
        }
        assert!(Clock::now() < end, "no message came");
    }
}

/// Waits until the condition holds.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Clock::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Clock::now() < end, "{what}: it did not happen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let suffixes = ["", ".dead-letters", ".retry.1s", ".retry.5s", ".retry.15s", ".retry.60s"];
        let names: Vec<String> = suffixes.iter().map(|suffix| self.named(suffix)).collect();
        let url = self.at.clone();
        let delete = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let Ok(connection) = Connection::connect(&url, ConnectionProperties::default()).await else { return };
                for name in &names {
                    delete(&connection, name).await;
                }
                let channel = connection.create_channel().await.expect("a channel");
                let options = ExchangeDeleteOptions::default();
                channel.exchange_delete(names[1].as_str().into(), options).await.expect("an exchange deleted");
            });
        };
        // The test's own runtime cannot be entered again from here.
        assert!(std::thread::spawn(delete).join().is_ok() || std::thread::panicking(), "queues were left behind");
    }
}
