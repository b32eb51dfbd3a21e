//! How each part is tried.

use std::{io::Write as _, time::Duration};

use anyhow::Result;
use lazaret_core::{
    EngineVersion, Timestamp,
    ports::{ObjectStore, Scanner as _, SessionStore, Transformer},
};
use lazaret_objects::{Capabilities, Capability};
use lazaret_queue::{AmqpSettings, SqsQueue, SqsSettings};
use lazaret_sandbox::{Extra, JailReport};
use lazaret_scanners::ProvenScanner;
use uuid::Uuid;

use super::finding::Finding;
use crate::{
    settings::{EventsKind, Scanner, ScannerKind, Settings},
    wiring::{self, QueueSettings},
};

/// A difference of clocks that is worth a warning. Nothing depends on them: leases live on the database's clock.
const SKEW: Duration = Duration::from_mins(1);
/// Capabilities without which something that Lazaret offers is not there.
const WANTED: [&str; 3] = ["versions", "multipart", "multipart clean-up"];

/// A check that an error ends.
async fn or_error(name: &str, found: impl Future<Output = Result<Vec<Finding>>>) -> Vec<Finding> {
    found.await.unwrap_or_else(|error| vec![Finding::of_error(name, &error)])
}

pub(super) async fn store(settings: &Settings) -> Vec<Finding> {
    or_error(
        "store",
        Box::pin(async {
            let client = wiring::client(settings).await?;
            let storage = &settings.storage;
            let (bucket, published) = (&storage.bucket, storage.published_bucket());
            client.check(bucket).await?;
            client.check(published).await?;
            let mut findings = vec![Finding::ok("store", format!("{bucket} and {published} answer"))];
            if bucket == published {
                findings[0].detail = format!("{bucket} answers");
            }
            let found = client.probe(published, &storage.published_prefix, Uuid::now_v7()).await?;
            findings.extend(capabilities(&found));
            Ok(findings)
        }),
    )
    .await
}

fn capabilities(found: &Capabilities) -> Vec<Finding> {
    let line = |capability: &Capability| {
        let name = format!("store: {}", capability.name);
        let detail = format!("{}: {}", capability.honoured, capability.meaning);
        let lacks = capability.honoured != lazaret_objects::Honoured::Yes && WANTED.contains(&capability.name);
        if lacks { Finding::warning(name, detail) } else { Finding::ok(name, detail) }
    };
    let mut findings: Vec<_> = found.list().iter().map(line).collect();
    let way = if found.copies_versions() {
        "objects that pass as they are are copied at the store, by version"
    } else {
        "everything is uploaded from the spool, which needs nothing of the store"
    };
    findings.push(Finding::ok("store: publishing", way));
    findings.extend(found.notes.iter().map(|note| Finding::warning("store: probe", note)));
    findings
}

pub(super) async fn queue(settings: &Settings) -> Vec<Finding> {
    or_error(
        "queue",
        Box::pin(async {
            match QueueSettings::of(settings) {
                QueueSettings::Sqs(queue) => sqs(settings, queue).await,
                QueueSettings::Amqp(queue) => amqp(settings, &queue).await,
                QueueSettings::Embedded => {
                    Ok(vec![Finding::ok("queue", "embedded: inside `lazaret dev`, nothing to reach")])
                }
            }
        }),
    )
    .await
}

async fn sqs(settings: &Settings, ours: SqsSettings) -> Result<Vec<Finding>> {
    let attributes = SqsQueue::connect(ours.clone()).await.attributes().await?;
    let contradictions = attributes.contradictions(&ours, settings.worker.max_attempts.get());
    let kind = if attributes.fifo { "FIFO" } else { "standard" };
    let mut findings = vec![Finding::ok("queue", format!("{} answers ({kind})", attributes.arn))];
    match (&attributes.dead_letter_arn, &attributes.max_receive_count) {
        (Some(arn), Some(count)) => {
            findings.push(Finding::ok("queue: dead letters", format!("{arn}; moved by SQS after {count} receives")));
        }
        (Some(arn), None) => findings.push(Finding::ok("queue: dead letters", arn)),
        (None, _) => findings.push(Finding::warning(
            "queue: dead letters",
            "queue.sqs.dead_letter_url is not set: what cannot be understood is logged and removed",
        )),
    }
    findings.extend(contradictions.iter().map(|text| Finding::warning("queue: settings", text)));
    Ok(findings)
}

