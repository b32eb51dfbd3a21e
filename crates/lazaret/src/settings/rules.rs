//! Rules between settings that their types do not tell.

mod connections;
mod policies;

use std::{collections::BTreeSet, path::Path, time::Duration};

use lazaret_scanners::MAX_OBJECT_BYTES;

use super::{Period, Scanner, ScannerKind, Settings, SettingsError, Size};

pub(super) use policies::MAX_SIDE;

/// The longest life of a pre-signed URL
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html>).
const MAX_UPLOAD_TTL: Period = Period::from_secs(7 * 24 * 3600);
/// The longest long poll of SQS
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>).
const MAX_WAIT_TIME: Period = Period::from_secs(20);
/// The longest visibility timeout of SQS.
const MAX_VISIBILITY_TIMEOUT: Period = Period::from_secs(12 * 3600);
/// A shorter lease would end between two renewals on a busy machine.
const MIN_LEASE: Period = Period::from_secs(1);

/// The largest `MaxRecursion` of clamd.
const MAX_ARCHIVE_DEPTH: u32 = 100;

/// More is no setting but a slip: a few of these fit into the address space of a process.
const MAX_MAP: Size = Size::gib(1024);

type Outcome = Result<(), SettingsError>;

fn ensure(holds: bool, key: impl Into<String>, message: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(SettingsError::rule(key, message)) }
}

/// Checks everything that one section alone does not show.
pub(super) fn check(settings: &Settings) -> Outcome {
    storage(settings)?;
    connections::queue(settings)?;
    connections::sessions(&settings.sessions)?;
    connections::events(&settings.events)?;
    connections::no_circle(settings)?;
    work(settings)?;
    sandbox_and_sweeper(settings)?;
    scanners(settings)?;
    policies::check(settings)?;
    if let Some(endpoint) = &settings.telemetry.otlp_endpoint {
        ensure(is_http(endpoint), "telemetry.otlp_endpoint", "an http or https URL is expected")?;
    }
    Ok(())
}

