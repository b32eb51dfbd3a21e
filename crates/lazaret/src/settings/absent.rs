//! What the design names and this build does not have: said plainly, before the shape of the settings is checked.

use toml::{Table, Value};

use super::SettingsError;

/// Refuses settings for parts that are not in this build.
pub(super) fn check(table: &Table) -> Result<(), SettingsError> {
    let text = |path: &[&str]| -> Option<&str> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(table.get(*first)?, |at, key| at.get(*key))?.as_str()
    };
    if text(&["queue", "kind"]) == Some("amqp") || table.get("queue").is_some_and(|queue| queue.get("amqp").is_some()) {
        return Err(absent("queue.kind", "amqp", "\"sqs\", and \"embedded\" in `lazaret dev`"));
    }
    if let Some((scheme, _)) = text(&["sessions", "url"]).and_then(|url| url.split_once(':'))
        && matches!(scheme, "postgres" | "postgresql")
    {
        return Err(absent("sessions.url", "postgres:…", "\"sqlite:<path>\""));
    }
    if let Some(kind @ ("sqs" | "sns" | "amqp" | "webhook")) = text(&["events", "kind"]) {
        return Err(absent("events.kind", kind, "\"none\""));
    }
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
