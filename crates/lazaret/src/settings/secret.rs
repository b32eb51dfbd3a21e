//! Values that nobody gets to see.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A secret from the settings. Neither its debug text nor its serialised form nor an error about it shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the client library that signs with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// What stands in the place of a secret.
pub(super) const MASK: &str = "…";

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Serde's own message for a wrong type repeats the value; this one must not.
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) if !text.is_empty() => Ok(Self(text)),
            _ => Err(de::Error::custom("a string that is not empty is expected")),
        }
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "writeOnly": true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Holder {
        key: Secret,
    }

    #[test]
    fn a_secret_is_never_shown() {
        let holder: Holder = toml::from_str("key = \"hunter2\"").unwrap();
        assert_eq!(holder.key.expose(), "hunter2");
        assert_eq!(format!("{holder:?}"), "Holder { key: … }");
        assert!(!toml::to_string(&holder).unwrap().contains("hunter2"));
    }

    #[test]
    fn an_error_about_a_secret_does_not_show_it() {
        let error = toml::from_str::<Holder>("key = 31337").unwrap_err();
        assert!(!error.message().contains("31337"), "{error}");
    }
}
