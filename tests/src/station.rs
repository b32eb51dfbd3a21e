//! One test's own bucket, queues, database, spool and settings on the shared servers.

mod settings;

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::PathBuf,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use aws_sdk_s3::types::{
    BucketVersioningStatus, Event, FilterRule, FilterRuleName, NotificationConfiguration,
    NotificationConfigurationFilter, QueueConfiguration, S3KeyFilter, VersioningConfiguration,
};
use lazaret_core::ports::SessionStore;
use lazaret_sessions::StoreOptions;
use tempfile::TempDir;

use crate::{
    cli::{Cli, Created, put, variable},
    database,
    metrics::Metrics,
    objects::Upload,
    program::Running,
    queue,
    servers::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Servers, free_address, s3_client, sqs_client},
    store::Store,
    wait::until_true,
};
pub use crate::{
    database::Database,
    queue::{Bus, Queue, minio_notification, notification},
};

const READY_WITHIN: Duration = Duration::from_mins(1);

/// Making a client reads certificates, and readiness is asked for often. It keeps no connection from one test's runtime
/// to the next.
static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build();
    client.expect("a client without any option that could fail")
});

/// Everything one test of the worker needs. Dereferences to its command line.
#[derive(Debug)]
pub struct Station {
    /// The shared servers.
    pub servers: Servers,
    /// The bucket.
    pub store: Store,
    /// What notifications travel on.
    pub bus: Bus,
    /// The queue that the bucket's notifications go to.
    pub queue: Queue,
    /// Where messages go that nobody understands.
    pub dead_letters: Queue,
    /// Where `/metrics` and its relatives answer.
    pub listen: SocketAddr,
    /// The scratch folder.
    pub folder: TempDir,
    cli: Cli,
    for_workers: BTreeMap<String, String>,
    clean_up: CleanUp,
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
    /// SQLite and SQS.
    pub async fn new() -> Result<Self> {
        Self::on(Database::Sqlite, Bus::Sqs).await
    }

