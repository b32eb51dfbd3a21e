use std::{fmt, path::PathBuf, str::FromStr};

use thiserror::Error;

/// The longest path of a unix socket on Linux, in bytes (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// Where clamd listens: `unix:/run/clamav/clamd.ctl` or `tcp:host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClamdAddress {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP port. clamd neither encrypts nor authenticates: for trusted networks.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Text that is no address of a clamd.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("clamd address {text:?} is not valid: {rule}")]
pub struct InvalidClamdAddress {
    /// The text.
    pub text: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

impl FromStr for ClamdAddress {
    type Err = InvalidClamdAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |rule| InvalidClamdAddress { text: text.to_owned(), rule };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') && path.len() <= MAX_SOCKET_PATH {
                Ok(Self::Unix(path.into()))
            } else {
                Err(invalid("an absolute path of up to 107 bytes is expected after unix:"))
            };
        }
        let Some(rest) = text.strip_prefix("tcp:") else {
            return Err(invalid("unix:/path or tcp:host:port is expected"));
        };
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| invalid("a port is expected after the host"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.is_none() && host.contains(':') {
            return Err(invalid("an IPv6 address is expected in brackets"));
        }
        let host = bare.unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| invalid("a port is 1 to 65535"))?;
        if host.is_empty() {
            return Err(invalid("a host is expected"));
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for ClamdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        for text in ["unix:/run/clamav/clamd.ctl", "tcp:clamd.internal:3310", "tcp:127.0.0.1:1", "tcp:[::1]:3310"] {
            assert_eq!(text.parse::<ClamdAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let long = format!("unix:/{}", "x".repeat(107));
        for text in [
            "",
            "unix:",
            "unix:clamd.ctl",
            &long,
            "tcp:",
            "tcp:host",
            "tcp::3310",
            "tcp:h:0",
            "tcp:h:65536",
            "tcp:::1:3310",
            "tcp:[]:3310",
            "/run/clamav/clamd.ctl",
            "http://host:3310",
        ] {
            assert!(text.parse::<ClamdAddress>().is_err(), "{text}");
        }
    }
}
