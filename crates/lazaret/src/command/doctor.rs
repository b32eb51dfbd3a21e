//! `lazaret doctor`: try every part of the deployment.

mod checks;
mod finding;

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;
use tokio::time::timeout;

use crate::{cli::Output, output, settings::Settings};

use finding::{Finding, Status};

/// How long one check may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than the canaries of the largest object take.
const SCANNER_PATIENCE: Duration = Duration::from_mins(6);
/// The probe of the store is a few dozen requests, and has limits of its own.
const PROBE_PATIENCE: Duration = Duration::from_mins(3);

/// One part of the deployment, and how it is tried.
struct Check<'a> {
    name: String,
    patience: Duration,
    find: BoxFuture<'a, Vec<Finding>>,
}

impl<'a> Check<'a> {
    fn new(name: impl Into<String>, find: impl Future<Output = Vec<Finding>> + Send + 'a) -> Self {
        Self { name: name.into(), patience: PATIENCE, find: Box::pin(find) }
    }

    /// What was found; that there was no answer, too, is a finding.
    async fn run(self) -> Vec<Finding> {
        let Self { name, patience, find } = self;
        timeout(patience, find)
            .await
            .unwrap_or_else(|_| vec![Finding::failed(name, format!("no answer within {} s", patience.as_secs()), None)])
    }
}

#[derive(Serialize)]
struct Diagnosis<'a> {
    /// Whether nothing failed.
    ok: bool,
    checks: &'a [Finding],
}

/// Runs every check at once and to its end. Only what failed makes the exit code 1.
pub(super) async fn run(settings: &Settings, form: Output) -> Result<ExitCode> {
    let findings: Vec<Finding> = join_all(checks(settings).into_iter().map(Check::run)).await.concat();
    let ok = findings.iter().all(|finding| finding.status != Status::Failed);
    match form {
        Output::Json => output::json(&Diagnosis { ok, checks: &findings })?,
        Output::Table => {
            let mut table = output::table(&["check", "status", "detail"]);
            for finding in &findings {
                table.add_row(finding.cells());
            }
            output::show(&table)?;
        }
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn checks(settings: &Settings) -> Vec<Check<'_>> {
    let mut all = vec![
        Check { patience: PROBE_PATIENCE, ..Check::new("store", checks::store(settings)) },
        Check::new("queue", checks::queue(settings)),
        Check::new("database", checks::database(settings)),
    ];
    for scanner in &settings.scanners {
        let check = Check::new(format!("scanner {}", scanner.name), checks::scanner(settings, scanner));
        all.push(Check { patience: SCANNER_PATIENCE, ..check });
    }
    all.push(Check::new("sandbox", checks::sandbox(settings)));
    all.push(Check::new("events", checks::events(settings)));
    all.push(Check::new("spool", checks::spool(settings)));
    all
}
