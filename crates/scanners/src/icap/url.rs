use std::{fmt, str::FromStr};

use thiserror::Error;

/// RFC 3507, section 4.2.
const DEFAULT_PORT: u16 = 1344;
const MAX_SERVICE_BYTES: usize = 1024;

/// Where an ICAP service is: `icap://host[:port]/service[?arguments]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcapUrl {
    /// A name or an address, IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Begins with `/`.
    service: String,
}

/// Text that is no address of an ICAP service.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("ICAP address {text:?} is not valid: {rule}")]
pub struct InvalidIcapUrl {
    /// The text.
    pub text: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

impl IcapUrl {
    /// Host and port as they stand in a `Host` header.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for IcapUrl {
    type Err = InvalidIcapUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |rule| InvalidIcapUrl { text: text.to_owned(), rule };
        if text.starts_with("icaps:") {
            return Err(invalid("TLS is not spoken: put a tunnel in between"));
        }
        let rest = text.strip_prefix("icap://").ok_or_else(|| invalid("icap://host:port/service is expected"))?;
        let (authority, service) =
            rest.split_once('/').ok_or_else(|| invalid("a service is expected after the host"))?;
        if !(1..MAX_SERVICE_BYTES).contains(&service.len())
            || !service.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
        {
            return Err(invalid("a service is 1 to 1023 printable ASCII characters without spaces and #"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(|| invalid("an IPv6 address ends with ]"))?;
                (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').unwrap_or("")) })
            }
            None => match authority.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err(invalid("an IPv6 address is expected in brackets"));
                }
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let in_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(in_host) {
            return Err(invalid("a host is letters, digits and . - _, and stands alone: no user, no password"));
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(|| invalid("a port is 1 to 65535"))?,
        };
        Ok(Self { host: host.to_owned(), port, service: format!("/{service}") })
    }
}

impl fmt::Display for IcapUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "icap://{}{}", self.authority(), self.service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        for text in [
            "icap://scanner.internal:1344/avscan",
            "icap://127.0.0.1:11344/virus_scan?force=on&mode=simple",
            "icap://[::1]:1344/a/b",
        ] {
            assert_eq!(text.parse::<IcapUrl>().unwrap().to_string(), text);
        }
        for text in ["icap://host/s", "icap://[::1]/s"] {
            assert_eq!(text.parse::<IcapUrl>().unwrap().port, 1344);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let long = format!("icap://host/{}", "x".repeat(1024));
        for text in [
            "",
            "icap:",
            "icap://",
            "icap://host",
            "icap://host/",
            "icap:///service",
            "icap://host:0/s",
            "icap://host:65536/s",
            "icap://host:/s",
            "icap://[::1]1344/s",
            "icap://[::1/s",
            "icap://[]/s",
            "icap://::1:1344/s",
            "icap://user:secret@host/s",
            "icap://user@host/s",
            "icap://host/a b",
            "icap://host/a#b",
            "icap://host/a\r\nX: y",
            "icap://host/\u{e9}",
            "icaps://host/s",
            "http://host/s",
            &long,
        ] {
            assert!(text.parse::<IcapUrl>().is_err(), "{text:?}");
        }
    }
}