fn is_http(url: &url::Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

fn storage(settings: &Settings) -> Outcome {
    let storage = &settings.storage;
    if let Some(endpoint) = &storage.endpoint {
        ensure(is_http(endpoint), "storage.endpoint", "an http or https URL is expected")?;
    }
    ensure(!storage.region.is_empty(), "storage.region", "a region is expected; any name will do outside AWS")?;
    ensure(
        storage.access_key_id.is_some() == storage.secret_access_key.is_some(),
        "storage.access_key_id",
        "access_key_id and secret_access_key go together: set both, or neither for the default chain of AWS",
    )?;
    let (quarantine, published) = (storage.quarantine_prefix.as_str(), storage.published_prefix.as_str());
    ensure(
        *storage.published_bucket() != storage.bucket
            || !(quarantine.starts_with(published) || published.starts_with(quarantine)),
        "storage.published_prefix",
        format!(
            "{published:?} and quarantine_prefix {quarantine:?} lie in one bucket and one contains the other: \
             choose prefixes apart, or another published_bucket"
        ),
    )
}

fn work(settings: &Settings) -> Outcome {
    let (worker, limits) = (&settings.worker, &settings.limits);
    ensure(worker.lease >= MIN_LEASE, "worker.lease", format!("{} is too short: at least {MIN_LEASE}", worker.lease))?;
    ensure(
        worker.memory_spool_limit <= worker.spool_budget,
        "worker.memory_spool_limit",
        format!("{} is more than worker.spool_budget of {}", worker.memory_spool_limit, worker.spool_budget),
    )?;
    ensure(limits.max_object_size.bytes() > 0, "limits.max_object_size", "nothing could be uploaded: raise it")?;
    for (key, limit) in [
        ("limits.archive_depth", u64::from(limits.archive_depth)),
        ("limits.archive_entries", limits.archive_entries),
        ("limits.archive_unpacked", limits.archive_unpacked.bytes()),
        ("limits.archive_ratio", limits.archive_ratio),
        ("limits.archive_memory", limits.archive_memory.bytes()),
    ] {
        ensure(limit > 0, key, "no archive could be published: use a policy with action \"reject\" for that")?;
    }
    ensure(
        limits.archive_depth <= MAX_ARCHIVE_DEPTH,
        "limits.archive_depth",
        format!("{} is deeper than clamd can look: at most {MAX_ARCHIVE_DEPTH}", limits.archive_depth),
    )?;
    ensure(
        limits.max_object_size <= worker.spool_budget,
        "limits.max_object_size",
        format!(
            "{} does not fit into worker.spool_budget of {}: lower this one or raise that one",
            limits.max_object_size, worker.spool_budget
        ),
    )?;
    ensure(
        limits.upload_ttl.get() >= Duration::from_secs(1) && limits.upload_ttl <= MAX_UPLOAD_TTL,
        "limits.upload_ttl",
        format!("{} is outside of what a pre-signed URL allows: 1s to {MAX_UPLOAD_TTL}", limits.upload_ttl),
    )
}

fn sandbox_and_sweeper(settings: &Settings) -> Outcome {
    let sandbox = &settings.sandbox;
    for (key, period) in [
        ("sandbox.cpu_time", sandbox.cpu_time),
        ("sandbox.wall_time", sandbox.wall_time),
        ("sweeper.interval", settings.sweeper.interval),
    ] {
        ensure(!period.is_zero(), key, "a time longer than nothing is expected")?;
    }
    for (key, size) in [
        ("sandbox.memory", sandbox.memory),
        ("sandbox.max_input", sandbox.max_input),
        ("sandbox.max_picture", sandbox.max_picture),
        ("sandbox.max_output", sandbox.max_output),
    ] {
        ensure(size.bytes() > 0, key, "more than no bytes are expected")?;
        ensure(size <= MAX_MAP, key, format!("{size} is more than a process can map: at most {MAX_MAP}"))?;
    }
    Ok(())
}

fn scanners(settings: &Settings) -> Outcome {
    let mut names = BTreeSet::new();
    for (index, scanner) in settings.scanners.iter().enumerate() {
        ensure(
            names.insert(&scanner.name),
            format!("scanner[{index}].name"),
            format!("there are two scanners named {:?}: give each its own name", scanner.name.as_str()),
        )?;
        ensure(
            !scanner.timeout.is_zero(),
            format!("scanner[{index}].timeout"),
            "a time longer than nothing is expected",
        )?;
        ensure(
            scanner.max_size.bytes() > 0,
            format!("scanner[{index}].max_size"),
            "nothing could be scanned: raise it",
        )?;
        ensure(
            scanner.kind != ScannerKind::Clamd || scanner.max_size.bytes() <= MAX_OBJECT_BYTES,
            format!("scanner[{index}].max_size"),
            format!("{} is more than clamd ever scans: at most {MAX_OBJECT_BYTES} bytes", scanner.max_size),
        )?;
        kind(scanner, index)?;
    }
    Ok(())
}

/// What one kind needs and another does not know.
fn kind(scanner: &Scanner, index: usize) -> Outcome {
    let kind = scanner.kind.as_str();
    for (name, kinds, is_set) in scanner.particular() {
        let key = format!("scanner[{index}].{name}");
        ensure(
            !is_set || kinds.contains(&scanner.kind),
            key.clone(),
            format!("a scanner of kind {kind:?} has no such setting"),
        )?;
        ensure(is_set || scanner.kind.needs() != name, key, format!("a scanner of kind {kind:?} needs it"))?;
    }
    ensure(
        scanner.kind != ScannerKind::Yara || cfg!(feature = "yara"),
        format!("scanner[{index}].kind"),
        "this program was built without YARA: build it with `--features yara`",
    )?;
    ensure(
        scanner.kind != ScannerKind::Icap || scanner.max_signature_age.is_none(),
        format!("scanner[{index}].max_signature_age"),
        "ICAP has no words for the date of signatures, so nothing would ever be scanned: leave it out",
    )?;
    if let Some(memory) = scanner.memory {
        ensure(memory.bytes() > 0, format!("scanner[{index}].memory"), "more than no bytes are expected")?;
    }
    for path in scanner.readable.iter().flatten() {
        let key = format!("scanner[{index}].readable");
        ensure(path.is_absolute(), key, format!("{} is no absolute path", path.display()))?;
    }
    if let Some(command) = &scanner.command {
        ensure(
            command.first().is_some_and(|program| Path::new(program).is_absolute()),
            format!("scanner[{index}].command"),
            "the absolute path of a program is expected first",
        )?;
    }
    for (name, period) in [("cpu_time", scanner.cpu_time), ("max_scan_time", scanner.max_scan_time)] {
        let Some(period) = period else { continue };
        ensure(!period.is_zero(), format!("scanner[{index}].{name}"), "a time longer than nothing is expected")?;
    }
    if let Some(limit) = scanner.max_scan_time {
        ensure(
            limit < scanner.timeout,
            format!("scanner[{index}].max_scan_time"),
            format!(
                "{limit} is not less than timeout of {}: clamd would go on with what nobody waits for",
                scanner.timeout
            ),
        )?;
    }
    Ok(())
}
