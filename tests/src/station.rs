//! One test's own bucket, queues, database, spool and settings on the shared servers.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use aws_sdk_s3::types::{
    BucketVersioningStatus, Event, FilterRule, FilterRuleName, NotificationConfiguration,
    NotificationConfigurationFilter, QueueConfiguration, S3KeyFilter, VersioningConfiguration,
};
use aws_sdk_sqs::types::QueueAttributeName;
use lazaret_sessions::{SqliteOptions, SqliteSessionStore};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    cli::Cli,
    metrics::Metrics,
    program::Running,
    servers::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Servers, free_address, s3_client, sqs_client},
    store::Store,
    wait::until_true,
};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// Everything one test of the worker needs. Dereferences to its command line.
#[derive(Debug)]
pub struct Station {
    /// The shared servers.
    pub servers: Servers,
    /// The bucket.
    pub store: Store,
    /// The queue that the bucket's notifications go to.
    pub queue: Queue,
    /// Where messages go that nobody understands.
    pub dead_letters: Queue,
    /// Where `/metrics` and its relatives answer.
    pub listen: SocketAddr,
    /// The scratch folder.
    pub folder: TempDir,
    cli: Cli,
}

impl Deref for Station {
    type Target = Cli;

    fn deref(&self) -> &Cli {
        &self.cli
    }
}

impl DerefMut for Station {
    fn deref_mut(&mut self) -> &mut Cli {
        &mut self.cli
    }
}

impl Station {
    /// A bucket whose notifications the server itself sends to a queue, and a migrated database.
    pub async fn new() -> Result<Self> {
        let servers = Servers::from_environment()?;
        let name = unique_name();
        let store = Store { client: s3_client(&servers.s3, ACCESS_KEY_ID, SECRET_ACCESS_KEY), bucket: name.clone() };
        store.client.create_bucket().bucket(&name).send().await.context("the bucket cannot be made")?;
        let sqs = sqs_client(&servers.sqs);
        let queue = Queue::create(&sqs, &name).await?;
        let dead_letters = Queue::create(&sqs, &format!("{name}-dead")).await?;
        notify(&store, &queue).await?;
        let folder = tempfile::tempdir()?;
        let listen = free_address()?;
        let config = folder.path().join("lazaret.toml");
        fs::create_dir(folder.path().join("spool"))?;
        fs::write(&config, settings(&servers, &name, &queue, &dead_letters, listen, &folder)?)?;
        let station = Self { servers, store, queue, dead_letters, listen, folder, cli: Cli::new(config) };
        station.succeed(&["migrate"])?;
        Ok(station)
    }

    /// Turns versioning of the bucket on.
    pub async fn with_versions(&self) -> Result<()> {
        let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let request = self.store.client.put_bucket_versioning().bucket(&self.store.bucket);
        request.versioning_configuration(on).send().await?;
        Ok(())
    }

    /// A worker, once it says that it is ready.
    pub async fn worker(&self, name: &str) -> Result<Running> {
        let mut worker = Running::start(self.command().arg("worker"), self.folder.path(), name)?;
        until_true("the worker is ready", READY_WITHIN, async || {
            worker.ensure_up()?;
            Ok(self.get("/readyz").await.is_ok_and(|(status, _)| status == 200))
        })
        .await?;
        Ok(worker)
    }

    /// Status and body of a path of the telemetry listener.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        let answer =
            reqwest::Client::builder().no_proxy().build()?.get(format!("http://{}{path}", self.listen)).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// What `/metrics` says now.
    pub async fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics::new(self.get("/metrics").await?.1))
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("lazaret.db")
    }

    /// The session database, opened beside the program.
    pub async fn sessions(&self) -> Result<SqliteSessionStore> {
        let url = format!("sqlite:{}", self.database().display());
        Ok(SqliteSessionStore::open(&url, &SqliteOptions::default()).await?)
    }
}

/// One queue, seen with a client of our own.
#[derive(Debug, Clone)]
pub struct Queue {
    client: aws_sdk_sqs::Client,
    /// Its URL.
    pub url: String,
    arn: String,
}

