//! URLs that hold passwords.

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode_str;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

use super::without_passwords;

/// A URL that may hold a password. Neither its debug text nor its serialised form nor an error about it shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateUrl(String);

impl PrivateUrl {
    /// The whole URL, for the client library that connects with it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its parts; none where the text is no URL, or where a password could hide in what is shown of it.
    pub fn parsed(&self) -> Option<Url> {
        let url = Url::parse(&self.0).ok()?;
        // A slash in a password that should have been encoded puts the rest of it into the path.
        (!url.path().contains('@')).then_some(url)
    }

    /// The password as it stands there, and decoded.
    pub(super) fn passwords(&self) -> Vec<String> {
        passwords(Url::parse(&self.0).ok().as_ref())
    }
}

/// The passwords of a URL: before the host and in the query.
pub(super) fn passwords(url: Option<&Url>) -> Vec<String> {
    let Some(url) = url else { return Vec::new() };
    let raw = url.password().into_iter().map(str::to_owned);
    let decoded = url.password().map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned());
    let queried = url.query_pairs().filter(|(name, _)| name == "password").map(|(_, value)| value.into_owned());
    raw.chain(decoded).chain(queried).filter(|text| !text.is_empty()).collect()
}

impl fmt::Display for PrivateUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_passwords(&self.0))
    }
}

impl fmt::Debug for PrivateUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PrivateUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PrivateUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Serde's own message for a wrong type repeats the value.
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(Self(text)),
            _ => Err(de::Error::custom("a URL is expected")),
        }
    }
}

impl JsonSchema for PrivateUrl {
    fn schema_name() -> Cow<'static, str> {
        "PrivateUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "uri" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Holder {
        url: PrivateUrl,
    }

    #[test]
    fn a_password_is_never_shown_and_always_known() {
        for (url, shown, passwords) in [
            ("amqp://u:hun%74er2@h/v", "amqp://u:…@h/v", vec!["hun%74er2", "hunter2"]),
            ("postgres://h/db?user=u&password=hunter2&x=1", "postgres://h/db?user=u&password=…&x=1", vec!["hunter2"]),
            ("postgres://u@h/db", "postgres://u@h/db", vec![]),
            ("sqlite:/a@b:c", "sqlite:/a@b:c", vec![]),
        ] {
            let holder: Holder = toml::from_str(&format!("url = {url:?}")).unwrap();
            assert_eq!(format!("{:?}", holder.url), shown);
            assert_eq!(holder.url.to_string(), shown);
            assert!(toml::to_string(&holder).unwrap().contains(shown));
            assert_eq!(holder.url.passwords(), passwords);
        }
        let error = toml::from_str::<Holder>("url = 31337").unwrap_err();
        assert!(!error.message().contains("31337"), "{error}");
    }

    #[test]
    fn a_password_that_would_be_taken_for_a_path_makes_no_url() {
        let holder: Holder = toml::from_str("url = \"amqp://u:1/hunter2@h/v\"").unwrap();
        assert_eq!(holder.url.parsed(), None);
    }
}
