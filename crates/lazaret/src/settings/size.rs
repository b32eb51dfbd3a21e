//! Numbers of bytes as people write them.

use std::{borrow::Cow, fmt, str::FromStr};

use bytesize::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// A number of bytes, written `10MiB`, `5GB` or `512`, or as a plain number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Size(u64);

impl Size {
    /// This many mebibytes (2^20 bytes).
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// This many gibibytes (2^30 bytes).
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// This many bytes.
    pub const fn from_bytes(count: u64) -> Self {
        Self(count)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<ByteSize>()
            .map(|size| Self(size.as_u64()))
            .map_err(|_| format!("{text:?} is not a size, such as \"10MiB\", \"5GB\" or \"512\""))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl de::Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size, such as \"10MiB\" or a number of bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
        bytes.try_into().map(Size).map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

impl fmt::Display for Size {
    /// In the largest binary unit that divides it, so that no byte is lost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            let count = self.0 >> shift;
            if count > 0 && count << shift == self.0 {
                return write!(f, "{count}{unit}");
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "minimum": 0,
            "description": "A number of bytes: \"512B\", \"10MiB\" (2^20), \"5GB\" (10^9), 1048576.",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn text_round_trips() {
        for (text, bytes) in [("10MiB", 10 << 20), ("5GB", 5_000_000_000), ("512", 512), ("1000B", 1000), ("0B", 0)] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.bytes(), bytes, "{text}");
            assert_eq!(size.to_string().parse::<Size>().unwrap(), size);
        }
        assert_eq!(Size::gib(4).to_string(), "4GiB");
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "big", "-1", "10 parsecs"] {
            assert!(text.parse::<Size>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_number_is_a_number_of_bytes() {
        let read = |text: &str| toml::from_str::<BTreeMap<String, Size>>(text).map(|table| table["size"].bytes());
        assert_eq!(read("size = 1048576").unwrap(), 1 << 20);
        assert_eq!(read("size = 0").unwrap(), 0);
        assert_eq!(read("size = \"1MiB\"").unwrap(), 1 << 20);
        for wrong in ["size = -1", "size = 1.5", "size = true"] {
            let error = read(wrong).unwrap_err();
            assert!(error.message().contains("or a number of bytes"), "{wrong}: {error}");
        }
    }
}
