//! `lazaret dev`: the whole system in one process, on one folder.

mod clamd;
mod home;
pub mod server;
pub mod store;

use std::{env, net::SocketAddr, path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context as _, Result, anyhow};
use lazaret_core::{
    BucketName, ObjectKey, Prefix,
    ports::{ListFrom, ObjectStore, Queue},
};
use lazaret_pipeline::Bus;
use lazaret_queue::{EmbeddedQueue, EmbeddedSettings};
use owo_colors::OwoColorize;
use serde::Serialize;
use tokio::{net::TcpListener, runtime::Handle, task::JoinSet};
use tokio_util::sync::CancellationToken;
use toml::Table;
use tracing::{error, info, warn};

use crate::{
    cli::{self, Output},
    command, failure, output,
    service::{self, Listening, Service},
    settings::{LogFormat, Settings, Telemetry},
    telemetry::{self, LogSetup, Redactor},
    wiring,
};

use clamd::Clamd;
use home::{Addresses, Home};
use store::{CompletedUpload, DirStore};

/// What `lazaret dev --output json` prints first: one line, once everything works.
#[derive(Serialize)]
struct Ready<'a> {
    endpoint: &'a str,
    config: &'a Path,
    bucket: &'a str,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    telemetry: String,
    clamd: clamd::Told,
}

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(arguments: &cli::Dev, named: Option<&Path>, form: Output) -> Result<ExitCode> {
    let file = named.map(Settings::read_table).transpose()?.unwrap_or_default();
    let default = Telemetry { log: LogFormat::Pretty, ..Telemetry::default() };
    let wanted = Telemetry::from_environment(&default)?;
    let home = Home::open(&arguments.data_dir)?;
    let _logging = telemetry::init(&LogSetup {
        format: wanted.log,
        default_filter: "info",
        otlp_endpoint: wanted.otlp_endpoint.as_ref(),
        redactor: Redactor::new([home.credentials.secret_access_key.expose().to_owned()]),
    })?;
    command::runtime()?.block_on(serve(home, file, arguments, wanted.listen, form))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(home: Home, file: Table, arguments: &cli::Dev, telemetry: SocketAddr, form: Output) -> Result<()> {
    let stop = service::termination()?;
    let queue = Arc::new(EmbeddedQueue::new(EmbeddedSettings::default()));
    // The store's lock on the folder comes first: a second `lazaret dev` changes nothing of what the first one wrote.
    let store = open_store(&home, &queue)?;
    let listener = bind(arguments.listen).await?;
    let telemetry_listener = bind_telemetry(telemetry).await?;
    // On the thread that lives longest: the kernel ends our clamd when the thread ends that started it.
    let mut clamd = match stop.run_until_cancelled(Clamd::find_or_start(arguments.clamd.as_ref(), &home)).await {
        Some(found) => found?,
        None => return Ok(()),
    };
    let endpoint = format!("http://{}", reachable(listener.local_addr()?));
    let addresses =
        Addresses { endpoint: &endpoint, telemetry: telemetry_listener.local_addr()?, clamd: clamd.scanner() };
    let config = home.write_settings(file, &addresses)?;
    let settings = Settings::load(Some(&config))?.settings;
    wiring::require_transform(&settings)?;
    wiring::migrate(&settings).await.context("the session database was not migrated")?;
    // The lock on the folder proves that whoever held a lease is gone.
    let sessions = wiring::sessions(&settings).await?;
    let abandoned = sessions.abandon_leases().await?;
    if abandoned > 0 {
        info!(sessions = abandoned, "the lazaret dev before this one ended in the middle of its work");
    }

    let mut servers = JoinSet::new();
    let s3_stop = CancellationToken::new();
    let keys = &home.credentials;
    let secret = keys.secret_access_key.expose().to_owned();
    servers.spawn(server::serve(listener, store, keys.access_key_id.clone(), secret, s3_stop.clone()));

    let listening = Listening::begin(telemetry_listener, service::install_metrics(&settings)?)?;
    let wired = wiring::station(&settings, sessions).await?;
    let bus = wiring::bus(Arc::clone(&queue) as Arc<dyn Queue>);
    let waiting = enqueue_waiting(&settings, wired.station.store.as_ref(), &bus).await?;
    if waiting > 0 {
        info!(objects = waiting, "objects that arrived before this start are looked at again");
    }
    let service = Service { wired, bus, verdicts: wiring::verdicts(&settings).await? };
    service.require_access().await?;
    announce(form, &home, &config, &addresses, &clamd)?;
    let working = service.run(&settings, listening, stop.clone());
    let outcome = tokio::select! {
        outcome = working => outcome,
        ended = clamd.ended() => Err(ended),
    };
    s3_stop.cancel();
    while let Some(ended) = servers.join_next().await {
        ended.context("the S3 endpoint broke off")?.context("the S3 endpoint")?;
    }
    outcome
}

fn open_store(home: &Home, queue: &Arc<EmbeddedQueue>) -> Result<DirStore> {
    let (bucket, prefix) = (home::bucket(), home::quarantine_prefix());
    let (runtime, queue) = (Handle::current(), Arc::clone(queue));
    let store = DirStore::open(&home.folder.join("objects"), move |upload| {
        if let Some(message) = message(&upload, &bucket, &prefix)
            && let Err(error) = runtime.block_on(queue.send(&message))
        {
            error!(
                error = &error as &dyn std::error::Error,
                object.key = upload.key,
                "its event is lost until the next start"
            );
        }
    })?;
    store.ensure_bucket(home::bucket().as_str())?;
    Ok(store)
}

/// The event of an upload into the quarantine; nothing for any other.
fn message(upload: &CompletedUpload, bucket: &BucketName, prefix: &Prefix) -> Option<String> {
    let key: ObjectKey = upload.key.parse().ok()?;
    (upload.bucket == bucket.as_str() && prefix.contains(&key)).then(|| lazaret_events::encode(bucket, &key, None))
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        if failure::is_taken(&error) {
            anyhow!("the address {address} is taken; choose another with --listen (127.0.0.1:0 takes a free port)")
        } else {
            anyhow!("cannot listen on {address}: {error}; choose another address with --listen")
        }
    })
}

