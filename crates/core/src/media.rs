//! Media types.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::InvalidValue;

/// The essence of a media type (RFC 2045, RFC 6838): `type/subtype`, lower case, without parameters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MediaType(String);

impl MediaType {
    /// The essence as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the slash.
    pub fn top_level(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

impl FromStr for MediaType {
    type Err = InvalidValue;

    /// Parameters (`; charset=utf-8`) are dropped; the rest must be two RFC 6838 restricted names.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidValue::new("media type", text, "type/subtype is expected (RFC 6838)");
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (top, sub) = essence.split_once('/').ok_or_else(invalid)?;
        let restricted_name = |name: &str| {
            (1..=127).contains(&name.len())
                && name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        if restricted_name(top) && restricted_name(sub) { Ok(Self(essence)) } else { Err(invalid()) }
    }
}

impl TryFrom<String> for MediaType {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MediaType> for String {
    fn from(media: MediaType) -> Self {
        media.0
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_fall_away() {
        let media: MediaType = "Text/HTML; charset=utf-8".parse().unwrap();
        assert_eq!(media.as_str(), "text/html");
        assert_eq!(media.top_level(), "text");
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        for text in ["", "image", "image/", "/png", "image/p ng", "image/png\r\nx: y", "a/b/c"] {
            assert!(text.parse::<MediaType>().is_err(), "{text:?}");
        }
    }
}