async fn amqp(settings: &Settings, ours: &AmqpSettings) -> Result<Vec<Finding>> {
    let found = lazaret_queue::amqp::look(ours).await?;
    let mut findings = vec![Finding::ok("queue", format!("{} answers", ours.queue))];
    if found.missing.is_empty() {
        findings.push(Finding::ok("queue: topology", found.there.join(", ")));
    } else {
        let missing = found.missing.join(", ");
        let made = "`lazaret queue declare` makes it, and so does a worker when it begins";
        findings.push(Finding::warning("queue: topology", format!("missing: {missing}; {made}")));
    }
    let slots = settings.worker.concurrency();
    if usize::from(ours.prefetch) < slots {
        findings.push(Finding::warning(
            "queue: prefetch",
            format!(
                "queue.amqp.prefetch of {} is less than worker.concurrency of {slots}: slots stay empty",
                ours.prefetch
            ),
        ));
    }
    Ok(findings)
}

pub(super) async fn database(settings: &Settings) -> Vec<Finding> {
    or_error(
        "database",
        Box::pin(async {
            let sessions = wiring::sessions(settings).await?;
            let there = sessions.now().await?;
            #[expect(clippy::disallowed_methods, reason = "this host's clock is what is looked at")]
            let here = Timestamp::now();
            sessions.check().await?;
            let kind = if settings.sessions.is_postgres() { "PostgreSQL" } else { "SQLite" };
            let answer = format!("{kind} answers, schema version {}, writable", sessions.schema_version());
            let skew = here.duration_since(there).unsigned_abs();
            let clock = format!("differs from this host's by {:.1} s", skew.as_secs_f64());
            let clock = if skew > SKEW {
                Finding::warning(
                    "database: clock",
                    format!("{clock}: pre-signed URLs and logs of this host are off, leases are not"),
                )
            } else {
                Finding::ok("database: clock", clock)
            };
            sessions.close().await;
            Ok(vec![Finding::ok("database", answer), clock])
        }),
    )
    .await
}

pub(super) async fn scanner(settings: &Settings, scanner: &Scanner) -> Vec<Finding> {
    let name = format!("scanner {}", scanner.name);
    or_error(
        &name,
        Box::pin(async {
            let programs = wiring::programs(settings)?;
            let wired = wiring::scanner(settings, scanner, &programs)?;
            let mut findings = Vec::new();
            for (address, engine) in &wired.engines {
                let name = if wired.engines.len() == 1 { name.clone() } else { format!("{name} at {address}") };
                match engine.check().await {
                    Ok(version) => {
                        findings.push(signatures(&name, &version));
                        findings.extend(canaries(&name, engine, scanner));
                    }
                    Err(error) => findings.push(Finding::of_error(&name, &error.into())),
                }
            }
            if scanner.kind == ScannerKind::Clamd && scanner.max_scan_time.is_none() {
                findings.push(Finding::warning(
                    format!("{name}: time"),
                    "max_scan_time is not set: tell clamd's MaxScanTime, after which it calls clean what it did not look at",
                ));
            }
            if let Some(why) = (wired.broken)() {
                findings.push(Finding::failed(format!("{name}: rules"), why, None));
            }
            Ok(findings)
        }),
    )
    .await
}

fn signatures(name: &str, engine: &EngineVersion) -> Finding {
    let mut detail = engine.engine.clone();
    if let Some(signatures) = &engine.signatures {
        detail.push_str(", signatures ");
        detail.push_str(signatures);
    }
    let Some(made_at) = engine.signatures_at else {
        return Finding::ok(name, format!("{detail} of unknown age"));
    };
    #[expect(clippy::disallowed_methods, reason = "an age for people, which decides nothing")]
    let hours = Timestamp::now().duration_since(made_at).as_hours();
    let (days, hours) = (hours / 24, hours % 24);
    let detail = format!("{detail}, {days} days and {hours} hours old");
    if days >= STALE_DAYS { Finding::warning(name, detail) } else { Finding::ok(name, detail) }
}

/// Where the engine was seen to look.
fn canaries(name: &str, engine: &ProvenScanner, scanner: &Scanner) -> Option<Finding> {
    let name = format!("{name}: canaries");
    let Some(coverage) = engine.coverage() else {
        return Some(match scanner.canaries() {
            lazaret_scanners::Canaries::Off => Finding::ok(name, "off: the engine is believed"),
            _ => return None,
        });
    };
    let Some(marker) = coverage.marker else {
        let unknown = "the engine finds neither Lazaret's canary nor EICAR's: what it says of containers does not count; \
                       put config/clamav/lazaret-canary.ndb into its signature database";
        return Some(Finding::warning(name, unknown));
    };
    let misses = engine.misses();
    if !misses.is_empty() {
        let detail = format!("with {marker} it finds {}: such objects are held as scan-limits", misses.join("; "));
        return Some(Finding::warning(name, detail));
    }
    let told = coverage.told();
    if !told.is_empty() {
        let detail = format!("with {marker} it says that it finds {}: such objects are held", told.join("; "));
        return Some(Finding::warning(name, detail));
    }
    let depth = coverage.depth.map_or(0, |(depth, _)| depth);
    let found = format!("{marker} is found in every container that there is a canary for, {depth} archives deep");
    Some(match coverage.largest {
        Some(largest) => Finding::ok(name, format!("{found}, and behind {largest} bytes")),
        None => Finding::warning(
            name,
            format!(
                "{found}; whether the engine looks at the end of large files only Lazaret's canary shows: put \
                 config/clamav/lazaret-canary.ndb into its signature database"
            ),
        ),
    })
}

