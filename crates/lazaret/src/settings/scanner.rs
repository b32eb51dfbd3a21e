//! `[[scanner]]`: engines that look for malware.

use std::{borrow::Cow, fmt, path::PathBuf, str::FromStr};

use lazaret_core::ScannerName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Period, Size};

/// One scanner. What only some kinds have is marked with them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scanner {
    /// The name that policies use: 1 to 64 of `a-z 0-9 _ -`.
    #[schemars(with = "String")]
    pub name: ScannerName,
    /// Which engine.
    pub kind: ScannerKind,
    /// clamd: where it listens. Of several, the first that works scans.
    pub address: Option<ClamdAddresses>,
    /// clamd: its `MaxScanTime`. It calls clean what it stopped looking at then, so a *clean* that took as long is held
    /// as `scan-limits`. Less than `timeout`.
    pub max_scan_time: Option<Period>,
    /// yara: the folder with the rules, `*.yar` and `*.yara`.
    pub rules: Option<PathBuf>,
    /// exec: the program by its absolute path, and its arguments.
    pub command: Option<Vec<String>>,
    /// exec: files and folders that it may read beside the system's libraries.
    pub readable: Option<Vec<PathBuf>>,
    /// exec: whether it may have more than one thread, as Go and Node.js have. Other processes it never has. Left out: no.
    pub threads: Option<bool>,
    /// exec: address space. Left out: 512 MiB.
    pub memory: Option<Size>,
    /// exec: processor time. Left out: `timeout`.
    pub cpu_time: Option<Period>,
    /// icap: the service, `icap://host:port/service`.
    pub url: Option<IcapUrl>,
    /// icap: in which direction objects are said to travel. Left out: `respmod`.
    pub method: Option<IcapMethod>,
    /// How long one scan may take. Past it, the attempt failed; it is no verdict.
    #[serde(default = "default_timeout")]
    pub timeout: Period,
    /// The longest object that the engine looks at whole: for clamd the least of its `MaxFileSize`, `MaxScanSize` and
    /// `StreamMaxLength`. A longer object is held as `scan-limits`, never skipped.
    #[serde(default = "default_max_size")]
    pub max_size: Size,
    /// Refuse to scan with signatures older than this, or of unknown age.
    pub max_signature_age: Option<Period>,
    /// Whether the engine's limits are measured with canaries. Left out: `auto` for clamd and icap, `off` for the others.
    pub canaries: Option<Canaries>,
}

impl Scanner {
    /// A clamd named `clamd`, with the defaults.
    pub fn clamd(address: ClamdAddress) -> Self {
        // A constant that satisfies the rules of a scanner's name.
        #[expect(clippy::expect_used, reason = "a constant")]
        let name = "clamd".parse().expect("a valid scanner name");
        Self {
            name,
            kind: ScannerKind::Clamd,
            address: Some(ClamdAddresses(vec![address])),
            max_scan_time: None,
            rules: None,
            command: None,
            readable: None,
            threads: None,
            memory: None,
            cpu_time: None,
            url: None,
            method: None,
            timeout: default_timeout(),
            max_size: default_max_size(),
            max_signature_age: None,
            canaries: None,
        }
    }

    /// Where clamd listens, for people. Empty for other kinds.
    pub fn addresses(&self) -> String {
        self.address.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// Whether and how the engine is tried.
    pub fn canaries(&self) -> lazaret_scanners::Canaries {
        match (self.canaries, self.kind) {
            (Some(Canaries::Auto), _) | (None, ScannerKind::Clamd | ScannerKind::Icap) => {
                lazaret_scanners::Canaries::Auto
            }
            (Some(Canaries::Required), _) => lazaret_scanners::Canaries::Required,
            (Some(Canaries::Off), _) | (None, ScannerKind::Yara | ScannerKind::Exec) => lazaret_scanners::Canaries::Off,
        }
    }

    /// The settings that only some kinds have: their names, the kinds, and whether they are set.
    pub(super) fn particular(&self) -> [(&'static str, &'static [ScannerKind], bool); 10] {
        use ScannerKind::{Clamd, Exec, Icap, Yara};
        [
            ("address", &[Clamd], self.address.is_some()),
            ("max_scan_time", &[Clamd], self.max_scan_time.is_some()),
            ("rules", &[Yara], self.rules.is_some()),
            ("command", &[Exec], self.command.is_some()),
            ("readable", &[Exec], self.readable.is_some()),
            ("threads", &[Exec], self.threads.is_some()),
            ("memory", &[Exec], self.memory.is_some()),
            ("cpu_time", &[Exec], self.cpu_time.is_some()),
            ("url", &[Icap], self.url.is_some()),
            ("method", &[Icap], self.method.is_some()),
        ]
    }
}

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScannerKind {
    /// ClamAV's daemon.
    Clamd,
    /// YARA rules. Only in a program that was built with the feature `yara`.
    Yara,
    /// A program of one's own, in the jail.
    Exec,
    /// An engine that speaks ICAP (RFC 3507).
    Icap,
}

impl ScannerKind {
    /// The setting that this kind cannot do without.
    pub(super) const fn needs(self) -> &'static str {
        match self {
            Self::Clamd => "address",
            Self::Yara => "rules",
            Self::Exec => "command",
            Self::Icap => "url",
        }
    }

