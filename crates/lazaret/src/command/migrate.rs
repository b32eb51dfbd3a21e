//! `lazaret migrate`: create or upgrade the session database.

use anyhow::{Context as _, Result};

use crate::{cli::Output, output, settings::Settings, wiring};

/// Brings the database up to date; nothing happens to one that is.
pub(super) async fn run(settings: &Settings, form: Output) -> Result<()> {
    let report = wiring::migrate(settings).await.context("the session database was not migrated")?;
    let url = &settings.sessions.url;
    match form {
        Output::Json => {
            output::json(&serde_json::json!({ "url": url, "from": report.from, "to": report.to }))?;
        }
        Output::Table if report.from == Some(report.to) => {
            output::line(format_args!("{url} is up to date: version {}", report.to))?;
        }
        Output::Table => output::line(format_args!("{url} is now at version {}", report.to))?,
    }
    Ok(())
}
