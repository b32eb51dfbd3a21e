//! `lazaret config`: check settings, print their schema.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::{cli::Output, output, settings::Settings};

#[derive(Serialize)]
struct Checked<'a> {
    file: &'a Path,
    valid: bool,
    settings: Value,
}

/// Checks the settings and connects to nothing. The JSON form shows what holds after defaults and environment.
pub(super) fn check(named: Option<&Path>, form: Output) -> Result<()> {
    let loaded = Settings::load(named)?;
    match form {
        Output::Table => output::line(format_args!("{}: the settings are valid", loaded.path.display())),
        Output::Json => output::json(&Checked { file: &loaded.path, valid: true, settings: loaded.settings.shown()? }),
    }
}

/// Prints the JSON Schema.
pub(super) fn schema() -> Result<()> {
    let mut schema = serde_json::to_value(Settings::schema())?;
    // One of the libraries of YARA has all JSON keep its order, and both builds are to print the same.
    schema.sort_all_objects();
    output::json(&schema)
}