    /// The name in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clamd => "clamd",
            Self::Yara => "yara",
            Self::Exec => "exec",
            Self::Icap => "icap",
        }
    }
}

/// Whether an engine's limits are measured with canaries: harmless texts that it has signatures for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Canaries {
    /// With Lazaret's own or EICAR's, whichever the engine finds. Once it found one, it has to go on finding it.
    Auto,
    /// With Lazaret's own (`config/clamav/lazaret-canary.ndb`). Without it the engine is not ready.
    Required,
    /// Not at all: the engine is believed.
    Off,
}

/// In which direction an object is said to travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IcapMethod {
    /// Down, as the answer to a request.
    Respmod,
    /// Up, as the body of a `PUT`.
    Reqmod,
}

impl IcapMethod {
    /// What the scanner takes.
    pub const fn to_scanner(self) -> lazaret_scanners::IcapMethod {
        match self {
            Self::Respmod => lazaret_scanners::IcapMethod::Respmod,
            Self::Reqmod => lazaret_scanners::IcapMethod::Reqmod,
        }
    }
}

/// An ICAP service: `icap://host:port/service`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IcapUrl(lazaret_scanners::IcapUrl);

impl IcapUrl {
    /// What the scanner takes.
    pub fn to_scanner(&self) -> lazaret_scanners::IcapUrl {
        self.0.clone()
    }
}

impl TryFrom<String> for IcapUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self).map_err(|error: lazaret_scanners::InvalidIcapUrl| error.to_string())
    }
}

impl From<IcapUrl> for String {
    fn from(url: IcapUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for IcapUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for IcapUrl {
    fn schema_name() -> Cow<'static, str> {
        "IcapUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "\"icap://host:port/service\".",
            "pattern": "^icap://.+$",
        })
    }
}

/// One clamd, or several in the order of preference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "OneOrMany", into = "OneOrMany")]
pub struct ClamdAddresses(Vec<ClamdAddress>);

/// How a list of one is written.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(ClamdAddress),
    Many(Vec<ClamdAddress>),
}

impl ClamdAddresses {
    /// Each of them; there is at least one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &ClamdAddress> {
        self.0.iter()
    }
}

impl TryFrom<OneOrMany> for ClamdAddresses {
    type Error = &'static str;

    fn try_from(addresses: OneOrMany) -> Result<Self, Self::Error> {
        match addresses {
            OneOrMany::One(address) => Ok(Self(vec![address])),
            OneOrMany::Many(addresses) if addresses.is_empty() => Err("at least one address is expected"),
            OneOrMany::Many(addresses) => Ok(Self(addresses)),
        }
    }
}

impl From<ClamdAddresses> for OneOrMany {
    fn from(addresses: ClamdAddresses) -> Self {
        match <[ClamdAddress; 1]>::try_from(addresses.0) {
            Ok([address]) => Self::One(address),
            Err(addresses) => Self::Many(addresses),
        }
    }
}

impl fmt::Display for ClamdAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&addresses.join(", "))
    }
}

impl JsonSchema for ClamdAddresses {
    fn schema_name() -> Cow<'static, str> {
        "ClamdAddresses".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        OneOrMany::json_schema(generator)
    }
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
