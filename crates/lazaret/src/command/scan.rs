//! `lazaret scan`: the way of an object for local files, without storing anything.

mod files;
mod finding;

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context as _, Result};
use comfy_table::{Cell, Color};
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use lazaret_core::{MediaType, error::chain};
use lazaret_pipeline::{LocalFile, MadeAnew, inspect};

use crate::{
    cli::{Output, Scan},
    output,
    settings::Settings,
    wiring::{self, Wired},
};

use files::Found;
use finding::{Finding, Outcome};

/// Something was rejected.
const REJECTED: u8 = 3;
/// Something is held, and nothing rejected.
const HELD: u8 = 4;
/// Something could not be checked, and nothing rejected.
const FAILED: u8 = 1;

/// Checks every file, as many at once as the worker would.
pub(super) async fn run(settings: &Settings, arguments: &Scan, form: Output) -> Result<ExitCode> {
    let files = files::collect(&arguments.files);
    wiring::require_transform(settings)?;
    let wired = wiring::offline(settings).await?;
    for slot in &wired.station.scanners {
        slot.scanner.check().await.context("nothing was scanned")?;
    }
    wired.station.transformer.self_test().await.context("nothing was scanned")?;
    let progress = progress(files.len(), files.iter().map(Found::bytes).sum());
    let mut findings: Vec<(usize, Finding)> = stream::iter(files.iter().enumerate())
        .map(|(index, file)| {
            let (wired, progress) = (&wired, &progress);
            async move {
                let finding = examine(settings, wired, file, arguments.content_type.as_ref()).await;
                progress.inc(file.bytes());
                (index, finding)
            }
        })
        .buffer_unordered(settings.worker.concurrency())
        .collect()
        .await;
    progress.finish_and_clear();
    findings.sort_by_key(|(index, _)| *index);
    let findings: Vec<_> = findings.into_iter().map(|(_, finding)| finding).collect();
    match form {
        Output::Json => output::json(&findings)?,
        Output::Table => print(&findings)?,
    }
    Ok(exit_code(&findings))
}

async fn examine(settings: &Settings, wired: &Wired, file: &Found, declared: Option<&MediaType>) -> Finding {
    let limit = settings.limits.max_object_size;
    match &file.size {
        Ok(size) if *size > limit.bytes() => return Finding::too_large(file, *size, limit),
        Ok(_) => {}
        Err(why) => return Finding::failed(file, why.clone()),
    }
    let name = match files::name(&file.path) {
        Ok(name) => name,
        Err(error) => return Finding::failed(file, error.to_string()),
    };
    let spooled = match wired.spool.fill_from_file(&file.path).await {
        Ok(spooled) => spooled,
        Err(error) => return Finding::failed(file, chain(&error)),
    };
    let local = LocalFile { spooled, name, declared_type: declared.cloned() };
    match inspect(&Arc::clone(&wired.station), &local).await {
        Ok(inspection) => Finding::of(file, &local, inspection),
        Err(error) => Finding::failed(file, chain(&error)),
    }
}

/// A bar where a person waits; nothing where nobody looks.
fn progress(count: usize, bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    match style {
        Ok(style) if count > 1 || bytes > 16 << 20 => ProgressBar::new(bytes).with_style(style),
        Ok(_) | Err(_) => ProgressBar::hidden(),
    }
}

fn print(findings: &[Finding]) -> Result<()> {
    let mut table = output::table(&["file", "outcome", "reason", "type", "bytes", "detail"]);
    for finding in findings {
        let colour = match finding.outcome {
            Outcome::Clean => Color::Green,
            Outcome::Rejected => Color::Red,
            Outcome::Held => Color::Yellow,
            Outcome::Failed => Color::Magenta,
        };
        table.add_row([
            Cell::new(shown(&finding.file)),
            Cell::new(finding.outcome).fg(colour),
            Cell::new(output::or_dash(finding.reason)),
            Cell::new(output::or_dash(finding.detected_type.as_ref())),
            Cell::new(output::or_dash(finding.size)),
            Cell::new(output::or_dash(finding.detail.clone().or_else(|| finding.re_encoded.as_ref().map(becomes)))),
        ]);
    }
    output::show(&table)
}

/// What would be published instead of a file, in a few words.
fn becomes(made: &MadeAnew) -> String {
    let mut text = format!("becomes {}, {} bytes", made.content_type, made.size);
    if let Some(image) = &made.image {
        text = format!("{text}, {} x {}", image.width, image.height);
        for variant in &image.variants {
            text = format!("{text}; {}: {} x {}, {} bytes", variant.name, variant.width, variant.height, variant.size);
        }
    }
    text
}

/// A file name is text from outside: what could steer a terminal is not printed.
fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn exit_code(findings: &[Finding]) -> ExitCode {
    let some = |outcome| findings.iter().any(|finding| finding.outcome == outcome);
    if some(Outcome::Rejected) {
        ExitCode::from(REJECTED)
    } else if some(Outcome::Failed) {
        ExitCode::from(FAILED)
    } else if some(Outcome::Held) {
        ExitCode::from(HELD)
    } else {
        ExitCode::SUCCESS
    }
}