    /// A bucket whose notifications go to a queue, and a migrated database. On SQS the server itself sends them; on
    /// RabbitMQ [`Station::submit`] does.
    pub async fn on(database: Database, bus: Bus) -> Result<Self> {
        let servers = Servers::from_environment()?;
        let name = unique_name();
        let store = Store { client: s3_client(&servers.s3, ACCESS_KEY_ID, SECRET_ACCESS_KEY), bucket: name.clone() };
        store.client.create_bucket().bucket(&name).send().await.context("the bucket cannot be made")?;
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("spool"))?;
        let mut clean_up = CleanUp::default();
        let place = database::Place::create(database, &name, folder.path(), &servers.postgres).await?;
        clean_up.database = Some(place.clone());
        let (queue, dead_letters) = match bus {
            Bus::Sqs => {
                let client = sqs_client(&servers.sqs);
                let queue = Queue::sqs(&client, &name).await?;
                notify(&store, queue.arn().unwrap_or_default()).await?;
                (queue, Queue::sqs(&client, &format!("{name}-dead")).await?)
            }
            Bus::Amqp => {
                let (connection, channel) = queue::channel(&servers.amqp).await?;
                clean_up.broker = Some((connection, servers.amqp.clone(), name.clone()));
                let dead = Queue::amqp(channel.clone(), format!("{name}.dead-letters"), Vec::new());
                (Queue::amqp(channel, name.clone(), queue::retry_queues(&name)), dead)
            }
        };
        let listen = free_address()?;
        let config = folder.path().join("lazaret.toml");
        let text = settings::text(&settings::Parts {
            servers: &servers,
            bucket: &name,
            bus,
            queue: &queue,
            dead_letters: &dead_letters,
            database: &place.url,
            listen,
            folder: folder.path(),
        })?;
        fs::write(&config, text)?;
        let for_workers = BTreeMap::new();
        let cli = Cli::new(config);
        let station = Self { servers, store, bus, queue, dead_letters, listen, folder, cli, for_workers, clean_up };
        station.succeed(&["migrate"])?;
        if bus == Bus::Amqp {
            station.succeed(&["queue", "declare"])?;
        }
        Ok(station)
    }

    /// Another queue on SQS, named after this station.
    pub async fn another_queue(&self, suffix: &str) -> Result<Queue> {
        Queue::sqs(&sqs_client(&self.servers.sqs), &format!("{}-{suffix}", self.store.bucket)).await
    }

    /// Turns versioning of the bucket on.
    pub async fn with_versions(&self) -> Result<()> {
        let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let request = self.store.client.put_bucket_versioning().bucket(&self.store.bucket);
        request.versioning_configuration(on).send().await?;
        Ok(())
    }

    /// Sets one setting for workers only: the command line keeps what it has.
    pub fn set_for_workers(&mut self, key: &str, value: impl Into<String>) {
        self.for_workers.insert(variable(key), value.into());
    }

    /// `session create`, the upload as an ordinary client makes it, and the notification where the store sends none.
    pub async fn submit(&self, upload: &Upload) -> Result<Created> {
        let created = self.create(upload)?;
        self.send(&created, upload).await?;
        Ok(created)
    }

    /// The upload of a session that is there, with its notification.
    pub async fn send(&self, created: &Created, upload: &Upload) -> Result<()> {
        put(created, upload.bytes.clone()).await?;
        match self.bus {
            Bus::Sqs => Ok(()),
            Bus::Amqp => self.queue.send(&minio_notification(&created.bucket, &created.key)).await,
        }
    }

    /// A worker, once it says that it is ready.
    pub async fn worker(&self, name: &str) -> Result<Running> {
        self.worker_at(name, self.listen).await
    }

    /// Another worker, with its `/metrics` and its relatives at an address of its own ([`free_address`]).
    pub async fn worker_at(&self, name: &str, listen: SocketAddr) -> Result<Running> {
        let mut worker = self.start_worker(name, listen)?;
        until_true("the worker is ready", READY_WITHIN, async || {
            worker.ensure_up()?;
            Ok(get(listen, "/readyz").await.is_ok_and(|(status, _)| status == 200))
        })
        .await?;
        Ok(worker)
    }

    /// A worker that may not be ready for a long time.
    pub fn start_worker(&self, name: &str, listen: SocketAddr) -> Result<Running> {
        let mut command = self.command();
        command.arg("worker").env(variable("telemetry.listen"), listen.to_string()).envs(&self.for_workers);
        Running::start(&mut command, self.folder.path(), name)
    }

    /// Status and body of a path of the telemetry listener.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        get(self.listen, path).await
    }

    /// What `/metrics` says now.
    pub async fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics::new(self.get("/metrics").await?.1))
    }

    /// The database file of SQLite.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("lazaret.db")
    }

    /// Where the database server listens, if there is one.
    pub fn database_server(&self) -> Result<Option<SocketAddr>> {
        self.clean_up.place()?.address()
    }

    /// The database's URL by way of a proxy.
    pub fn database_through(&self, proxy: SocketAddr) -> Result<String> {
        self.clean_up.place()?.through(proxy)
    }

    /// The session database, opened beside the program.
    pub async fn sessions(&self) -> Result<Arc<dyn SessionStore>> {
        Ok(lazaret_sessions::open(&self.clean_up.place()?.url, &StoreOptions::default()).await?)
    }
}

/// Status and body of a path of a worker's telemetry listener.
pub async fn get(listen: SocketAddr, path: &str) -> Result<(u16, String)> {
    let answer = HTTP.get(format!("http://{listen}{path}")).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// What has to go with the station: the servers are shared, and outlive it.
#[derive(Debug, Default)]
struct CleanUp {
    database: Option<database::Place>,
    /// The connection that the queue's channel lives on, the broker's URL, and the name of everything there.
    broker: Option<(lapin::Connection, String, String)>,
}

impl CleanUp {
    fn place(&self) -> Result<&database::Place> {
        self.database.as_ref().context("a station without a database")
    }
}

impl Drop for CleanUp {
    /// Beside the test's own runtime, which cannot be waited for from here.
    fn drop(&mut self) {
        let (database, broker) = (self.database.take(), self.broker.take());
        let clean_up = std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                if let Some(database) = database {
                    database.remove().await?;
                }
                if let Some((_, url, name)) = broker {
                    let dead = format!("{name}.dead-letters");
                    let mut queues = queue::retry_queues(&name);
                    queues.extend([name, dead.clone()]);
                    queue::remove(&url, &queues, &dead).await?;
                }
                Ok(())
            })
        });
        match clean_up.join() {
            Ok(Ok(())) => {}
            failed => eprintln!("what the test made could not be removed: {failed:?}"),
        }
    }
}

/// The server itself tells the queue of every object that is created in the quarantine.
async fn notify(store: &Store, arn: &str) -> Result<()> {
    let prefix = FilterRule::builder().name(FilterRuleName::Prefix).value("quarantine/").build();
    let filter = NotificationConfigurationFilter::builder().key(S3KeyFilter::builder().filter_rules(prefix).build());
    let events = QueueConfiguration::builder().queue_arn(arn).events(Event::S3ObjectCreated);
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