impl Queue {
    async fn create(client: &aws_sdk_sqs::Client, name: &str) -> Result<Self> {
        let created = client.create_queue().queue_name(name).send().await.context("the queue cannot be made")?;
        let url = created.queue_url().context("a queue without a URL")?.to_owned();
        let attributes = client.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::QueueArn);
        let arn = attributes.send().await?.attributes().and_then(|map| map.get(&QueueAttributeName::QueueArn).cloned());
        let queue = Self { client: client.clone(), url, arn: arn.context("a queue without an ARN")? };
        queue.allow_s3().await?;
        Ok(queue)
    }

    /// S3 refuses to notify a queue whose policy does not let it.
    async fn allow_s3(&self) -> Result<()> {
        let policy = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": "s3.amazonaws.com" },
            "Action": "sqs:SendMessage",
            "Resource": self.arn,
        }] });
        let request = self.client.set_queue_attributes().queue_url(&self.url);
        request.attributes(QueueAttributeName::Policy, policy.to_string()).send().await?;
        Ok(())
    }

    /// Puts a message on the queue.
    pub async fn send(&self, body: &str) -> Result<()> {
        self.client.send_message().queue_url(&self.url).message_body(body).send().await?;
        Ok(())
    }

    /// Messages waiting, and messages handed out and not yet deleted.
    pub async fn left(&self) -> Result<(u64, u64)> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Waiting, ApproximateNumberOfMessagesNotVisible as Out,
        };
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let answer = request.attribute_names(Waiting).attribute_names(Out).send().await?;
        let number = |name| -> Result<u64> {
            let text = answer.attributes().and_then(|map| map.get(&name)).context("an attribute is missing")?;
            Ok(text.parse()?)
        };
        Ok((number(Waiting)?, number(Out)?))
    }

    /// Returns once no message is left.
    pub async fn drained(&self, within: Duration) -> Result<()> {
        until_true("the queue is empty", within, async || Ok(self.left().await? == (0, 0))).await
    }

    /// Takes up to ten messages off the queue: bodies with their attributes.
    pub async fn take(&self) -> Result<Vec<(String, String)>> {
        let request = self.client.receive_message().queue_url(&self.url).max_number_of_messages(10);
        let answer = request.message_attribute_names("All").send().await?;
        let mut taken = Vec::new();
        for message in answer.messages() {
            let handle = message.receipt_handle().context("a message without a handle")?;
            self.client.delete_message().queue_url(&self.url).receipt_handle(handle).send().await?;
            taken.push((message.body().unwrap_or_default().to_owned(), format!("{:?}", message.message_attributes())));
        }
        Ok(taken)
    }
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

/// The server itself tells the queue of every object that is created in the quarantine.
async fn notify(store: &Store, queue: &Queue) -> Result<()> {
    let prefix = FilterRule::builder().name(FilterRuleName::Prefix).value("quarantine/").build();
    let filter = NotificationConfigurationFilter::builder().key(S3KeyFilter::builder().filter_rules(prefix).build());
    let events = QueueConfiguration::builder().queue_arn(&queue.arn).events(Event::S3ObjectCreated);
    let events = events.filter(filter.build()).build()?;
    let configuration = NotificationConfiguration::builder().queue_configurations(events).build();
    let request = store.client.put_bucket_notification_configuration().bucket(&store.bucket);
    request.notification_configuration(configuration).send().await.context("the server does not notify the queue")?;
    Ok(())
}

fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
    format!("lazaret-test-{now}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn settings(
    servers: &Servers,
    bucket: &str,
    queue: &Queue,
    dead_letters: &Queue,
    listen: SocketAddr,
    folder: &TempDir,
) -> Result<String> {
    let folder = folder.path().display();
    let mut text = String::new();
    write!(
        text,
        r#"[storage]
bucket = "{bucket}"
endpoint = "{s3}"
force_path_style = true
access_key_id = "{ACCESS_KEY_ID}"
secret_access_key = "{SECRET_ACCESS_KEY}"

[queue]
kind = "sqs"

[queue.sqs]
url = "{queue}"
endpoint = "{sqs}"
wait_time = "1s"
visibility_timeout = "10s"
dead_letter_url = "{dead_letters}"

[sessions]
url = "sqlite:{folder}/lazaret.db"

[worker]
concurrency = 4
lease = "10s"
spool_dir = "{folder}/spool"

[[scanner]]
name = "clamd"
kind = "clamd"
address = "unix:{clamd}"
max_size = "1900MiB"

[sweeper]
interval = "1h"

[telemetry]
listen = "{listen}"
"#,
        s3 = servers.s3,
        sqs = servers.sqs,
        queue = queue.url,
        dead_letters = dead_letters.url,
        clamd = servers.clamd_socket.display(),
    )?;
    Ok(text)
}
