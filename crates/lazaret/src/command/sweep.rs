//! `lazaret sweep`: clean up once.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use lazaret_pipeline::Sweeper;

use crate::{cli::Output, output, settings::Settings, wiring};

/// One pass. With `dry_run` nothing is changed.
pub(super) async fn run(settings: &Settings, dry_run: bool, form: Output) -> Result<()> {
    let sessions = wiring::sessions(settings).await?;
    let wired = wiring::station(settings, sessions).await?;
    let sweeper = Sweeper::new(Arc::clone(&wired.station), settings.sweeper.grace.get());
    let report = sweeper.sweep(dry_run).await.context("the sweep ended early")?;
    match form {
        Output::Json => output::json(&serde_json::json!({ "dry_run": dry_run, "swept": report.swept }))?,
        Output::Table => {
            if !report.swept.is_empty() {
                let mut table = output::table(&["what", "object", "session"]);
                for swept in &report.swept {
                    let object = format!("{}/{}", swept.bucket, swept.key);
                    table.add_row([swept.what.as_str().to_owned(), object, output::or_dash(swept.upload_id)]);
                }
                output::show(&table)?;
            }
            let verb = if dry_run { "would be swept" } else { "swept" };
            output::line(format_args!("{} {verb}", report.swept.len()))?;
        }
    }
    Ok(())
}
