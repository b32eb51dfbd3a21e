//! The one place where settings become parts, and parts a station.

use std::{env, fs, num::NonZero, path::PathBuf, process, sync::Arc};

use anyhow::{Context as _, Result, bail};
use lazaret_core::{
    Timestamp, WorkerId,
    error::chain,
    ports::{Queue, SessionStoreError},
};
use lazaret_events::Record;
use lazaret_objects::{S3Settings, S3Store, Spool, SpoolSettings, s3};
use lazaret_pipeline::{Bus, Message, ScannerSlot, Station, StationSettings};
use lazaret_queue::{SqsQueue, SqsSettings};
use lazaret_sandbox::{Jail, JailSettings};
use lazaret_scanners::{ClamdScanner, ClamdSettings};
use lazaret_sessions::{MigrationReport, SqliteOptions, SqliteSessionStore};
use uuid::Uuid;

use crate::{
    failure, service,
    settings::{Checksums, Period, Scanner, ServerSideEncryption, Settings, Sqs},
    telemetry,
};

/// The program that is jailed. It is installed beside this one.
const TRANSFORM_PROGRAM: &str = "lazaret-transform";

/// A station, and what of it others look at.
#[derive(Debug, Clone)]
pub struct Wired {
    /// Everything that an object meets on its way.
    pub station: Arc<Station>,
    /// Where objects lie meanwhile.
    pub spool: Arc<Spool>,
}

/// Creates or upgrades the session database, and the folder it lies in.
pub async fn migrate(settings: &Settings) -> Result<MigrationReport> {
    if let Some(folder) = settings.sessions.sqlite_path().and_then(|path| path.parent().map(PathBuf::from)) {
        fs::create_dir_all(&folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    }
    Ok(lazaret_sessions::migrate(settings.sessions.url.expose()).await?)
}

/// The session database, which must have been migrated.
pub async fn sessions(settings: &Settings) -> Result<SqliteSessionStore, SessionStoreError> {
    SqliteSessionStore::open(settings.sessions.url.expose(), &SqliteOptions::default()).await
}

/// The store without room to read anything: for commands that sign, ask and delete.
pub async fn client(settings: &Settings) -> Result<S3Store> {
    let spool = Spool::new(SpoolSettings { dir: env::temp_dir(), budget_bytes: 0, memory_limit_bytes: 0 })
        .context("the folder for temporary files cannot be used")?;
    Ok(S3Store::connect(s3_settings(settings), Arc::new(spool)).await)
}

/// Room for objects, as the settings say.
fn spool(settings: &Settings) -> Result<Arc<Spool>> {
    let worker = &settings.worker;
    let spool = Spool::new(SpoolSettings {
        dir: worker.spool_dir(),
        budget_bytes: worker.spool_budget.bytes(),
        memory_limit_bytes: worker.memory_spool_limit.bytes(),
    })?;
    Ok(Arc::new(spool))
}

/// A whole station. Nothing is asked of any part yet, except that the database is there.
pub async fn station(settings: &Settings) -> Result<Wired> {
    let sessions = sessions(settings).await?;
    assemble(settings, sessions).await
}

/// A station that remembers nothing, for local files.
pub async fn offline(settings: &Settings) -> Result<Wired> {
    let sessions = SqliteSessionStore::open("sqlite::memory:", &SqliteOptions::default()).await?;
    assemble(settings, sessions).await
}

async fn assemble(settings: &Settings, sessions: SqliteSessionStore) -> Result<Wired> {
    service::survive_file_size_limit()?;
    let spool = spool(settings)?;
    let (storage, worker, limits) = (&settings.storage, &settings.worker, &settings.limits);
    let station = Station {
        sessions: Arc::new(sessions),
        store: Arc::new(S3Store::connect(s3_settings(settings), Arc::clone(&spool)).await),
        scanners: settings.scanners.iter().map(|scanner| slot(settings, scanner)).collect(),
        transformer: Arc::new(jail(settings)?),
        settings: StationSettings {
            worker_id: worker_id(),
            bucket: storage.bucket.clone(),
            quarantine_prefix: storage.quarantine_prefix.clone(),
            published_bucket: storage.published_bucket().clone(),
            published_prefix: storage.published_prefix.clone(),
            policies: settings.policy_set(),
            max_object_size: limits.max_object_size.bytes(),
            require_finalize: settings.sessions.require_finalize,
            lease: worker.lease.get(),
            max_attempts: worker.max_attempts.get(),
            retain_rejected: limits.retain_rejected.get(),
        },
    };
    Ok(Wired { station: Arc::new(station), spool })
}

/// The SQS queue.
pub async fn sqs(settings: &Settings, sqs: &Sqs) -> Arc<dyn Queue> {
    let text = |url: &url::Url| url.as_str().trim_end_matches('/').to_owned();
    let queue = SqsSettings {
        url: sqs.url.as_str().to_owned(),
        endpoint: sqs.endpoint.as_ref().map(text),
        // The URL of a queue on AWS holds its region.
        region: sqs.region.clone().or_else(|| (!on_aws(&sqs.url)).then(|| settings.storage.region.clone())),
        credentials: credentials(settings),
        wait_time: sqs.wait_time.get(),
        visibility_timeout: sqs.visibility_timeout.get(),
        dead_letter_url: sqs.dead_letter_url.as_ref().map(|url| url.as_str().to_owned()),
    };
    Arc::new(SqsQueue::connect(queue).await)
}

fn on_aws(url: &url::Url) -> bool {
    url.host_str().is_some_and(|host| host.starts_with("sqs.") && host.contains(".amazonaws.com"))
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
pub fn require_transform() -> Result<()> {
    let program = transform_program()?;
    if !program.is_file() {
        bail!("{} is missing; {}", program.display(), failure::TRANSFORM);
    }
    Ok(())
}

fn transform_program() -> Result<PathBuf> {
    let this = env::current_exe().context("this program does not know where it lies")?;
    Ok(this.with_file_name(TRANSFORM_PROGRAM))
}

fn jail(settings: &Settings) -> Result<Jail> {
    let sandbox = &settings.sandbox;
    let jail = JailSettings {
        program: transform_program()?,
        memory_bytes: sandbox.memory.bytes(),
        cpu_time: sandbox.cpu_time.get(),
        wall_time: sandbox.wall_time.get(),
        max_output_bytes: sandbox.max_output.bytes(),
        concurrency: settings.worker.concurrency(),
    };
    let count = |cause: lazaret_sandbox::ExitCause| {
        metrics::counter!(telemetry::metrics::JAIL_EXITS, "cause" => cause.name()).increment(1);
    };
    Jail::new(jail, Arc::new(count)).context("the sandbox cannot be prepared")
}

fn slot(settings: &Settings, scanner: &Scanner) -> ScannerSlot {
    #[expect(clippy::disallowed_methods, reason = "the clock of the scanner, which takes it as an argument")]
    let clamd = ClamdSettings {
        max_signature_age: scanner.max_signature_age.map(Period::get),
        max_object_bytes: scanner.max_size.bytes(),
        max_connections: NonZero::new(settings.worker.concurrency()).unwrap_or(NonZero::<usize>::MIN),
        ..ClamdSettings::new(scanner.name.clone(), scanner.address.to_scanner(), Timestamp::now)
    };
    ScannerSlot {
        scanner: Arc::new(ClamdScanner::new(clamd)),
        timeout: scanner.timeout.get(),
        max_size: scanner.max_size.bytes(),
    }
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
