//! `lazaret rescan`: what is published, with the signatures of today.

mod told;

use std::{mem::discriminant, num::NonZero, process::ExitCode};

use anyhow::{Context as _, Result};
use lazaret_core::{Timestamp, UploadId, ports::SessionStore};
use lazaret_pipeline::{RescanCounts, RescanEnd, RescanSettings, Rescanned, Rescanner};
use lazaret_sessions::SqlSessionStore;
use serde::Serialize;

use crate::{
    cli::{Output, Rescan},
    failure::UsageError,
    output, service,
    settings::Settings,
    wiring,
};

use told::Told;

/// Something was revoked, and everything checked.
const REVOKED: u8 = 3;
/// How many objects of each kind are named at the end. More are counted, and in the log.
const MAX_NAMED: usize = 1000;
/// How long a detail is shown.
const MAX_DETAIL: usize = 300;

/// An object that is not clean.
#[derive(Serialize)]
struct Named {
    upload_id: UploadId,
    #[serde(flatten)]
    found: Rescanned,
}

/// What is printed at the end.
#[derive(Serialize)]
struct Summary<'a> {
    dry_run: bool,
    /// False: it was told to stop before the end.
    complete: bool,
    /// The last upload that was looked at: where to go on after.
    last_upload: Option<UploadId>,
    #[serde(flatten)]
    counts: &'a RescanCounts,
    /// What is not clean, at most this many of each kind.
    objects: &'a [Named],
}

/// Looks at everything that is published. What could not be checked, or a run that was interrupted, is exit code 1.
pub(super) async fn run(settings: &Settings, arguments: &Rescan, form: Output) -> Result<ExitCode> {
    let sessions = wiring::sessions_for_work(settings).await?;
    let since = since(&sessions, arguments).await?;
    let wired = wiring::station(settings, sessions).await?;
    let stop = service::termination()?;
    let concurrency = NonZero::new(settings.worker.concurrency()).unwrap_or(NonZero::<usize>::MIN);
    let rescanner = Rescanner::new(
        wired.station,
        RescanSettings {
            since,
            signature_changed: arguments.signature_changed,
            objects_per_second: arguments.rate,
            concurrency,
            dry_run: arguments.dry_run,
        },
    );
    let (mut told, mut named, mut reached) = (Told::new(arguments.dry_run), Vec::new(), arguments.start_after);
    let outcome = rescanner
        .run(arguments.start_after, &stop, &mut |progress, upload_id, found| {
            told.tell(progress, upload_id, found);
            reached = progress.last;
            let alike = |other: &&Named| discriminant(&other.found) == discriminant(found);
            if is_named(found) && named.iter().filter(alike).count() < MAX_NAMED {
                named.push(Named { upload_id, found: found.clone() });
            }
        })
        .await;
    told.end();
    let end = outcome.with_context(|| format!("not everything was looked at again ({})", go_on(reached)))?;
    print(&end, &named, arguments, form)?;
    let counts = &end.progress.counts;
    Ok(if !end.complete || counts.failed + counts.unscannable > 0 {
        ExitCode::FAILURE
    } else if counts.revoked > 0 {
        ExitCode::from(REVOKED)
    } else {
        ExitCode::SUCCESS
    })
}

/// On the database's clock.
async fn since(sessions: &SqlSessionStore, arguments: &Rescan) -> Result<Option<Timestamp>> {
    let Some(period) = arguments.since else { return Ok(None) };
    let now = sessions.now().await?;
    let since =
        now.checked_sub(period.get()).map_err(|_| UsageError(format!("--since {period}: that is too long ago")))?;
    Ok(Some(since))
}

const fn is_named(found: &Rescanned) -> bool {
    match found {
        Rescanned::Clean | Rescanned::Unchanged | Rescanned::PassedOver => false,
        Rescanned::Revoked { .. } | Rescanned::Unscannable { .. } | Rescanned::Failed { .. } => true,
    }
}

fn print(end: &RescanEnd, named: &[Named], arguments: &Rescan, form: Output) -> Result<()> {
    let (counts, last_upload, dry_run) = (&end.progress.counts, end.progress.last, arguments.dry_run);
    match form {
        Output::Json => {
            output::json(&Summary { dry_run, complete: end.complete, last_upload, counts, objects: named })?;
        }
        Output::Table => {
            if !named.is_empty() {
                let mut table = output::table(&["upload", "outcome", "detail"]);
                for Named { upload_id, found } in named {
                    let (outcome, detail) = words(found, dry_run);
                    table.add_row([upload_id.to_string(), outcome, output::plain(&detail, MAX_DETAIL)]);
                }
                output::show(&table)?;
            }
            output::show(&output::pairs([
                ("published objects", counts.seen.to_string()),
                ("clean", counts.clean.to_string()),
                ("found clean before", counts.unchanged.to_string()),
                ("passed over", counts.passed_over.to_string()),
                (if dry_run { "would be revoked" } else { "revoked" }, counts.revoked.to_string()),
                ("not looked at whole", counts.unscannable.to_string()),
                ("failed", counts.failed.to_string()),
            ]))?;
        }
    }
    if !end.complete {
        anstream::eprintln!("interrupted: {}", go_on(last_upload));
    }
    Ok(())
}

/// What is said of an object that is not clean.
fn words(found: &Rescanned, dry_run: bool) -> (String, String) {
    match found {
        Rescanned::Revoked { reason, detail, copies_left } => {
            let verb = if dry_run { "would be revoked" } else { "revoked" };
            let left = copies_left.as_ref().map(|why| format!("; its copies are left to the sweeper: {why}"));
            (format!("{verb}: {reason}"), format!("{detail}{}", left.unwrap_or_default()))
        }
        Rescanned::Unscannable { detail } => ("not looked at whole".to_owned(), detail.clone()),
        Rescanned::Failed { detail } => ("failed".to_owned(), detail.clone()),
        Rescanned::Clean | Rescanned::Unchanged | Rescanned::PassedOver => ("clean".to_owned(), String::new()),
    }
}

fn go_on(last: Option<UploadId>) -> String {
    last.map_or_else(|| "nothing was looked at yet".to_owned(), |last| format!("go on with --start-after {last}"))
}
