//! One case: a session, an upload, and what became of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::cases::{Case, Expected, File, Promise};
use super::station::{Published, Shown, Station};
use super::{copy, curl};
use crate::stop;
use crate::workspace::Workspace;

const SETTLED_WITHIN: Duration = Duration::from_secs(30);
/// In two halves, so that no scanner on a developer's machine takes this file for the thing itself.
const EICAR: [&str; 2] = [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];

/// A line of the table.
pub(super) struct Row {
    pub(super) label: &'static str,
    pub(super) file_name: String,
    pub(super) state: String,
    pub(super) reason: Option<String>,
    /// From the end of the upload to the first look that found it settled.
    pub(super) took: Duration,
    /// The keys of the published copy and its variants, its own first.
    pub(super) copies: Vec<String>,
    pub(super) differences: Vec<String>,
}

impl Row {
    /// A case that could not be carried through.
    pub(super) fn failed(label: &'static str, error: &anyhow::Error) -> Self {
        let differences = vec![format!("{error:#}")];
        let (file_name, state) = ("-".to_owned(), "error".to_owned());
        Self { label, file_name, state, reason: None, took: Duration::ZERO, copies: Vec::new(), differences }
    }
}

pub(super) fn run(workspace: &Workspace, station: &Station, case: &Case) -> Result<Row> {
    let file = file_of(workspace, station, &case.file)?;
    let file_name = file.file_name().context("a file without a name")?.to_string_lossy().into_owned();
    let created = station.create(&arguments(case, &file, &file_name)?)?;
    if case.promise != Promise::NeverUsed {
        curl::upload(&file, &created.put_url, &created.headers)?;
    }
    let uploaded = Instant::now();
    let shown = settle(station, &created.upload_id, case.promise)?;
    let took = uploaded.elapsed();
    let mut differences = outcome_differences(&shown, &case.expected);
    if let (Some(published), Expected::Published(expected)) = (&shown.published, &case.expected) {
        differences.extend(copy::differences(station, &created, published, expected, case.content_type, &file)?);
    }
    let copies = shown.published.iter().flat_map(Published::keys).collect();
    Ok(Row { label: case.label, file_name, state: shown.state, reason: shown.reason, took, copies, differences })
}

fn file_of(workspace: &Workspace, station: &Station, file: &File) -> Result<PathBuf> {
    match file {
        File::Fixture(name) => Ok(workspace.fixture("files").join(name)),
        File::Eicar => {
            let path = station.scratch_file("eicar.txt");
            fs::write(&path, EICAR.concat())?;
            Ok(path)
        }
    }
}

fn arguments(case: &Case, file: &Path, file_name: &str) -> Result<Vec<String>> {
    let size = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
    let promised = if case.promise == Promise::OtherSize { size + 1 } else { size };
    let mut arguments: Vec<String> =
        ["--tenant", "demo", "--file-name", file_name, "--content-type", case.content_type, "--size"]
            .map(str::to_owned)
            .to_vec();
    arguments.push(promised.to_string());
    match case.promise {
        Promise::Kept => arguments.extend(["--sha256".to_owned(), curl::sha256(file)?]),
        Promise::OtherDigest => arguments.extend(["--sha256".to_owned(), "0".repeat(64)]),
        Promise::NeverUsed => arguments.extend(["--expires-in".to_owned(), "1s".to_owned()]),
        Promise::OtherSize => {}
    }
    Ok(arguments)
}

/// The session once it has settled, or as it stands at the deadline.
fn settle(station: &Station, upload_id: &str, promise: Promise) -> Result<Shown> {
    let look = || {
        if promise == Promise::NeverUsed {
            station.sweep()?;
        }
        station.show(upload_id)
    };
    let settled = stop::poll(SETTLED_WITHIN, || {
        let shown = look()?;
        let waiting = matches!(shown.state.as_str(), "created" | "uploaded" | "finalized");
        Ok((!waiting).then_some(shown))
    })?;
    settled.map_or_else(|| station.show(upload_id), Ok)
}

fn outcome_differences(shown: &Shown, expected: &Expected) -> Vec<String> {
    let (state, reason) = match expected {
        Expected::Published(_) => ("published", None),
        Expected::Settled { state, reason } => (*state, Some(*reason)),
    };
    let mut differences = Vec::new();
    if shown.state != state || shown.reason.as_deref() != reason {
        differences.push(format!("expected {state} / {}", reason.unwrap_or("no reason")));
    }
    match (&shown.published, expected) {
        (None, Expected::Published(_)) => differences.push("it has no published copy".to_owned()),
        (Some(Published { key, .. }), Expected::Settled { .. }) => {
            differences.push(format!("it has a published copy: {key}"));
        }
        (Some(_), Expected::Published(_)) | (None, Expected::Settled { .. }) => {}
    }
    differences
}
