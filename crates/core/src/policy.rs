//! What to do with a detected type.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{ImageOutput, MediaType, ScannerName, error::InvalidValue};

/// What a policy does with the objects it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Decode and encode anew in the jail; the result is published.
    ReEncode,
    /// Parse a document (PDF, SVG) in the jail and write it anew without what is active in it.
    Sanitise,
    /// Publish the scanned bytes.
    AsIs,
    /// Never publish: `type-not-allowed`.
    Reject,
}

/// A media type, or all of a top-level type: `image/png`, `text/*`, `*/*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TypePattern(String);

impl TypePattern {
    /// Whether `media` fits.
    pub fn matches(&self, media: &MediaType) -> bool {
        match self.0.strip_suffix("/*") {
            Some("*") => true,
            Some(top) => media.top_level() == top,
            None => media.as_str() == self.0,
        }
    }
}

impl FromStr for TypePattern {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidValue::new("type pattern", text, "type/subtype, type/* or */* is expected");
        if text == "*/*" {
            return Ok(Self(text.to_owned()));
        }
        let probe = text.strip_suffix("/*").map_or_else(|| text.to_owned(), |top| format!("{top}/x"));
        let media: MediaType = probe.parse().map_err(|_| invalid())?;
        if media.as_str() != probe || text.matches('*').count() > 1 {
            return Err(invalid());
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TypePattern {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TypePattern> for String {
    fn from(pattern: TypePattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One rule: which types, what to do with them, which scanners must call them clean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The name that records and logs carry.
    pub name: String,
    /// The types it is for.
    pub types: Vec<TypePattern>,
    /// What to do.
    pub action: Action,
    /// Every one of them must say clean. Never empty unless the action is `Reject`.
    pub scanners: Vec<ScannerName>,
    /// They are asked, too, and what they say is only kept on record. Trouble of theirs stops nothing.
    pub optional_scanners: Vec<ScannerName>,
    /// For how long a *clean* of each scanner counts again for the same bytes under this policy, with the same engine
    /// and signatures. None: never.
    pub reuse_verdicts: Option<Duration>,
    /// Largest object in bytes, below the global limit.
    pub max_size: Option<u64>,
    /// Most pixels of one frame.
    pub max_pixels: Option<u64>,
    /// Longest side in pixels.
    pub max_side: Option<u32>,
    /// Most frames of an animation.
    pub max_frames: Option<u32>,
    /// How images are encoded, where the action is `ReEncode`.
    pub image: ImageOutput,
}

/// The policies in the order they are tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicySet(Vec<Policy>);

impl PolicySet {
    /// Policies in the order they are tried.
    pub const fn new(policies: Vec<Policy>) -> Self {
        Self(policies)
    }

    /// The first policy for the detected type. None: `type-not-allowed`.
    pub fn choose(&self, detected: &MediaType) -> Option<&Policy> {
        self.0.iter().find(|policy| policy.types.iter().any(|pattern| pattern.matches(detected)))
    }

    /// All policies in order.
    pub fn as_slice(&self) -> &[Policy] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_types_only() {
        let png: MediaType = "image/png".parse().unwrap();
        for (pattern, fits) in
            [("image/png", true), ("image/*", true), ("*/*", true), ("image/pn", false), ("text/*", false)]
        {
            assert_eq!(pattern.parse::<TypePattern>().unwrap().matches(&png), fits, "{pattern}");
        }
        for text in ["*", "*/png", "image/*g", "image", "im*/*", "image/png; q=1"] {
            assert!(text.parse::<TypePattern>().is_err(), "{text}");
        }
    }
}
