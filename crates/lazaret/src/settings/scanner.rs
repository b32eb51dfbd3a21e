//! `[[scanner]]`: engines that look for malware.

use std::{borrow::Cow, fmt, str::FromStr};

use lazaret_core::ScannerName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Period, Size};

/// One scanner.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scanner {
    /// The name that policies use: 1 to 64 of `a-z 0-9 _ -`.
    #[schemars(with = "String")]
    pub name: ScannerName,
    /// Which engine.
    pub kind: ScannerKind,
    /// Where clamd listens.
    pub address: ClamdAddress,
    /// How long one scan may take. Past it, the attempt failed; it is no verdict.
    #[serde(default = "default_timeout")]
    pub timeout: Period,
    /// The longest object that the engine looks at whole: the least of clamd's `MaxFileSize`, `MaxScanSize` and
    /// `StreamMaxLength`. A longer object is held as `scan-limits`, because clamd would call what it skips clean.
    #[serde(default = "default_max_size")]
    pub max_size: Size,
    /// Refuse to scan with signatures older than this.
    pub max_signature_age: Option<Period>,
}

impl Scanner {
    /// A clamd named `clamd`, with the defaults.
    pub fn clamd(address: ClamdAddress) -> Self {
        // A constant that satisfies the rules of a scanner's name.
        #[expect(clippy::expect_used, reason = "a constant")]
        let name = "clamd".parse().expect("a valid scanner name");
        let (timeout, max_size) = (default_timeout(), default_max_size());
        Self { name, kind: ScannerKind::Clamd, address, timeout, max_size, max_signature_age: None }
    }
}

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScannerKind {
    /// ClamAV's daemon.
    Clamd,
}

/// Where clamd listens: `unix:/run/clamav/clamd.ctl` or `tcp:127.0.0.1:3310`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClamdAddress(lazaret_scanners::ClamdAddress);

impl ClamdAddress {
    /// What the scanner takes.
    pub fn to_scanner(&self) -> lazaret_scanners::ClamdAddress {
        self.0.clone()
    }
}

impl FromStr for ClamdAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|error: lazaret_scanners::InvalidClamdAddress| error.to_string())
    }
}

impl TryFrom<String> for ClamdAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ClamdAddress> for String {
    fn from(address: ClamdAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for ClamdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for ClamdAddress {
    fn schema_name() -> Cow<'static, str> {
        "ClamdAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "\"unix:/path\" or \"tcp:host:port\".",
            "pattern": "^(unix:/.+|tcp:.+:[0-9]+)$",
        })
    }
}

const fn default_timeout() -> Period {
    Period::from_secs(60)
}

/// What Debian's `clamd.conf` allows.
const fn default_max_size() -> Size {
    Size::mib(25)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        for text in ["unix:/run/clamav/clamd.ctl", "tcp:127.0.0.1:3310", "tcp:[::1]:3310", "tcp:clamd:3310"] {
            assert_eq!(text.parse::<ClamdAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "/run/clamd.ctl", "unix:clamd.ctl", "tcp:3310", "tcp::3310", "http://h:1"] {
            assert!(text.parse::<ClamdAddress>().is_err(), "{text:?}");
        }
    }
}
