//! The one place where settings become parts, and parts a station.

mod buses;
mod scanners;
mod start;

use std::{env, fs, path::PathBuf, process, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use lazaret_core::{
    WorkerId,
    error::chain,
    ports::{ProgramJail, Queue, SessionStoreError},
};
use lazaret_events::Record;
use lazaret_objects::{S3Settings, S3Store, Spool, SpoolSettings, s3};
use lazaret_pipeline::{Bus, Message, Station, StationSettings};
use lazaret_sandbox::{Jail, JailSettings, Launcher};
use lazaret_sessions::{MigrationReport, SqlSessionStore, StoreOptions};
use uuid::Uuid;

use crate::{
    failure, service,
    settings::{Checksums, ServerSideEncryption, Settings},
    telemetry,
};

pub use buses::{QueueSettings, dead_letters, queue, verdicts};
pub(crate) use buses::{amqp_sink, webhook_sink};
pub use scanners::{WiredScanner, scanner};
pub use start::{probe_store, wait_for_sessions};

/// The program that is jailed. It is installed beside this one.
const TRANSFORM_PROGRAM: &str = "lazaret-transform";

/// Connections to the database beside those of the objects in work: the outbox, the sweeper, `/readyz`.
const CONNECTIONS_BESIDE: usize = 4;

/// How long one operation on the database may take.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(10);

/// A station, and what of it others look at.
#[derive(Debug, Clone)]
pub struct Wired {
    /// Everything that an object meets on its way.
    pub station: Arc<Station>,
    /// Its store.
    pub store: Arc<S3Store>,
    /// Where objects lie meanwhile.
    pub spool: Arc<Spool>,
    /// Its scanners, with what they tell of themselves.
    pub scanners: Vec<WiredScanner>,
}

/// Creates or upgrades the session database, and the folder it lies in.
pub async fn migrate(settings: &Settings) -> Result<MigrationReport> {
    if let Some(folder) = settings.sessions.sqlite_path().and_then(|path| path.parent().map(PathBuf::from)) {
        fs::create_dir_all(&folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    }
    Ok(lazaret_sessions::migrate(settings.sessions.url.expose()).await?)
}

/// The session database, which must have been migrated, for a command.
pub async fn sessions(settings: &Settings) -> Result<SqlSessionStore, SessionStoreError> {
    SqlSessionStore::open(settings.sessions.url.expose(), &StoreOptions::default()).await
}

/// The session database with connections for every slot of the worker.
pub(crate) async fn sessions_for_work(settings: &Settings) -> Result<SqlSessionStore, SessionStoreError> {
    let connections = settings.worker.concurrency().saturating_add(CONNECTIONS_BESIDE);
    let connections = u32::try_from(connections).unwrap_or(u32::MAX);
    let options = StoreOptions { connections, timeout: DATABASE_TIMEOUT };
    SqlSessionStore::open(settings.sessions.url.expose(), &options).await
}

/// The store without room to read anything: for commands that sign, ask and delete.
pub async fn client(settings: &Settings) -> Result<S3Store> {
    let spool = Spool::new(SpoolSettings { dir: env::temp_dir(), budget_bytes: 0, memory_limit_bytes: 0 })
        .context("the folder for temporary files cannot be used")?;
    Ok(S3Store::connect(s3_settings(settings), Arc::new(spool)).await)
}

/// Room for objects, as the settings say.
pub(crate) fn spool(settings: &Settings) -> Result<Arc<Spool>> {
    let worker = &settings.worker;
    let spool = Spool::new(SpoolSettings {
        dir: worker.spool_dir(),
        budget_bytes: worker.spool_budget.bytes(),
        memory_limit_bytes: worker.memory_spool_limit.bytes(),
    })?;
    Ok(Arc::new(spool))
}

/// A whole station over an open session database. Nothing is asked of any part yet.
pub async fn station(settings: &Settings, sessions: SqlSessionStore) -> Result<Wired> {
    Parts::prepare(settings).await?.assemble(settings, sessions)
}

/// A station that remembers nothing, for local files.
pub async fn offline(settings: &Settings) -> Result<Wired> {
    let sessions = SqlSessionStore::open("sqlite::memory:", &StoreOptions::default()).await?;
    station(settings, sessions).await
}

/// What a station is made of besides its session database.
#[derive(Debug)]
pub struct Parts {
    spool: Arc<Spool>,
    store: Arc<S3Store>,
    jail: Arc<Jail>,
    scanners: Vec<WiredScanner>,
}

impl Parts {
    /// Makes them; an error is one that waiting does not help.
    pub async fn prepare(settings: &Settings) -> Result<Self> {
        service::survive_file_size_limit()?;
        let spool = spool(settings)?;
        let store = Arc::new(S3Store::connect(s3_settings(settings), Arc::clone(&spool)).await);
        let jail = Arc::new(jail(settings)?);
        let programs = programs(settings)?;
        let scanners = settings.scanners.iter().map(|one| scanner(settings, one, &programs)).collect::<Result<_>>()?;
        Ok(Self { spool, store, jail, scanners })
    }

    /// The station.
    pub fn assemble(self, settings: &Settings, sessions: SqlSessionStore) -> Result<Wired> {
        let Self { spool, store, jail, scanners } = self;
        let (storage, worker, limits) = (&settings.storage, &settings.worker, &settings.limits);
        let sessions = Arc::new(sessions);
        let station = Station {
            sessions: Arc::clone(&sessions) as _,
            lists: sessions,
            store: Arc::clone(&store) as _,
            scanners: scanners.iter().map(|scanner| scanner.slot.clone()).collect(),
            transformer: jail,
            settings: StationSettings {
                worker_id: worker_id(),
                bucket: storage.bucket.clone(),
                quarantine_prefix: storage.quarantine_prefix.clone(),
                published_bucket: storage.published_bucket().clone(),
                published_prefix: storage.published_prefix.clone(),
                policies: settings.policy_set(),
                max_object_size: limits.max_object_size.bytes(),
                archive: limits.archive(),
                require_finalize: settings.sessions.require_finalize,
                lease: worker.lease.get(),
                max_attempts: worker.max_attempts.get(),
                retain_rejected: limits.retain_rejected.get(),
            },
        };
        Ok(Wired { station: Arc::new(station), store, spool, scanners })
    }
}

/// The queue, with the language that is spoken on it.
pub fn bus(queue: Arc<dyn Queue>) -> Bus {
    Bus {
        queue,
        decode: Arc::new(|body, attributes| {
            let decoded = lazaret_events::decode(body, attributes).map_err(|error| chain(&error))?;
            let bad = decoded.bad.iter().map(|error| chain(error)).collect();
            let mut message = Message { bad, ..Message::default() };
            for record in decoded.records {
                match record {
                    Record::Created(event) => message.created.push(event),
                    Record::Ignored(ignored) => message.ignored.push(ignored),
                }
            }
            Ok(message)
        }),
        encode: Arc::new(lazaret_events::encode),
        span_parent: Arc::new(telemetry::set_parent),
    }
}

/// An error where the program is missing that does the decoding.
pub fn require_transform(settings: &Settings) -> Result<()> {
    let program = transform_program(settings)?;
    if !program.is_file() {
        bail!("{} is missing; {}", program.display(), failure::TRANSFORM);
    }
    Ok(())
}

fn transform_program(settings: &Settings) -> Result<PathBuf> {
    if let Some(program) = &settings.sandbox.program {
        return Ok(program.clone());
    }
    let this = env::current_exe().context("this program does not know where it lies")?;
    Ok(this.with_file_name(TRANSFORM_PROGRAM))
}

/// What runs the programs that scan: in a jail that the same program builds, which is looked at only when one is needed.
pub(crate) fn programs(settings: &Settings) -> Result<Arc<dyn ProgramJail>> {
    let launcher = Launcher::new(&transform_program(settings)?).context("the sandbox cannot be prepared")?;
    Ok(Arc::new(launcher))
}

pub(crate) fn jail(settings: &Settings) -> Result<Jail> {
    let sandbox = &settings.sandbox;
    let jail = JailSettings {
        program: transform_program(settings)?,
        memory_bytes: sandbox.memory.bytes(),
        cpu_time: sandbox.cpu_time.get(),
        wall_time: sandbox.wall_time.get(),
        max_input_bytes: sandbox.max_input.bytes(),
        max_picture_bytes: sandbox.max_picture.bytes(),
        max_output_bytes: sandbox.max_output.bytes(),
        concurrency: settings.worker.concurrency(),
        reserve: settings.worker.concurrency(),
    };
    let count = |cause: lazaret_sandbox::ExitCause| {
        metrics::counter!(telemetry::metrics::JAIL_EXITS, "cause" => cause.name()).increment(1);
    };
    Jail::new(jail, Arc::new(count)).context("the sandbox cannot be prepared")
}

fn s3_settings(settings: &Settings) -> S3Settings {
    let storage = &settings.storage;
    S3Settings {
        // A URL without a path is printed with a slash, which would end up twice in every request.
        endpoint: storage.endpoint.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
        force_path_style: storage.force_path_style,
        checksums: match storage.checksums {
            Checksums::WhenSupported => s3::Checksums::WhenSupported,
            Checksums::WhenRequired => s3::Checksums::WhenRequired,
        },
        sse: storage.sse.map(|sse| match sse {
            ServerSideEncryption::Aes256 => s3::ServerSideEncryption::Aes256,
            ServerSideEncryption::AwsKms => s3::ServerSideEncryption::AwsKms { key_id: None },
        }),
        credentials: credentials(settings),
        ..S3Settings::aws(storage.region.clone())
    }
}

fn credentials(settings: &Settings) -> Option<(String, String)> {
    let storage = &settings.storage;
    Some((storage.access_key_id.clone()?, storage.secret_access_key.as_ref()?.expose().to_owned()))
}

/// Unique to this start: a lease of an earlier one is not ours.
fn worker_id() -> WorkerId {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    WorkerId::new(format!("{}-{}-{}", host.trim(), process::id(), Uuid::now_v7().simple()))
}