/// The usual port of telemetry may be taken by a worker on this machine: then any will do, since it is printed.
async fn bind_telemetry(address: SocketAddr) -> Result<TcpListener> {
    let usual = Telemetry::default().listen;
    match service::bind_telemetry(address).await {
        Err(_) if address == usual => service::bind_telemetry((usual.ip(), 0).into()).await,
        bound => bound,
    }
}

/// An address that a client can connect to.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    address
}

/// Puts every object in the quarantine on the queue: its event may have been lost with the process before.
async fn enqueue_waiting(settings: &Settings, store: &dyn ObjectStore, bus: &Bus) -> Result<usize> {
    let storage = &settings.storage;
    let (mut count, mut from) = (0, None);
    loop {
        let page = store
            .list(&storage.bucket, &storage.quarantine_prefix, ListFrom::page(from.as_deref()))
            .await
            .context("the quarantine cannot be listed")?;
        for object in &page.items {
            bus.queue.send(&(bus.encode)(&storage.bucket, &object.key, None)).await.context("the queue")?;
            count += 1;
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(count),
        }
    }
}

fn announce(form: Output, home: &Home, config: &Path, addresses: &Addresses<'_>, clamd: &Clamd) -> Result<()> {
    let told = clamd.told();
    if let Some(warning) = &told.signature_warning {
        match form {
            Output::Json => warn!("{warning}"),
            Output::Table => anstream::eprintln!("{} {warning}", "WARNING:".yellow().bold()),
        }
    }
    let keys = &home.credentials;
    let bucket = home::bucket();
    let ready = Ready {
        endpoint: addresses.endpoint,
        config,
        bucket: bucket.as_str(),
        access_key_id: &keys.access_key_id,
        secret_access_key: keys.secret_access_key.expose(),
        telemetry: format!("http://{}", addresses.telemetry),
        clamd: told,
    };
    match form {
        Output::Json => output::line(serde_json::to_string(&ready)?),
        Output::Table => tell(&ready),
    }
}

fn tell(ready: &Ready<'_>) -> Result<()> {
    output::line("Lazaret is ready.".green().bold())?;
    output::show(&output::pairs([
        ("endpoint", ready.endpoint.to_owned()),
        ("bucket", ready.bucket.to_owned()),
        ("access_key_id", ready.access_key_id.to_owned()),
        ("secret_access_key", ready.secret_access_key.to_owned()),
        ("telemetry", ready.telemetry.clone()),
        ("settings", ready.config.display().to_string()),
        ("clamd", format!("{} ({} signatures)", ready.clamd.address, ready.clamd.signatures.name())),
    ]))?;
    let program = env::args().next().unwrap_or_else(|| "lazaret".to_owned());
    let lazaret = format!("{program} --config {}", ready.config.display());
    output::line(format!(
        "\nNext, in another terminal:\n\n  {lazaret} session create --tenant me --file-name cat.jpg --content-type \
         image/jpeg --size $(stat -c %s cat.jpg)\n\nIt prints the line that uploads, `curl -T`. Then:\n\n  {lazaret} \
         session list\n  {lazaret} session show UPLOAD_ID\n"
    ))
}
