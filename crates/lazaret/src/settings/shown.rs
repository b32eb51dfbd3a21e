//! Settings as they are shown: a URL may hold a password, which nobody gets to see.

use serde_json::Value;

use super::secret::MASK;

/// Masks the passwords of all URLs in `value`.
pub(super) fn mask(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_passwords(text),
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(fields) => fields.values_mut().for_each(mask),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The text with `://user:…@` in the place of `://user:password@`, and without the value of a `password` in a query. It
/// need not be a URL that parses: errors quote those that do not.
pub(crate) fn without_passwords(text: &str) -> String {
    without_queried(&without_authority(text))
}

/// Databases take passwords there, too.
fn without_queried(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = ["?password=", "&password="].iter().filter_map(|name| rest.find(name)).min() {
        let (before, value) = rest.split_at(start + "?password=".len());
        shown.push_str(before);
        shown.push_str(MASK);
        rest = &value[value.find(['&', '#', '"', '`', ' ']).unwrap_or(value.len())..];
    }
    shown.push_str(rest);
    shown
}

fn without_authority(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, authority) = rest.split_at(start + "://".len());
        shown.push_str(before);
        let end = authority.find(['/', '?', '#', '"', '`', ' ']).unwrap_or(authority.len());
        // A password may hold an @ that should have been encoded: the last one ends it.
        rest = match authority[..end].rfind('@').map(|at| authority.split_at(at)) {
            Some((user, host)) if user.contains(':') => {
                shown.push_str(user.split(':').next().unwrap_or_default());
                shown.push(':');
                shown.push_str(MASK);
                host
            }
            Some(_) | None => authority,
        };
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_go_and_everything_else_stays() {
        for (text, shown) in [
            ("http://user:hunter2@host:1/a?b=c", "http://user:…@host:1/a?b=c"),
            ("http://:hunter2@host", "http://:…@host"),
            (
                "invalid value: string \"http://u:hunter2@:x\", expected",
                "invalid value: string \"http://u:…@:x\", expected",
            ),
            ("http://u:hun@ter2@host and s3://v:hunter2@b", "http://u:…@host and s3://v:…@b"),
            ("http://user@host:80/@:", "http://user@host:80/@:"),
            ("http://127.0.0.1:9000/", "http://127.0.0.1:9000/"),
            ("sqlite:/a@b:c", "sqlite:/a@b:c"),
            (
                "postgres:///d?password=hunter2&host=/run and `x?a=1&password=hun`",
                "postgres:///d?password=…&host=/run and `x?a=1&password=…`",
            ),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }

    #[test]
    fn every_text_in_a_value_is_looked_at() {
        let mut value = serde_json::json!({ "a": [{ "b": "http://u:hunter2@h" }], "c": 1, "d": null });
        mask(&mut value);
        assert_eq!(value, serde_json::json!({ "a": [{ "b": "http://u:…@h" }], "c": 1, "d": null }));
    }
}
