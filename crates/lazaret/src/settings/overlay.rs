//! Settings from the environment: `LAZARET__SECTION__KEY`, laid over the file.

use toml::{Table, Value};

use super::SettingsError;

/// What the name of every such variable begins with.
pub(super) const PREFIX: &str = "LAZARET__";

/// One setting from the environment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Variable {
    /// The variable's name.
    pub(super) name: String,
    /// The path it sets, in lower case: `["queue", "sqs", "url"]`.
    path: Vec<String>,
    text: String,
    /// Take the text as it is, even where it could be read as a number or a truth value.
    literal: bool,
}

impl Variable {
    /// The path as errors name it.
    pub(super) fn key(&self) -> String {
        self.path.join(".")
    }

    /// Reads the text as it is from now on. False: it did already, or was never anything else.
    pub(super) fn make_literal(&mut self) -> bool {
        let changes = !self.literal && matches!(self.value(), Value::Integer(_) | Value::Float(_) | Value::Boolean(_));
        self.literal = self.literal || changes;
        changes
    }

    fn value(&self) -> Value {
        let text = self.text.trim();
        let typed = format!("v = {text}");
        match toml::from_str::<Table>(&typed).ok().and_then(|mut table| table.remove("v")) {
            Some(value) if !self.literal && !text.contains('\n') => value,
            _ => Value::String(self.text.clone()),
        }
    }

    fn error(&self, message: &str) -> SettingsError {
        SettingsError::Shape {
            origin: format!("environment variable {}", self.name),
            key: self.key(),
            message: message.to_owned(),
        }
    }
}

/// The settings among the variables of the environment, by name, so that a section comes before its keys.
pub(super) fn collect(environment: impl Iterator<Item = (String, String)>) -> Vec<Variable> {
    let mut variables: Vec<_> = environment
        .filter_map(|(name, text)| {
            let path = name.strip_prefix(PREFIX)?.to_lowercase().split("__").map(str::to_owned).collect();
            Some(Variable { name, path, text, literal: false })
        })
        .collect();
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    variables
}

/// Writes one variable over `table`.
pub(super) fn apply(table: &mut Table, variable: &Variable) -> Result<(), SettingsError> {
    if variable.path.iter().any(String::is_empty) {
        return Err(variable.error("LAZARET__SECTION__KEY is expected"));
    }
    let mut root = Value::Table(std::mem::take(table));
    let written = write(&mut root, &variable.path, variable.value());
    if let Value::Table(whole) = root {
        *table = whole;
    }
    written.map_err(|message| variable.error(message))
}

fn write(at: &mut Value, path: &[String], value: Value) -> Result<(), &'static str> {
    let Some((key, rest)) = path.split_first() else {
        *at = value;
        return Ok(());
    };
    match at {
        Value::Table(table) => {
            let is_list = rest.first().is_some_and(|next| next.parse::<usize>().is_ok());
            let empty = if is_list { Value::Array(Vec::new()) } else { Value::Table(Table::new()) };
            write(table.entry(key.clone()).or_insert(empty), rest, value)
        }
        Value::Array(items) => {
            let index: usize = key.parse().map_err(|_| "a number is expected here: it is a list")?;
            if index > items.len() {
                return Err("the list has fewer items");
            }
            if index == items.len() {
                items.push(Value::Table(Table::new()));
            }
            write(&mut items[index], rest, value)
        }
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            Err("there are no keys below this setting")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaid(file: &str, environment: &[(&str, &str)]) -> Result<Table, SettingsError> {
        let mut table: Table = toml::from_str(file).unwrap();
        let pairs = environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        for variable in collect(pairs) {
            apply(&mut table, &variable)?;
        }
        Ok(table)
    }

    #[test]
    fn values_keep_their_type_and_nested_keys_their_place() {
        let table = overlaid(
            "[worker]\nconcurrency = 1\nlease = \"5s\"\n[[scanner]]\nname = \"a\"",
            &[
                ("LAZARET__WORKER__CONCURRENCY", "8"),
                ("LAZARET__QUEUE__SQS__URL", "http://q"),
                ("LAZARET__STORAGE__FORCE_PATH_STYLE", "true"),
                ("LAZARET__SCANNER__0__TIMEOUT", "3s"),
                ("LAZARET__SCANNER__1__NAME", "b"),
                ("LAZARET_CONFIG", "elsewhere"),
            ],
        );
        let expected = "[worker]\nconcurrency = 8\nlease = \"5s\"\n[queue.sqs]\nurl = \"http://q\"\n\
            [storage]\nforce_path_style = true\n[[scanner]]\nname = \"a\"\ntimeout = \"3s\"\n[[scanner]]\nname = \"b\"";
        assert_eq!(table.unwrap(), toml::from_str(expected).unwrap());
    }

    #[test]
    fn a_path_that_leads_nowhere_is_an_error() {
        for name in ["LAZARET__WORKER__CONCURRENCY__X", "LAZARET__WORKER____X", "LAZARET__SCANNER__7__NAME"] {
            let error = overlaid("[worker]\nconcurrency = 1\n[[scanner]]\nname = \"a\"", &[(name, "1")]).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