/// ClamAV's signatures change every day.
const STALE_DAYS: i64 = 7;

pub(super) async fn sandbox(settings: &Settings) -> Vec<Finding> {
    or_error(
        "sandbox",
        Box::pin(async {
            wiring::require_transform(settings)?;
            let jail = wiring::jail(settings)?;
            let mut findings = match jail.self_test().await {
                Ok(()) => vec![Finding::ok(
                    "sandbox",
                    "every layer holds: an image was re-encoded, and every escape that was tried failed",
                )],
                Err(error) => vec![Finding::of_error("sandbox", &error.into())],
            };
            findings.extend(jail_report(&jail.report()));
            Ok(findings)
        }),
    )
    .await
}

/// What the jail is made of here, and what this host has that it does not use.
fn jail_report(report: &JailReport) -> Vec<Finding> {
    let layers: Vec<_> = report.layers.iter().map(ToString::to_string).collect();
    let landlock = match report.landlock_abi {
        Some(version) => Finding::ok("sandbox: Landlock", format!("version {version}")),
        None => Finding::warning("sandbox: Landlock", "this kernel has none, so no image is decoded"),
    };
    let program = match report.static_program {
        Some(true) => "statically linked",
        Some(false) => "dynamically linked: it starts more slowly than a static one",
        None => "cannot be read",
    };
    let extra = |name: &str, extra: &Extra| {
        let used = if extra.used { "used" } else { "not used" };
        let available = if extra.available { "available" } else { "not available" };
        Finding::ok(format!("sandbox: {name}"), format!("{available}, {used}: {}", extra.why))
    };
    vec![
        Finding::ok("sandbox: layers", layers.join(", ")),
        landlock,
        Finding::ok("sandbox: program", program),
        extra("namespaces", &report.namespaces),
        extra("control groups", &report.cgroup),
        Finding::ok("sandbox: memory", format!("at most {} MiB, all jobs together", report.memory_bytes >> 20)),
    ]
}

pub(super) async fn events(settings: &Settings) -> Vec<Finding> {
    or_error(
        "events",
        Box::pin(async {
            wiring::verdicts(settings).await?;
            let events = &settings.events;
            let to = match (events.kind, &events.sqs, &events.sns, &events.amqp, &events.webhook) {
                (EventsKind::Sqs, Some(sqs), ..) => format!("sqs: {}", sqs.url),
                (EventsKind::Sns, _, Some(sns), ..) => format!("sns: {}", sns.topic_arn),
                (EventsKind::Amqp, _, _, Some(amqp), _) => {
                    format!("amqp: exchange {:?} of {}", amqp.exchange, amqp.url)
                }
                // Paths and queries of webhooks may be credentials.
                (EventsKind::Webhook, _, _, _, Some(webhook)) => {
                    format!("webhook: {}", webhook.url.host_str().unwrap_or_default())
                }
                (EventsKind::None | EventsKind::Sqs | EventsKind::Sns | EventsKind::Amqp | EventsKind::Webhook, ..) => {
                    return Ok(vec![Finding::ok("events", "none: verdicts are told to nobody")]);
                }
            };
            Ok(vec![Finding::ok("events", format!("{to}; configured, not tried"))])
        }),
    )
    .await
}

pub(super) async fn spool(settings: &Settings) -> Vec<Finding> {
    or_error(
        "spool",
        Box::pin(async {
            let spool = wiring::spool(settings)?;
            let dir = spool.dir().to_owned();
            let shown = dir.display().to_string();
            let written = tokio::task::spawn_blocking(move || {
                let mut file = tempfile::tempfile_in(dir)?;
                file.write_all(b"lazaret doctor").and_then(|()| file.sync_all())
            });
            written.await??;
            let budget = settings.worker.spool_budget;
            Ok(vec![Finding::ok("spool", format!("{shown} can be written to; worker.spool_budget is {budget}"))])
        }),
    )
    .await
}
