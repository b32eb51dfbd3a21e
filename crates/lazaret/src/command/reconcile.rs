//! `lazaret reconcile`: process what has no event.

mod checkpoint;
mod told;

use std::{num::NonZero, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use lazaret_core::{ObjectKey, Prefix};
use lazaret_pipeline::{Progress, ReconcileCounts, ReconcileError, ReconcileSettings, Reconciled, Reconciler};
use serde::Serialize;

use crate::{
    cli::{Output, Reconcile},
    failure::UsageError,
    output, service,
    settings::Settings,
    wiring,
};

use checkpoint::Checkpoint;
use told::Told;

/// Sessions that are looked up at the same time.
const LOOKUPS: NonZero<usize> = NonZero::<usize>::MIN.saturating_add(7);

/// What is printed at the end.
#[derive(Serialize)]
struct Summary<'a> {
    dry_run: bool,
    prefix: &'a Prefix,
    /// False: it was told to stop before the end.
    complete: bool,
    /// The last key that was looked at: where to go on after.
    last_key: Option<&'a ObjectKey>,
    #[serde(flatten)]
    counts: &'a ReconcileCounts,
}

/// Looks at every object under the prefix. A run that was interrupted, or failed at an object, is exit code 1.
pub(super) async fn run(settings: &Settings, arguments: &Reconcile, form: Output) -> Result<ExitCode> {
    let prefix = prefix(settings, arguments)?;
    let bucket = &settings.storage.bucket;
    let kept =
        arguments.checkpoint.as_deref().map(|file| Checkpoint::read(file, bucket, prefix)).transpose()?.flatten();
    let after = arguments.start_after.clone().or(kept);
    let sessions = wiring::sessions_for_work(settings).await?;
    let wired = wiring::station(settings, sessions).await?;
    let stop = service::termination()?;
    let reconciler = Reconciler::new(
        wired.station,
        ReconcileSettings {
            prefix: Some(prefix.clone()),
            objects_per_second: arguments.rate,
            lookups: LOOKUPS,
            grace: Duration::ZERO,
            dry_run: arguments.dry_run,
        },
    );
    // A dry run leaves nothing behind: the next one is to begin where this one did.
    let file = arguments.checkpoint.as_deref().filter(|_| !arguments.dry_run);
    let mut checkpoint = file.map(|file| Checkpoint::new(file, bucket, prefix));
    let mut told = Told::new();
    let (mut unwritten, mut reached) = (None, after.clone());
    let outcome = reconciler
        .run(after.as_ref(), &stop, &mut |progress| {
            told.tell(progress);
            reached.clone_from(&progress.last);
            if let (Some(checkpoint), Some(last)) = (&mut checkpoint, &progress.last)
                && let Err(error) = checkpoint.reached(last)
            {
                // Without it the work would be lost to the next run, which somebody counts on.
                unwritten.get_or_insert(error);
                stop.cancel();
            }
        })
        .await;
    told.end();
    let outcome = finish(outcome, checkpoint, reached.as_ref())?;
    if let Some(error) = unwritten {
        return Err(error);
    }
    print(&outcome, arguments, prefix, form)?;
    let all_done = outcome.complete && outcome.progress.counts.failed == 0;
    Ok(if all_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The prefix to look at, which lies within the quarantine.
fn prefix<'a>(settings: &'a Settings, arguments: &'a Reconcile) -> Result<&'a Prefix, UsageError> {
    let quarantine = &settings.storage.quarantine_prefix;
    let prefix = arguments.prefix.as_ref().unwrap_or(quarantine);
    if !prefix.as_str().starts_with(quarantine.as_str()) {
        return Err(UsageError(format!(
            "--prefix {}: only what lies under storage.quarantine_prefix, {quarantine}, can be reconciled",
            output::plain(prefix.as_str(), 200)
        )));
    }
    if let Some(key) = arguments.start_after.as_ref().filter(|key| !prefix.contains(key)) {
        return Err(UsageError(format!(
            "--start-after {}: a key under {prefix} is expected",
            output::plain(key.as_str(), 200)
        )));
    }
    Ok(prefix)
}

/// Keeps the place where to go on, or removes it at the end.
fn finish(
    outcome: Result<Reconciled, ReconcileError>,
    checkpoint: Option<Checkpoint<'_>>,
    reached: Option<&ObjectKey>,
) -> Result<Reconciled> {
    let complete = outcome.as_ref().is_ok_and(|outcome| outcome.complete);
    let place = checkpoint.map(|checkpoint| checkpoint.end(complete)).transpose()?;
    outcome.with_context(|| format!("not everything was reconciled ({})", go_on(reached, place)))
}

fn print(outcome: &Reconciled, arguments: &Reconcile, prefix: &Prefix, form: Output) -> Result<()> {
    let Reconciled { progress: Progress { counts, last }, complete } = outcome;
    let last = last.as_ref();
    match form {
        Output::Json => {
            let (dry_run, complete) = (arguments.dry_run, *complete);
            output::json(&Summary { dry_run, prefix, complete, last_key: last, counts })?;
        }
        Output::Table => {
            let asked_for = if arguments.dry_run { "would be asked for" } else { "asked for" };
            output::show(&output::pairs([
                ("objects", counts.seen.to_string()),
                (asked_for, counts.requested.to_string()),
                ("in work or asked for before", counts.waiting.to_string()),
                ("to be finalized first", counts.awaiting_finalize.to_string()),
                ("settled", counts.settled.to_string()),
                ("without a session", counts.orphans.to_string()),
                ("failed, see the log", counts.failed.to_string()),
            ]))?;
        }
    }
    if !complete {
        anstream::eprintln!(
            "interrupted: {}",
            go_on(last, arguments.checkpoint.as_deref().filter(|_| !arguments.dry_run))
        );
    }
    Ok(())
}

fn go_on(last: Option<&ObjectKey>, checkpoint: Option<&Path>) -> String {
    match (checkpoint, last) {
        (Some(file), _) => format!("the same command goes on from {}", file.display()),
        (None, Some(last)) => format!("go on with --start-after '{}'", output::plain(last.as_str(), 1024)),
        (None, None) => "nothing was looked at yet".to_owned(),
    }
}
