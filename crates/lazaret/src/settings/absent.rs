//! What the design names and this build does not have: said plainly, before the shape of the settings is checked.

use toml::{Table, Value};

use super::SettingsError;

/// Refuses settings for parts that are not in this build.
pub(super) fn check(table: &Table) -> Result<(), SettingsError> {
    for (index, scanner) in table.get("scanner").and_then(Value::as_array).into_iter().flatten().enumerate() {
        if let Some(kind @ ("yara" | "exec" | "icap")) = scanner.get("kind").and_then(Value::as_str) {
            return Err(absent(&format!("scanner[{index}].kind"), kind, "\"clamd\""));
        }
    }
    Ok(())
}

fn absent(key: &str, value: &str, available: &'static str) -> SettingsError {
    SettingsError::NotInThisBuild { key: key.to_owned(), value: value.to_owned(), available }
}
