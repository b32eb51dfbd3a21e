//! `lazaret lists`: what people know better than an engine.

use anyhow::{Context as _, Result, bail};
use comfy_table::Cell;
use lazaret_core::{ListEntry, ListEntryId, NewListEntry, Subject, Timestamp, ports::ListStore};
use lazaret_sessions::SqlSessionStore;
use serde::Serialize;

use crate::{
    cli::{ListAdd, Lists, Output},
    failure::UsageError,
    output,
    settings::Settings,
    wiring,
};

/// How many entries are asked for at a time.
const PAGE: u32 = 500;
/// The longest signature and the longest text that are kept.
const MAX_TEXT: usize = 500;

/// One entry, as programs see it.
#[derive(Serialize)]
struct Shown<'a> {
    id: ListEntryId,
    list: &'static str,
    sha256: Option<String>,
    signature: Option<&'a str>,
    why: &'a str,
    added_by: &'a str,
    added_at: Timestamp,
    expires_at: Option<Timestamp>,
    removed_by: Option<&'a str>,
    removed_at: Option<Timestamp>,
}

impl<'a> Shown<'a> {
    fn of(entry: &'a ListEntry) -> Self {
        let (sha256, signature) = match &entry.subject {
            Subject::Sha256(sha256) => (Some(sha256.to_string()), None),
            Subject::Signature(signature) => (None, Some(signature.as_str())),
        };
        Self {
            id: entry.id,
            list: entry.kind.as_str(),
            sha256,
            signature,
            why: &entry.why,
            added_by: &entry.added_by,
            added_at: entry.added_at,
            expires_at: entry.expires_at,
            removed_by: entry.removed.as_ref().map(|removal| removal.by.as_str()),
            removed_at: entry.removed.as_ref().map(|removal| removal.at),
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let about =
            self.signature.map_or_else(|| output::or_dash(self.sha256.as_ref()), |name| output::plain(name, MAX_TEXT));
        let removed =
            self.removed_at.zip(self.removed_by).map(|(at, by)| format!("{at:.0} {}", output::plain(by, MAX_TEXT)));
        vec![
            Cell::new(self.id),
            Cell::new(self.list),
            Cell::new(about),
            Cell::new(output::plain(self.added_by, MAX_TEXT)),
            Cell::new(format!("{:.0}", self.added_at)),
            Cell::new(output::or_dash(self.expires_at.map(|at| format!("{at:.0}")))),
            Cell::new(output::or_dash(removed)),
            Cell::new(output::plain(self.why, MAX_TEXT)),
        ]
    }
}

/// Runs one of the list commands.
pub(super) async fn run(settings: &Settings, command: &Lists, form: Output) -> Result<()> {
    match command {
        Lists::Add(arguments) => {
            let new = entry(arguments)?;
            let entry = lists(settings).await?.add(&new).await.context("nothing was added")?;
            one(&entry, form)
        }
        Lists::Remove { id, by } => {
            let by = text("--by", by)?;
            let removed =
                lists(settings).await?.remove(ListEntryId(*id), &by).await.context("nothing was taken back")?;
            let Some(entry) = removed else {
                bail!("there is no list entry {id}; `lazaret lists show --all` shows all")
            };
            one(&entry, form)
        }
        Lists::Show { all } => show(settings, *all, form).await,
    }
}

async fn lists(settings: &Settings) -> Result<SqlSessionStore> {
    Ok(wiring::sessions(settings).await?)
}

fn entry(arguments: &ListAdd) -> Result<NewListEntry, UsageError> {
    let subject = match (&arguments.subject.sha256, &arguments.subject.signature) {
        (Some(sha256), None) => Subject::Sha256(*sha256),
        (None, Some(name)) => Subject::Signature(text("--signature", name)?),
        (Some(_), Some(_)) | (None, None) => {
            return Err(UsageError("one of --sha256 and --signature is expected".to_owned()));
        }
    };
    if arguments.expires_in.is_some_and(crate::settings::Period::is_zero) {
        return Err(UsageError("--expires-in 0s: the entry would never count".to_owned()));
    }
    Ok(NewListEntry {
        kind: arguments.list,
        subject,
        added_by: text("--by", &arguments.by)?,
        why: text("--why", &arguments.why)?,
        expires_in: arguments.expires_in.map(crate::settings::Period::get),
    })
}

/// A name that is compared exactly must not be one that only looks like another.
fn text(option: &str, text: &str) -> Result<String, UsageError> {
    let is_plain = output::plain(text, MAX_TEXT) == text && text.trim() == text;
    if text.is_empty() || !is_plain {
        return Err(UsageError(format!(
            "{option}: 1 to {MAX_TEXT} characters without control characters and spaces at its ends are expected"
        )));
    }
    Ok(text.to_owned())
}

fn one(entry: &ListEntry, form: Output) -> Result<()> {
    let shown = Shown::of(entry);
    match form {
        Output::Json => output::json(&shown),
        Output::Table => table(&[shown]),
    }
}

async fn show(settings: &Settings, all: bool, form: Output) -> Result<()> {
    let store = lists(settings).await?;
    let mut entries: Vec<ListEntry> = Vec::new();
    loop {
        let page = store.entries(all, entries.last().map(|entry| entry.id), PAGE).await;
        let page = page.context("the lists cannot be read")?;
        let is_last = page.len() < PAGE as usize;
        entries.extend(page);
        if is_last {
            break;
        }
    }
    let shown: Vec<_> = entries.iter().map(Shown::of).collect();
    match form {
        Output::Json => output::json(&shown),
        Output::Table if shown.is_empty() => output::line("the lists are empty"),
        Output::Table => table(&shown),
    }
}

fn table(shown: &[Shown<'_>]) -> Result<()> {
    let mut table = output::table(&["id", "list", "about", "by", "added", "expires", "taken back", "detail"]);
    for entry in shown {
        table.add_row(entry.cells());
    }
    output::show(&table)
}
